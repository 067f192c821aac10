"""Where light falls in a picture, and of what colour it is. Pure functions on numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import luma, to_linear, to_srgb

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


FORMS = ("rod", "disc", "window", "flame")
FINER = 3
"""Binary digits of a pixel's fraction that corners are placed by."""


def with_lamps(
    photo: NDArray[np.float32], dark: NDArray[np.float32] | float, stops: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The photo (H, W, 3), encoded, with one to six things that shine, up to `stops` brighter than white; and how many
    times as bright as shown each pixel is: (H, W, 3), linear.

    What is brighter than white is shown in the colour that a picture with `dark` times the light has of it.
    """
    scene = to_linear(photo).astype(np.float32)
    side = max(scene.shape[:2])
    for _ in range(rng.integers(1, 7)):
        cover = outline(scene.shape[:2], rng)[..., None]
        shine = cover * np.array(lamp_color(rng), np.float32) * np.float32(2 ** rng.uniform(-0.5, stops))
        glow = blurred(shine, float(rng.uniform(0.005, 0.05)) * side + 0.5)
        scene = scene * (1 - cover) + shine + glow * np.float32(rng.uniform(0.0, 0.1))
    seen = np.minimum(scene * dark, 1)
    shown = np.where(
        scene.max(axis=2, keepdims=True) > 1, seen / np.maximum(seen.max(axis=2, keepdims=True), 1e-6), scene
    )
    beyond = scene / np.maximum(shown, 1e-6)
    return to_srgb(shown).astype(np.float32), beyond.astype(np.float32)


def blurred(light: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """(H, W, 3) smoothed by about a Gaussian of so many pixels; wide ones are made of a smaller copy."""
    height, width = light.shape[:2]
    shrunken = max(1, int(sigma // 4))
    small = cv2.resize(light, (-(-width // shrunken), -(-height // shrunken)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / shrunken), (width, height))


def outline(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """How much of each pixel a thing covers, (H, W) in [0, 1]: a tube, a bulb, a lit window or a flame."""
    height, width = shape
    side, form = max(shape), str(rng.choice(FORMS))
    centre = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    angle = rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    if form == "rod":
        length, girth = rng.uniform(0.02, 0.3) * side * along, rng.uniform(0.5, 4.0) * across
        corners = [length + girth, length - girth, -length - girth, -length + girth]
    elif form == "window":
        x, y = rng.uniform(0.005, 0.06, 2) * side
        corners = [(x, y), (-x, y), (-x, -y), (x, -y)]
    else:
        turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        radius = rng.uniform(0.003, 0.03) * side
        slim = 1.0 if form == "disc" else rng.uniform(1.5, 3.0)
        corners = np.stack([np.cos(turns), slim * np.sin(turns)], axis=1) * radius
    cover = np.zeros(shape, np.uint8)
    points = np.rint((centre + np.array(corners)) * (1 << FINER)).astype(np.int32)
    cv2.fillPoly(cover, [points], 255, lineType=cv2.LINE_AA, shift=FINER)
    return cv2.GaussianBlur(cover.astype(np.float32) / 255, (0, 0), float(rng.uniform(0.3, 1.2)))


def beyond_white(photo: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """How many times as bright as the photo shows its whites may have been: (H, W, 1), linear, at least 1."""
    white = np.clip((photo.min(axis=2, keepdims=True) - 0.8) / 0.2, 0, 1)
    return np.exp2(np.float32(rng.uniform(1.0, 6.0)) * white).astype(np.float32)
