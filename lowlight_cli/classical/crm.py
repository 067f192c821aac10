"""Camera response model: every pixel is taken again with the exposure that its illumination asks for.

Ying, Li, Ren, Wang, Wang, A new low-light image enhancement algorithm using camera response model, ICCV Workshops,
2017. The exposure ratio is one over the illumination, at most 7; the illumination is the largest channel, smoothed by
weighted least squares where it has no edges; a pixel taken at k times the exposure is g(P, k) = beta P^gamma, with
gamma = k^a and beta = e^(b (1 - k^a)), which the authors fitted to 201 cameras.

Constants are those of the authors' code. Where we differ: it shrinks and enlarges by bicubic filters and we by area
means and bicubic ones; its differences go on from the last row and column to the first, ours stop there (0.1 dB on
LOL); it ends the solver early (see least_squares).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.classical.least_squares import differences, smoothed

A, B = np.float32(-0.3293), np.float32(1.1258)
"""Of the camera response model."""
STRENGTH, WINDOW, SHARPNESS = np.float32(0.5), 5, np.float32(0.001)
"""Of the smoothing: see `illumination`."""
DARKEST = 1e-6


def enhance(pixels: NDArray[np.float32], ratio: float = 7.0) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; `ratio` is the largest exposure ratio."""
    ratios = np.minimum(1 / np.maximum(illumination(pixels), np.float32(DARKEST)), np.float32(ratio))
    return exposed(pixels, ratios[..., None]).clip(0, 1)


def exposed(pixels: NDArray[np.float32], ratio: NDArray[np.float32] | np.float32) -> NDArray[np.float32]:
    """What the camera had given at `ratio` times the exposure: beta P^gamma. A ratio of 1 changes nothing."""
    gamma = ratio**A
    return pixels**gamma * np.exp(B * (1 - gamma))


def illumination(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) in [0, 1]: the largest channel, smoothed at half size.

    A difference d between neighbours weighs STRENGTH / (|sum of d over WINDOW neighbours along it| |d| + SHARPNESS):
    differences that go one way are edges, those that cancel each other are texture.
    """
    value = pixels.max(axis=2)
    height, width = value.shape
    half = cv2.resize(value, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    across, down = differences(half)
    # OpenCV filters no plane without pixels: a column or row of zeros makes them as large as `half`.
    along = window_sum(np.pad(across, ((0, 0), (0, 1))), (WINDOW, 1))[:, :-1]
    below = window_sum(np.pad(down, ((0, 1), (0, 0))), (1, WINDOW))[:-1]
    across, down = (STRENGTH / (abs(total * change) + SHARPNESS) for total, change in ((along, across), (below, down)))
    return cv2.resize(smoothed(half, across, down), (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def window_sum(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Sums over windows of `size` (width, height), with zeros beyond the border."""
    return cv2.boxFilter(plane, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
