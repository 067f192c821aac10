"""How near a picture comes to its truth. Pure functions on (H, W, 3) uint8, RGB."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import luma
from lowlight_cli.errors import PictureError

WINDOW = 11
"""Side of the window of `windowed`, in pixels."""


def psnr(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all channels, peak 255; infinite for equal pictures."""
    check(image, truth)
    error = float(np.mean((image.astype(np.float64) - truth) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def ssim(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al., 2004): Gaussian 11x11, sigma 1.5, per channel, mean over the interior."""
    check(image, truth)
    check_window(image, "SSIM")
    x, y = image.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = windowed(x), windowed(y)
    var_x, var_y = windowed(x * x) - mean_x**2, windowed(y * y) - mean_y**2
    covariance = windowed(x * y) - mean_x * mean_y
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


def check_window(image: NDArray, name: str) -> None:
    """A window of `windowed` must fit into the picture; `name` is that of the metric."""
    height, width = image.shape[:2]
    if min(height, width) < WINDOW:
        raise PictureError(f"The picture is {width}x{height}; {name} needs {WINDOW}x{WINDOW}.", "Leave it out.")


def windowed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of (H, W) or (H, W, C) under a Gaussian window 11x11 of sigma 1.5, (H - 10, W - 10): the interior alone."""
    taps, edge = cv2.getGaussianKernel(WINDOW, 1.5, cv2.CV_64F), WINDOW // 2
    return cv2.sepFilter2D(values, cv2.CV_64F, taps, taps)[edge:-edge, edge:-edge]
