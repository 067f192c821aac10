"""Check an evidence log: its chain, its runs, every file that it tells of, and by making every picture again.

What is found of one record never stops the others.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from lowlight_cli import evidence, weights
from lowlight_cli.choices import TOLERANCE
from lowlight_cli.errors import OptionError, reason_of
from lowlight_cli.evidence_chain import Line, Record
from lowlight_cli.tasks import records
from lowlight_cli.tasks.rerun import Rerun
from lowlight_cli.tasks.results import as_lowlight_error


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """What `lowlight verify` can be told."""

    log: Path
    head: str | None = None
    """Digest of the last record, as it was noted elsewhere."""
    rerun: bool = False
    tolerance: float = TOLERANCE
    """Largest difference of a pixel, in levels of 255, where versions or machine are not those of the log."""
    moved: tuple[tuple[str, str], ...] = ()
    """(old, new) beginnings of paths."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found of one record; of the log as a whole `kind` is `log`, and `record` its last one."""

    record: int
    kind: str
    status: Literal["ok", "note", "failed"]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    source: str | None = None
    target: str | None = None
    difference: float | None = None
    """Of the output, made again, to the one that is there: of a pixel at most, in levels of 255; None: not made."""
    head: str | None = None
    """Of the log as a whole: the digest of its last record."""


def verify(options: VerifyOptions) -> Iterator[Checked]:
    """Every record as it is checked, then the log as a whole."""
    check_moved(options.moved)
    if options.head is not None and not re.fullmatch("[0-9a-fA-F]{64}", options.head.strip()):
        raise OptionError(f"--head {options.head} is no head.", "A head has 64 hexadecimal digits.")
    lines = list(evidence.read(options.log))
    sound = {id(line): line for line in lines if line.record is not None and not flawed(line)}
    judge_runs(sound.values())
    pictures = [line for line in sound.values() if line.record["kind"] == "picture"]
    latest = {file["path"]: (line.number, file["sha256"]) for line in pictures for file in records.outputs(line.record)}
    with Rerun(options.tolerance) if options.rerun else nullcontext() as rerun:
        for line in lines:
            yield checked(line, options, latest, rerun) if id(line) in sound else unchecked(line)
    yield log_checked(lines, options)


def flawed(line: Line) -> bool:
    """Whether a record is none of lowlight's; then that is a problem of its line."""
    flaw = records.flaw(line.record)
    line.problems += [flaw] if flaw else []
    return bool(flaw)


def judge_runs(lines: Collection[Line]) -> None:
    """Every run begins and ends, and holds as many pictures as its end says."""
    starts = {line.record["run"]: line for line in lines if line.record["kind"] == "start"}
    ends = {line.record["run"]: line for line in lines if line.record["kind"] == "end"}
    tried = Counter(line.record["run"] for line in lines if line.record["kind"] == "picture")
    for line in lines:
        if line.record["run"] not in starts:
            line.problems.append("its run does not begin in this log: records before it are missing.")
    for run, end in ends.items():
        said = sum(count for count in end.record["counts"].values() if isinstance(count, int))
        if said != tried[run]:
            end.problems.append(f"it says that {said} pictures were tried, and the log tells of {tried[run]}.")
    last = max((line.number for line in starts.values()), default=0)
    for run, start in starts.items():
        if run not in ends and start.number < last:
            start.notes.append("this run has no end: it was cut short, and a later one went on.")
        elif run not in ends:
            text = "this run has no end: it is at work, was killed (go on with --skip-existing), or the log was cut."
            start.problems.append(text)


def checked(line: Line, options: VerifyOptions, latest: Mapping[str, tuple[int, str]], rerun: Rerun | None) -> Checked:
    """One record."""
    record, difference = line.record, None
    facts: dict[str, Any] = {}
    if record["kind"] == "picture":
        try:
            facts = {"source": record["input"]["path"], "target": (record["output"] or {}).get("path")}
            files = judge_files(line, options, latest)
            if rerun is not None and files and record["output"]:
                difference = rerun.judge(line, files)
        except Exception as error:  # noqa: BLE001 - the boundary of one record, which may hold anything
            line.problems.append(f"it cannot be checked: {as_lowlight_error(error)}")
    return Checked(record=line.number, kind=record["kind"], difference=difference, **facts, **found(line))


def unchecked(line: Line) -> Checked:
    """A line that tells of nothing that could be compared."""
    return Checked(record=line.number, kind="torn" if line.record is None else line.record["kind"], **found(line))


def found(line: Line) -> dict[str, Any]:
    """The verdict on a line."""
    status = "failed" if line.problems else "note" if line.notes else "ok"
    return {"status": status, "problems": tuple(line.problems), "notes": tuple(line.notes)}


def judge_files(line: Line, options: VerifyOptions, latest: Mapping[str, tuple[int, str]]) -> dict[str, Path]:
    """Compare every file with its record; those that are as they were, by their path in the record."""
    record, sound = line.record, {}
    source = record["input"]
    if record["status"] == "done" and source["sha256"] != source["sha256_after"]:
        line.problems.append("it says that the input changed during the work, and calls the picture done.")
    files = [("input", source)] if source["sha256"] else []
    for what, file in [*files, *(("output", file) for file in records.outputs(record))]:
        path = place(file["path"], options.moved)
        number, digest = latest[file["path"]] if what == "output" else (line.number, "")
        if number != line.number and digest == file["sha256"]:
            line.notes.append(f"{path} was made again, with the same bytes, by record {number}.")
        elif number != line.number:  # lowlight replaces nothing: somebody took the first one away
            line.problems.append(f"the output {path} is gone: record {number} tells of other bytes under its name.")
        elif problem := difference(path, file):
            # What failed may be mended: nothing rests on it.
            remarks = line.problems if record["status"] == "done" or what == "output" else line.notes
            remarks.append(f"the {what} {path} {problem}")
        else:
            sound[file["path"]] = path
    return sound


def place(path: str, moved: Sequence[tuple[str, str]]) -> Path:
    """Where a file of the log lies now."""
    for old, new in moved:
        if Path(path).is_relative_to(old):
            return Path(new) / Path(path).relative_to(old)
    return Path(path)


def difference(path: Path, file: Record) -> str:
    """What is wrong with a file; empty: nothing."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            return "is not a regular file."
        size, digest = path.stat().st_size, weights.sha256_of(path)
    except OSError as error:
        return f"cannot be read: {reason_of(error)}."
    except UnicodeEncodeError:
        return f"has a name that {sys.getfilesystemencoding()} cannot spell: check with the locale of the run (LC_ALL)."
    if digest == file["sha256"]:
        return ""
    return f"was changed: {size} bytes, sha256 {digest}; the log has {file['bytes']} bytes, sha256 {file['sha256']}."


def log_checked(lines: Sequence[Line], options: VerifyOptions) -> Checked:
    """The log's end: nothing shows in the chain that was cut off whole, but heads that stand elsewhere tell."""
    whole = [line for line in lines if line.record is not None]
    last = Line(whole[-1].number, whole[-1].digest, 0, {}) if whole else Line(0, evidence.FIRST, 0, {})
    digests = {line.digest: line.number for line in whole}
    if options.head is not None:
        judge_head(last, options.head.strip().lower(), "the head that was given", digests)
    kept = evidence.head_path(options.log)
    if head := evidence.read_head(options.log):
        judge_head(last, head, f"the head in {kept}", digests)
    elif kept.exists():
        last.problems.append(f"{kept} is not the head of a log.")
    elif options.head is None:
        last.notes.append("no head stands beside it, and none was given: whether its end is there cannot be told.")
    return Checked(record=last.number, kind="log", head=last.digest, **found(last))


def judge_head(last: Line, head: str, what: str, digests: Mapping[str, int]) -> None:
    """Compare a head that was noted at some time with the log."""
    if head not in digests:
        last.problems.append(f"{what} is that of no record: the end of the log was cut off or changed.")
    elif digests[head] != last.number:
        last.notes.append(f"{what} is that of record {digests[head]}: {last.number - digests[head]} came after it.")


def check_moved(moved: Sequence[tuple[str, str]]) -> None:
    """Old beginnings are absolute, as paths in the log are."""
    for old, _ in moved:
        if not Path(old).is_absolute():
            raise OptionError(f"--moved {old} is not absolute, as paths in a log are.", "Give the whole path.")
