"""Reduced copies of the files that a log names, made only of bytes with the recorded digest, and their tones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture
from lowlight_cli.errors import PictureError
from lowlight_cli.machine import cores
from lowlight_cli.picture import Picture
from lowlight_cli.picture.model import bands, luma
from lowlight_cli.report.embed import BUDGET, RUNGS, Form, Image, Recoding

PAPER = 1280
"""Longest side on paper, where a picture is at most as wide as a sheet."""
BINS = 64


@dataclass(frozen=True)
class Recorded:
    """A file as a record names it."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Tones:
    """How the luma of a whole picture is spread."""

    shares: tuple[float, ...]
    """Of the pixels, in each of `BINS` equal steps from black to white."""
    mean: float
    """In [0, 1]."""
    black: float
    """Share of the pixels that are fully black."""
    white: float


@dataclass(frozen=True)
class Gallery:
    """What can be shown."""

    images: Mapping[str, Mapping[str, Image]]
    """By name of the picture and of the source."""
    tones: Mapping[Path, Tones]
    problems: Mapping[tuple[str, str], str]
    """Why there is no image where one was asked for, in a sentence, by name and source."""
    side: int
    quality: int
    reduced: bool
    """Whether any is smaller than its file."""


@dataclass
class Checking(Recoding):
    """Recodes files whose bytes have one of the digests that are recorded for their path."""

    recorded: Mapping[Path, set[str]] = field(default_factory=dict)
    digests: dict[Path, str] = field(default_factory=dict)
    """Of what was read; empty where a later reading gave something else."""
    tones: dict[Path, Tones] = field(default_factory=dict)

    def look(self, path: Path) -> bytes | None:
        """The bytes of a file if they have a recorded digest."""
        try:
            data = picture.read(path)
        except PictureError as error:
            self.problems[path] = error
            return None
        found = hashlib.sha256(data).hexdigest()
        if self.digests.setdefault(path, found) != found:
            self.digests[path] = ""
        return data if self.digests[path] in self.recorded[path] else None

    def load(self, path: Path) -> Picture | None:
        """See `Recoding.load`; the bytes that are hashed are those that are decoded."""
        data = self.look(path)
        if data is None:
            return None
        source = picture.load(data)
        if path not in self.tones:
            self.tones[path] = tones(source.pixels)
        return source

    def problem(self, file: Recorded) -> str:
        """Why a file may not be shown; empty if it may."""
        if file.path in self.problems:
            return self.problems[file.path].message
        found = self.digests.get(file.path, file.sha256)
        if not found:
            return "The file was changed while this report was made."
        return "" if found == file.sha256 else f"The file is not the recorded one any more: its SHA-256 is {found}."


def embed(wanted: Mapping[str, Mapping[str, Recorded]], form: Form = "webp", *, budget: int = BUDGET) -> Gallery:
    """Images of as many pictures as fit into `budget` bytes, evenly spaced, from name -> source -> file."""
    rungs = [rung for rung in RUNGS if form == "webp" or rung[0] <= PAPER]
    recorded: dict[Path, set[str]] = {}
    for file in (file for own in wanted.values() for file in own.values()):
        recorded.setdefault(file.path, set()).add(file.sha256)
    with ThreadPoolExecutor(cores(), "embed") as pool:
        work = Checking(pool, form, recorded=recorded)
        list(pool.map(lambda path: work.look(path) is None, recorded))  # keeps none of the bytes
        sound = {
            name: {source: file.path for source, file in own.items() if not work.problem(file)}
            for name, own in wanted.items()
        }
        images, rung = work.fitted({name: own for name, own in sound.items() if own}, budget, rungs)
    problems = {(name, source): work.problem(file) for name, own in wanted.items() for source, file in own.items()}
    kept = {
        name: {source: image for source, image in own.items() if not problems[name, source]}
        for name, own in images.items()
    }
    return Gallery(kept, work.tones, {key: told for key, told in problems.items() if told}, *rung, work.reduced)


def tones(pixels: NDArray) -> Tones:
    """The spread of Rec. 601 luma over (H, W, 3) integers, counted over every pixel."""
    bits = pixels.dtype.itemsize * 8
    counts = np.zeros(1 << bits, np.int64)
    for rows in bands(*pixels.shape[:2]):
        counts += np.bincount(luma(pixels[rows]).ravel(), minlength=len(counts))
    shares = counts / counts.sum()
    mean = float(shares @ np.linspace(0, 1, len(counts)))
    steps = tuple(map(float, shares.reshape(BINS, -1).sum(axis=1)))
    return Tones(steps, mean, float(shares[0]), float(shares[-1]))
