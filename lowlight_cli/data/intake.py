"""All files of a training, decoded into the cache; those that cannot be used are named together."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowlight_cli import picture
from lowlight_cli.data import cache, sources
from lowlight_cli.data.cache import Decoded, Pictures
from lowlight_cli.data.pairs import SWAPPED, eight_bit
from lowlight_cli.data.sources import Announce, File, Request, Source
from lowlight_cli.errors import NoInput

NAMED = 10
"""How many files the error names."""
LOOKED_AT = 50
"""Pictures whose brightness says whether the dark ones are dark."""


@dataclass(frozen=True)
class Contents:
    """A source and its decoded pictures, in its order."""

    source: Source
    low: Pictures
    high: Pictures | None

    @property
    def bright(self) -> Pictures | None:
        """Well-lit pictures that are nobody's truth."""
        return None if self.source.paired else self.high


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Everything that a request names."""

    data: Contents | None
    photos: Pictures | None
    validation: Contents | None
    """From a folder of its own."""


def take(request: Request, announce: Announce) -> Taken:
    """Find and decode it all. Pictures that are damaged, smaller than the crop, or not of their partner's size are
    one NoInput."""
    intake = Intake(request.cache, announce)
    data = sources.training_data(request.data, request.kind, announce) if request.data else None
    photos = sources.photos(request.photos) if request.photos else ()
    apart = request.validation if isinstance(request.validation, Path) and request.validation.is_dir() else None
    validation = sources.validation_data(apart, request.kind) if apart else None
    for source in (data, validation):
        if source:
            intake.decode("low", source.low)
            intake.decode("high", source.high)
    intake.decode("photos", photos)
    data, validation = (intake.matched(source, request) if source else None for source in (data, validation))
    intake.refuse_unequal(data, validation)
    found = [file for source in (data, validation) if source for file in source.low + source.high]
    intake.refuse_small([*found, *photos], request.crop)
    intake.raise_problems()
    taken = Taken(
        data=intake.contents(data) if data else None,
        photos=intake.done[photos] if photos else None,
        validation=intake.contents(validation) if validation else None,
    )
    if any(part and part.high and light(part.low) > light(part.high) for part in (taken.data, taken.validation)):
        announce(SWAPPED)
    return taken


def light(pictures: Pictures) -> float:
    """Mean of some of the pictures, in levels of 255."""
    return float(np.mean([pictures[n].mean() for n in range(0, len(pictures), max(1, len(pictures) // LOOKED_AT))]))


class Intake:
    """Decodes files, and remembers what is wrong with them."""

    def __init__(self, folder: Path, announce: Announce) -> None:
        self.folder, self.announce = folder, announce
        self.problems: dict[Path, str] = {}
        self.small: dict[Path, int] = {}
        """The shorter side of pictures that no crop fits into; they are among the problems."""
        self.sizes: dict[Path, tuple[int, int]] = {}
        self.done: dict[tuple[File, ...], Pictures] = {}

    def decode(self, label: str, files: tuple[File, ...]) -> None:
        """Bring files into the cache."""
        if not files:
            return
        facts = [[file.name, str(file.path.absolute()), *_stamp(file.path)] for file in files]
        entry = cache.Entry(title=f"Decoding ({label})", label=label, place=_folders(files), facts=facts)
        try:
            self.done[files] = pictures = cache.obtain(self.folder, entry, files, self._decoded, self.announce)
        except cache.Damaged as error:
            self.problems |= {files[number].path: str(problem) for number, problem in error.problems.items()}
            return
        for file, (height, width) in zip(files, pictures.sizes.tolist(), strict=True):
            self.sizes[file.path] = (height, width)

    def _decoded(self, file: File) -> list[Decoded]:
        """One file; its bytes are read once for its pixels and its hash."""
        data = picture.read(file.path)
        pixels = eight_bit(data)
        self.sizes[file.path] = pixels.shape[:2]
        return [Decoded(file.name, pixels, hashlib.sha256(data).hexdigest())]

    def matched(self, source: Source, request: Request) -> Source:
        """The source; where pairs are not needed, pictures that are not pairs are not taken for them."""
        unequal = source.paired and any(self._unequal(source))
        if request.kind == "paired" or not unequal:
            return source
        self.announce(f"{source.title}: names match, but sizes do not. They are not taken for pairs.")
        return dataclasses.replace(source, paired=False, high=source.high if request.kind == "unpaired" else ())

    def _unequal(self, source: Source) -> list[tuple[Path, str]]:
        """Pairs of two sizes, and what to say of them."""
        both = [(low.path, high.path) for low, high in zip(source.low, source.high, strict=False)]
        known = [(low, high) for low, high in both if low in self.sizes and high in self.sizes]
        return [
            (low, f"It is {_shown(self.sizes[low])}, {high} is {_shown(self.sizes[high])}.")
            for low, high in known
            if self.sizes[low] != self.sizes[high]
        ]

    def refuse_unequal(self, *found: Source | None) -> None:
        """Note pairs of two sizes."""
        for source in found:
            for path, problem in self._unequal(source) if source and source.paired else ():
                self.problems.setdefault(path, problem)

    def refuse_small(self, files: Sequence[File], crop: int) -> None:
        """Note pictures that no crop fits into."""
        for file in files:
            if (size := self.sizes.get(file.path)) and min(size) < crop and file.path not in self.problems:
                self.problems[file.path] = f"It is {_shown(size)}, smaller than the crop of {crop}."
                self.small[file.path] = min(size)

    def raise_problems(self) -> None:
        """Name all that was noted."""
        if not self.problems:
            return
        lines = [f"{path}: {problem}" for path, problem in sorted(self.problems.items())[:NAMED]]
        if (more := len(self.problems) - NAMED) > 0:
            lines.append(f"and {more} more")
        what = "picture" if len(self.problems) == 1 else "pictures"
        raise NoInput(f"{len(self.problems)} {what} cannot be used:\n  " + "\n  ".join(lines) + "\n", self._remedy())

    def _remedy(self) -> str:
        """What can be done: small pictures need no repair."""
        them = "it" if len(self.problems) == 1 else "them"
        if not self.small:
            return f"Repair or remove {them}; a partner goes, too."
        crop = f"--set crop={min(self.small.values())}"
        if len(self.small) == len(self.problems):
            return f"Take a smaller crop: {crop}; or remove {them}; a partner goes, too."
        return f"Repair or remove {them}; a partner goes, too. What is too small fits {crop}."

    def contents(self, source: Source) -> Contents:
        """A source with its pictures."""
        return Contents(source, self.done[source.low], self.done[source.high] if source.high else None)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of the last change; zeros for a file that cannot be looked at, which decoding tells."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _folders(files: Sequence[File]) -> list[str]:
    """Where files lie."""
    return sorted({str(file.path.absolute().parent) for file in files})


def _shown(size: tuple[int, int]) -> str:
    """Width x height."""
    return f"{size[1]}x{size[0]}"
