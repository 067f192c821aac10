"""Make a normal photo look as if it had been taken in too little light. Pure functions on (H, W, 3) float32.

Light is added and lost in linear light, noise comes in there, and the result is encoded as sRGB again.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import to_linear, to_srgb


@dataclass(frozen=True, kw_only=True)
class Darkening:
    """Drawn parameters of one darkened picture; the same values and seed give the same picture."""

    exposure: float
    """Factor on linear light where the lamp shines least."""
    lit: float
    """Factor where it shines most; equal to `exposure` for even light."""
    shape: str
    """`even`, `lamps`, `gradient` or `vignette`."""
    read_noise: float
    """Standard deviation of the noise of the dark, on linear [0, 1]."""
    shot_noise: float
    """Variance of photon noise per unit of linear light."""
    tint: tuple[float, float, float]
    """White-balance error: factors on linear R, G, B."""
    seed: int


def draw(rng: np.random.Generator, *, even: bool = False) -> Darkening:
    """Parameters of a dark picture: half a stop to 6.5 stops of darkness, uneven in most cases.

    `even`: evenly darkened by at most 3.5 stops.
    """
    stops = rng.uniform(0.5, 3.5 if even else 6.5)
    exposure = float(2.0**-stops)
    shape = "even" if even else str(rng.choice(["even", "lamps", "gradient", "vignette"], p=[0.4, 0.25, 0.25, 0.1]))
    lit = exposure if shape == "even" else float(min(1.0, exposure * 2.0 ** rng.uniform(1.0, stops + 0.5)))
    gain = float(rng.uniform(0.0, 1.0)) ** 2
    return Darkening(
        exposure=exposure,
        lit=lit,
        shape=shape,
        read_noise=0.0003 + 0.004 * gain,
        shot_noise=0.00005 + 0.0015 * gain,
        tint=tuple(float(t) for t in rng.uniform(0.92, 1.08, 3)),
        seed=int(rng.integers(2**31)),
    )


def night(photo: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A well-exposed night picture made from a photo: bright where lamps shine, black elsewhere.

    As a target it teaches that a black sky is to stay black, however dark the picture's mean.
    """
    ambient = 2.0 ** -rng.uniform(4.0, 9.0)
    share = light_map(*photo.shape[:2], "lamps" if rng.random() < 0.7 else "gradient", rng)[..., None]
    return to_srgb(to_linear(photo) * ambient ** (1 - share)).astype(np.float32)


def light_map(height: int, width: int, shape: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Where the light falls: (height, width) in [0, 1], smooth."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / max(height, 2) - 0.5, x / max(width, 2) - 0.5
    if shape == "gradient":
        angle, centre, softness = rng.uniform(0, 2 * np.pi), rng.uniform(-0.25, 0.25), rng.uniform(0.03, 0.25)
        along = x * np.cos(angle) + y * np.sin(angle) - centre
        return (1 / (1 + np.exp(-along / softness))).astype(np.float32)
    if shape == "vignette":
        return np.exp(-(x**2 + y**2) / rng.uniform(0.05, 0.3)).astype(np.float32)
    lamps = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(1, 5)):
        cx, cy, size = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(0.03, 0.3)
        lamps = np.maximum(lamps, rng.uniform(0.4, 1.0) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / size**2))
    return lamps.astype(np.float32)


def darken(photo: NDArray[np.float32], how: Darkening) -> NDArray[np.float32]:
    """The darkened photo, sRGB-encoded in [0, 1], before rounding to integers."""
    rng = np.random.default_rng(how.seed)
    height, width = photo.shape[:2]
    factor: NDArray[np.float32] | float = how.exposure
    if how.shape != "even":
        share = light_map(height, width, how.shape, rng)[..., None]
        factor = how.exposure * (how.lit / how.exposure) ** share
    linear = to_linear(photo) * factor * np.asarray(how.tint, np.float32)
    noise = rng.standard_normal(photo.shape, dtype=np.float32)
    # Demosaicing smears the noise of neighbouring pixels into each other.
    noise = cv2.GaussianBlur(noise, (3, 3), 0.6)
    noise *= np.sqrt(how.read_noise**2 + how.shot_noise * np.maximum(linear, 0)) * 1.6
    return to_srgb(np.clip(linear + noise, 0, 1)).astype(np.float32)
