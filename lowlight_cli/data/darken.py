"""Make a normal photo look as if it had been taken in too little light.

Three presets. `paper`: the formula of BA-GAN (Eq. 5), gamma, gain and white noise. `camera`: what a sensor does, in
linear light. `night`: uneven light on top. Each is a frozen record of drawn parameters with a `darken` method: the
same record gives the same picture. Photos are (H, W, 3) float32 in [0, 1], sRGB-encoded, here and in the results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture
from lowlight_cli.choices import CAMERA, NIGHT, PAPER
from lowlight_cli.color import to_linear, to_srgb
from lowlight_cli.data import sensor
from lowlight_cli.data.lights import SHAPES, Light, lamp_color
from lowlight_cli.errors import OptionError

Pixels = NDArray[np.float32]
Range = tuple[float, float]


class Darkening(Protocol):
    """The drawn parameters of one darkened picture: a dataclass."""

    def darken(self, photo: Pixels) -> Pixels:
        """The darkened photo, before rounding to integers."""
        ...


@dataclass(frozen=True, kw_only=True)
class Paper:
    """BA-GAN, Eq. 5: gain * photo ** gamma, and Gaussian noise of that variance, on encoded values."""

    gamma: float
    gain: float
    noise: float
    seed: int

    def darken(self, photo: Pixels) -> Pixels:
        """See `Darkening`."""
        noise = np.random.default_rng(self.seed).standard_normal(photo.shape, dtype=np.float32)
        return np.clip(self.gain * photo**self.gamma + np.float32(self.noise**0.5) * noise, 0, 1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """An underexposed photo, developed by a camera that does not know better."""

    stops: float
    """How many times the light was halved, where least of it falls."""
    noise: float
    """Variance of photon noise per unit of linear light (white is 1); the read noise follows from it."""
    balance: tuple[float, float]
    """White-balance error: factors on red and blue."""
    gains: tuple[float, float]
    """What the camera multiplies red and blue by, whose filters pass less light: there the noise is stronger."""
    crosstalk: float
    """Of the colour filters, 0 to 0.4."""
    tone: float
    """Share of the S-curve in the camera's tone curve."""
    smoothing: float
    """Of colour, by the camera's own noise reduction: standard deviation of a Gaussian in pixels."""
    quality: int
    """Of the JPEG file the camera writes; 0: none."""
    seed: int
    """Of the noise."""
    light: Light | None = None
    """Uneven light, in `night`."""
    smearing: float = 0.0
    """Of grain, by the camera's own noise reduction: share of the picture that is smoothed between its edges."""
    sharpening: float = 0.0
    """Share of the difference from a blurred picture that is added afterwards."""

    def darken(self, photo: Pixels, beyond: Pixels | float = 1.0) -> Pixels:
        """See `Darkening`. The scene was `beyond` times as bright, (H, W, 1 or 3), linear, where the photo is
        clipped."""
        scene = sensor.untone(to_linear(photo), self.tone) * self.exposure(photo) * beyond
        gains = np.array([self.gains[0], 1, self.gains[1]], np.float32)
        matrix = sensor.color_matrix(self.crosstalk)
        rng, read = np.random.default_rng(self.seed), sensor.read_noise(self.noise)
        raw = sensor.expose(sensor.mosaic(scene @ matrix.T / gains), self.noise, read, rng)
        balance = np.array([self.balance[0], 1, self.balance[1]], np.float32)
        developed = sensor.demosaic(raw) * gains * balance @ np.linalg.inv(matrix).T
        developed = sensor.smooth_color(developed, self.smoothing)
        encoded = to_srgb(sensor.tone(developed, self.tone)).astype(np.float32)
        encoded = sensor.sharpen(sensor.smear(encoded, self.smearing), self.sharpening)
        return as_jpeg(encoded, self.quality) if self.quality else encoded

    def exposure(self, photo: Pixels) -> Pixels | float:
        """Factor on linear light: a number, or (H, W, 1)."""
        dark = 2.0**-self.stops
        return dark if self.light is None else dark * np.exp2(self.light.stops * self.light.share(photo))


def as_jpeg(encoded: Pixels, quality: int) -> Pixels:
    """The picture as a JPEG file of that quality holds it."""
    data = picture.encode(picture.from_array(picture.to_integers(encoded, 8)), "jpg", quality=quality)
    return picture.to_float(picture.load(data).pixels)


PAPER_RANGES: Mapping[str, Range] = {"gamma": (1.1, 2.0), "gain": (0.0, 1.0), "noise": (0.01, 0.05)}
CAMERA_RANGES: Mapping[str, Range] = {
    "stops": (0.5, 6.5),
    "noise": (1e-4, 8e-3),
    "balance": (0.92, 1.08),
    "tone": (0.0, 1.0),
    "smoothing": (0.0, 3.0),
    "quality": (70, 98),
}
"""`noise` is drawn evenly on a logarithmic scale. Half of all pictures are not smoothed, half not compressed."""
NIGHT_RANGES: Mapping[str, Range] = {**CAMERA_RANGES, "stops": (1.5, 6.5)}

PAPER_BOUNDS: Mapping[str, Range] = {"gamma": (0.1, 10), "gain": (0, 10), "noise": (0, 1)}
CAMERA_BOUNDS: Mapping[str, Range] = {
    "stops": (0, 16),  # after that even 16 bits are black
    "noise": (1e-9, 1),  # a logarithmic scale has no zero
    "balance": (0.1, 10),
    "tone": (0, 1),
    "smoothing": (0, 50),
    "quality": (1, 100),
}
"""Within them a range means something and no arithmetic overflows."""


def draw_paper(rng: np.random.Generator, ranges: Mapping[str, Range]) -> Paper:
    """Parameters of BA-GAN's data."""
    return Paper(**{name: float(rng.uniform(*ranges[name])) for name in PAPER_RANGES}, seed=int(rng.integers(2**31)))


def draw_camera(rng: np.random.Generator, ranges: Mapping[str, Range]) -> Camera:
    """Parameters of an evenly darkened picture."""
    smoothed, compressed = rng.random(2) < 0.5
    return Camera(
        stops=float(rng.uniform(*ranges["stops"])),
        noise=float(np.exp(rng.uniform(*np.log(ranges["noise"])))),
        balance=(float(rng.uniform(*ranges["balance"])), float(rng.uniform(*ranges["balance"]))),
        gains=(float(rng.uniform(1.4, 2.4)), float(rng.uniform(1.3, 2.2))),
        crosstalk=float(rng.uniform(0.0, 0.4)),
        tone=float(rng.uniform(*ranges["tone"])),
        smoothing=float(rng.uniform(*ranges["smoothing"])) if smoothed else 0.0,
        quality=round(rng.uniform(*ranges["quality"])) if compressed else 0,
        seed=int(rng.integers(2**31)),
    )


def draw_night(rng: np.random.Generator, ranges: Mapping[str, Range]) -> Camera:
    """Parameters of a picture under uneven light, at most as bright as the photo where most of it falls."""
    even = draw_camera(rng, ranges)
    stops = float(rng.uniform(min(1.0, even.stops), even.stops))
    return dataclasses.replace(
        even, light=Light(shape=str(rng.choice(SHAPES)), stops=stops, seed=int(rng.integers(2**31)))
    )


@dataclass(frozen=True)
class Preset:
    """How to draw, and from which ranges."""

    draw: Callable[[np.random.Generator, Mapping[str, Range]], Darkening]
    ranges: Mapping[str, Range]
    bounds: Mapping[str, Range]
    """Of what the ranges may be."""

    def with_ranges(self, ranges: Mapping[str, Range]) -> Preset:
        """A copy with other ranges; a name that the preset does not have, or a range beyond its bounds, is an
        OptionError."""
        if unknown := sorted(ranges.keys() - self.ranges.keys()):
            raise OptionError(
                f"This preset draws no {', '.join(unknown)}.", f"It draws {', '.join(self.ranges)} from ranges."
            )
        for name, (low, high) in ranges.items():
            least, most = self.bounds[name]
            if low > high:
                raise OptionError(f"--{name} {low:.15g}:{high:.15g} ends below its begin.", "Give LOW:HIGH.")
            if not least <= low <= high <= most:
                raise OptionError(
                    f"--{name} {low:.15g}:{high:.15g} is not within {least:g}:{most:g}.",
                    f"The preset's own range is {self.ranges[name][0]:g}:{self.ranges[name][1]:g}.",
                )
        return dataclasses.replace(self, ranges={**self.ranges, **ranges})


PRESETS: Mapping[str, Preset] = {
    PAPER: Preset(draw_paper, PAPER_RANGES, PAPER_BOUNDS),
    CAMERA: Preset(draw_camera, CAMERA_RANGES, CAMERA_BOUNDS),
    NIGHT: Preset(draw_night, NIGHT_RANGES, CAMERA_BOUNDS),
}


def from_record(preset: str, values: Mapping[str, Any]) -> Darkening:
    """The parameters again from `dataclasses.asdict` of them, as `synth.jsonl` keeps it."""
    if preset == PAPER:
        return Paper(**values)
    light = Light(**values["light"]) if values["light"] else None
    pairs = {name: tuple(values[name]) for name in ("balance", "gains")}
    return Camera(**{**values, **pairs, "light": light})


def relit(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """The photo under one coloured light, its brightest channel kept: an evening room stays an evening room.

    As both sides of a pair it teaches that the colour of light is not an error.
    """
    return to_srgb(to_linear(photo) * np.array(lamp_color(rng), np.float32)).astype(np.float32)


def nightfall(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """A well-exposed night picture made from a photo: bright and coloured where lamps shine, black elsewhere.

    As a target it teaches that a black sky is to stay black, however dark the picture's mean.
    """
    shape = "lamps" if rng.random() < 0.7 else "gradient"
    light = Light(shape=shape, stops=float(rng.uniform(3.0, 7.0)), seed=int(rng.integers(2**31)))
    share = light.share(photo)
    ambient = np.array(lamp_color(rng), np.float32) * (1 - share) + np.array(lamp_color(rng), np.float32) * share
    return to_srgb(to_linear(photo) * np.exp2(light.stops * (share - 1)) * ambient).astype(np.float32)
