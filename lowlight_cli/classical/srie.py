"""Simultaneous estimation of reflectance and illumination by a weighted variational model.

Fu, Zeng, Huang, Zhang, Ding, A weighted variational model for simultaneous reflectance and illumination estimation,
CVPR, 2016. With s, r, l the logarithms of the largest channel S (0..255), reflectance R and illumination L, minimise
|r + l - s|^2 + c1 |e^r grad r|_1 + c2 |e^l grad l|^2 under r <= 0 and l >= s: the weights make the gradients those of
R and L themselves, not of logarithms, which are large in the dark. r (split Bregman, lambda) and l are solved for in
turns by Fourier transforms, which take the picture as periodic. The result has the value R L^(1 / gamma), hue and
saturation as before.

Constants are those of the authors' code (lambda 1; 10 belongs to their model of 2015). A Fourier transform cannot have
a weight for every pixel: code derived from the authors' divides each frequency by the weight of the pixel at its index,
R^2 and L. Where we differ: we take the mean of R and of L, as others do after the paper; the pictures look the same.
(With the weights where they belong, rings appear around lights.) The paper stops when neither r nor l changes by
0.1 %; that is long after the 15 turns that others give for it, and the picture gets darker on the way. We take 15.
Black counts as level 1 of 255.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.classical.least_squares import Plane

C1, C2, LAMBDA = 0.01, 0.1, 1.0
TURNS = 15


def enhance(pixels: NDArray[np.float32], gamma: float = 2.2) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; `gamma` is that of the display."""
    value = np.maximum(pixels.max(axis=2), np.float32(1 / 255))
    reflectance, light = decomposed(value)
    gain = reflectance * light ** np.float32(1 / gamma) / value
    return (pixels * gain[..., None]).clip(0, 1)


def decomposed(value: Plane) -> tuple[Plane, Plane]:
    """Reflectance (at most 1) and illumination (at least `value`) of a plane (H, W) in (0, 1]."""
    s = np.log(value * np.float32(255))
    r, light = np.zeros_like(s), s
    laplacian = spectrum(s.shape)
    multipliers = (np.zeros_like(s), np.zeros_like(s))
    for _ in range(TURNS):
        r, multipliers = reflected(
            s - light, r, multipliers, laplacian, np.float32(C1 * LAMBDA), np.float32(0.5 / LAMBDA)
        )
        light = np.maximum(solved(s - r, np.float32(C2) * np.exp(light).mean() * laplacian), s)
    return np.exp(r), np.exp(light) / np.float32(255)


def reflected(
    target: Plane,
    r: Plane,
    multipliers: tuple[Plane, Plane],
    laplacian: Plane,
    pull: np.float32,
    threshold: np.float32,
) -> tuple[Plane, tuple[Plane, Plane]]:
    """A step of split Bregman for r near `target`: the next r, at most 0, and the next multipliers."""
    reflectance = np.exp(r)
    weight = np.float32(reflectance.mean())
    across, down = (shrunk(reflectance * d + m, threshold) for d, m in zip(differences(r), multipliers, strict=True))
    wanted = gathered(across - multipliers[0], down - multipliers[1])
    r = solved(target + pull * weight * wanted, pull * weight**2 * laplacian)
    changes = differences(r)
    left = (
        multipliers[0] + reflectance * changes[0] - across,
        multipliers[1] + reflectance * changes[1] - down,
    )
    return np.minimum(r, 0), left


def solved(values: Plane, penalty: Plane) -> Plane:
    """x with x + penalty x = values, the penalty given by frequency."""
    return np.fft.irfft2(np.fft.rfft2(values) / (1 + penalty), s=values.shape)


def spectrum(shape: tuple[int, int]) -> Plane:
    """The eigenvalues of `gathered(differences)`, laid out as by rfft2."""
    height, width = shape
    down = 2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(height))
    across = 2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(width))
    return (down[:, None] + across).astype(np.float32)


def differences(plane: Plane) -> tuple[Plane, Plane]:
    """Forward differences across and down, on a periodic plane."""
    return np.roll(plane, -1, axis=1) - plane, np.roll(plane, -1, axis=0) - plane


def gathered(across: Plane, down: Plane) -> Plane:
    """The adjoint of `differences`."""
    return np.roll(across, 1, axis=1) - across + np.roll(down, 1, axis=0) - down


def shrunk(plane: Plane, threshold: np.float32) -> Plane:
    """Soft threshold."""
    return np.sign(plane) * np.maximum(abs(plane) - threshold, 0)
