"""What lies in watched folders. Found by looking again and again: network shares tell nobody of a change."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lowlight_cli import picture
from lowlight_cli.errors import PictureError, ran_out_of_memory, reason_of
from lowlight_cli.inputs import UNWRITTEN
from lowlight_cli.jobs import identity
from lowlight_cli.picture.extras import readable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LEASED = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "overlay"}
"""File systems that know of everybody who has a file open. Network shares know of nobody, or refuse every lease."""


class Seen(NamedTuple):
    """A picture file: its path below the watched folder, the folder's name before it where there are several; where it
    lies; and its stamp."""

    relative: str
    path: str
    stamp: int


def stamp(size: int, mtime_ns: int) -> int:
    """Size and time of last change in one number, as one is kept for each file. The inode is no part of it: on many
    network shares it is another one after each mount."""
    return size << 64 | mtime_ns & (1 << 64) - 1


def stamp_of(path: str) -> int | None:
    """The stamp of a regular file as it is now; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path for each file and look is a cost
    except OSError:
        return None
    return stamp(status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def parts(number: int) -> tuple[int, int]:
    """Size and time of a stamp; a time before 1970 is negative."""
    time = number & (1 << 64) - 1
    return number >> 64, time - (time >> 63 << 64)


class PassedOver(NamedTuple):
    """What lies in the folders and is not enhanced."""

    unread: dict[str, str]
    """Pictures of kinds that are not read, each with its suffix."""
    odd: set[str]
    """Links to nothing, pipes and the like, named as pictures are."""


class Folders:
    """The watched folders, by name, and what their names are before the paths below them."""

    def __init__(self, roots: Mapping[str, str], aside: Sequence[Path]) -> None:
        self.roots, self.aside, self.readable = dict(roots), aside, readable()
        self.problems: dict[str, str] = {}
        """Folders that could not be read at the last look, and why."""
        self.present: set[str] = set()
        """Relative paths of all that the last look saw, if it was a thorough one."""
        self.unseen: tuple[str, ...] = ()
        """How the relative paths begin of all that the last look may not have seen, though it be there."""
        self.kinds: set[str] = set()
        """Suffixes of pictures that lie there, or did, and are not read."""
        self.passed = PassedOver({}, set())
        """As the last thorough look and those since have seen it."""

    def look(self, known: Mapping[str, int], alive: Callable[[], None], *, thorough: bool) -> list[Seen]:
        """Picture files that are not `known`; a thorough look finds those too whose stamp is another one now, a quick
        one asks nothing of them. Hidden files and `aside` are left out, links followed, no folder read twice. `alive`
        is called for each file."""
        visited: set[tuple[int, int] | None] = {identity(path) for path in self.aside}
        found: list[Seen] = []
        present: set[str] = set()
        passed = PassedOver({}, set()) if thorough else self.passed
        problems, unseen = {}, []
        for root, prefix in self.roots.items():
            before, folders = len(present), [(root, prefix)]
            while folders:
                folder, below = folders.pop()
                try:
                    status = os.stat(folder)  # noqa: PTH116
                    if (key := (status.st_dev, status.st_ino)) in visited:
                        continue
                    visited.add(key)
                    with os.scandir(folder) as entries:
                        inner, seen = self.sort(entries, below, {} if thorough else known, passed, alive)
                except OSError as error:
                    problems[folder] = reason_of(error)
                    unseen.append(below)
                    continue
                folders += inner
                found += [one for one in seen if known.get(one.relative) != one.stamp]
                present.update(one.relative for one in seen if thorough)
            if len(present) == before:  # it may be the empty folder below a share that is gone
                unseen.append(prefix)
        self.problems, self.unseen, self.present = problems, tuple(unseen), present
        self.passed = passed
        return found

    def sort(
        self,
        entries: Iterator[os.DirEntry[str]],
        below: str,
        known: Container[str],
        passed: PassedOver,
        alive: Callable[[], None],
    ) -> tuple[list[tuple[str, str]], list[Seen]]:
        """The folders in a folder, and the pictures but for `known` ones; what is neither goes into `passed`."""
        inner, found = [], []
        for entry in entries:
            alive()
            name = entry.name
            if (relative := below + name) in known or name.startswith("."):
                continue
            with contextlib.suppress(OSError):  # it vanished, or is a link to nothing
                suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
                if entry.is_dir():
                    inner.append((entry.path, f"{relative}/"))
                elif suffix in self.readable:
                    # What the entry itself tells is old on Windows while the file is written.
                    if (number := stamp_of(entry.path)) is not None:
                        found.append(Seen(relative, entry.path, number))
                    elif os.path.lexists(entry.path):
                        passed.odd.add(entry.path)
                elif suffix in UNWRITTEN:
                    self.kinds.add(suffix)
                    passed.unread[entry.path] = suffix
        return inner, found


def undecodable(source: Path, max_pixels: int) -> bool:
    """Whether a file that failed did so for its content, and would again: not the disk, memory or permissions."""
    try:
        data = picture.read(source)
    except (PictureError, MemoryError):
        return False
    try:
        picture.load(data, max_pixels=max_pixels)
    except PictureError as error:
        return not ran_out_of_memory(error.__cause__)
    return False


def written_elsewhere(path: str) -> bool:
    """Whether some process has a file open to write to it; False too where the system does not tell.

    The system lends a file for reading (fcntl(2), leases) only if nobody writes; it is given back at once.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        if not hasattr(fcntl, "F_SETLEASE") or file_system(os.fstat(descriptor).st_dev, path) not in LEASED:
            return False
        # Who opens it meanwhile makes the system signal us: SIGIO, which kills, unless another is chosen.
        import signal

        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:  # somebody else's file
        return False
    finally:
        os.close(descriptor)
    return False


@lru_cache(256)
def mounted(device: int, folder: str) -> str:  # noqa: ARG001 - what is mounted at a folder changes with the device
    """Type of the file system that a folder lies in; empty where the system does not tell."""
    best = ("", "")
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _, place, kind, *_ = line.split(" ")
            if (folder + "/").startswith(place.rstrip("/") + "/") and len(place) >= len(best[0]):
                best = (place, kind)
    return best[1]


def file_system(device: int, path: str) -> str:
    """Type of the file system that a file lies in."""
    return mounted(device, os.path.realpath(os.path.dirname(path)))  # noqa: PTH120
