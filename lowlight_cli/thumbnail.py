"""The small square that guided networks look at instead of the whole picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def thumbnail(pixels: NDArray, side: int) -> NDArray[np.float32]:
    """(side, side, 3) float32 in [0, 1]: area averages of (H, W, 3) integers, whatever the aspect ratio.

    Averages are taken in float32: on the 8-bit grid a dark picture would lose half its levels. Side 0, for a network
    that looks at none, gives (0, 0, 3).
    """
    if not side:
        return np.zeros((0, 0, 3), np.float32)
    height, width = pixels.shape[:2]
    # Rows first: sums of whole rows are quick, and leave little. No float copy of the picture is made.
    low = averages_of_rows(pixels, side) if height > side else pixels.astype(np.float32)
    narrow = cv2.resize(low, (side, len(low)), interpolation=resampling(width, side))
    averages = cv2.resize(narrow, (side, side), interpolation=resampling(height, side))
    return averages / np.float32(np.iinfo(pixels.dtype).max)


def averages_of_rows(pixels: NDArray, count: int) -> NDArray[np.float32]:
    """(count, W, 3) float32 of (H, W, 3) integers: averages of equal parts of the height, rows in two parts shared."""
    edges = np.arange(count + 1) * len(pixels) / count
    first, last = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    sums = [
        cv2.reduce(np.ascontiguousarray(pixels[a:b]), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
        for a, b in zip(first, last, strict=True)
    ]
    total = np.concatenate(sums)
    for row, beyond in ((first, edges[:-1] - first), (last - 1, last - edges[1:])):
        total -= beyond.astype(np.float32)[:, None, None] * pixels[row]
    return total / np.float32(len(pixels) / count)


def resampling(size: int, target: int) -> int:
    """Area averages to shrink, straight lines to grow."""
    return cv2.INTER_AREA if size > target else cv2.INTER_LINEAR
