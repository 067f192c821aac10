"""Where light falls in a picture, and of what colour it is. Pure functions on numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import luma

SHAPES = ("lamps", "gradient", "vignette", "backlight")


@dataclass(frozen=True, kw_only=True)
class Light:
    """Uneven light: up to `stops` brighter where it shines most than where it shines least."""

    shape: str
    """One of `SHAPES`."""
    stops: float
    seed: int
    """Of places, sizes and directions."""

    def share(self, photo: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much of the light reaches each pixel: (H, W, 1) in [0, 1], smooth. `photo` is (H, W, 3), encoded."""
        rng = np.random.default_rng(self.seed)
        if self.shape == "backlight":
            return backlight(photo, rng)[..., None]
        height, width = photo.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        y, x = y / max(height, 2) - 0.5, x / max(width, 2) - 0.5
        draw = {"lamps": lamps, "gradient": gradient, "vignette": vignette}[self.shape]
        return draw(y, x, rng).astype(np.float32)[..., None]


def lamps(y: NDArray, x: NDArray, rng: np.random.Generator) -> NDArray:
    """One to four round lights; y and x run from -0.5 to 0.5."""
    share = np.zeros_like(x)
    for _ in range(rng.integers(1, 5)):
        cx, cy, size = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(0.03, 0.3)
        share = np.maximum(share, rng.uniform(0.4, 1.0) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / size**2))
    return share


def gradient(y: NDArray, x: NDArray, rng: np.random.Generator) -> NDArray:
    """One side lit, the other not, with a soft or a hard border."""
    angle, centre, softness = rng.uniform(0, 2 * np.pi), rng.uniform(-0.25, 0.25), rng.uniform(0.03, 0.25)
    return 1 / (1 + np.exp(-(x * np.cos(angle) + y * np.sin(angle) - centre) / softness))


def vignette(y: NDArray, x: NDArray, rng: np.random.Generator) -> NDArray:
    """Light falls off towards the corners."""
    return np.exp(-(x**2 + y**2) / rng.uniform(0.05, 0.3))


def backlight(photo: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """What is bright stays lit (a sky, a window), what is dark loses its light."""
    sigma = float(rng.uniform(0.01, 0.04)) * max(photo.shape[:2]) + 0.5
    smooth = cv2.GaussianBlur(np.ascontiguousarray(luma(photo), np.float32), (0, 0), sigma)
    border = float(np.quantile(smooth, rng.uniform(0.5, 0.85)))
    return (1 / (1 + np.exp(-(smooth - border) / 0.06))).astype(np.float32)


def lamp_color(rng: np.random.Generator) -> tuple[float, float, float]:
    """Factors on linear R, G, B of an artificial light: candle to cool daylight, seldom a coloured sign. Largest 1."""
    kind = rng.random()
    if kind < 0.6:
        warmth = rng.uniform(0.0, 1.0)
        color = np.array([1.0, 1 - 0.55 * warmth, 1 - 0.85 * warmth])
    elif kind < 0.8:
        color = np.array([1 - 0.5 * rng.uniform(), 1 - 0.2 * rng.uniform(), 1.0])
    else:
        color = rng.uniform(0.25, 1.0, 3)
    color = color / color.max()
    return tuple(float(part) for part in color)
