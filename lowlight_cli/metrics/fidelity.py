"""How near a picture comes to its truth. Pure functions on (H, W, 3) uint8, RGB."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import luma
from lowlight_cli.errors import PictureError


def psnr(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all channels, peak 255; infinite for equal pictures."""
    check(image, truth)
    error = float(np.mean((image.astype(np.float64) - truth) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def ssim(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al., 2004): Gaussian 11x11, sigma 1.5, per channel, mean over the interior."""
    check(image, truth)
    if min(image.shape[:2]) < 11:
        raise PictureError(f"The picture is {image.shape[1]}x{image.shape[0]}; SSIM needs 11x11.", "")
    x, y = image.astype(np.float64), truth.astype(np.float64)
    taps = cv2.getGaussianKernel(11, 1.5, cv2.CV_64F)

    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.sepFilter2D(values, cv2.CV_64F, taps, taps)[5:-5, 5:-5]

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, covariance = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(alike / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def psnr_gtmean(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """PSNR in dB of the image brought to the truth's mean luma."""
    return psnr(at_mean_of(image, truth), truth)


def ssim_gtmean(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """SSIM of the image brought to the truth's mean luma."""
    return ssim(at_mean_of(image, truth), truth)


def mae(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Mean absolute difference over all channels, in 8-bit levels (0 to 255)."""
    check(image, truth)
    return float(cv2.absdiff(image, truth).mean(dtype=np.float64))


def at_mean_of(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image times one factor that gives it the truth's mean luma, clipped and rounded: `gtmean` figures use it.

    Many published figures are made so; it hides errors of exposure of several dB. Never mix the two.
    """
    check(image, truth)
    return np.clip(np.rint(image * (mean_luma(truth) / max(mean_luma(image), 1e-6))), 0, 255).astype(np.uint8)


def mean_luma(image: NDArray[np.uint8]) -> float:
    """Mean BT.601 luma in 8-bit levels, 0 to 255."""
    return float(luma(np.array(cv2.mean(image)[:3])))


def check(image: NDArray, truth: NDArray) -> None:
    """Both must be 8-bit pictures of one size."""
    if image.shape != truth.shape or image.dtype != np.uint8 or truth.dtype != np.uint8:
        one, other = (f"{each.shape[1]}x{each.shape[0]} {each.dtype}" for each in (image, truth))
        raise PictureError(f"Cannot compare {one} with {other}.", "Give 8 bits, one size.")
