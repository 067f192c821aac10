"""The readable account of an evidence log, as HTML or PDF."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lowlight_cli import atomic
from lowlight_cli.errors import NoInput, OptionError, OutputExists
from lowlight_cli.report import evidence, pdf
from lowlight_cli.report.evidence import Account, ReadLog
from lowlight_cli.report.evidence_log import items, text
from lowlight_cli.tasks.verify import VerifyOptions, place, verify

SUFFIXES = (".html", ".htm", ".pdf")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What to report, and where to."""

    log: Path
    out: Path
    pictures: tuple[str, ...] = ()
    """Names or patterns; none means all."""
    overwrite: bool = False
    head: str | None = None
    """Digest of the last record, as it was noted elsewhere."""
    moved: tuple[tuple[str, str], ...] = ()
    """(old, new) beginnings of paths."""
    made: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Summary:
    """What was written."""

    out: str
    log: str
    log_sha256: str
    head: str
    records: int
    enhanced: int
    failed: int
    listed: int
    shown: int
    verified: bool
    problems: tuple[str, ...]


def run(options: ReportOptions, *, announce: Callable[[str], None] = str) -> Summary:
    """Check the log, and write its report, whole or not at all; an error before anything is written."""
    printing = options.out.suffix.lower() == ".pdf"
    refuse_target(options)
    if printing:
        pdf.browser()
    log = evidence.read(options.log)
    refuse_files_of_log(options.out, log)
    announce(f"checking {len(log.lines)} records")
    checks = verify(VerifyOptions(log=options.log, head=options.head, moved=options.moved))
    made = evidence.account(
        log,
        checks,
        options.made,
        only=options.pictures,
        form="jpg" if printing else "webp",
        place=lambda path: place(path, options.moved),
        given_head=options.head and options.head.strip().lower(),
    )
    log.refuse_change()
    write(options, pdf.printed(made.html) if printing else made.html.encode("utf-8", "backslashreplace"))
    return summary(options, log, made)


def refuse_target(options: ReportOptions) -> None:
    """Errors for a path that cannot become a report."""
    out = options.out
    if out.suffix.lower() not in SUFFIXES:
        raise OptionError(f"--out {out}: a report is an .html or a .pdf file.", "Choose such a name.")
    if out.is_dir():
        raise OptionError(f"--out {out} is a folder.", "Name a file in it.")
    if not out.parent.is_dir():
        raise NoInput(f"There is no folder {out.parent}.", "Make it first, or choose another --out.")
    if os.path.lexists(out) and not options.overwrite:
        raise OutputExists(f"{out} exists already.", "Choose another --out, or use --overwrite.")


def refuse_files_of_log(out: Path, log: ReadLog) -> None:
    """OptionError if the report would take the place of the log, or of a file that it names."""
    named = [str(log.path)]
    for line in log.of("picture"):
        named += [text(line.record, part, "path") for part in ("input", "output", "baseline")]
        named += [text(told, "path") for told in items(line.record, "maps") if isinstance(told, dict)]
    own = os.path.realpath(out)
    for path in filter(None, named):
        with contextlib.suppress(ValueError):  # no name that a file can have
            if os.path.realpath(path) == own:
                raise OptionError(f"--out {out} is the log, or a file that the log names.", "Choose another --out.")


def write(options: ReportOptions, data: bytes) -> None:
    """The file, whole or not at all."""
    try:
        atomic.write(options.out, data, overwrite=options.overwrite)
    except FileExistsError as error:
        raise OutputExists(f"{options.out} has appeared meanwhile.", "It was left alone; use --overwrite.") from error


def summary(options: ReportOptions, log: ReadLog, made: Account) -> Summary:
    """The account in figures."""
    return Summary(
        out=str(options.out),
        log=str(options.log),
        log_sha256=log.sha256,
        head=log.head,
        records=len(log.lines),
        enhanced=made.done,
        failed=made.failed,
        listed=made.listed,
        shown=made.shown,
        verified=made.verified,
        problems=made.problems,
    )
