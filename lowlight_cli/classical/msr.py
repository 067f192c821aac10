"""Multi-scale Retinex.

Rahman, Jobson, Woodell, Multi-scale retinex for color image enhancement, ICIP 1996. Each of R, G and B on its own: the
mean of ln(I) - ln(F * I) over Gaussians of 15, 80 and 250 pixels. It takes a grey world for granted: large areas of one
colour turn grey, which `msrcr` mends.

Where we differ: for display each channel is spread until 1 % of its pixels are black and 1 % white (the simplest
colour balance), as Petro, Sbert, Morel (IPOL 2014) do, in place of a fixed gain and offset.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.classical.retinex import SIGMAS, balanced, retinex, shifted


def enhance(pixels: NDArray[np.float32], sigmas: Sequence[float] = SIGMAS) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; `sigmas` in pixels. A picture of one colour stays."""
    out = np.empty_like(pixels)
    for channel in range(3):
        plane = np.ascontiguousarray(pixels[..., channel])
        out[..., channel] = balanced(retinex(shifted(plane), sigmas), flat=plane)
    return out
