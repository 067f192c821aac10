"""Files that appear whole or not at all. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

PREFIX = ".lowlight-"
"""Temporary files start with this, so that inputs skip them and a person can tell whose they are."""


def allow() -> None:
    """No last check."""


@contextlib.contextmanager
def replacing(path: Path, *, overwrite: bool = True, check: Callable[[], None] = allow) -> Iterator[Path]:
    """A temporary path beside `path` to write to; on success it is synced and takes the name of `path`.

    On any error, Ctrl-C included, the temporary file is removed and what stood at `path` is untouched. Without
    `overwrite`, a file that has appeared at `path` meanwhile stays, and FileExistsError is raised. `check` is called
    last and may raise: should the folder be replaced after it, the file is not found in the new one.
    """
    temporary = beside(path)
    try:
        with named(path):
            yield temporary
            with temporary.open("rb+") as written:  # Windows syncs no file that may only be read
                os.fsync(written.fileno())
            check()
            if overwrite:
                temporary.replace(path)
            else:
                take_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Errors of the system within the block that name no file, or a temporary one, name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None or PREFIX in str(error.filename):
            error.filename = str(path)
            del error.filename2
        raise


def beside(path: Path) -> Path:
    """A name for a temporary file in the same folder."""
    return path.with_name(f"{PREFIX}{os.urandom(6).hex()}.tmp")


def take_name(temporary: Path, path: Path) -> None:
    """Give a file a name that nobody has: a link is made or it is not, nobody can come between."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise taken(path) from error
    except OSError as error:  # no hard links on this file system
        if os.path.lexists(path):
            raise taken(path) from error
        temporary.replace(path)


def taken(path: Path) -> FileExistsError:
    """The error of a name that somebody has."""
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def write(path: Path, data: bytes | memoryview, *, overwrite: bool = True, check: Callable[[], None] = allow) -> None:
    """Write `data` to `path` atomically, see `replacing`.

    On Linux disks not even kill -9 leaves a temporary file, but for a whole one in the instant of replacing another.
    """
    with named(path):
        if write_nameless(path, data, overwrite=overwrite, check=check):
            return
    with replacing(path, overwrite=overwrite, check=check) as temporary:
        temporary.write_bytes(data)


def write_nameless(path: Path, data: bytes | memoryview, *, overwrite: bool, check: Callable[[], None]) -> bool:
    """Write a file that has no name until it is whole: whatever ends the process, the system takes it back.

    False, and nothing is written, where that cannot be: other systems, most network shares, FAT. Errors are those of
    `replacing`.
    """
    with contextlib.ExitStack() as opened:
        try:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            opened.callback(os.close, folder)
            descriptor = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o666, dir_fd=folder)
        except (OSError, AttributeError):  # no such flags here, or an error that `replacing` meets too
            return False
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
            check()
            try:
                name(descriptor, folder, path, overwrite=overwrite)
            except FileExistsError as error:
                raise taken(path) from error
            except OSError:  # no /proc, or a rule against links
                return False
    return True


def name(descriptor: int, folder: int, path: Path, *, overwrite: bool) -> None:
    """Name a file that has none. A link cannot replace a file: to overwrite one takes a second step."""
    source, target = f"/proc/self/fd/{descriptor}", path.name
    try:
        os.link(source, target, dst_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        if not overwrite:
            raise
        temporary = beside(path).name
        try:
            os.link(source, temporary, dst_dir_fd=folder, follow_symlinks=True)
            os.replace(temporary, target, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, so that a power cut takes no file back; where a system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def put_aside(path: Path) -> None:
    """Give a file the first free name of its kind: `log.csv` becomes `log-1.csv`."""
    names = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(1))
    path.rename(next(name for name in names if not os.path.lexists(name)))
