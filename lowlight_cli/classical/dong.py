"""Dehazing of the inverted picture: in a dark picture, one minus the pixels looks like haze.

Dong, Wang, Pang, Li, Wen, Meng, Lu, Fast efficient algorithm for enhancement of low lighting video, ICME, 2011. R is
one minus the picture, A the colour of the air: of the pixels with the brightest dark channel (least value of all
channels in a window) the one of the brightest colour. The transmission is t = 1 - omega min (R / A) over channels and
window; where it is less than half, it is multiplied by 2 t, which lifts the darkest parts most. (R - A) / t + A has no
haze, and one minus that is the result.

The paper's acceleration for video is left out. Window 7 and 0.2 % of the pixels for A are those of the code that
tables come from (the paper has 9 and 100 pixels); as there, nothing smooths t, so that squares of 7 show at edges.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST = np.float32(1e-7)
"""The least transmission, before it is squared."""
DARKEST_AIR = np.float32(1e-6)


def enhance(
    pixels: NDArray[np.float32], omega: float = 0.8, window: int = 7, share: float = 0.002
) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; `share` of the pixels are candidates for the air."""
    inverted = 1 - pixels
    least = cv2.erode(inverted, np.ones((window, window), np.uint8), borderType=cv2.BORDER_REPLICATE)
    colour = air(inverted, least.min(axis=2), share)
    clear = np.maximum(1 - np.float32(omega) * (least / colour).min(axis=2), LEAST)
    clear *= np.minimum(2 * clear, 1)
    return (1 - ((inverted - colour) / clear[..., None] + colour)).clip(0, 1)


def air(inverted: NDArray[np.float32], dark: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """(3,): the brightest colour among the `share` of pixels with the brightest dark channel (H, W); at least one.

    Of equals the first counts, column by column, as in MATLAB.
    """
    values, colours = dark.T.ravel(), inverted.transpose(1, 0, 2).reshape(-1, 3)
    count = max(1, int(values.size * share))
    limit = np.partition(values, values.size - count)[values.size - count]
    above = np.flatnonzero(values > limit)
    equal = np.flatnonzero(values == limit)[: count - above.size]
    candidates = colours[np.concatenate([above, equal])]
    return np.maximum(candidates[candidates.mean(axis=1).argmax()], DARKEST_AIR)
