"""What a digital camera does to light: colour filters, noise, mosaic, development. On linear light, no randomness
but the generator given.

Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, is the model: the tone curve, the order of
the steps, and the relation between shot and read noise that was measured on real cameras. The sensor's colour
matrix is a plain crosstalk, because no camera in particular is meant.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import LUMA

Pixels = NDArray[np.float32]

CROSSTALK = np.array([[0.0, 0.8, 0.2], [0.5, 0.0, 0.5], [0.1, 0.9, 0.0]], np.float32)
"""What each colour filter lets through of the other two colours; rows sum to one, so grey stays grey."""
AROUND = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4
CROSS = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4


def tone(linear: Pixels, amount: float) -> Pixels:
    """A camera's S-curve, 3x^2 - 2x^3, mixed with the straight line: `amount` 0 is none of it."""
    x = np.clip(linear, 0, 1)
    return (1 - amount) * x + amount * x * x * (3 - 2 * x)


def untone(linear: Pixels, amount: float) -> Pixels:
    """The inverse of `tone`, to the middle of the 4096 equal steps that the value lies in."""
    steps = 4096
    borders = tone((np.arange(1, steps) / steps).astype(linear.dtype), amount)
    return ((np.searchsorted(borders, linear) + 0.5) / steps).astype(linear.dtype)


def color_matrix(crosstalk: float) -> NDArray[np.float32]:
    """(3, 3): linear sRGB to the sensor's colours, grey kept."""
    return ((1 - crosstalk) * np.eye(3) + crosstalk * CROSSTALK).astype(np.float32)


def read_noise(shot: float) -> float:
    """Standard deviation of the noise of the dark that goes with a variance `shot` of photon noise per unit of
    light, white at 1, as measured on real cameras: log(variance) = 2.18 log(shot) + 1.2."""
    return float(np.sqrt(np.exp(2.18 * np.log(shot) + 1.2)))


def expose(raw: Pixels, shot: float, read: float, rng: np.random.Generator) -> Pixels:
    """(H, W) or (H, W, 3) sensor values with photon and read noise; below zero where the noise takes them."""
    noise = rng.standard_normal(raw.shape, dtype=np.float32)
    return raw + noise * np.sqrt(shot * np.maximum(raw, 0) + read * read)


def smooth_color(linear: Pixels, sigma: float) -> Pixels:
    """The picture with its differences from luma blurred, as cameras do against blotches of colour."""
    if not sigma:
        return linear
    bright = (linear @ LUMA)[..., None]
    return bright + cv2.GaussianBlur(linear - bright, (0, 0), sigma)


def smear(encoded: Pixels, amount: float) -> Pixels:
    """The picture with its grain smoothed between edges, which leaves blotches, as cameras do."""
    if not amount:
        return encoded
    grain = float(np.median(np.abs(encoded - cv2.GaussianBlur(encoded, (0, 0), 1.5)))) * 1.5
    return (1 - amount) * encoded + amount * cv2.bilateralFilter(encoded, 7, 4 * grain + 1e-3, 2.0)


def sharpen(encoded: Pixels, amount: float) -> Pixels:
    """The picture with `amount` times its difference from a blurred one added."""
    if not amount:
        return encoded
    return np.clip(encoded + amount * (encoded - cv2.GaussianBlur(encoded, (0, 0), 1.0)), 0, 1)


def mosaic(colors: Pixels) -> NDArray[np.float32]:
    """(H, W): what an RGGB sensor keeps of (H, W, 3)."""
    raw = colors[..., 1].copy()
    raw[::2, ::2] = colors[::2, ::2, 0]
    raw[1::2, 1::2] = colors[1::2, 1::2, 2]
    return raw


def demosaic(raw: NDArray[np.float32]) -> Pixels:
    """(H, W, 3) from the RGGB mosaic (H, W), bilinear; smears the noise of neighbours into each other."""
    sites = np.zeros((*raw.shape, 3), np.float32)
    sites[::2, ::2, 0] = sites[::2, 1::2, 1] = sites[1::2, ::2, 1] = sites[1::2, 1::2, 2] = 1
    planes = []
    for channel, kernel in enumerate((AROUND, CROSS, AROUND)):
        mask = sites[..., channel]
        total = cv2.filter2D(raw * mask, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        weight = cv2.filter2D(mask, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        # A picture one pixel wide has no site of some colours: they take what is there.
        planes.append(np.where(weight > 0, total / np.maximum(weight, 1e-6), raw))
    return np.stack(planes, axis=2)
