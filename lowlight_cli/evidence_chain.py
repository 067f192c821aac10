"""Reading the lines of an evidence log, and what is wrong with each. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from lowlight_cli.errors import NoInput, OptionError, reason_of

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
    end: int = 0
    """Bytes of the stream up to here and with the line's end, which the last one may lack."""

    @property
    def told(self) -> dict[str, Any]:
        """How the next record tells of it where it is torn."""
        return {"bytes": self.size, "sha256": self.digest}


def sha256(data: bytes | memoryview) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()


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
            yield from chain(stream)
    except FileNotFoundError as error:
        raise NoInput(f"There is no log {path}.", "Check the path.") from error
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {reason_of(error)}.", "Check the permissions.") from error


def chain(stream: BinaryIO, number: int = 0, digest: str = FIRST) -> Iterator[Line]:
    """The lines of a stream that goes on behind record `number` with that digest."""
    held = Line(number, digest, 0, {})
    """The last record: whether it is sound shows in the next."""
    torn: list[Line] = []
    end = 0
    while raw := stream.readline(LONGEST):
        end += len(raw)
        open_end = not raw.endswith(b"\n")
        raw = raw.removesuffix(b"\n")
        line = Line(held.number, sha256(raw), len(raw), _parsed(raw), end=end + open_end)
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
    told = line.record.get("torn", [])
    told = told if isinstance(told, list) else [told]
    for place, fragment in enumerate(torn):
        if told[place : place + 1] != [fragment.told]:
            fragment.problems.append("after it stands a line that is no whole record.")
        else:
            fragment.notes.append("a line after it was cut off when it was written, as in a power failure.")
    if len(told) > len(torn):
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
