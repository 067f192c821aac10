"""Files of one JSON line an entry that grow at their end, such as a killed run goes on with. Standard library only."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from typing import Any


def append(descriptor: int, line: str) -> None:
    """Add a line in one call, on a line of its own even where a killed run or a full disk left half of one.

    The file is open to be read and appended to, unbuffered. OSError where not all of the line could be written.
    """
    end = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, max(end - 1, 0), os.SEEK_SET)
    torn = os.read(descriptor, 1) not in (b"", b"\n")
    data = b"\n" * torn + line.encode("ascii") + b"\n"
    if os.write(descriptor, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read(data: bytes) -> Iterator[dict[str, Any]]:
    """The tables in the bytes of such a file, one by one; a line that holds none, as a killed run, a power cut or a
    broken disk leaves it, is passed over."""
    for line in data.split(b"\n"):
        try:
            entry = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry
