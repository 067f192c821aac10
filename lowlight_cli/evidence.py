"""The evidence log: one JSON object a line, each with the sha256 of the line before. Standard library only.

Who changes, removes or moves a line breaks the chain; who has the digest of the last line from elsewhere (the chain's
head) sees it even if all later lines were made again. Lines are only ever appended, under a lock, and synced; what a
power cut left of a line stays where it is, and the next record says so. The digest is that of the bytes of the line
without its end, so that `tail -n 1 LOG | tr -d '\\n' | sha256sum` gives the head without lowlight.

Beside the log stands `LOG.head` with the head after the last run began or ended: it shows that whole runs were cut off
the end, unless it was changed too.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lowlight_cli import atomic, locks
from lowlight_cli.errors import FULL, LogError, OptionError, reason_of
from lowlight_cli.evidence_chain import FIRST, SCHEMA, Line, Record, chain, read, sha256


def now() -> str:
    """The time in UTC, to the microsecond."""
    return written_time(datetime.now(UTC))


def written_time(moment: datetime) -> str:
    """A moment as it stands in records."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Log:
    """A log to append to, by any number of threads and processes. A log that is broken is not extended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number, self.head, self._at = 0, FIRST, 0
        """Of the last record that this object wrote or read, and where its line ends."""
        self._lock = threading.Lock()

    def records(self) -> Iterator[Record]:
        """All records while the chain is whole: where it breaks, or lacks that of the head beside it, an OptionError.
        None where there is no log yet."""
        told = read_head(self.path)  # first: others may append and seal meanwhile
        torn, last = None, None
        empty = not self.path.exists() or (self.path.is_file() and not self.path.stat().st_size)
        for line in () if empty else read(self.path):
            told = "" if line.digest == told else told
            if line.record is None:
                torn = line if line.problems else torn
                continue
            if torn or line.problems:
                remedy = "Keep it as it is, look at it with `lowlight verify`, and begin a new log."
                raise OptionError(self._broken(torn or line), remedy)
            last = line
            yield line.record
        if told:
            remedy = "Keep both as they are, look at them with `lowlight verify`, and begin a new log."
            raise OptionError(f"{self.path} was cut or replaced: it has no record with the head beside it.", remedy)
        if last is not None and last.end <= self.path.stat().st_size:
            self.number, self.head, self._at = last.number, last.digest, last.end

    def _broken(self, line: Line) -> str:
        return f"{self.path} is broken at record {line.number}: {line.problems[0]}"

    def append(self, fields: Record) -> Record:
        """Write one record, and only then return: it is on the disk. LogError where it could not be."""
        with self._lock, self._open() as descriptor:
            torn = self._catch_up(descriptor)
            chain = {"lowlight_evidence": SCHEMA, "record": self.number + 1, "previous": self.head, "time": now()}
            told = [left.told for left in torn]
            record = chain | ({"torn": told[0] if len(told) == 1 else told} if told else {}) | dict(fields)
            line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii")
            before = os.fstat(descriptor).st_size
            try:
                _write(descriptor, line + b"\n")
            except OSError:
                with contextlib.suppress(OSError):  # an append-only file keeps it, as a power cut would leave it
                    os.ftruncate(descriptor, before)
                raise
            self._at, self.number, self.head = os.fstat(descriptor).st_size, self.number + 1, sha256(line)
        return record

    def seal(self) -> None:
        """Write the head beside the log; nothing where there is no record."""
        path = head_path(self.path)
        with self._lock, self._open() as descriptor:
            self._catch_up(descriptor)
            if not self.number:
                return
            try:
                atomic.write(path, f"{self.head}  {self.number}\n".encode("ascii"))
            except OSError as error:
                raise unwritten(path, error) from error

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """The file, locked, to read and to append to; what the system refuses is a LogError."""
        try:
            with _locked(self.path) as descriptor:
                yield descriptor
        except OSError as error:
            raise unwritten(self.path, error) from error

    def _catch_up(self, descriptor: int) -> list[Line]:
        """Read what others wrote since; gives what stands behind the last record: lines that were never finished.

        The last line gets an end where it lacks one.
        """
        size, begun = os.fstat(descriptor).st_size, self._at
        if size < begun:
            raise LogError(f"{self.path} was cut or replaced while a run wrote to it.", "Keep it for inquiry.")
        if size == begun:
            return []
        if _last_byte(descriptor) != b"\n":
            _write(descriptor, b"\n")
        torn: list[Line] = []
        os.lseek(descriptor, begun, os.SEEK_SET)
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            for line in chain(stream, self.number, self.head):
                if line.record is None:
                    torn.append(line)
                    continue
                if bad := [each for each in (*torn, line) if each.problems]:
                    raise LogError(self._broken(bad[0]), "It was changed while a run wrote to it: keep it for inquiry.")
                self.number, self.head, self._at = line.number, line.digest, begun + line.end
                torn = []
        return torn


def unwritten(path: Path, error: OSError) -> LogError:
    """The error for what the system refuses of a log, or its head."""
    remedy = "Free some space." if error.errno in FULL else "Check the path, permissions and the disk."
    return LogError(f"{path} cannot be written: {reason_of(error)}.", remedy)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """A descriptor of the file, which is made if it is not there; nobody else has one of these at the same time."""
    fresh = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        locks.lock(descriptor, wait=True)
        if fresh:
            atomic.sync_folder(path.parent)
        yield descriptor
    finally:
        os.close(descriptor)  # and with it the lock


def _last_byte(descriptor: int) -> bytes:
    """The last byte of the file."""
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1)


def _write(descriptor: int, data: bytes) -> None:
    """Append all of it, and wait until it is on the disk."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def head_path(log: Path) -> Path:
    """Where the head of a log is kept."""
    return log.with_name(f"{log.name}.head")


def read_head(log: Path) -> str:
    """The head that stands beside a log; empty where there is none, or something else."""
    path = head_path(log)
    if not path.is_file() or path.stat().st_size > 200:
        return ""
    found = re.fullmatch(rb"([0-9a-f]{64})  \d+\n", path.read_bytes())
    return found[1].decode() if found else ""
