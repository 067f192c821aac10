"""What became of each file, and of all: as JSON on stdout, in words on stderr."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.cli.console import Console, counted, shown
from lowlight_cli.cli.profile import lines, profiled
from lowlight_cli.errors import DONE, SOME_FAILED, LowlightError, exit_code
from lowlight_cli.stopwatch import OFF, Stopwatch, Untimed

if TYPE_CHECKING:
    from lowlight_cli.evidence import Log
    from lowlight_cli.runners import Runner
    from lowlight_cli.tasks.results import Result


class Tally:
    """Tells what became of each file, as JSON on stdout and in words on stderr, and counts."""

    def __init__(
        self,
        console: Console,
        line: Callable[[Result], dict[str, Any]] | None,
        *,
        stopwatch: Untimed = OFF,
        log: Log | None = None,
        maps_in: Path | None = None,
        passed_over: Mapping[str, int] = MappingProxyType({}),
        empty: Sequence[str] = (),
        nothing: str = "",
    ) -> None:
        """`line` makes a result the line to print as JSON; None: none is printed. `nothing` says why there is no file
        at all, if that is known."""
        self.console, self.line, self.stopwatch, self.log, self.maps_in = console, line, stopwatch, log, maps_in
        self.passed_over, self.empty, self.nothing = passed_over, empty, nothing
        self.counts: Counter[str] = Counter()
        self.maps = 0
        self.started = time.monotonic()

    def add(self, result: Result) -> None:
        """One file more is finished."""
        self.counts[result.status] += 1
        self.maps += len(result.maps)
        if self.line is not None:
            print_json(self.line(result))
        show(result, self.console)
        self.console.advance()

    def end(
        self, *, left: int = 0, interrupted: bool = False, drained: bool = False, unended: LowlightError | None = None
    ) -> int:
        """Say how it went, `left` files not tried; gives the exit code, 0 for a watch that ended as it was told to.
        `unended`: why a log could not be closed."""
        seconds, failed = time.monotonic() - self.started, self.counts["failed"]
        code = DONE if drained else exit_code(failed, self.counts.total() - failed + left, interrupted=interrupted)
        if unended is not None:
            self.console.say(f"FAILED {unended.message} {unended.hint}", error=True)
            code = code or SOME_FAILED
        profile = profiled(self.stopwatch) if isinstance(self.stopwatch, Stopwatch) else None
        if self.line is not None:
            rest = {"seconds": round(seconds, 3), "exit_code": code} | ({"profile": profile} if profile else {})
            print_json({"summary": self.summary(left) | rest | self.evidence(unended)})
        text = self.in_words(left, seconds)
        self.console.say(f"Interrupted: {text}" if interrupted else text, error=interrupted)
        for line in lines(profile) if profile else ():
            self.console.say(line)
        if self.log is not None and self.log.number:
            head = f"{self.log.number} records, head {self.log.head}; keep a copy of this line elsewhere"
            self.console.say(f"{shown(self.log.path)}: {head}")
        return code

    def summary(self, left: int) -> dict[str, Any]:
        """The counts as JSON has them."""
        counts = {name: self.counts[name] for name in ("done", "failed", "skipped", "planned")}
        return {**counts, "not_tried": left, "passed_over": dict(self.passed_over), "empty_inputs": [*self.empty]}

    def evidence(self, unended: LowlightError | None) -> dict[str, Any]:
        """The log as JSON has it, if one is kept."""
        if self.log is None:
            return {}
        error = None if unended is None else unended.message
        state = {"log": str(self.log.path), "records": self.log.number, "head": self.log.head, "error": error}
        return {"evidence": state}

    def in_words(self, left: int, seconds: float) -> str:
        """The counts in a line."""
        parts = [f"{count} {status}" for status, count in self.counts.items()] + ([f"{left} not tried"] if left else [])
        maps = f"; {counted(self.maps, 'map')} in {shown(self.maps_in)}" if self.maps else ""
        if self.nothing and not parts:
            return self.nothing
        return f"{', '.join(parts) or 'nothing done'} in {seconds:.1f} s{maps}"


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


def print_json(document: dict[str, Any]) -> None:
    """One line on stdout, at once: a script may be reading. ASCII, as names may hold bytes that are no text."""
    click.echo(json.dumps(document))
