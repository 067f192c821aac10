"""Low-light enhancement by estimating the illumination map.

Guo, Li, Ling, LIME: low-light image enhancement via illumination map estimation, IEEE Transactions on Image
Processing, 2017. The illumination is the largest channel, plus 0.02 that keep it from 0, smoothed so that its
structure stays; the picture is divided by its power gamma. The map is that of the sped-up solver with the third
weighting strategy: the weight between neighbours is alpha over the product of how much the map changes there and how
much it changes after a Gaussian, so that texture, which a Gaussian evens out, is smoothed and edges are not.

Constants (alpha 0.15, gamma 0.8 and sigma 2, two floors of the weight's factors) are those of the authors' code; a
later demonstration of theirs has gamma 0.7, which is darker. As in the code, the first factor is the length of the
gradient instead of its part along the pair. Where we differ: it ends the solver early (see least_squares). The paper's
last step, BM3D, is left out, as in the code.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.classical.least_squares import differences, smoothed

ALPHA, SIGMA = np.float32(0.15), 2.0
"""Of the weights; the Gaussian's sigma in pixels."""
LIFT = np.float32(0.02)
GRADIENT, CHANGE = np.float32(0.02), np.float32(0.001)
"""The floors of the two factors of the weight."""


def enhance(pixels: NDArray[np.float32], gamma: float = 0.8) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; 1 / light ** `gamma` is the gain."""
    light = illumination(pixels) ** np.float32(gamma)
    return (pixels / light[..., None]).clip(0, 1)


def illumination(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) in [0.02, 1]."""
    rough = pixels.max(axis=2) + LIFT
    return smoothed(rough, *weights(rough)).clip(LIFT, 1)


def weights(rough: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Between neighbours across and down a map (H, W), as in `least_squares.Grid`."""
    across, down = differences(rough)
    gradient = np.maximum(np.hypot(np.pad(across, ((0, 0), (0, 1))), np.pad(down, ((0, 1), (0, 0)))), GRADIENT)
    side = round(5 * SIGMA) | 1
    even = cv2.GaussianBlur(rough, (side, side), SIGMA, borderType=cv2.BORDER_CONSTANT)
    along, below = (np.maximum(abs(change), CHANGE) for change in differences(even))
    return ALPHA / (gradient[:, :-1] * along), ALPHA / (gradient[:-1] * below)
