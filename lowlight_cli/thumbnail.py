"""The small square that guided networks look at instead of the whole picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BAND = 256
"""Rows turned into float32 at a time, so that a 100-megapixel picture needs no float copy."""


def thumbnail(pixels: NDArray, side: int) -> NDArray[np.float32]:
    """(side, side, 3) float32 in [0, 1]: area averages of (H, W, 3) integers, whatever the aspect ratio.

    Averages are taken in float32: on the 8-bit grid a dark picture would lose half its levels. Side 0, for a network
    that looks at none, gives (0, 0, 3).
    """
    if not side:
        return np.zeros((0, 0, 3), np.float32)
    height, width = pixels.shape[:2]
    largest = np.float32(np.iinfo(pixels.dtype).max)
    narrow = np.empty((height, side, 3), np.float32)
    for top in range(0, height, BAND):
        band = pixels[top : top + BAND].astype(np.float32)
        narrow[top : top + BAND] = cv2.resize(band, (side, len(band)), interpolation=resampling(width, side))
    return cv2.resize(narrow, (side, side), interpolation=resampling(height, side)) / largest


def resampling(size: int, target: int) -> int:
    """Area averages to shrink, straight lines to grow."""
    return cv2.INTER_AREA if size > target else cv2.INTER_LINEAR
