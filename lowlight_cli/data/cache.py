"""Decoded pictures on disk, in one file that is mapped into memory: training waits for no decoder.

An entry is a folder with `pixels.bin`, the uint8 pixels of all its pictures back to back, `index.json`, which says
where each begins, and thumbnails. It is built in a folder of another name and renamed: what has the name is whole.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import ahead, atomic
from lowlight_cli.errors import FULL, LowlightError, OptionError, reason_of
from lowlight_cli.machine import cores
from lowlight_cli.thumbnail import thumbnail

VERSION = 1
"""Of the layout; entries of other versions are built anew."""
PIXELS, INDEX = "pixels.bin", "index.json"
QUIET = 600.0
"""Seconds after which a temporary folder that nobody has written to is a dead builder's."""
NEWS = 15.0
"""Seconds between two announcements of progress."""

Job = TypeVar("Job")
Made = TypeVar("Made")


class Decoded(NamedTuple):
    """One picture to be kept: (H, W, 3) uint8, and the sha256 of the file it is from (empty: from none)."""

    name: str
    pixels: NDArray[np.uint8]
    sha256: str = ""


class Damaged(Exception):
    """Some jobs failed: nothing was kept."""

    def __init__(self, problems: dict[int, LowlightError]) -> None:
        super().__init__(f"{len(problems)} pictures could not be decoded")
        self.problems = problems
        """By the number of the job."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is to be kept."""

    title: str
    """What a user is told while it is made."""
    label: str
    """Of what: begins the folder's name."""
    place: Sequence[object]
    """What the user named, as JSON can hold it: an older entry of the same place is removed."""
    facts: Sequence[object]
    """What the pixels depend on: other facts, another entry."""

    @property
    def key(self) -> str:
        """The sha256 of all that the pixels depend on."""
        return _digest([VERSION, self.label, self.place, self.facts])

    @property
    def stem(self) -> str:
        """What the names of all entries of this place begin with."""
        return f"{self.label}-{_digest(self.place)[:12]}-"

    @property
    def name(self) -> str:
        """Of the folder."""
        return f"{self.stem}{self.key[:12]}"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Pictures:
    """The pictures of an entry: a sequence of (H, W, 3) uint8 that cannot be written to. Any thread may read."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder = folder
        self.names: list[str] = index["names"]
        self.sha256: list[str] = index["sha256"]
        """Of the files; empty for pictures that were made."""
        self.sizes = np.array(index["sizes"], np.int64)
        """(N, 2): heights and widths."""
        self.means = np.array(index["means"], np.float32)
        """(N, 3): means of the channels, in [0, 1]."""
        offsets = np.array(index["offsets"], np.int64)
        self._refuse_outside(offsets, index["bytes"])
        self._offsets: list[int] = offsets.tolist()
        # A plain array over the map: slices of `memmap` objects cost ten times as much.
        self._pixels = np.asarray(np.memmap(folder / PIXELS, np.uint8, "r", shape=(index["bytes"],)))

    def _refuse_outside(self, offsets: NDArray[np.int64], size: int) -> None:
        """A ValueError where the columns do not go together, or a picture would lie outside the file's bytes."""
        count = len(self.names)
        shapes = [(len(self.sha256),), self.sizes.shape, self.means.shape, offsets.shape]
        if shapes != [(count,), (count, 2), (count, 3), (count,)]:
            raise ValueError("columns of different lengths")
        sides = self.sizes.clip(0, 2**20)  # their product fits
        if (self.sizes != sides).any() or (offsets < 0).any() or (offsets > size - 3 * sides.prod(axis=1)).any():
            raise ValueError("pictures outside the file")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        height, width = (int(side) for side in self.sizes[number])
        begin = self._offsets[number]
        return self._pixels[begin : begin + height * width * 3].reshape(height, width, 3)

    @property
    def fingerprint(self) -> str:
        """One sha256 over the names and contents of all files."""
        return _digest([*zip(self.names, self.sha256, strict=True)])

    def thumbnails(self, side: int) -> NDArray[np.float16]:
        """(N, side, side, 3) in [0, 1], computed once. Half precision keeps four more bits than 8-bit pictures."""
        path, shape = self.folder / f"thumbnails-{side}.npy", (len(self), side, side, 3)
        with contextlib.suppress(OSError, ValueError, EOFError):  # not there, or not whole
            found = np.load(path, mmap_mode="r")
            if (found.shape, found.dtype) == (shape, np.float16):
                return np.asarray(found)
        made = np.stack([*ordered(lambda n: thumbnail(self[n], side).astype(np.float16), range(len(self)))])
        with writing(self.folder.parent), atomic.replacing(path) as temporary, temporary.open("wb") as out:
            np.save(out, made)
        return made


def channel_means(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means in [0, 1] of the channels of (H, W, 3) uint8."""
    return (pixels.reshape(-1, 3).mean(axis=0, dtype=np.float64) / 255).astype(np.float32)


def ordered(work: Callable[[Job], Made], jobs: Iterable[Job], threads: int = 0) -> Iterator[Made]:
    """`work` of every job, in order, from several threads that do not run far ahead. 0: one a core, at least two."""
    threads = threads or max(2, cores())
    return ahead.ordered(work, jobs, threads, 2 * threads)


def obtain(
    cache: Path,
    entry: Entry,
    jobs: Sequence[Job],
    work: Callable[[Job], Sequence[Decoded]],
    announce: Callable[[str], None],
    *,
    threads: int = 0,
) -> Pictures:
    """The pictures of an entry in the folder `cache`; `work` of every job where they are not there yet.

    Damaged where `work` raises a LowlightError, after all jobs were tried. A folder that cannot be written to is an
    OptionError.
    """
    if found := _opened(cache / entry.name, entry):
        return found
    announce(f"{entry.title}: {len(jobs)} pictures, once; kept in {cache}.")
    with writing(cache):
        _sweep(cache)
        with _temporary(cache) as fresh:
            _build(fresh, entry, _reported(ordered(_guarded(work), jobs, threads), entry.title, len(jobs), announce))
            _take_name(fresh, cache / entry.name, entry)
        for other in cache.glob(f"{entry.stem}*"):
            if other.name != entry.name:
                shutil.rmtree(other, ignore_errors=True)
        if found := _opened(cache / entry.name, entry):
            return found
    raise OptionError(f"{cache / entry.name} disappeared.", "Is another training emptying --cache?")


@contextlib.contextmanager
def writing(cache: Path) -> Iterator[None]:
    """What the system refuses in the folder of the cache is an OptionError."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        full = error.errno in FULL
        reason = "the disk is full" if full else reason_of(error)
        remedy = f"{'Free some space, or choose' if full else 'Choose'} another folder with --cache."
        raise OptionError(f"The cache {cache} cannot be written: {reason}.", remedy) from error


def _opened(folder: Path, entry: Entry) -> Pictures | None:
    """The entry in that folder; None if it is not there or not whole."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["key"] != entry.key or (folder / PIXELS).stat().st_size != index["bytes"]:
            return None
        return Pictures(folder, index)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


@contextlib.contextmanager
def _temporary(cache: Path) -> Iterator[Path]:
    """A new folder in `cache`, removed at the end unless it has another name by then."""
    fresh = cache / f"{atomic.PREFIX}{secrets.token_hex(6)}.tmp"
    fresh.mkdir()
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _guarded(work: Callable[[Job], Sequence[Decoded]]) -> Callable[[Job], Sequence[Decoded] | LowlightError]:
    """`work` with its failures as results, so that all of them can be named together."""

    @functools.wraps(work)
    def tried(job: Job) -> Sequence[Decoded] | LowlightError:
        try:
            return work(job)
        except LowlightError as error:
            return error

    return tried


def _reported(results: Iterable[Made], title: str, total: int, announce: Callable[[str], None]) -> Iterator[Made]:
    """The results; now and then a word on how many there are."""
    due = time.monotonic() + NEWS
    for number, result in enumerate(results, 1):
        yield result
        if time.monotonic() > due:
            announce(f"{title}: {number} of {total}")
            due = time.monotonic() + NEWS


def _build(folder: Path, entry: Entry, results: Iterable[Sequence[Decoded] | LowlightError]) -> None:
    """Write the files of an entry. Plain writes: in a map, a full disk is not an error but a crash."""
    kept: dict[str, list[Any]] = {name: [] for name in ("names", "sha256", "sizes", "means", "offsets")}
    problems: dict[int, LowlightError] = {}
    with (folder / PIXELS).open("wb") as out:
        for number, result in enumerate(results):
            if isinstance(result, LowlightError):
                problems[number] = result
                continue
            for name, pixels, sha256 in result:
                values = (name, sha256, pixels.shape[:2], channel_means(pixels).tolist(), out.tell())
                for column, value in zip(kept.values(), values, strict=True):
                    column.append(value)
                out.write(np.ascontiguousarray(pixels).data)
        if problems:
            raise Damaged(problems)
        size = out.tell()
        _settle(out)
    with (folder / INDEX).open("w", encoding="utf-8") as out:
        json.dump({"key": entry.key, "place": entry.place, "bytes": size, **kept}, out)
        _settle(out)


def _settle(out: Any) -> None:
    """Bring a file to the disk before its folder takes its name: else a power cut could leave holes in it."""
    out.flush()
    os.fsync(out.fileno())


def _take_name(fresh: Path, target: Path, entry: Entry) -> None:
    """Rename a folder that was built; if another builder was faster, its work is taken."""
    if target.exists() and not _opened(target, entry):
        shutil.rmtree(target)
    try:
        fresh.rename(target)
    except OSError:
        if not _opened(target, entry):
            raise


def _sweep(cache: Path) -> None:
    """Remove what builders that were killed have left behind."""
    for path in [*cache.glob(f"{atomic.PREFIX}*"), *cache.glob(f"*/{atomic.PREFIX}*")]:
        with contextlib.suppress(OSError):
            touched = max(one.stat().st_mtime for one in (path, *path.glob("*")))
            if time.time() - touched > QUIET:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
