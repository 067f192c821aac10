"""Files that appear whole or not at all. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".lowlight-"
"""Temporary files start with this, so that inputs skip them and a person can tell whose they are."""


@contextlib.contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` to write to; on success it is synced and takes the name of `path`.

    On any error, Ctrl-C included, the temporary file is removed and what stood at `path` is untouched. Without
    `overwrite`, a file that has appeared at `path` meanwhile stays, and FileExistsError is raised.
    """
    temporary = path.with_name(f"{PREFIX}{os.urandom(6).hex()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            take_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def take_name(temporary: Path, path: Path) -> None:
    """Give a file a name that nobody has: a link is made or it is not, nobody can come between."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as error:  # no hard links on this file system
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        temporary.replace(path)


def write(path: Path, data: bytes | memoryview, *, overwrite: bool = True) -> None:
    """Write `data` to `path` atomically."""
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
