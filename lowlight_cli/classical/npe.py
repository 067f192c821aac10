"""Naturalness preserved enhancement for pictures lit unevenly.

Wang, Zheng, Hu, Li, Naturalness preserved enhancement algorithm for non-uniform illumination images, IEEE Transactions
on Image Processing, 2013. A bright-pass filter estimates the illumination from brighter neighbours only, so that the
reflectance, picture over illumination, stays below one; a curve lifts the illumination and keeps its order; the
product of the two is the result.

We follow the authors' code, which tables come from, and which is not the paper: its curve is not a bi-log histogram
specification but one of just noticeable differences, the same for all pictures, from 127 for black up; its bright-pass
filter weighs a brighter neighbour by e^(-difference / 50) instead of counting its frequency in the picture; and it
stretches the picture before (largest value to 255) and after (each channel cut at 3 standard deviations from its mean,
then all three together to 0..255). Where we differ: the curve is a line between its 256 steps.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CLOSING, WINDOW = 15, 41
"""Sides of the windows, in pixels, of the closing and of the mean."""
FALL = np.float32(50.0)
"""A neighbour that is brighter by so many of 255 levels weighs 1 / e."""
LEAST, SHARE = 10, 0.1
"""The illumination is at least this level, and that of the darkest tenth."""
LOWEST, STEP = 127.0, 0.63
"""Where the curve starts, and its slope in just noticeable differences."""


def enhance(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same."""
    peak = pixels.max()
    if peak == 0:
        return pixels.copy()
    levels = pixels * (np.float32(255) / peak)
    light = illumination(levels.max(axis=2))
    gain = np.interp(light, np.arange(1, 257), lifted()).astype(np.float32) / light
    return stretched(levels * gain[..., None])


def illumination(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) in 1..256 from the largest channel, in 0..255: its bright-pass filtering."""
    level = np.rint(value).astype(np.intp)
    tenth = np.searchsorted(np.cumsum(np.bincount(level.ravel())), SHARE * level.size) + 1
    return bright_pass(level.clip(min(max(LEAST, tenth), 255), 255).astype(np.uint8))


def bright_pass(level: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) in 1..256: one plus the mean of the closed levels in the window that are not darker than the pixel.

    The window of a pixel is read by mirrors at the border. All pixels of one level have the same weights: so many
    means over the picture as it has levels.
    """
    closed = cv2.morphologyEx(mirrored(level), cv2.MORPH_CLOSE, np.ones((CLOSING, CLOSING), np.uint8))
    margin = CLOSING - 1
    closed = closed[margin:-margin, margin:-margin].astype(np.float32)
    out = np.empty(level.shape, np.float32)
    for own in np.unique(level):
        weight = np.exp((np.float32(own) - closed) / FALL) * (closed >= own)
        here = level == own
        out[here] = mean(weight * (closed + 1))[here] / mean(weight)[here]
    return out


def mirrored(level: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With a border as wide as the closing reads."""
    return cv2.copyMakeBorder(level, *(CLOSING - 1,) * 4, borderType=cv2.BORDER_REFLECT_101)


def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the window of each pixel."""
    return cv2.blur(values, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)


def lifted() -> NDArray[np.float64]:
    """The curve: what the illuminations 1..256 become. Its slope is the ratio of what is just noticeable there."""
    level = np.arange(256)
    dark = 17 * (1 - np.sqrt(level.clip(max=127) / 127)) + 3
    noticeable = np.where(level <= 127, dark, 3 / 128 * (level - 127) + 3)
    curve = np.full(256, LOWEST)
    for place in range(1, 256):
        below = round(curve[place - 1])
        rise = STEP * noticeable[below - 1] / noticeable[place] if below <= 256 else 0
        curve[place] = curve[place - 1] + rise
    return curve


def stretched(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each channel cut at 3 standard deviations from its mean, then all together to [0, 1]. One value stays."""
    middle, spread = (np.asarray(f(values, axis=(0, 1), dtype=np.float64), np.float32) for f in (np.mean, np.std))
    values = values.clip(middle - 3 * spread, middle + 3 * spread)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else (values / 255).clip(0, 1)
