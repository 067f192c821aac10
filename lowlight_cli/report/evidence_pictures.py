"""Reduced copies of the files that a log names, made only of bytes with the recorded digest, and their tones."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture
from lowlight_cli.errors import PictureError
from lowlight_cli.picture_model import bands, luma
from lowlight_cli.report.embed import BUDGET, RUNGS, Image, Paths, Recoding, shrunk, spaced

Form = Literal["webp", "jpg"]
"""How copies are coded. Browsers put a JPEG into a PDF as it is, and a WebP without any compression worth the name."""
MIME = {"webp": "image/webp", "jpg": "image/jpeg"}
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
    form: Form = "webp"
    digests: dict[Path, str] = field(default_factory=dict)
    """Of what was read; empty where a later reading gave something else."""
    tones: dict[Path, Tones] = field(default_factory=dict)

    def look(self, path: Path) -> bytes | None:
        """The bytes of a file if they have a recorded digest."""
        try:
            data = picture.read(path)
        except PictureError as error:
            self.problems[path] = error.message
            return None
        found = hashlib.sha256(data).hexdigest()
        if self.digests.setdefault(path, found) != found:
            self.digests[path] = ""
        return data if self.digests[path] in self.recorded[path] else None

    def image(self, path: Path, side: int, quality: int) -> Image | None:
        """See `Recoding.image`; the bytes that are hashed are those that are decoded."""
        data = self.look(path)
        if data is None:
            return None
        try:
            source = picture.load(data)
            small = shrunk(source, side)
            coded = picture.encode(small, self.form, quality=quality)
        except PictureError as error:
            self.problems[path] = error.message
            return None
        self.reduced |= small.width < source.width
        if path not in self.tones:
            self.tones[path] = tones(source.pixels)
        uri = f"data:{MIME[self.form]};base64,{base64.b64encode(coded).decode()}"
        return Image(uri, small.width, small.height)

    def problem(self, file: Recorded) -> str:
        """Why a file may not be shown; empty if it may."""
        if file.path in self.problems:
            return self.problems[file.path]
        found = self.digests.get(file.path, file.sha256)
        if not found:
            return "The file was changed while this report was made."
        return "" if found == file.sha256 else f"The file is not the recorded one any more: its SHA-256 is {found}."


def embed(
    wanted: Mapping[str, Mapping[str, Recorded]],
    form: Form = "webp",
    *,
    budget: int = BUDGET,
    rungs: Sequence[tuple[int, int]] = RUNGS,
) -> Gallery:
    """Images of as many pictures as fit into `budget` bytes, evenly spaced, from name -> source -> file."""
    rungs = [rung for rung in rungs if form == "webp" or rung[0] <= PAPER]
    files = [file for own in wanted.values() for file in own.values()]
    recorded: dict[Path, set[str]] = {}
    for file in files:
        recorded.setdefault(file.path, set()).add(file.sha256)
    with ThreadPoolExecutor(os.cpu_count() or 1, "embed") as pool:
        work = Checking(pool, recorded=recorded, form=form)
        for _ in pool.map(work.look, recorded):
            pass
        sound = {
            name: {source: file.path for source, file in own.items() if not work.problem(file)}
            for name, own in wanted.items()
        }
        images, rung = fitted(work, {name: own for name, own in sound.items() if own}, budget, rungs)
    problems = {(name, source): work.problem(file) for name, own in wanted.items() for source, file in own.items()}
    kept = {
        name: {source: image for source, image in own.items() if not problems[name, source]}
        for name, own in images.items()
    }
    return Gallery(kept, work.tones, {key: told for key, told in problems.items() if told}, *rung, work.reduced)


def fitted(
    work: Checking, paths: Mapping[str, Paths], budget: int, rungs: Sequence[tuple[int, int]]
) -> tuple[Mapping[str, Mapping[str, Image]], tuple[int, int]]:
    """The images, and the size and quality at which they fit."""
    at, count = work.plan(paths, budget, rungs)
    images = work.fill(spaced([*paths], count), paths, budget, *rungs[at])
    while len(images) < len(paths) == count and at + 1 < len(rungs):  # the sample was too hopeful
        at += 1
        images = work.fill([*paths], paths, budget, *rungs[at])
    return images, rungs[at]


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
