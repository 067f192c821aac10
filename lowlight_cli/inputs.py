"""What to read: the files that inputs name, be they files, folders or patterns."""

# ruff: noqa: PTH112, PTH114 - `os.path` says False where a folder may not be looked into, `Path` raises.

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowlight_cli.errors import NoInput, reason_of
from lowlight_cli.picture import SUFFIXES
from lowlight_cli.picture.extras import BITMAP, HEIF, RAW

VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm", ".wmv"}
UNWRITTEN = {".gif", ".jp2", ".jxl", ".pdf", ".psd", ".svg", ".exr", ".tga", BITMAP, *VIDEOS, *RAW, *HEIF}
"""Suffixes that a user takes for those of pictures: --out night.gif means a file, --out v1.2 a folder."""


@dataclass(frozen=True)
class Found:
    """A source, its path below its root, and what is wrong with it, if anything."""

    source: Path
    relative: Path
    problem: str = ""


ANY_DEPTH = re.compile(rf"(?:^|(?<=[/{re.escape(os.sep)}]))\*\*(?:[/{re.escape(os.sep)}]+|$)")
"""The part of a pattern that stands for any folders."""


def nobody(_: object) -> None:
    """Whom nobody needs to tell."""


def natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts photo9 before photo10, and photo01 beside photo1, the same on every machine."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], path.as_posix()


def gather(
    inputs: Sequence[str], out: Path, kinds: Collection[str] = SUFFIXES, empty: Callable[[str], None] = nobody
) -> Iterator[Found]:
    """Sources of all inputs: files, folders (with all below them), and patterns; of the two latter those of `kinds`."""
    for name in inputs:
        any_found = False
        for found in given(name, out, kinds, several=len(inputs) > 1):
            any_found = True
            yield found
        if not any_found:
            empty(name)


def given(name: str, out: Path, kinds: Collection[str], *, several: bool) -> Iterator[Found]:
    """Sources of one input; one that is not there is an error."""
    path = Path(name)
    if os.path.isdir(path):
        # Beside other inputs a folder keeps its name, and that of the outputs is none: a shell makes many words of
        # `photos/*`.
        if not several or path.resolve() != out.resolve():
            yield from walk(path, Path(path.resolve().name) if several else Path(), out, kinds)
    elif os.path.lexists(path):
        yield Found(path, Path(path.name))
    elif glob.has_magic(name):
        yield from matching(name, out, kinds)
    else:
        raise NoInput(f"There is no file or folder {name}{why_unreached(name)}.", "Check the name; quote patterns.")


def why_unreached(name: str) -> str:
    """Why a path cannot be reached, unless it just is not there."""
    try:
        os.lstat(name)
    except (FileNotFoundError, ValueError):
        return ""
    except OSError as error:
        return f" that can be read: {reason_of(error)}"
    return ""


def walk(folder: Path, prefix: Path, out: Path, kinds: Collection[str]) -> Iterator[Found]:
    """Pictures below a folder, links followed but no folder visited twice; `out` and hidden files left aside.

    Our temporary files are hidden ones, see `atomic`.
    """
    unreadable: list[OSError] = []
    paths = (Path(base) / name for base, name in tree(folder, out, unreadable.append))
    for path in sorted((path for path in paths if path.suffix.lower() in kinds), key=natural):
        yield Found(path, prefix / path.relative_to(folder))
    for error in unreadable:
        path = Path(error.filename)
        yield Found(path, prefix / path.relative_to(folder), f"The folder cannot be read: {reason_of(error)}.")


def tree(
    folder: Path, out: Path | None, unreadable: Callable[[OSError], None], *, hidden: bool = False
) -> Iterator[tuple[str, str]]:
    """The files below a folder as (folder, name), see `walk`; with `hidden` those too that are."""
    for base, files in folders(folder, out, unreadable, hidden=hidden):
        yield from ((base, name) for name in files if hidden or not name.startswith("."))


def folders(
    folder: Path, out: Path | None = None, unreadable: Callable[[OSError], None] = nobody, *, hidden: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """A folder and all below it, each once, with the names of its files; see `tree`."""
    visited: set[tuple[int, int]] = set()
    skipped = None if out is None else out.resolve()
    # Links last: a folder that also lies there itself is not to be found by a link to it.
    waiting = [folder]
    while waiting:
        for base, inner, files in os.walk(waiting.pop(0), onerror=unreadable):
            here = Path(base).stat()
            if (here.st_dev, here.st_ino) in visited or Path(base).resolve() == skipped != folder.resolve():
                inner.clear()
                continue
            visited.add((here.st_dev, here.st_ino))
            inner[:] = sorted(name for name in inner if hidden or not name.startswith("."))
            waiting += [path for name in inner if os.path.islink(path := Path(base, name))]
            yield base, files


def passed_over(inputs: Sequence[str], taken: Collection[str] = ()) -> Counter[str]:
    """Pictures of kinds that are not `taken`, below the folders among the inputs, by suffix: nobody named them, but a
    user may think that they were done."""
    kinds = UNWRITTEN.difference(taken)
    files = {
        (os.path.realpath(base), name)
        for folder in filter(os.path.isdir, inputs)
        for base, name in tree(Path(folder), None, nobody)
        if Path(name).suffix.lower() in kinds
    }
    return Counter(Path(name).suffix.lower() for _, name in files)


def not_taken(inputs: Sequence[str], out: Path, kinds: Collection[str], aside: Collection[Path]) -> list[Path]:
    """Files below the folders among the inputs that no run takes: hidden ones, and those of no kind in `kinds`; without
    `out` and `aside`."""
    files = (
        Path(base, name)
        for folder in filter(os.path.isdir, inputs)
        for base, name in tree(Path(folder), out, nobody, hidden=True)
        if Path(name).suffix.lower() not in kinds or is_hidden(Path(base, name).relative_to(folder))
    )
    return sorted({path for path in files if not any(inside(path, place) for place in aside)}, key=natural)


def inside(path: Path, place: Path) -> bool:
    """Whether a path is that place or lies in it, links followed; one that leads to itself is taken as it is."""
    path, place = (Path(os.path.realpath(each)) for each in (path, place))
    return place in (path, *path.parents)


def is_hidden(path: Path) -> bool:
    """Whether a part of a path begins with a dot."""
    return any(part.startswith(".") for part in path.parts)


def matching(pattern: str, out: Path, kinds: Collection[str]) -> Iterator[Found]:
    """Pictures that a pattern names, relative to its part without wildcards."""
    fixed = Path(*Path(re.split(r"[*?\[]", pattern)[0] + "x").parts[:-1])
    skipped, root = out.resolve(), fixed.resolve()
    # Of all names of a file the shortest path is kept.
    names = sorted(named(pattern), key=lambda name: (name.count(os.sep), name))
    real: dict[Path, Path] = {}
    for path in map(Path, names):
        folder = path.parent.resolve()
        inside = root in skipped.parents and skipped in (folder, *folder.parents)
        if path.suffix.lower() in kinds and not inside and not path.is_dir():
            real.setdefault(folder / path.name, path)
    for path in sorted(real.values(), key=natural):
        yield Found(path, path.relative_to(fixed))


def named(pattern: str) -> Iterator[str]:
    """What a pattern names, as `glob.glob` with `**`, which runs through loops of links for years: here a folder is
    visited once."""
    before, *after = ANY_DEPTH.split(pattern, maxsplit=1)
    if not after:
        yield from glob.glob(pattern)
        return
    for place in glob.glob(before) if before else [""]:
        for folder, _ in folders(Path(place)):
            yield from named(f"{glob.escape(folder)}{os.sep}{after[0] or '*'}")


def unique(found: Iterable[Found]) -> list[Found]:
    """Each source once, whatever number of inputs name it: by the first path without links to folders, or the first. A
    link to a file is a source of its own."""
    seen: dict[Path, Found] = {}
    for item in found:
        place = item.source.parent.resolve() / item.source.name
        known = seen.setdefault(place, item)
        if known is not item and item.source.absolute() == place != known.source.absolute():
            seen[place] = item
    return list(seen.values())
