"""A fusion of three versions of the illumination.

Fu, Zeng, Huang, Liao, Ding, Paisley, A fusion-based enhancing method for weakly illuminated images, Signal Processing,
2016. The illumination I is the closing of the largest channel by a disk, refined by a guided filter; the reflectance
is picture over illumination. I itself, a brighter one, 2 / pi arctan(lambda I) with lambda = 10 + (1 - mean I) /
mean I, and one of more contrast, CLAHE of I, are fused in a pyramid: Laplacian of the illuminations, Gaussian of
their weights. The result times the reflectance is the picture.

The weight of a version is its nearness to a half, e^(-(I_k - 0.5)^2 / (2 * 0.25^2)), times its chromatic contrast,
I_k (1 + cos(2 H + 250 degrees) S), divided by the sum of the three. Hue H and saturation S are the picture's, the same
for all three: they cancel, and are left out here.

The authors' code is closed, and does more than the formulas above say: its published figure on LOL (18.79 dB) is
1.7 dB above what this gives. The disk (radius 7) is that of others' code after the paper; the guided filter (5 x 5,
epsilon 0.01) and CLAHE (8 x 8, clip limit 0.01) are MATLAB's defaults; the pyramid goes down to a single pixel.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.classical import clahe
from lowlight_cli.guided import Plane, coefficients

RADIUS, NARROW, EPSILON = 7, 2, 0.01
"""Radii of the disk and of the guided filter in pixels, and what that takes for an edge."""
BEST, NEAR = np.float32(0.5), np.float32(0.25)
CLIP = 3.55
"""MATLAB's clip limit 0.01 in means of the histogram: 1 + 0.01 * 255."""
DARKEST = np.float32(1e-4)


def enhance(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same."""
    light = illumination(pixels)
    lights = versions(light)
    return (pixels * (fused(lights, weights(lights)) / light)[..., None]).clip(0, 1)


def illumination(pixels: NDArray[np.float32], epsilon: float = EPSILON) -> Plane:
    """(H, W), above 0."""
    value = pixels.max(axis=2)
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    disk = (x * x + y * y <= RADIUS * RADIUS).astype(np.uint8)
    closed = cv2.morphologyEx(value, cv2.MORPH_CLOSE, disk, borderType=cv2.BORDER_REPLICATE)
    return guided(closed, value, NARROW, epsilon).clip(DARKEST, 1)


def guided(values: Plane, guide: Plane, radius: int, epsilon: float) -> Plane:
    """`values` (H, W) with the edges of the guide."""
    slope, offset = coefficients(values, guide, radius, epsilon)
    return slope * guide + offset


def versions(light: Plane) -> list[Plane]:
    """The illumination, a brighter one and one of more contrast."""
    average = float(light.mean(dtype=np.float64))
    gain = np.float32(10 + (1 - average) / average)
    contrast = clahe.enhance(np.repeat(light[..., None], 3, axis=2), CLIP)[..., 0]
    return [light, np.float32(2 / np.pi) * np.arctan(gain * light), contrast]


def weights(lights: list[Plane]) -> list[Plane]:
    """One plane for each, in [0, 1]; at every pixel they sum to 1."""
    parts = [np.maximum(light, DARKEST) * np.exp(-(((light - BEST) / NEAR) ** 2) / 2) for light in lights]
    total = sum(parts[1:], parts[0])
    return [part / total for part in parts]


def fused(lights: list[Plane], weights: list[Plane]) -> Plane:
    """The sum over all lights of each Laplacian pyramid times the Gaussian pyramid of its weight, put together."""
    if max(lights[0].shape) == 1:
        return sum(light * weight for light, weight in zip(lights, weights, strict=True))
    small, details = [], np.zeros_like(lights[0])
    for light, weight in zip(lights, weights, strict=True):
        coarse = cv2.pyrDown(light)
        details += (light - enlarged(coarse, light)) * weight
        small.append(coarse)
    return details + enlarged(fused(small, [cv2.pyrDown(weight) for weight in weights]), details)


def enlarged(coarse: Plane, like: Plane) -> Plane:
    """One level up the pyramid."""
    return cv2.pyrUp(coarse, dstsize=like.shape[::-1])
