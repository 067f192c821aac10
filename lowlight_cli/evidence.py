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
import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from lowlight_cli import atomic
from lowlight_cli.errors import LogError, NoInput, OptionError

SCHEMA = 1
FIRST = "0" * 64
"""What stands in place of a digest before the first record."""
MAGIC = b'{"lowlight_evidence":1,'
"""How every line begins."""
LONGEST = 16 << 20
"""Bytes of a line: what is longer is no record, and is not kept in memory."""
CLOCK = timedelta(seconds=2)
"""So much may the clocks of machines that share a log differ without a word."""

Record = Mapping[str, Any]


@dataclass
class Line:
    """One line of a log: a record, or what is left of one (`record` None)."""

    number: int
    """The record's place in the chain; of a torn line that of the record before it."""
    digest: str
    size: int
    record: dict[str, Any] | None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def sha256(data: bytes | memoryview) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()


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
        self.number, self.head = 0, FIRST
        """Of the last record that this object wrote or read."""
        self._lock, self._at = threading.Lock(), 0

    def records(self) -> Iterator[Record]:
        """All records while the chain is whole: where it breaks, an OptionError. None where there is no log yet."""
        if not self.path.exists() or (self.path.is_file() and not self.path.stat().st_size):
            return
        torn, size = None, 0
        for line in read(self.path):
            if torn or (line.problems and line.record is not None):
                bad, remedy = torn or line, "Keep it as it is, look at it with `lowlight verify`, and begin a new log."
                raise OptionError(f"{self.path} is broken at record {bad.number}: {bad.problems[0]}", remedy)
            size += line.size + 1
            if line.record is not None:
                self.number, self.head = line.number, line.digest
                yield line.record
            elif line.problems:
                torn = line
        if not torn and size <= self.path.stat().st_size:
            self._at = size

    def append(self, fields: Record) -> Record:
        """Write one record, and only then return: it is on the disk. LogError where it could not be."""
        with self._lock, self._open() as descriptor:
            torn = self._catch_up(descriptor)
            chain = {"lowlight_evidence": SCHEMA, "record": self.number + 1, "previous": self.head, "time": now()}
            record = chain | ({"torn": {"bytes": len(torn), "sha256": sha256(torn)}} if torn else {}) | dict(fields)
            line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii")
            before = os.fstat(descriptor).st_size
            try:
                _write(descriptor, b"\n" * bool(torn) + line + b"\n")
            except OSError:
                with contextlib.suppress(OSError):  # an append-only file keeps it, as a power cut would leave it
                    os.ftruncate(descriptor, before)
                raise
            self._at, self.number, self.head = os.fstat(descriptor).st_size, self.number + 1, sha256(line)
        return record

    def seal(self) -> None:
        """Write the head beside the log."""
        with self._lock, self._open() as descriptor:
            self._catch_up(descriptor)
            atomic.write(head_path(self.path), f"{self.head}  {self.number}\n".encode("ascii"))

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """The file, locked, to read and to append to; what the system refuses is a LogError."""
        try:
            with _locked(self.path) as descriptor:
                yield descriptor
        except OSError as error:
            remedy = "Free some space." if error.errno == errno.ENOSPC else "Check the path, permissions and the disk."
            raise LogError(f"{self.path} cannot be written: {error.strerror or error}.", remedy) from error

    def _catch_up(self, descriptor: int) -> bytes:
        """Read what others wrote since; gives what is left of a last line that was never finished."""
        size = os.fstat(descriptor).st_size
        if size < self._at:
            raise LogError(f"{self.path} was cut or replaced while a run wrote to it.", "Keep it for inquiry.")
        if size == self._at:
            return b""
        os.lseek(descriptor, self._at, os.SEEK_SET)
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            for line in _chain(stream, self.number, self.head):
                if line.record is not None:
                    self.number, self.head = line.number, line.digest
        if line.record is None:
            return _tail(descriptor, line.size)
        if _tail(descriptor, 1) != b"\n":
            _write(descriptor, b"\n")  # of this line only the end was missing
        return b""


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """A descriptor of the file, which is made if it is not there; nobody else has one of these at the same time."""
    fresh = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        _lock(descriptor)
        if fresh:
            atomic.sync_folder(path.parent)
        yield descriptor
    finally:
        os.close(descriptor)  # and with it the lock


def _lock(descriptor: int) -> None:
    """Wait until nobody else has the file locked."""
    try:
        import fcntl
    except ImportError:  # Windows: a byte far behind the end stands for the file
        import msvcrt

        os.lseek(descriptor, 2**40, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _tail(descriptor: int, size: int) -> bytes:
    """The last bytes of the file."""
    os.lseek(descriptor, -size, os.SEEK_END)
    return os.read(descriptor, size)


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


def read(path: Path) -> Iterator[Line]:
    """Every line of a log with what is wrong with it. NoInput, or OptionError for a file that is no evidence log."""
    try:
        if path.exists() and not path.is_file():
            raise OptionError(f"{path} is not a regular file.", "Name the file given to --evidence.")
        with path.open("rb") as stream:
            first = stream.readline(LONGEST)
            begun = first.strip() and MAGIC.startswith(first.strip())  # it was torn
            if not first.startswith(MAGIC) and not begun:
                raise OptionError(f"{path} is no evidence log of lowlight.", "Name the file given to --evidence.")
            stream.seek(0)
            yield from _chain(stream)
    except FileNotFoundError as error:
        raise NoInput(f"There is no log {path}.", "Check the path.") from error
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror or error}.", "Check the permissions.") from error


def _chain(stream: BinaryIO, number: int = 0, digest: str = FIRST) -> Iterator[Line]:
    """The lines of a stream that goes on behind record `number` with that digest."""
    held = Line(number, digest, 0, {})
    """The last record: whether it is sound shows in the next."""
    torn: list[Line] = []
    while raw := stream.readline(LONGEST):
        raw = raw.removesuffix(b"\n")
        line = Line(held.number, sha256(raw), len(raw), _parsed(raw))
        if line.record is None:
            torn.append(line)
            continue
        line.number = line.record["record"]
        _judge(held, torn, line)
        _share(held.record, line.record)
        if held.size:
            yield held
        yield from torn
        held, torn = line, []
    if held.size:
        yield held
    for line in torn:
        line.problems.append("after it the log ends with a line that is not whole: it was cut off.")
        yield line


def _share(before: Record, record: dict[str, Any]) -> None:
    """Keep what stands in every record, such as the method, in memory once."""
    for name in record:
        if isinstance(record[name], dict) and record[name] == before.get(name):
            record[name] = before[name]


def _judge(held: Line, torn: list[Line], line: Line) -> None:
    """Add what is wrong between one record, the torn lines after it, and the next record."""
    if line.record["previous"] != held.digest:
        if line.number == held.number + 1:
            culprit, text = held, "it, or the record after it, was changed after it was written."
            if not held.size:
                culprit, text = line, "it does not begin a log: what came before it is missing."
            culprit.problems.append(text)
        elif line.number > held.number + 1:
            line.problems.append(f"{line.number - held.number - 1} missing before it, after record {held.number}.")
        else:
            line.problems.append(f"it stands after record {held.number}: records were moved or put in.")
    elif line.number != held.number + 1:
        line.problems.append(f"it should be record {held.number + 1}: its number was changed.")
    told = line.record.get("torn")
    for fragment in torn:
        if told != {"bytes": fragment.size, "sha256": fragment.digest}:
            fragment.problems.append("after it stands a line that is no whole record.")
        else:
            fragment.notes.append("a line after it was cut off when it was written, as in a power failure.")
    if told is not None and not torn:
        line.problems.append("it tells of a torn line before it that is not there any more.")
    if held.size and (back := _gap(held.record, line.record)):
        line.notes.append(f"its time is {back:.0f} s before that of the record before it: a clock was set, or differs.")


def _gap(before: Record, after: Record) -> float:
    """Seconds by which time went back between two records; 0 where it did not."""
    back = datetime.fromisoformat(before["time"]) - datetime.fromisoformat(after["time"])
    return back.total_seconds() if back > CLOCK else 0


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """The record in a line; None for whatever is none."""
    try:
        record = json.loads(raw)
        sound = record["lowlight_evidence"] == SCHEMA and record["record"] >= 1
        names = all(isinstance(record[name], str) for name in ("previous", "kind", "run", "time"))
        zone = datetime.fromisoformat(record["time"]).tzinfo
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if sound and names and zone and type(record["record"]) is int else None
