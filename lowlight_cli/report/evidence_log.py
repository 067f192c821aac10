"""An evidence log as a report reads it: its lines, its digests, and fields that may hold anything or be missing.

Whoever wrote the log may be hostile: a field of another kind than it should be counts as missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowlight_cli import evidence, weights
from lowlight_cli.errors import LogError
from lowlight_cli.evidence_chain import Line, Record

LONGEST = 2000
"""Characters of a field that are shown."""


@dataclass(frozen=True)
class ReadLog:
    """A log at one moment."""

    path: Path
    sha256: str
    lines: tuple[Line, ...]
    """Those that hold a record."""

    @property
    def head(self) -> str:
        """The digest of the last record."""
        return self.lines[-1].digest

    def of(self, kind: str) -> list[Line]:
        """The lines of one kind."""
        return [line for line in self.lines if line.record["kind"] == kind]

    def refuse_change(self) -> None:
        """LogError if the file is not the one any more that was read."""
        if weights.sha256_of(self.path) != self.sha256:
            raise LogError(f"{self.path} was written to while the report was made.", "Wait until the run has ended.")


def read(path: Path) -> ReadLog:
    """The log, broken or not, but with a record in it; see `evidence.read` for other errors."""
    lines = tuple(line for line in evidence.read(path) if line.record is not None)
    if not lines:
        raise LogError(f"{path} holds no whole record.", "There is nothing to report; see what `lowlight verify` says.")
    return ReadLog(path, weights.sha256_of(path), lines)


def value(record: Record | None, *keys: str) -> Any:
    """What lies at the end of the keys, or None."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def text(record: Record | None, *keys: str) -> str:
    """A string, cut where it is longer than anybody reads; empty for none."""
    found = value(record, *keys)
    if not isinstance(found, str):
        return ""
    return found if len(found) <= LONGEST else f"{found[:LONGEST]}… ({len(found)} characters)"


def whole(record: Record | None, *keys: str) -> int | None:
    """A whole number."""
    found = value(record, *keys)
    return found if type(found) is int and abs(found) < 10**18 else None


def number(record: Record | None, *keys: str) -> float | None:
    """A finite number."""
    found = value(record, *keys)
    if type(found) is int:
        return float(found) if abs(found) < 10**18 else None
    return found if isinstance(found, float) and math.isfinite(found) else None


def table(record: Record | None, *keys: str) -> Record:
    """A mapping; empty for none."""
    found = value(record, *keys)
    return found if isinstance(found, Mapping) else {}


def items(record: Record | None, *keys: str) -> Sequence[Any]:
    """A list; empty for none."""
    found = value(record, *keys)
    return found if isinstance(found, list) else []


def texts(record: Record | None, *keys: str) -> list[str]:
    """The strings of a list."""
    return [text({"": item}, "") for item in items(record, *keys) if isinstance(item, str)]
