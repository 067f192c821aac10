"""Bytes of a file on a disk or a network share that may be slow, gone, or in the middle of a change."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from lowlight_cli.errors import PictureError
from lowlight_cli.picture import decoding, kinds

Work = Callable[[Callable[[], None]], Any]
"""Is given what it must call now and then, as long as something comes."""

STALL = 60.0
"""Seconds without a byte after which a file is given up: a share that is gone may never answer."""
CHUNK = 1 << 20
"""Bytes that must come in that time."""
HEADER = 5.0
"""Seconds for a header, which is only of use to plan: the main thread waits for it."""
BLOCK = 1 << 16


class Reader(threading.Thread):
    """A thread that does the work of another one which must not hang: what it asks, one at a time.

    No signal and no exception ends a read that hangs in the system, and Ctrl-C reaches no main thread that is in one.
    """

    def __init__(self) -> None:
        super().__init__(name="read", daemon=True)
        self.asked: SimpleQueue[Work | None] = SimpleQueue()
        self.answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self.alive()

    def alive(self) -> None:
        """Something has come."""
        self.last = time.monotonic()

    def run(self) -> None:
        """Answer until there is nobody left to ask."""
        while (work := self.asked.get()) is not None:
            try:
                answer = (work(self.alive), None)
            except BaseException as error:  # noqa: BLE001 - raised again by `patiently`
                answer = (None, error)
            self.answers.put(answer)
            del work, answer

    def answer(self, work: Work, seconds: float) -> tuple[Any, BaseException | None]:
        """What the work gives or raises; TimeoutError when it has shown no life for some seconds."""
        self.alive()
        self.asked.put(work)
        while True:
            try:
                return self.answers.get(timeout=max(0.0, self.last + seconds - time.monotonic()))
            except queue.Empty:
                if time.monotonic() - self.last >= seconds:
                    raise TimeoutError from None


class Owned:
    """The reader of one thread, which ends with it."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.reader.start()

    def __del__(self) -> None:
        self.reader.asked.put(None)


_HERE = threading.local()


def patiently(work: Work, seconds: float) -> Any:
    """What `work` gives or raises; PictureError when it shows no life for some seconds, and then it is left behind."""
    owned: Owned | None = _HERE.__dict__.pop("owned", None)
    if owned is None or not owned.reader.is_alive():  # not alive: this process was forked
        try:
            owned = Owned()
        except RuntimeError:  # no memory for a thread
            return work(lambda: None)
    try:
        value, error = owned.reader.answer(work, seconds)
    except TimeoutError:
        raise PictureError(
            f"Nothing came from the disk or the network share for {seconds:g} s.",
            "Check that it answers, and run again with --skip-existing.",
        ) from None
    _HERE.owned = owned
    if error is not None:
        raise error
    return value


def content(path: Path) -> bytes:
    """All bytes of a regular file. PictureError for a folder, a pipe, what changes while it is read, what stalls."""
    return patiently(lambda alive: _whole(path, alive), STALL)


def _whole(path: Path, alive: Callable[[], None]) -> bytes:
    """All bytes; `alive` is called with every piece."""
    if path.is_dir():
        raise PictureError("This is a folder, not a picture.", "Name the pictures in it.")
    with _opened(path) as file:
        before, data = os.fstat(file.fileno()), io.BytesIO()
        while data.tell() <= before.st_size and (chunk := file.read(CHUNK)):
            data.write(chunk)
            alive()
        after, size = os.fstat(file.fileno()), data.tell()
    if size != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise PictureError(
            f"The file changed while it was read, from {before.st_size} bytes to {max(size, after.st_size)}.",
            "Wait until it is complete, and run again with --skip-existing.",
        )
    return data.getvalue()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, unbuffered. A pipe or a device may never end, and opening one may already wait."""
    if path.exists() and not path.is_file():
        raise _irregular()
    # Should it become a pipe after that look, nobody waits for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _irregular()
        yield file


def _irregular() -> PictureError:
    return PictureError("This is not a regular file.", "Copy its content to a file first.")


def header_pixels(path: Path) -> int:
    """Pixels of a picture file as its header tells."""
    return patiently(lambda alive: _header_pixels(path, alive), HEADER)


def _header_pixels(path: Path, alive: Callable[[], None]) -> int:
    """Pillow is asked again with every part of the file that it misses: under its lock nobody may wait for a disk."""
    with _opened(path) as file:
        parts, end = Parts(file), time.monotonic() + HEADER
        parts.fetch([0])
        kind = kinds.sniff(parts.blocks[0])
        if count := decoding.COUNTERS.get(kind):
            return count(path)
        factory, _ = decoding.plugin(kind)
        while time.monotonic() < end:  # it begins anew for every part: a hostile header would take hours
            alive()
            parts.seek(0)
            try:
                with decoding.quiet_pillow(), factory(parts, "") as image:
                    return image.width * image.height
            except Missing as missing:
                parts.fetch(missing.blocks)
    raise PictureError("Its header is too long.", "Copy it again from its source.")


class Missing(BaseException):
    """Blocks that have not been read yet; no plugin of Pillow may take it for a damaged file."""

    def __init__(self, blocks: Iterable[int]) -> None:
        super().__init__()
        self.blocks = [*blocks]


class Parts:
    """A file of which some blocks are known; to read others raises Missing. As much of a file as Pillow asks for."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.at, self.size = file, 0, os.fstat(file.fileno()).st_size
        self.blocks: dict[int, bytes] = {}

    def fetch(self, blocks: Iterable[int]) -> None:
        """Read blocks."""
        for block in blocks:
            self.file.seek(block * BLOCK)
            self.blocks[block] = self.file.read(BLOCK) or b""

    def read(self, size: int = -1) -> bytes:
        """Bytes from the current place."""
        end = self.size if size is None or size < 0 else min(self.size, self.at + size)
        if end <= self.at:
            return b""
        first, last = self.at // BLOCK, (end - 1) // BLOCK
        if missing := [block for block in range(first, last + 1) if block not in self.blocks]:
            raise Missing(missing)
        data = b"".join(self.blocks[block] for block in range(first, last + 1))
        data, self.at = data[self.at - first * BLOCK : end - first * BLOCK], end
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self.at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence])
        return self.at

    def tell(self) -> int:
        """The current place."""
        return self.at
