"""`lowlight enhance --watch`: flags, signals and the report of a run that ends only when it is told to."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.choices import PATIENCE, POLL, SETTLE
from lowlight_cli.cli.console import Console, first_then_end, shown
from lowlight_cli.cli.evidence import offline
from lowlight_cli.cli.options import Number, apply
from lowlight_cli.cli.results import Report, running
from lowlight_cli.errors import OptionError, some

if TYPE_CHECKING:
    from lowlight_cli.runners import Runner
    from lowlight_cli.tasks.enhance import EnhanceOptions
    from lowlight_cli.tasks.results import Result
    from lowlight_cli.tasks.watch import Watch

SO_FAR = 600.0
"""Seconds between lines that tell how much was done."""


def with_watch(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A flag that goes with --watch."""
    if value is not None and not ctx.params.get("watch"):
        raise click.BadParameter("it goes with --watch.", ctx, param)
    return value


watch_options = apply(
    [
        click.option(
            "--watch",
            is_flag=True,
            is_eager=True,
            help="Go on: enhance what comes into the folders, until Ctrl-C or SIGTERM. Outputs that exist are skipped.",
        ),
        click.option(
            "--settle",
            type=Number(0),
            callback=with_watch,
            metavar="SECONDS",
            help=f"With --watch: take a file that has not changed for so long.  [default: {SETTLE:g}]",
        ),
        click.option(
            "--poll",
            type=Number(0.05, 3600),
            callback=with_watch,
            metavar="SECONDS",
            help=f"With --watch: look for files so often.  [default: {POLL:g}]",
        ),
    ]
)


def watch(options: EnhanceOptions, flags: dict[str, Any]) -> int:
    """Enhance what comes, until told to stop; gives the exit code."""
    from lowlight_cli.tasks.results import as_json
    from lowlight_cli.tasks.watch import Pace, Watch

    refuse(flags)
    settle = SETTLE if flags["settle"] is None else flags["settle"]
    poll = POLL if flags["poll"] is None else flags["poll"]
    with Console(0, quiet=flags["quiet"], verbose=flags["verbose"]) as console, offline(options):
        pace = Pace(poll=poll, settle=settle, patience=max(PATIENCE, 10 * settle))
        task = Watch(options, pace, lambda text: console.say(text, error=True))
        enhancer = task.open()
        say_begin(task, enhancer.runner, console)
        report = Report(0, console, flags["as_json"], lambda result: as_json(result, enhancer, task.options))
        report.stopwatch, report.maps_in = options.stopwatch, options.maps
        report.log = task.witness.log
        options.stopwatch.start()
        stop = Stop(task)
        with contextlib.closing(task.results(enhancer)) as results:
            try:
                tell(results, report)
            except KeyboardInterrupt:
                stop.number = signal.SIGINT
        for result in task.late:
            report.add(result)
        left = waiting(task) if stop.number is not None else []
        if left:
            console.say(f"not tried, left to the next watch: {some([shown(Path(name)) for name in left])}")
        report.total = report.counts.total() + len(left)
        drained = stop.number is not None and not task.witness.stopped
        return report.end(stop.number == signal.SIGINT, drained=drained, unended=task.witness.unended)


def waiting(task: Watch) -> list[str]:
    """Files that the last look saw, and that were not tried yet."""
    from lowlight_cli.inputs import natural

    seen = [pending for pending in task.pending.values() if pending.look == task.looks and not pending.tries]
    return [pending.seen.path for pending in sorted(seen, key=lambda pending: natural(Path(pending.seen.relative)))]


def refuse(flags: dict[str, Any]) -> None:
    """Flags that a watch cannot follow."""
    reasons = {
        "overwrite": "a watch never writes over an output. Leave it out",
        "dry_run": "what will come is not known. Use it without --watch",
    }
    for name in (name for name in reasons if flags[name]):
        why, remedy = reasons[name].split(". ")
        raise OptionError(f"--watch takes no --{name.replace('_', '-')}: {why}.", f"{remedy}.")
    if "-" in flags["inputs"] or str(flags["out"]) == "-":
        raise OptionError("--watch watches folders, and a pipe is none.", "Name folders as INPUT and --out.")


class Stop:
    """The first signal lets a watch finish what is in work; another one ends it as Ctrl-C does elsewhere."""

    def __init__(self, task: Watch) -> None:
        self.task, self.number = task, None
        first_then_end(self.came)

    def came(self, number: int) -> None:
        """A signal came."""
        self.number = number
        self.task.stop()


def say_begin(task: Watch, runner: Runner, console: Console) -> None:
    """What runs, and what is waited for."""
    console.say(running(task.options.model, runner))
    folders = ", ".join(shown(Path(name)) for name in task.folders.roots)
    console.say(
        f"watching {folders}: a look every {task.pace.poll:g} s, files are taken after {task.pace.settle:g} s without "
        f"change; Ctrl-C or SIGTERM finishes what is being written"
    )


def tell(results: Iterable[Result], report: Report) -> None:
    """Each result as it comes, and now and then how many there were."""
    told = time.monotonic()
    for result in results:
        report.add(result)
        if time.monotonic() - told > SO_FAR:
            told = time.monotonic()
            report.console.say(", ".join(f"{count} {status}" for status, count in report.counts.items()))
