"""Multi-scale Retinex with colour restoration.

Jobson, Rahman, Woodell, A multiscale retinex for bridging the gap between color images and the human observation of
scenes, IEEE Transactions on Image Processing, 1997. The multi-scale retinex of each channel times
C = ln(125 I) - ln(R + G + B), which gives back some of the saturation; then a fixed gain and offset, and a clip.

Where we differ: the paper's own constants (gain 192, offset -30, and 46 before C) belong to a scale of the logarithms
that it does not state, and give no picture as they stand. We take gain 30 and offset 6 for natural logarithms of
1..256 on a display of 0..255, those of the reference implementation (Petro, Sbert, Morel, Multiscale Retinex,
IPOL 2014). They put whatever equals its surround at 180 of 255: white turns grey, black too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.classical.retinex import SIGMAS, retinex, shifted


def enhance(
    pixels: NDArray[np.float32],
    sigmas: Sequence[float] = SIGMAS,
    alpha: float = 125.0,
    gain: float = 30.0,
    offset: float = 6.0,
) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; `sigmas` in pixels, gain and offset for a display of 0..255."""
    total = np.log(shifted(pixels.sum(axis=2)) + np.float32(2))
    out = np.empty_like(pixels)
    for channel in range(3):
        values = shifted(pixels[..., channel])
        restored = (np.log(np.float32(alpha) * values) - total) * retinex(values, sigmas)
        np.clip((restored + np.float32(offset)) * np.float32(gain / 255), 0, 1, out=out[..., channel])
    return out
