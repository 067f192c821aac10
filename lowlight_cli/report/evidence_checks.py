"""What a verification found, as a report tells it. The verification itself is a task, and hands its checks in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lowlight_cli.evidence_chain import Line


class Check(Protocol):
    """What the verification says of one record, or of the log as a whole; see `tasks.verify.Checked`."""

    record: int
    kind: str
    status: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    source: str | None


@dataclass(frozen=True)
class Finding:
    """A problem or a note of the verification."""

    where: str
    """The record, or the log as a whole."""
    source: str
    text: str


@dataclass(frozen=True)
class Checks:
    """What the verification found."""

    all: tuple[Check, ...]
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    by_record: Mapping[tuple[int, str], Sequence[Check]]
    """By number and kind; records of a log that was tampered with may share both."""

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Checks:
        """Problems and notes, each for itself."""
        found = tuple(checks)
        by_record: dict[tuple[int, str], list[Check]] = {}
        for check in found:
            by_record.setdefault((check.record, check.kind), []).append(check)
        problems = tuple(finding(check, told) for check in found for told in check.problems)
        notes = tuple(finding(check, told) for check in found for told in check.notes)
        return cls(found, problems, notes, by_record)

    @property
    def records(self) -> int:
        """How many were checked."""
        return sum(check.kind not in ("log", "torn") for check in self.all)

    @property
    def failed(self) -> bool:
        """Whether anything is not as the log says."""
        return any(check.status == "failed" for check in self.all)

    def on(self, line: Line) -> Sequence[Check]:
        """What was found of one record."""
        return self.by_record.get((line.number, line.record["kind"]), ())


def finding(check: Check, told: str) -> Finding:
    """One sentence, and what it is about."""
    where = "The log as a whole" if check.kind == "log" else f"Record {check.record} ({check.kind})"
    return Finding(where, check.source or "", told)
