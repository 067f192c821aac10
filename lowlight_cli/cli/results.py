"""What became of each file, and of all: as JSON on stdout, in words on stderr."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.cli.console import Console, shown
from lowlight_cli.cli.profile import lines, profiled
from lowlight_cli.errors import ALL_FAILED, DONE, INTERRUPTED, SOME_FAILED, LowlightError
from lowlight_cli.stopwatch import OFF, Stopwatch

if TYPE_CHECKING:
    from lowlight_cli.runners import Runner
    from lowlight_cli.tasks.results import Result


class Report:
    """Tells what became of each file, as JSON on stdout and in words on stderr, and counts."""

    def __init__(self, total: int, console: Console, as_json: bool, line: Callable[[Result], dict[str, Any]]) -> None:
        self.total, self.console, self.as_json, self.line = total, console, as_json, line
        self.counts: Counter[str] = Counter()
        self.passed_over: dict[str, int] = {}
        self.empty: list[str] = []
        self.nothing = ""
        """Why there is no file at all, if that is known."""
        self.maps, self.maps_in = 0, None
        self.stopwatch, self.log = OFF, None
        self.started = time.monotonic()

    def add(self, result: Result) -> None:
        """One file more is finished."""
        self.counts[result.status] += 1
        self.maps += len(result.maps)
        if self.as_json:
            print_json(self.line(result))
        show(result, self.console)
        self.console.advance()

    def end(self, interrupted: bool = False, *, drained: bool = False, unended: LowlightError | None = None) -> int:
        """Say how it went; gives the exit code, 0 for a watch that ended as it was told to. `unended`: why a log could
        not be closed."""
        counts, seconds, left = self.counts, time.monotonic() - self.started, self.total - self.counts.total()
        code = DONE if drained and not interrupted else exit_code(counts, self.total, interrupted)
        if unended is not None:
            self.console.say(f"FAILED {unended.message} {unended.hint}", error=True)
            code = code or SOME_FAILED
        profile = profiled(self.stopwatch) if isinstance(self.stopwatch, Stopwatch) else None
        if self.as_json:
            total = {name: counts[name] for name in ("done", "failed", "skipped", "planned")}
            total |= {
                "not_tried": left,
                "passed_over": self.passed_over,
                "empty_inputs": self.empty,
                "seconds": round(seconds, 3),
                "exit_code": code,
            }
            total |= {"profile": profile} if profile else {}
            if (log := self.log) is not None:
                total["evidence"] = {"log": str(log.path), "records": log.number, "head": log.head}
                total["evidence"]["error"] = unended.message if unended is not None else None
            print_json({"summary": total})
        parts = [f"{count} {status}" for status, count in counts.items()] + ([f"{left} not tried"] if left else [])
        text = f"{', '.join(parts) or 'nothing done'} in {seconds:.1f} s"
        if self.nothing and not parts:
            text = self.nothing
        if self.maps:
            text += f"; {self.maps} map{'s' * (self.maps != 1)} in {shown(self.maps_in)}"
        self.console.say(f"Interrupted: {text}" if interrupted else text, error=interrupted or bool(counts["failed"]))
        for line in lines(profile) if profile else ():
            self.console.say(line)
        if self.log is not None and self.log.number:
            head = f"{self.log.number} records, head {self.log.head}; keep a copy of this line elsewhere"
            self.console.say(f"{shown(self.log.path)}: {head}")
        return code


def show(result: Result, console: Console) -> None:
    """One file: failures and notices always, the rest when verbose."""
    if result.status == "failed":
        console.say(f"FAILED {shown(result.source)}: {result.error} {result.hint or ''}".rstrip(), error=True)
    elif console.verbose or result.status == "planned":
        size = f" {result.width}x{result.height}" if result.width else ""
        tile = f", tiles of {result.tile}" if result.tile else ""
        aim = f", exposure {result.exposure:.3g}" if result.exposure is not None else ""
        lifted = f", shadows {result.shadows:.3g}" if result.shadows else ""
        seconds = f", {result.seconds:.2f} s" if result.status == "done" else ""
        maps = "".join(f", {shown(path)}" for path in result.maps)
        how = f"{maps}{size}{aim}{lifted}{tile}{seconds}"
        console.say(f"{result.status} {shown(result.source)} -> {shown(result.target)}{how}")
    if console.verbose and result.development:
        console.say(f"note {shown(result.source)}: {result.development}")
    for notice in result.notices:
        console.say(f"note {shown(result.source)}: {notice}")


def running(model: str, runner: Runner) -> str:
    """What really runs."""
    weights = f", weights {runner.sha256[:12]}" if runner.sha256 else ""
    return f"{model}: {runner.backend} on {runner.device}, {runner.precision}{weights}"


def exit_code(counts: Counter[str], total: int, interrupted: bool) -> int:
    """Of the whole run; skipped files count as done."""
    if interrupted:
        return INTERRUPTED
    if not counts["failed"]:
        return DONE
    return ALL_FAILED if counts["failed"] == total else SOME_FAILED


def print_json(document: dict[str, Any]) -> None:
    """One line on stdout, at once: a script may be reading. ASCII, as names may hold bytes that are no text."""
    click.echo(json.dumps(document))
