"""What a user's folder holds that a network can be trained on: pairs, two heaps of pictures, or dark ones alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from lowlight_cli import picture
from lowlight_cli.data import pairs, scenes, sets
from lowlight_cli.data.catalog import SETS
from lowlight_cli.errors import NoInput, OptionError, PictureError, reason_of
from lowlight_cli.inputs import gather, unique

Kind = Literal["paired", "unpaired", "low"]
"""What a recipe trains on: pairs; dark and well-lit pictures of whatever scenes; dark pictures alone."""
Announce = Callable[[str], None]

PAIRED = (("low", "high"), ("low", "normal"))
UNPAIRED = (*PAIRED, ("trainA", "trainB"))
"""Folders of dark and of well-lit pictures. Equal names in the last mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to train on, and how to draw from it."""

    kind: Kind
    cache: Path
    """Folder of the decoded pictures."""
    data: Path | None
    photos: Path | None
    """Normal photos to darken."""
    preset: str
    """How they are darkened: `paper`, for each crop anew; `camera`, `night` or `mixed`, beforehand."""
    copies: int
    """Darkened versions of each photo that are made beforehand."""
    validation: int | Path | None
    """Scenes held out, a file with names held out, or a folder of data for validation alone; None: some scenes."""
    scenes: Path | None
    """Which pictures show one scene: see `scenes.read_scenes`."""
    thumbnail: int
    """Side of the thumbnails."""
    crop: int
    seed: int
    synth: float
    """Share of pictures from darkened photos, where there are others besides."""
    shuffle: float
    """Share of pictures whose channels change places: a small data set knows few pink or purple things."""


class File(NamedTuple):
    """A picture file and what it is called."""

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Source:
    """The pictures of a folder, in natural order."""

    folder: Path
    title: str
    """As what it was recognised."""
    low: tuple[File, ...]
    high: tuple[File, ...] = ()
    paired: bool = False
    """`low[i]` and `high[i]` show one scene."""


def training_data(folder: Path, kind: Kind, announce: Announce) -> Source:
    """What lies there; nothing usable is a NoInput that says what was looked for.

    An unpaired picture is an error where pairs are asked for.
    """
    with _readable(folder):
        return _known_set(folder, kind, announce) or _plain(folder, kind) or _raise_nothing(folder, kind)


def validation_data(folder: Path, kind: Kind) -> Source:
    """A folder of its own for validation: pairs; where training needs no truth also what it can be trained on."""
    with _readable(folder):
        return _plain(folder, kind) or _raise_nothing(folder, kind)


def photos(folder: Path) -> tuple[File, ...]:
    """All photos in a folder and below; one that may not be looked into is an error."""
    found = list(gather([str(folder)], folder / ".lowlight-out"))
    if problems := [f"{item.source}: {item.problem}" for item in found if item.problem]:
        raise NoInput(problems[0], "Check its permissions.")
    if not found:
        raise NoInput(f"There are no photos in {folder}.", f"Known kinds: {', '.join(sorted(picture.SUFFIXES))}.")
    return tuple(File(item.relative.with_suffix("").as_posix(), item.source) for item in unique(found))


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """What the system refuses to show is a NoInput, and so is a folder that is not there."""
    if not folder.is_dir():
        raise NoInput(f"There is no folder {folder}.", "Name a folder of pairs (low/ and high/) or a data set's own.")
    try:
        yield
    except OSError as error:
        raise NoInput(f"{error.filename} cannot be read: {reason_of(error)}.", "Check its permissions.") from error


def _known_set(folder: Path, kind: Kind, announce: Announce) -> Source | None:
    """The training split of a set of the catalog; two of them in one folder are an error."""
    found: dict[tuple[Path, ...], sets.Found] = {}
    for name in sorted((name for name, data in SETS.items() if data.parts or "train" in data.splits), key=_parts_first):
        if any(name in other.data.parts for other in found.values()):
            continue
        try:
            one = sets.find(name, folder, "train")
        except NoInput:
            continue
        except pairs.Unpaired:
            if kind == "paired":
                raise
            continue
        found.setdefault(one.folders, one)
    if len(found) > 1:
        names = " and ".join(one.data.name for one in found.values())
        folders = " or ".join(str(folders[0].parent) for folders in found)
        raise OptionError(f"{folder} holds {names}.", f"Name the folder of one: {folders}.")
    return _of_set(folder, *found.values(), announce=announce) if found else None


def _parts_first(name: str) -> bool:
    """Sort key: a set of several parts goes before them."""
    return not SETS[name].parts


def _of_set(folder: Path, found: sets.Found, announce: Announce) -> Source:
    """A set's pictures; what a user must know of it is announced."""
    for notice in found.notices:
        announce(notice)
    return Source(
        folder=folder,
        title=f"{found.data.name}/{found.split}",
        low=tuple(File(item.name, item.low) for item in found.items),
        high=tuple(File(item.name, item.high) for item in found.items if item.high),
        paired=True,
    )


def _plain(folder: Path, kind: Kind) -> Source | None:
    """Pictures in a layout that is nobody's in particular."""
    for names, dark, lit in _folders(folder, kind):
        title = f"{names[0]}/ and {names[1]}/"
        if names in PAIRED and (files := _matched(dark, lit, kind)):
            title += ", made by lowlight synth" if (folder / scenes.RECORDS).is_file() else ""
            low, high = (tuple(File(stem, one[side]) for stem, *one in files) for side in (0, 1))
            return Source(folder=folder, title=title, low=low, high=high, paired=True)
        low, high = _files(dark), _files(lit)
        if kind == "unpaired" and low and high:
            return Source(folder=folder, title=title, low=low, high=high)
    if kind == "paired":
        return None
    for name in ("low", "trainA", ""):
        if low := _files(folder / name):
            return Source(folder=folder, title=f"{name}/ alone" if name else "dark pictures", low=low)
    return None


def _folders(folder: Path, kind: Kind) -> Iterator[tuple[tuple[str, str], Path, Path]]:
    """(names, dark, well lit): pairs of folders that are there, however their names are capitalised."""
    inside = {path.name.casefold(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    for names in PAIRED if kind == "paired" else UNPAIRED:
        dark, lit = (inside.get(name.casefold()) for name in names)
        if dark and lit:
            yield names, dark, lit


def _matched(low: Path, high: Path, kind: Kind) -> list[tuple[str, Path, Path]]:
    """Pairs by equal names; where pairs are not needed, none for names that do not match."""
    try:
        return pairs.matched(low, high)
    except PictureError:
        if kind == "paired":
            raise
        return []


def _files(folder: Path) -> tuple[File, ...]:
    """The pictures of a folder; none where there is no folder."""
    paths = pairs.pictures_in(folder) if folder.is_dir() else ()
    return tuple(File(path.stem, path) for path in paths)


def _raise_nothing(folder: Path, kind: Kind) -> NoReturn:
    """The error that says what was looked for."""
    layouts = [f"{low}/ with {high}/" for low, high in (PAIRED if kind == "paired" else UNPAIRED)]
    if kind != "paired":
        layouts.append("low/ or pictures in the folder itself")
    known = ", ".join(name for name, data in SETS.items() if "train" in data.splits)
    raise NoInput(
        f"There is nothing in {folder} to train on. Looked for {', '.join(layouts)}, and the training data of {known}.",
        "Pairs have equal names in both folders." if kind == "paired" else "Dark and well-lit names need not match.",
    )
