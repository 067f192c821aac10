"""Histogram equalisation of the value channel.

Hummel, Image enhancement by histogram transformation, Computer Graphics and Image Processing, 1977. Each value V
(largest of R, G and B, as in HSV) becomes the share of pixels that are darker, and the three channels are multiplied
by the same factor: hue and saturation stay, and nothing is clipped. Equalising R, G and B each on its own, as some
tables do, turns colours.

The histogram has 65,536 bins, one per level of a 16-bit picture: none of them merge. The levels of an 8-bit picture
fill 256 of these bins, which gives what 256 bins give.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def enhance(pixels: NDArray[np.float32], bins: int = 65536) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same. A picture of one value has no histogram to spread: it stays."""
    value = pixels.max(axis=2)
    level = np.rint(value * (bins - 1)).astype(np.int32)
    counts = np.bincount(level.ravel(), minlength=bins)
    darkest = counts[level.min()]
    if darkest == value.size:
        return pixels.copy()
    share = ((np.cumsum(counts) - darkest) / (value.size - darkest)).clip(0, 1).astype(np.float32)
    factor = share[level] / np.maximum(value, np.finfo(np.float32).tiny)
    return np.minimum(pixels * factor[..., None], 1)
