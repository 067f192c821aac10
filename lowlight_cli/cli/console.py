"""Talk on stderr: a progress bar on a terminal, plain lines otherwise. Data goes to stdout, elsewhere."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType, TracebackType

import click

from lowlight_cli.printable import printable

PLAIN_EVERY = 10.0
"""Seconds between plain progress lines."""

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that end a run."""
AGAIN = 0.5
"""Seconds after which a signal is another one."""
SHORTLY = 0.05
"""Seconds until an interrupted import is looked at again."""


def shown(path: Path | str) -> str:
    """A path or text as it may be printed, see `printable`."""
    return printable(str(path))


def counted(count: int, noun: str) -> str:
    """1 picture, 2 pictures."""
    return f"{count} {noun}{'s' * (count != 1)}"


def lines(text: str) -> str:
    """A text of some lines as it may be printed. Those behind the first are set in: a name may hold line breaks, and
    what it forges must not look like a line of ours."""
    first, *others = (shown(line) for line in text.rstrip("\n").split("\n"))
    return "\n".join((first, *(line if line.startswith("  ") else f"  {line}" for line in others)))


def end_as_by_ctrl_c() -> None:
    """From now on SIGTERM (a batch system) and SIGHUP (a lost line) end a run as Ctrl-C does: nothing half-written
    stays."""
    listen(("SIGTERM", "SIGHUP"), interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """The handler that ends a run. Within an import it comes again shortly: C++ that imports Python code takes a
    KeyboardInterrupt there for a broken package, or aborts the process."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    if frame is None:
        raise KeyboardInterrupt
    if not any(isinstance(thread, Again) and thread.waiting for thread in threading.enumerate()):
        Again(number).start()


class Again(threading.Thread):
    """Sends a signal to the main thread once more, shortly."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self.number, self.waiting = number, True

    def run(self) -> None:
        """Wait, and send it."""
        time.sleep(SHORTLY)
        self.waiting = False  # before it comes: the handler looks at it
        send(self.number)


def be_deaf() -> None:
    """Ignore signals that end a run: it ends, and another one would only spoil what it says and its exit code."""
    listen(ENDING, signal.SIG_IGN)


def first_then_end(first: Callable[[int], None]) -> None:
    """From now on the first signal that ends a run calls `first`, and another one ends it as Ctrl-C does elsewhere.
    What comes within `AGAIN` seconds is the same one: `timeout` sends its own twice, to the process and its group."""
    came: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if not came:
            came.append(time.monotonic())
            first(number)
        elif time.monotonic() - came[0] > AGAIN:
            interrupt(number, frame)

    listen(ENDING, handle)


def send(number: int) -> None:
    """A signal to the main thread, waking it where it waits; on Windows that cannot be."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        signal.raise_signal(number)


def listen(names: Iterable[str], handler: Callable[[int, FrameType | None], None]) -> None:
    """Handle signals, but for those that whoever started us has us ignore: `nohup` does so with SIGHUP, and a script
    with the SIGINT of what it runs in the background."""
    for name in names:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


class Console:
    """Lines and progress of one command on stderr."""

    def __init__(self, total: int, *, quiet: bool = False, verbose: bool = False) -> None:
        self.total, self.quiet, self.verbose = total, quiet, verbose
        self.count, self.started, self.last = 0, time.monotonic(), time.monotonic()
        self.bar = None

    def __enter__(self) -> Console:
        if sys.stderr.isatty() and not self.quiet and self.total > 1:
            self.bar = progress_bar()
            self.bar.start()
            self.task = self.bar.add_task("enhance", total=self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def say(self, text: str, *, error: bool = False) -> None:
        """A line; errors also when quiet."""
        if self.quiet and not error:
            return
        if self.bar is not None:
            self.bar.console.print(lines(text), markup=False, highlight=False, soft_wrap=True)
            return
        with contextlib.suppress(OSError):  # a full disk under the log is no reason to stop the work
            click.echo(lines(text), err=True)

    def say_passed_over(self, kinds: Mapping[str, int], remedy: str = "") -> None:
        """What lies among the inputs and is not read, by suffix, if anything does."""
        if kinds:
            named = ", ".join(f"{count} {suffix}" for suffix, count in sorted(kinds.items()))
            self.say(f"note: passed over, as these kinds are not read: {named}{f'. {remedy}' if remedy else ''}")

    def advance(self) -> None:
        """One file more is finished."""
        self.count += 1
        if self.bar is not None:
            self.bar.advance(self.task)
        elif time.monotonic() - self.last > PLAIN_EVERY and self.count < self.total:
            self.last = time.monotonic()
            rate = self.count / (self.last - self.started)
            left = (self.total - self.count) / rate
            self.say(f"{self.count} of {self.total}, {rate:.2f} files/s, {left:.0f} s left")


def progress_bar():
    """Bar, count, rate and time left."""
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Files per second."""

        def render(self, task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.2f} files/s" if speed else "")

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    return Progress(*columns, console=RichConsole(stderr=True), transient=True)
