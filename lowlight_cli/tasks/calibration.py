"""Inputs of a network as a user's pictures would give them: what the ranges of an int8 form are measured on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture, tiles
from lowlight_cli.errors import LowlightError, NoInput, PictureError
from lowlight_cli.inputs import gather, nobody
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.thumbnail import thumbnail

PICTURES = 32
"""At most so many are read."""
SIDE = 320
"""Of the part of a picture that is taken, in pixels; filled up for a network that asks for a larger multiple."""


class Sample(NamedTuple):
    """What is kept of a picture, which may be large."""

    middle: NDArray
    """(SIDE, SIDE, 3) integers."""
    small: NDArray[np.float32]
    """The thumbnail of all of it, (side, side, 3)."""


def samples(folder: Path, side: int, announce: Callable[[str], None] = nobody) -> list[Sample]:
    """Of the pictures of a folder, with thumbnails of that side."""
    return [Sample(middle(pixels), thumbnail(pixels, side)) for pixels in pictures(folder, announce)]


def pictures(folder: Path, announce: Callable[[str], None] = nobody) -> Iterator[NDArray]:
    """Pixels of pictures evenly spread over a folder. `announce` is told of one that cannot be read; if more cannot
    than can, the last is an error."""
    # Nothing is written there: no folder is left aside as the output.
    sources = [found.source for found in gather([str(folder)], Path(os.devnull))]
    if not sources:
        raise NoInput(f"There are no pictures in {folder}.", "Name a folder of dark pictures with --int8.")
    chosen = [sources[i * len(sources) // PICTURES] for i in range(PICTURES)] if len(sources) > PICTURES else sources
    bad = 0
    for path in chosen:
        try:
            pixels = picture.load(path).pixels
        except LowlightError as error:
            bad += 1
            if 2 * bad > len(chosen):
                told = f"{bad} of {len(chosen)} pictures cannot be read, the last of them {path}: {error.message}"
                raise PictureError(told, "Take them out of the folder of --int8.") from error
            announce(f"note: {path} is left out: {error.message}")
        else:
            yield pixels


def middle(pixels: NDArray) -> NDArray:
    """The middle of one picture (H, W, 3), mirrored where it is smaller than `SIDE`."""
    short = [max(0, SIDE - side) for side in pixels.shape[:2]]
    pixels = np.pad(pixels, [(0, side) for side in short] + [(0, 0)], mode="symmetric")
    top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE].copy()


def inputs(spec: ModelSpec, chosen: Sequence[Sample]) -> list[dict[str, NDArray[np.float32]]]:
    """Inputs of the graphs `x1` and `x2` by name; `spec` has files that are on this disk."""
    [whole] = tiles.plan(SIDE, SIDE, tile=0, halo=0, multiple=1)
    found = []
    with contextlib.closing(open_runner(spec, RunnerOptions(backend="onnx", device="cpu"))) as runner:
        for sample in chosen:
            vectors = runner.context(sample.small.transpose(2, 0, 1)[None], None)
            steering = {"vectors": vectors} if vectors.size else {}
            found.append({"pixels": tiles.read_tile(sample.middle[None], whole, spec.padded), **steering})
    return found
