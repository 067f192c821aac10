"""Option bundles and parameter types that commands share. Each option is spelled once."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lowlight_cli.choices import BACKENDS, DEVICES, EXPOSURES, MAX_PIXELS, MODEL, MOST_THREADS, NUMBERED, PRECISIONS
from lowlight_cli.errors import OptionError

Command = Callable[..., Any]


class AutoOr(click.ParamType):
    """`auto`, or a number from a range; `auto` becomes None. A `word` stands for itself."""

    def __init__(self, kind: type[int] | type[float], low: float, high: float | None = None, word: str = "") -> None:
        self.kind, self.low, self.high, self.words = kind, low, high, ["auto", word] if word else ["auto"]
        self.name = "|".join([*self.words, "N" if kind is int else f"{low:g}..{high:g}"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """None, or the number."""
        word = value.lower() if isinstance(value, str) else value  # --help shows words in capitals
        if word is None or word == "auto":
            return None
        if word in self.words:
            return word
        try:
            number = self.kind(value)
        except ValueError:
            self.fail(f"{value!r} is neither {', '.join(map(repr, self.words))} nor a number.", param, ctx)
        if not self.low <= number <= (number if self.high is None else self.high):
            bounds = f"at least {self.low:g}" if self.high is None else f"between {self.low:g} and {self.high:g}"
            self.fail(f"{value} is not {bounds}.", param, ctx)
        return number


class Number(click.FloatRange):
    """A number from a range, which neither nan nor, where it has no upper end, inf belongs to."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As Click's."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number of its range.", param, ctx)
        return number


class Words(click.types.StringParamType):
    """Any text but the name of another option of the command, whose own value was forgotten."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As Click's."""
        if ctx is not None and any(value in other.opts for other in ctx.command.params):
            self.fail(f"{value} is the next option: the text is missing.", param, ctx)
        return super().convert(value, param, ctx)


class Given(click.Path):
    """A path; nothing is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As Click's."""
        if value == "":
            self.fail("the path is empty; is a variable of your script unset?", param, ctx)
        return super().convert(value, param, ctx)


class PathOf(Given):
    """A path as an option's value. What looks like the next option is none: its own value was forgotten.

    - stands for a stream where an option has one; ./- is a file.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As Click's."""
        if isinstance(value, str) and value.startswith("-") and value != "-":
            self.fail(f"{value} looks like an option. For a path of that name write ./{value}", param, ctx)
        path = super().convert(value, param, ctx)
        return path.absolute() if path == Path("-") and str(value) != "-" else path


class Shard(click.ParamType):
    """I/N, part I of N."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(I, N)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            self.fail(f"{value!r} is not a part such as 2/4, from 1/N to N/N.", param, ctx)
        return int(match[1]), int(match[2])


class Device(click.ParamType):
    """One of `DEVICES`, or cuda:N."""

    name = "auto|cpu|cuda|cuda:N|mps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word itself."""
        if value not in DEVICES and not NUMBERED.fullmatch(value):
            self.fail(f"{value!r} is none of {self.name.replace('|', ', ')}.", param, ctx)
        return value


def apply(options: list[Command]) -> Command:
    """One decorator of several, in the order in which --help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """For the shell's completion."""
    from lowlight_cli import manifest

    return [name for name in manifest.models() if name.startswith(incomplete)]


model_option = click.option(
    "-m",
    "--model",
    default=MODEL,
    show_default=True,
    shell_complete=complete_model,
    help="Name of a model; see `lowlight models list`.",
)
runner_options = apply(
    [
        click.option("--weights", type=PathOf(dir_okay=False), help="Your own weights: a .safetensors or .pt file."),
        click.option(
            "--backend",
            type=click.Choice(BACKENDS),
            default="auto",
            show_default=True,
            help="auto: torch if there is a CUDA device, else ONNX Runtime on the CPU. onnx without --device runs on "
            "the CPU.",
        ),
        click.option(
            "--device",
            type=Device(),
            default="auto",
            show_default=True,
            help="Device to run on; there is no silent fallback.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", *PRECISIONS]),
            default="auto",
            show_default=True,
            help="auto: fp32 on the CPU and with --deterministic; fp16 on CUDA (bf16 with --weights). int8: fast on "
            "newer CPUs.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(0, MOST_THREADS),
            default=0,
            help="CPU threads of the network; 0: chosen automatically.",
        ),
        click.option("--offline", is_flag=True, help="Use no network; weights must be on this disk."),
    ]
)


def exposure_option(help_: str, word: str = "") -> Command:
    """--exposure, with what it means to a command, and a word besides auto."""
    kind = AutoOr(float, *EXPOSURES, word)
    return click.option("--exposure", type=kind, default="auto", show_default=True, help=help_)


def shadows_option(default: str, help_: str) -> Command:
    """--shadows, with what it means to a command."""
    return click.option("--shadows", type=AutoOr(float, 0, 1), default=default, show_default=True, help=help_)


def through_stdout(_: click.Context, param: click.Parameter, value: bool) -> bool:
    """The value of a flag for which something goes to stdout, which must be open."""
    if value:
        need_stdout(f"what {param.opts[0]} asks for")
    return value


def need_stdout(what: str) -> None:
    """An OptionError if stdout, through which `what` goes, is closed."""
    if sys.stdout is None:
        raise OptionError(f"stdout is closed, and {what} must go through it.", "Do not close it.")


json_option = click.option("--json", "as_json", is_flag=True, callback=through_stdout, help="Write JSON to stdout.")
max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=MAX_PIXELS,
    show_default=True,
    help="Refuse pictures with more pixels.",
)
log_options = apply(
    [
        click.option("--head", metavar="SHA256", help="Digest of the last record, as noted elsewhere."),
        click.option(
            "--moved",
            nargs=2,
            multiple=True,
            metavar="OLD NEW",
            help="Files that the log has under OLD are now under NEW.",
        ),
    ]
)
talk_options = apply(
    [
        click.option("-q", "--quiet", is_flag=True, help="Write only errors to stderr."),
        click.option("-v", "--verbose", is_flag=True, help="Write a line to stderr for every file."),
    ]
)
