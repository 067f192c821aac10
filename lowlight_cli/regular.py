"""Files that a user names, read whole: regular ones of a size that can be. Standard library only."""

from __future__ import annotations

import errno
from pathlib import Path


def refuse_others(path: Path) -> None:
    """An OSError for a pipe or a device: those may never end, and opening one may already wait. Folders, and what is
    not there, are left to whoever opens them."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file; an OSError for any other, and for more than `most` of them."""
    refuse_others(path)
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return data
