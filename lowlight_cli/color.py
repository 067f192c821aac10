"""sRGB encoding, luma and grey of numpy arrays, and the curve of exposure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Values = TypeVar("Values", NDArray[np.float32], "Tensor")

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""BT.601 weights, on encoded values."""
GREY = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
"""MATLAB's `rgb2gray`: the same before they were rounded."""
DIM, BRIGHT = 0.34, 0.46
"""Mean luma up to which a picture is brightened as it needs, and from which on it keeps its brightness."""


def to_linear(encoded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light from sRGB-encoded values in [0, 1] (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((np.maximum(encoded, 0) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB-encoded values from linear light in [0, 1]."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def luma(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """BT.601 luma (..., ) of sRGB-encoded (..., 3)."""
    return pixels @ LUMA


def grey(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What `rgb2gray` makes of 8-bit RGB (H, W, 3): (H, W), whole levels 0 to 255."""
    return np.floor(image @ GREY + 0.5)


def exposure_factor(value: Values, gain: Values) -> Values:
    """What the curve of exposure multiplies all channels of a pixel by, whose largest is `value`: the pixel's value v
    becomes g v / (1 + (g - 1) v). Black stays black, white stays white; near black the factor is the gain itself."""
    return gain / (1 + (gain - 1) * value)
