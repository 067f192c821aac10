"""Centre and surround: what the three Retinex methods of Jobson, Rahman and Woodell share.

A channel's retinex is ln(I) - ln(F * I), I its values plus one on the scale 0..255 (so that black has a logarithm)
and F a Gaussian. The mean over several Gaussians is the multi-scale retinex. As in the reference implementation
(Petro, Sbert, Morel, Multiscale Retinex, IPOL 2014) the picture is mirrored at its border, and the papers' constants
15, 80 and 250 are standard deviations; the papers write exp(-r^2 / c^2), a Gaussian narrower by the root of 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SIGMAS = (15.0, 80.0, 250.0)
"""Of the multi-scale retinex, in pixels."""
CLIP = 0.01
"""Share of a channel's pixels that become black, and as many white."""
NARROW = 8.0
"""Standard deviation in pixels to which a wider Gaussian is brought by shrinking the picture first."""
FLAT = 1e-3
"""A range of ln(I) in which there is nothing but rounding."""


def shifted(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """[0, 1] as 1..256."""
    return pixels * np.float32(255) + np.float32(1)


def retinex(values: NDArray[np.float32], sigmas: Sequence[float]) -> NDArray[np.float32]:
    """The (multi-scale) retinex of one channel (H, W) in 1..256: natural logarithms around 0."""
    out = np.log(values)
    for sigma in sigmas:
        out -= np.log(surround(values, sigma)) / np.float32(len(sigmas))
    return out


def surround(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """(H, W) blurred by a Gaussian of `sigma` pixels, 250 as fast as 8.

    A wide Gaussian runs on a picture shrunk by area means and enlarged again by straight lines; both blur as well,
    by 1/12 and 1/6 of a squared small pixel, which it leaves out. ln(F * I) is exact to 0.02 at the
    sharpest edge there can be, to 0.005 elsewhere.
    """
    height, width = values.shape
    rows, columns = (max(1, round(side * min(1, NARROW / sigma))) for side in (height, width))
    if (rows, columns) == (height, width):
        return blurred(values, sigma, sigma)
    small = cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA)
    small = blurred(small, *(math.sqrt((sigma / step) ** 2 - 0.25) for step in (width / columns, height / rows)))
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def blurred(values: NDArray[np.float32], across: float, down: float) -> NDArray[np.float32]:
    """A Gaussian of two standard deviations, the border mirrored."""
    return cv2.GaussianBlur(values, (0, 0), sigmaX=across, sigmaY=down, borderType=cv2.BORDER_REFLECT)


def balanced(values: NDArray[np.float32], flat: NDArray[np.float32]) -> NDArray[np.float32]:
    """A channel's retinex (H, W) as [0, 1]: a share CLIP of the pixels becomes 0 and as many 1, straight between.

    The simplest colour balance (Limare et al., IPOL 2011). Where there is no range to spread, it gives `flat`.
    """
    low, high = (float(end) for end in np.quantile(values, (CLIP, 1 - CLIP)))
    if high - low < FLAT:
        return flat
    return ((values - np.float32(low)) / np.float32(high - low)).clip(0, 1)
