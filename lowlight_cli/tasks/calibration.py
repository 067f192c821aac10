"""Inputs of a network as a user's pictures would give them: what the ranges of an int8 form are measured on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import jobs, picture, tiles
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import LowlightError, NoInput, PictureError
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners import RunnerOptions, open_runner

PICTURES = 32
"""As many are enough: the result differs by 0.01 dB from that of half of them."""
SIDE = 320
"""Of the part of a picture that is taken, in pixels; a multiple of what every network asks for."""


def pictures(folder: Path) -> list[NDArray]:
    """Pixels of pictures evenly spread over a folder; one that cannot be read is an error that names it."""
    # Nothing is written there: no folder is left aside as the output.
    sources = [found.source for found in jobs.gather([str(folder)], Path(os.devnull))]
    if not sources:
        raise NoInput(f"There are no pictures in {folder}.", "Name a folder of dark pictures with --int8.")
    chosen = [sources[i * len(sources) // PICTURES] for i in range(PICTURES)] if len(sources) > PICTURES else sources
    return [loaded(path) for path in chosen]


def loaded(path: Path) -> NDArray:
    """Pixels of one picture."""
    try:
        return picture.load(path).pixels
    except LowlightError as error:
        raise PictureError(f"{path}: {error.message}", "Take it out of the folder of --int8.") from error


def inputs(spec: ModelSpec, chosen: Sequence[NDArray]) -> list[dict[str, NDArray[np.float32]]]:
    """Inputs of the graphs `x1` and `x2` by name, of the middle of each picture (H, W, 3).

    `spec` has files that are on this disk.
    """
    enhancer = Enhancer(open_runner(spec, RunnerOptions(backend="onnx", device="cpu")), Settings())
    try:
        return [sample(enhancer, pixels) for pixels in chosen]
    finally:
        enhancer.close()


def sample(enhancer: Enhancer, pixels: NDArray) -> dict[str, NDArray[np.float32]]:
    """The middle of one picture, mirrored where it is smaller than `SIDE`, and the vectors of all of it."""
    vectors = enhancer.vectors(pixels[None])
    short = [max(0, SIDE - side) for side in pixels.shape[:2]]
    pixels = np.pad(pixels, [(0, side) for side in short] + [(0, 0)], mode="symmetric")
    top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
    middle = tiles.plan(SIDE, SIDE, tile=0, halo=0, multiple=1)
    planes = tiles.read_tile(pixels[None, top : top + SIDE, left : left + SIDE], next(iter(middle)), 1)
    return {"pixels": planes} | ({"vectors": vectors} if vectors.size else {})
