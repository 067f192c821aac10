"""Noise against brightness: real dark pictures beside darkened photos, to see whether `synth` is like the dark.

python benchmarks/noise.py --real LOL=LOL/our485/low --real DICM=DICM --photos BSDS500/train --out benchmarks/results

Level of noise: in linear light (white is 1), the lower quartile over blocks of 8x8 pixels of one brightness of the root
mean square of a Laplacian that ignores slopes (Immerkaer, 1996), so that edges and texture count little.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import machine
import numpy as np
from numpy.typing import NDArray
from tables import table

from lowlight_cli import picture
from lowlight_cli.color import to_linear
from lowlight_cli.data.darken import PRESETS
from lowlight_cli.data.pairs import files_by_stem

EDGES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Borders of the ranges of brightness, linear."""
LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
LEAST = 500
"""Blocks in a range below which nothing is said."""


def blocks(image: NDArray[np.uint8]) -> Iterator[tuple[NDArray, NDArray]]:
    """(brightness, variance of noise) of the blocks of each channel."""
    linear = to_linear(picture.to_float(image)).astype(np.float32)
    for channel in cv2.split(linear):
        noise = cv2.filter2D(channel, -1, LAPLACIAN)
        shape = (channel.shape[1] // 8, channel.shape[0] // 8)
        yield tuple(cv2.resize(plane, shape, interpolation=cv2.INTER_AREA).ravel() for plane in (channel, noise**2))


def levels(images: Iterable[NDArray[np.uint8]]) -> list[float | None]:
    """The level of noise in each range of brightness; None where there are too few blocks."""
    found = [block for image in images for block in blocks(image)]
    light, variance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    inside = [variance[(light >= low) & (light < high)] for low, high in itertools.pairwise(EDGES)]
    return [float(np.sqrt(np.quantile(part, 0.25))) if len(part) >= LEAST else None for part in inside]


def some(folder: Path, count: int) -> Iterator[NDArray[np.uint8]]:
    """Every n-th picture of a folder, `count` at most."""
    paths = list(files_by_stem(folder).values())
    for path in paths[:: max(1, len(paths) // count)][:count]:
        yield picture.to_integers(picture.to_float(picture.load(path).pixels), 8)


def darkened(folder: Path, preset: str, count: int) -> Iterator[NDArray[np.uint8]]:
    """Photos darkened by a preset."""
    chosen = PRESETS[preset]
    for number, photo in enumerate(some(folder, count)):
        how = chosen.draw(np.random.default_rng(number), chosen.ranges)
        yield picture.to_integers(how.darken(picture.to_float(photo)), 8)


def page(result: dict) -> str:
    """The table in Markdown."""
    heads = ("", *(f"{low:g} to {high:g}" for low, high in itertools.pairwise(EDGES)))
    shown = {
        name: ["-" if level is None else f"{1e3 * level:.2f}" for level in row]
        for name, row in result["levels"].items()
    }
    return (
        "# Noise against brightness\n\nThousandths of full scale, by brightness (linear light).\n\n"
        f"`{result['command']}`, {result['about']['date'][:10]}\n\n"
        f"{table(heads, ((name, *cells) for name, cells in shown.items()))}"
    )


def main() -> None:
    """Measure, and write noise.json and noise.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    real = dict(text.split("=", 1) for text in args.real)
    found = {f"{name} (real)": levels(some(Path(folder), args.count)) for name, folder in real.items()}
    found |= {f"synth {name}": levels(darkened(args.photos, name, args.count)) for name in PRESETS}
    sets = " ".join(f"--real {name}=DIR" for name in real)
    command = f"python benchmarks/noise.py {sets} --photos DIR --count {args.count} --out DIR"
    result = {"command": command, "about": machine.about({"count": args.count}), "edges": EDGES, "levels": found}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "noise.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (args.out / "noise.md").write_text(page(result), encoding="utf-8")
    print(page(result))


if __name__ == "__main__":
    main()
