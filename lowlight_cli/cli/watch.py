"""`lowlight enhance --watch`: flags, signals and the tally of a run that ends only when it is told to."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.choices import PATIENCE, POLL, SETTLE
from lowlight_cli.cli.console import Console, first_then_end, shown
from lowlight_cli.cli.evidence import offline
from lowlight_cli.cli.options import Number, apply
from lowlight_cli.cli.results import Tally, running
from lowlight_cli.errors import OptionError, some

if TYPE_CHECKING:
    from lowlight_cli.enhancer import Enhancer
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
            help="Keep running: enhance what comes into the folders until Ctrl-C or SIGTERM; skip existing outputs.",
        ),
        click.option(
            "--settle",
            type=Number(0),
            callback=with_watch,
            metavar="SECONDS",
            help=f"With --watch: take a file that has not changed for this many seconds.  [default: {SETTLE:g}]",
        ),
        click.option(
            "--poll",
            type=Number(0.05, 3600),
            callback=with_watch,
            metavar="SECONDS",
            help=f"With --watch: look for files every SECONDS.  [default: {POLL:g}]",
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
    pace = Pace(poll=poll, settle=settle, patience=max(PATIENCE, 10 * settle))
    with Console(0, quiet=flags["quiet"], verbose=flags["verbose"]) as console, offline(options):
        stop = Stop()
        task = stop.task = Watch(options, pace, lambda text: console.say(text, error=True))
        with task.open() as enhancer:
            say_begin(task, enhancer.runner, console)
            line = (lambda result: as_json(result, enhancer, task.options)) if flags["as_json"] else None
            tally = Tally(console, line, stopwatch=options.stopwatch, log=task.witness.log, maps_in=options.maps)
            options.stopwatch.start()
            return run(task, enhancer, tally, stop)


def run(task: Watch, enhancer: Enhancer, tally: Tally, stop: Stop) -> int:
    """Tell each result until a signal, an error or the limit ends the watch; gives the exit code."""
    if stop.number is not None:
        task.stop()
    with contextlib.closing(task.results(enhancer)) as results:
        try:
            tell(results, tally)
        except KeyboardInterrupt:
            stop.number = signal.SIGINT
    for result in task.late:
        tally.add(result)
    tally.passed_over = Counter(sorted(task.folders.passed.unread.values()))
    left = task.waiting() if stop.number is not None else []
    if left:
        tally.console.say(f"not tried, left to the next watch: {some([*map(shown, left)])}")
    interrupted = stop.number == signal.SIGINT
    drained = stop.number is not None and not interrupted and not task.witness.stopped
    return tally.end(left=len(left), interrupted=interrupted, drained=drained, unended=task.witness.unended)


def refuse(flags: dict[str, Any]) -> None:
    """Flags that a watch cannot follow."""
    reasons = {
        "overwrite": ("a watch never writes over an output.", "Leave it out."),
        "dry_run": ("what will come is not known.", "Use it without --watch."),
    }
    for name, (why, remedy) in reasons.items():
        if flags[name]:
            raise OptionError(f"--watch takes no --{name.replace('_', '-')}: {why}", remedy)
    if "-" in flags["inputs"] or str(flags["out"]) == "-":
        raise OptionError("--watch watches folders, and a pipe is not a folder.", "Name folders as INPUT and --out.")


class Stop:
    """The first signal lets a watch finish what is in work; another one ends it as Ctrl-C does elsewhere."""

    def __init__(self) -> None:
        self.task: Watch | None = None
        self.number: int | None = None
        first_then_end(self.came)

    def came(self, number: int) -> None:
        """A signal came."""
        self.number = number
        if self.task is not None:
            self.task.stop()


def say_begin(task: Watch, runner: Runner, console: Console) -> None:
    """What runs, and what is waited for."""
    console.say(running(task.options.model, runner))
    folders = ", ".join(map(shown, task.folders.roots))
    console.say(
        f"watching {folders}: a look every {task.pace.poll:g} s, files are taken after {task.pace.settle:g} s without "
        f"change; Ctrl-C or SIGTERM finishes what is being written"
    )


def tell(results: Iterable[Result], tally: Tally) -> None:
    """Each result as it comes, and now and then how many there were."""
    told = time.monotonic()
    for result in results:
        tally.add(result)
        if time.monotonic() - told > SO_FAR:
            told = time.monotonic()
            tally.console.say(", ".join(f"{count} {status}" for status, count in tally.counts.items()))
