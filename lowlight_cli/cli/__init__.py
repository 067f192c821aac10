"""The `lowlight` command: a group whose subcommands are imported only when they run.

`COMMANDS` repeats each command's first help line, because Click would import every command to print the
group's help; a test compares the two. Only this package imports Click; it knows nothing of pixels.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import importlib
import os
import sys
import threading
import time
from pathlib import Path

import click

from lowlight_cli import __version__
from lowlight_cli.cli import console
from lowlight_cli.errors import INTERRUPTED, NO_DEVICE, SOME_FAILED, USAGE, LowlightError, ran_out_of_memory, reason_of

PATIENCE = 3.0
"""Seconds that the threads of an interrupted command have to end."""

COMMANDS = {
    "enhance": "Brighten and clean pictures.",
    "verify": "Check an evidence log: its chain, its files and, with --rerun, its pictures.",
    "report": "Write a readable account of an evidence log.",
    "models": "List, check, fetch and remove models.",
    "synth": "Make pairs of dark and normal pictures from normal photos.",
    "train": "Train a network of one of the papers.",
    "benchmark": "Score models and methods on a data set.",
    "export": "Write the weights of a run as safetensors and ONNX.",
    "doctor": "Check this installation: versions, back ends, devices, cache.",
}


class LazyGroup(click.Group):
    """Subcommand NAME lives in `lowlight_cli.cli.NAME` as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"lowlight_cli.cli.{name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As Click's, with the nearest name for a mistyped one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lowlight")
def group() -> None:
    """Brighten and clean dark pictures.

    \b
    Example:
      lowlight enhance photos/ --out bright/
    """


def main() -> None:
    """Entry point: runs the command and ends with its exit code."""
    if sys.stderr is None:  # closed by the caller (2>&-): the work goes on, unheard
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    # All memory goes with the process: a search for cycles before, as Python's, would be a tenth of a short run.
    atexit.register(gc.freeze)
    console.listen(("SIGINT",), console.interrupt)
    code = run()
    if code == INTERRUPTED:
        console.be_deaf()
        leave_hanging_threads()
    sys.exit(code)


def run() -> int | str | None:
    """Runs the command: turns errors into one message on stderr and an exit code, in this one place."""
    try:
        return group(prog_name="lowlight", standalone_mode=False)
    except SystemExit as exit_:
        return exit_.code
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.message = console.lines(error.message)
        error.show()
        return error.exit_code
    except LowlightError as error:
        tell(f"Error: {error.message}", error.hint)
        return error.exit_code
    except OSError as error:  # but for a broken pipe (`| head`): Click ends on that with 1 and without a word
        remedy = "Check the path, its permissions and the space on the disk."
        # Without a name it is stdout, or the folder that we were started in and that was removed.
        name = error.filename or ("the current folder" if error.errno == errno.ENOENT else "stdout")
        tell(f"Error: {name}: {reason_of(error)}.", remedy)
        give_up_stdout()
        return SOME_FAILED
    except (KeyboardInterrupt, click.Abort):  # Abort is a RuntimeError
        console.be_deaf()
        tell("Interrupted.")
        return INTERRUPTED
    except (MemoryError, ImportError, RuntimeError) as error:
        return end_of(error)


def end_of(error: MemoryError | ImportError | RuntimeError) -> int:
    """The exit code for too little memory, which packages and threads tell in their own ways, and for a package that
    does not load or, of an optional part, is not there; what is neither is a fault of ours, and raised again."""
    if ran_out_of_memory(error):
        tell("Error: There is not enough memory.", "Free some, raise the limit of `ulimit -v`, or use another machine.")
        return SOME_FAILED
    if not isinstance(error, ImportError) or (error.name or "").startswith("lowlight_cli"):
        raise error
    from lowlight_cli.packages import lacking_extra

    if lacks := lacking_extra(error.name or ""):
        tell(f"Error: {lacks[0]} is not installed.", lacks[1])
        return USAGE
    reason = (str(error) or "no reason is given").splitlines()[0].rstrip(".")
    what = f"{error.name or 'A package'} does not load: {reason}."
    tell(f"Error: {what}", "`lowlight doctor` says what is wrong, and how to mend it.")
    return NO_DEVICE


def tell(*lines: str) -> None:
    """An error and its remedy on stderr, if that takes them."""
    with contextlib.suppress(OSError):
        for line in filter(None, lines):
            click.echo(console.lines(line) if line == lines[0] else f"  {console.lines(line)}", err=True)


def leave_hanging_threads() -> None:
    """End now if a thread hangs, as on a dead network share: at its end Python would wait for it without a limit."""
    limit = time.monotonic() + PATIENCE
    threads = [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
    for thread in threads:
        thread.join(max(0.0, limit - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        os._exit(INTERRUPTED)


def give_up_stdout() -> None:
    """What stdout could not take stays in its buffer, and Python's last flush would end with its own exit code."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
