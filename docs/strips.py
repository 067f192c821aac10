"""Make the strip of pictures of every card in docs/models/: dark, gamma, the model, the photo itself.

python docs/strips.py [MODEL ...]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from cards import BASELINE, HERE, SCENES
from measured import networks
from pictures import Pixels, scaled, side_by_side, square
from skimage import data

import lowlight_cli as lowlight
from lowlight_cli import picture
from lowlight_cli.data.darken import PRESETS

SIDE = 208
"""Of one picture: shown as it was made, since a smaller one would hide noise."""
SEEDS = {"astronaut": 24, "coffee": 17, "rocket": 46}
"""Chosen by the dark pictures alone: means of 0.05 to 0.10, and some noise."""
QUALITIES = (88, 80, 72, 64)
MOST_BYTES = 120_000
"""Of one strip: noise makes files large, and then the quality is lowered."""


def photo(name: str) -> Pixels:
    """The photo at the height of the strip, still as wide as it is: models see the whole picture."""
    return scaled(getattr(data, name)(), SIDE)


def darkened(name: str) -> Pixels:
    """The same in the dark."""
    preset = PRESETS[SCENES[name]]
    how = preset.draw(np.random.default_rng(SEEDS[name]), preset.ranges)
    return picture.to_integers(how.darken(picture.to_float(photo(name))), 8)


def strip(model: str) -> Pixels:
    """A row for each scene."""
    gamma = lowlight.open_model(BASELINE)
    network = lowlight.open_model(model, device="cpu", backend="onnx")
    rows = []
    for name in SCENES:
        dark = darkened(name)
        rows.append(side_by_side([square(image) for image in (dark, gamma(dark), network(dark), photo(name))], 1))
    return side_by_side(rows, 0)


def encoded(pixels: Pixels) -> bytes:
    """The strip as a JPEG file of at most `MOST_BYTES`, unless the least quality needs more."""
    files = [picture.encode(picture.from_array(pixels), "jpg", quality=quality) for quality in QUALITIES]
    return next((file for file in files if len(file) <= MOST_BYTES), files[-1])


def main(names: Sequence[str]) -> None:
    """Write those that are named, or all that have weights."""
    for spec in networks():
        if not spec.untrained and (not names or spec.name in names):
            path = HERE / "models" / f"{spec.name}.jpg"
            path.parent.mkdir(exist_ok=True)
            picture.write(encoded(strip(spec.name)), path)
            print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
