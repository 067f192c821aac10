"""Make the pictures of README and docs from docs/samples and from scikit-image's photos.

python docs/pictures.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

import lowlight_cli as lowlight
from lowlight_cli import picture
from lowlight_cli.data.darken import PRESETS

HERE = Path(__file__).resolve().parent
SAMPLES = ("astronaut", "coffee", "chelsea", "rocket")
SEEDS = {"paper": 1, "camera": 46, "night": 8}
"""Chosen so that there is something to see: many pictures of `paper` and `camera` are darker than these."""
HEIGHT, GAP = 260, 6
SMALL = 130

Pixels = NDArray[np.uint8]


def scaled(pixels: Pixels, height: int) -> Pixels:
    """The picture at that height."""
    width = round(pixels.shape[1] * height / pixels.shape[0])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def square(pixels: Pixels) -> Pixels:
    """The middle of a picture that is wider than high."""
    left = (pixels.shape[1] - pixels.shape[0]) // 2
    return pixels[:, left : left + pixels.shape[0]]


def side_by_side(pictures: list[Pixels], axis: int) -> Pixels:
    """Pictures in a row (axis 1) or a column (axis 0), white between them, the last column padded."""
    other = max(p.shape[1 - axis] for p in pictures)
    parts = []
    for p in pictures:
        short = other - p.shape[1 - axis]
        edges = [(0, GAP if axis == 0 else short), (0, GAP if axis == 1 else short), (0, 0)]
        parts.append(np.pad(p, edges, constant_values=255))
    return np.delete(np.concatenate(parts, axis), np.s_[-GAP:], axis)


def pair() -> Pixels:
    """Each sample beside what `neid` makes of it, two pairs a row."""
    neid = lowlight.open_model("neid", device="cpu", backend="onnx")
    pairs = []
    for name in SAMPLES:
        low = picture.load(HERE / "samples" / f"{name}.jpg").pixels
        pairs.append(side_by_side([scaled(square(image), HEIGHT) for image in (low, neid(low))], 1))
    rows = [side_by_side(pairs[k : k + 2], 1) for k in range(0, len(pairs), 2)]
    return side_by_side(rows, 0)


def presets() -> Pixels:
    """Four photos, and each as every preset darkens it."""
    photos = [scaled(getattr(data, name)(), SMALL)[:, :180] for name in SAMPLES]
    rows = [photos]
    for name, preset in PRESETS.items():
        rng = np.random.default_rng(SEEDS[name])
        hows = [preset.draw(rng, preset.ranges) for _ in photos]
        dark = [how.darken(picture.to_float(photo)) for how, photo in zip(hows, photos, strict=True)]
        rows.append([picture.to_integers(image, 8) for image in dark])
    return side_by_side([side_by_side(row, 1) for row in rows], 0)


def main() -> None:
    """Write both."""
    for name, pixels in (("pair", pair()), ("presets", presets())):
        picture.save(picture.from_array(pixels), HERE / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
