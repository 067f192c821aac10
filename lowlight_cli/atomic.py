"""Files that appear whole or not at all. Standard library only."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".lowlight-"
"""Temporary files start with this, so that inputs skip them and a person can tell whose they are."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; on success it is synced and takes the name of `path`.

    On any error, Ctrl-C included, the temporary file is removed and what stood at `path` is untouched.
    """
    temporary = path.with_name(f"{PREFIX}{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
