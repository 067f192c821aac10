"""Colour difference CIEDE2000 (Sharma, Wu, Dalal, Color Research & Application 2005; equations by their numbers)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import to_linear
from lowlight_cli.metrics.fidelity import check

XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""CIE XYZ of the linear sRGB primaries (IEC 61966-2-1)."""
WHITENED = (XYZ / XYZ.sum(axis=1, keepdims=True)).astype(np.float32)
"""Over the white D65, which is their sum: greys have a* = b* = 0."""

LINEAR = to_linear(np.arange(256) / 255).astype(np.float32)
"""Linear light of the 8-bit levels."""

Floats = NDArray[np.floating]
"""Single precision for pictures: the mean is good to 1e-6, in half the time."""


def ciede2000(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Mean colour difference over the pixels; 1 is about what an eye just sees."""
    check(image, truth)
    return float(delta_e(to_lab(image), to_lab(truth)).mean(dtype=np.float64))


def to_lab(image: NDArray[np.uint8]) -> Floats:
    """CIELAB (..., 3) under D65, 2 degrees, of sRGB (..., 3)."""
    x = LINEAR[image] @ WHITENED.T
    f = np.where(x > (6 / 29) ** 3, np.cbrt(x), x * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def delta_e(first: Floats, second: Floats) -> Floats:
    """CIEDE2000 (...) between CIELAB colours (..., 3), with kL = kC = kH = 1."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    stretch = 1.5 - 0.5 * _saturation((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2)  # 1 + G, Eq. 4
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = _hue(stretch * a1, b1), _hue(stretch * a2, b2)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    turn, hue = _between(h1, h2)
    t = 1 - 0.17 * np.cos(hue - np.pi / 6) + 0.24 * np.cos(2 * hue)  # Eq. 15
    t += 0.32 * np.cos(3 * hue + np.pi / 30) - 0.20 * np.cos(4 * hue - np.radians(63))
    off = (lightness - 50) ** 2
    light = (l2 - l1) / (1 + 0.015 * off / np.sqrt(20 + off))
    strength = (c2 - c1) / (1 + 0.045 * chroma)
    tone = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2) / (1 + 0.015 * chroma * t)
    bend = np.sin(np.pi / 3 * np.exp(-(((np.degrees(hue) - 275) / 25) ** 2)))  # sin(2 delta theta), Eq. 16
    rotation = -2 * _saturation(chroma) * bend
    return np.sqrt(light**2 + strength**2 + tone**2 + rotation * strength * tone)


def _saturation(chroma: Floats) -> Floats:
    """Root of C^7 / (C^7 + 25^7), of Eq. 4 and 17."""
    power = chroma**7
    return np.sqrt(power / (power + 25.0**7))


def _hue(a: Floats, b: Floats) -> Floats:
    """Angle in [0, 2 pi)."""
    return np.arctan2(b, a) % (2 * np.pi)


def _between(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """From the first hue to the second the short way (Eq. 10), and the hue in the middle of that way (Eq. 14).

    The equations' case of a grey is left out: there the difference in hue is 0 whatever the angles are.
    """
    turn, total = second - first, first + second
    far = np.abs(turn) > np.pi
    middle = (total - far * np.copysign(2 * np.pi, total - 2 * np.pi)) / 2
    turn = turn - far * np.copysign(2 * np.pi, turn)
    return turn, middle
