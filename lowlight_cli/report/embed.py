"""Picture files as data: URIs of one page: recoded so that all of them fit, or fewer of them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2

from lowlight_cli import picture
from lowlight_cli.errors import PictureError
from lowlight_cli.machine import cores
from lowlight_cli.picture import Picture
from lowlight_cli.report.document import INPUT, TRUTH, Pictures

BUDGET = 13_000_000
"""Bytes of all data: URIs of a page."""
RUNGS = (
    *((1600, 90), (1280, 88), (960, 85), (800, 82), (640, 80), (640, 75), (640, 70), (640, 64)),
    *((560, 66), (480, 68), (400, 66), (320, 62)),
)
"""Longest side in pixels and WebP quality, from the best to the least that is worth looking at.

Quality goes before size: a smaller picture averages its noise away and flatters the method.
"""
SAMPLE = 3
"""Pictures that are recoded to learn how much room all will take."""
SHARE = 0.95
"""Part of the budget that the sample may predict; the rest is for what it did not show."""

Form = Literal["webp", "jpg"]
"""How copies are coded. Browsers put a JPEG into a PDF as it is, and a WebP without any compression worth the name."""
MIME = {"webp": "image/webp", "jpg": "image/jpeg"}

Paths = Mapping[str, Path]
"""Source (`input`, `truth`, a model) -> file."""


@dataclass(frozen=True)
class Image:
    """One embedded picture."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Embedded:
    """What of the pictures is in the page: name -> source -> image; sources with one file share one image."""

    images: Mapping[str, Mapping[str, Image]]
    available: int
    """Pictures that have any file."""
    side: int
    quality: int
    reduced: bool
    """Whether any is smaller than its file."""
    problems: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of the URIs."""
        return sum(map(size, self.images.values()))


def embed(
    names: Sequence[str],
    models: Sequence[str],
    pictures: Pictures,
    *,
    budget: int = BUDGET,
    rungs: Sequence[tuple[int, int]] = RUNGS,
) -> Embedded:
    """Inputs, truths and outputs of as many of `names` as fit into `budget` bytes, evenly spaced among them.

    The best of `rungs` at which all fit is taken, else the last. Files that are not there are left out; files that
    cannot be read are told in `problems`.
    """
    find = pictures.get if isinstance(pictures, Mapping) else lambda key: pictures(*key)
    wanted = {name: {source: find((source, name)) for source in (INPUT, TRUTH, *models)} for name in names}
    wanted = {name: {source: path for source, path in paths.items() if path} for name, paths in wanted.items()}
    wanted = {name: paths for name, paths in wanted.items() if paths}
    with ThreadPoolExecutor(cores(), "embed") as pool:
        work = Recoding(pool)
        images, rung = work.fitted(wanted, budget, rungs)
    problems = tuple(f"{path.name}: {error}" for path, error in work.problems.items())
    return Embedded(images, len(wanted), *rung, work.reduced, problems)


def spaced(names: Sequence[str], count: int) -> list[str]:
    """At most `count` of the names, evenly spaced, in their order."""
    if count >= len(names):
        return list(names)
    return [names[(2 * i + 1) * len(names) // (2 * count)] for i in range(count)]


def size(images: Mapping[str, Image]) -> int:
    """Bytes of the URIs of one picture, each counted once."""
    return sum({id(image): len(image.uri) for image in images.values()}.values())


@dataclass
class Recoding:
    """Turns files into images, several at a time, and remembers what could not be turned."""

    pool: ThreadPoolExecutor
    form: Form = "webp"
    problems: dict[Path, PictureError] = field(default_factory=dict)
    reduced: bool = False

    def fitted(
        self, wanted: Mapping[str, Paths], budget: int, rungs: Sequence[tuple[int, int]]
    ) -> tuple[Mapping[str, Mapping[str, Image]], tuple[int, int]]:
        """The images, and the size and quality at which they fit."""
        at, count = self.plan(wanted, budget, rungs)
        images = self.fill(spaced([*wanted], count), wanted, budget, *rungs[at])
        while len(images) < len(wanted) == count and at + 1 < len(rungs):  # the sample was too hopeful
            at += 1
            images = self.fill([*wanted], wanted, budget, *rungs[at])
        return {name: own for name, own in images.items() if own}, rungs[at]

    def plan(self, wanted: Mapping[str, Paths], budget: int, rungs: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """The rung to take, by bisection on a sample, and how many of the pictures will fit at it."""
        sample = spaced([*wanted], SAMPLE)
        room: dict[int, float] = {}

        def fitting(at: int) -> float:
            """Of all pictures, so many fit."""
            needed = sum(size(self.images(wanted[name], *rungs[at])) for name in sample) / max(1, len(sample))
            return SHARE * budget / needed if needed else len(wanted)

        first, last = 0, len(rungs) - 1
        while first < last:
            middle = (first + last) // 2
            room[middle] = fitting(middle)
            first, last = (first, middle) if room[middle] >= len(wanted) else (middle + 1, last)
        return first, min(len(wanted), int(room[first] if first in room else fitting(first)))

    def fill(
        self, names: Iterable[str], wanted: Mapping[str, Paths], budget: int, side: int, quality: int
    ) -> dict[str, Mapping[str, Image]]:
        """The images of `names` until the budget is used up; none of a picture that cannot be turned."""
        found: dict[str, Mapping[str, Image]] = {}
        self.reduced = False
        for name in names:
            own = self.images(wanted[name], side, quality)
            budget -= size(own)
            if budget < 0:
                break
            found[name] = own
        return found

    def images(self, paths: Paths, side: int, quality: int) -> Mapping[str, Image]:
        """By source; one image for each file."""
        files = list(dict.fromkeys(paths.values()))
        made = self.pool.map(lambda path: self.image(path, side, quality), files)
        by_path = dict(zip(files, made, strict=True))
        return {source: image for source, path in paths.items() if (image := by_path[path])}

    def image(self, path: Path, side: int, quality: int) -> Image | None:
        """One file, without its metadata; None if it cannot be read, or may not be shown."""
        try:
            source = self.load(path)
            if source is None:
                return None
            small = shrunk(source, side)
            data = picture.encode(small, self.form, quality=quality)
        except PictureError as error:
            self.problems[path] = error
            return None
        self.reduced |= small.width < source.width
        uri = f"data:{MIME[self.form]};base64,{base64.b64encode(data).decode()}"
        return Image(uri, small.width, small.height)

    def load(self, path: Path) -> Picture | None:
        """What is to be shown of a file."""
        return picture.load(path)


def shrunk(source: Picture, side: int) -> Picture:
    """An opaque picture of at most `side` pixels on a side; of what was stored beside it, the colour profile only."""
    pixels = source.pixels
    scale = side / max(source.height, source.width)
    if scale < 1:
        fit = (max(1, round(source.width * scale)), max(1, round(source.height * scale)))
        pixels = cv2.resize(pixels, fit, interpolation=cv2.INTER_AREA)
    return replace(source, pixels=pixels, alpha=None, exif=None, xmp=None, iptc=None, texts=(), dpi=None)
