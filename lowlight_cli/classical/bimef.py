"""A bio-inspired fusion of two exposures: the picture itself and one taken longer, as the camera response model has it.

Ying, Li, Gao, A bio-inspired multi-exposure fusion framework for low-light image enhancement, arXiv 1711.00591, 2017.
The weight of the picture is its illumination to the power mu; what is left goes to the picture at k times the
exposure (both as in crm). k is the ratio at which the dark half (illumination below 0.5) has the greatest entropy.
A picture without a dark part stays as it is.

Constants are those of the authors' code, with the 0.01 that it takes off the longer exposure. Where we differ: it
looks for k in [1, 7] with a minimiser that stops at the first peak of a jagged curve, we try steps of 0.05 (0.1 dB on
LOL); and what is said in crm.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.classical.crm import exposed, illumination

DARK = 0.5
SIDE = 50
"""The entropy is that of the picture at 50 x 50."""
RATIOS = np.linspace(1, 7, 121, dtype=np.float32)
OFFSET = np.float32(0.01)


def enhance(pixels: NDArray[np.float32], mu: float = 0.5) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; `mu` is the exponent of the weight."""
    light = illumination(pixels)
    dark = darkest(pixels, light)
    if not dark.size:
        return pixels.copy()
    longer = exposed(pixels, best_ratio(dark)) - OFFSET
    weight = (light ** np.float32(mu))[..., None]
    return (pixels * weight + longer * (1 - weight)).clip(0, 1)


def darkest(pixels: NDArray[np.float32], light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness (geometric mean of R, G and B) of the dark pixels of the picture at 50 x 50."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    share = cv2.resize((light < DARK).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.cbrt(small.prod(axis=2))[share > 0.5]


def best_ratio(values: NDArray[np.float32]) -> np.float32:
    """The exposure ratio that gives `values` the greatest entropy; the least of several."""
    return RATIOS[int(np.argmax([entropy(exposed(values, ratio)) for ratio in RATIOS]))]


def entropy(values: NDArray[np.float32]) -> float:
    """In bits, of the values in 256 steps."""
    counts = np.bincount(np.rint(values.clip(0, 1) * 255).astype(np.intp).ravel())
    share = counts[counts > 0] / values.size
    return float(-(share * np.log2(share)).sum())
