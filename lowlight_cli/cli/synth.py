"""`lowlight synth`: flags in, pairs out."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.choices import CAMERA, PRESETS
from lowlight_cli.cli.console import Console, counted, end_as_by_ctrl_c, shown
from lowlight_cli.cli.options import Given, PathOf, json_option, max_pixels_option, talk_options
from lowlight_cli.errors import exit_code

if TYPE_CHECKING:
    from lowlight_cli.tasks.synth import Result, Synth

MOST = 10_000_000
"""Pairs: all are planned before the first is made."""


class Range(click.ParamType):
    """LOW:HIGH, or one number for both."""

    name = "LOW:HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """(low, high)."""
        if isinstance(value, tuple):
            return value
        try:
            low, *high = (float(part) for part in value.split(":"))
        except ValueError:
            self.fail(f"{value!r} is not LOW:HIGH, two numbers such as 1.1:2.", param, ctx)
        if len(high) > 1:
            self.fail(f"{value!r} has more than two numbers.", param, ctx)
        return low, high[0] if high else low


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...", type=Given())
@click.option("-o", "--out", required=True, type=PathOf(path_type=Path), help="Folder for low/ and high/.")
@click.option("--preset", type=click.Choice(PRESETS), default=CAMERA, show_default=True, help="See above.")
@click.option(
    "--count",
    type=click.IntRange(1, MOST),
    help="Number of pairs, besides those of --test; fewer where photos cannot be read.  [default: one of each photo]",
)
@click.option(
    "--test",
    type=click.IntRange(0, MOST),
    default=0,
    help="Number of further pairs, in test/, from photos used for nothing else.",
)
@click.option(
    "--crop", type=click.IntRange(0), default=0, help="Side of a random square of each photo; 0: the whole photo."
)
@click.option("--gamma", type=Range(), help="paper: exponent of the gamma curve.  [default: 1.1:2]")
@click.option("--gain", type=Range(), help="paper: factor of brightness.  [default: 0:1]")
@click.option(
    "--noise", type=Range(), help="Variance of noise.  [default: paper 0.01:0.05; else 1e-4:8e-3, of photons]"
)
@click.option("--stops", type=Range(), help="camera, night: stops of underexposure.  [default: 0.5:6.5; night 1.5:6.5]")
@click.option("--balance", type=Range(), help="camera, night: factor of the white-balance error.  [default: 0.92:1.08]")
@click.option("--tone", type=Range(), help="camera, night: strength of the S-shaped tone curve.  [default: 0:1]")
@click.option(
    "--smoothing", type=Range(), help="camera, night: blur of colour in pixels, in half of all pairs.  [default: 0:3]"
)
@click.option("--quality", type=Range(), help="camera, night: JPEG quality, in half of all pairs.  [default: 70:98]")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of all random numbers: same seed, same bytes.",
)
@click.option("--depth", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Bits per channel.")
@click.option("--workers", type=click.IntRange(0), default=0, help="Number of processes; 0: one per core.")
@max_pixels_option
@click.option("--resume", is_flag=True, help="Continue where an earlier run ended.")
@json_option
@talk_options
def command(**flags: Any) -> None:
    """Make pairs of dark and normal pictures from normal photos.

    Writes low/ and high/ with equal names, and synth.jsonl with every random parameter. Presets: paper (gamma, gain
    and white noise, as for BA-GAN), camera (an underexposed photo: sensor noise, mosaic, white balance, JPEG), night
    (the same under lamps, against the light, or with a vignette).

    \b
    Example:
      lowlight synth photos/ --out pairs/ --preset night --count 1000 --crop 256
      lowlight synth DIV2K/ --out ba-gan/ --preset paper --crop 100 \\
        --count 30744 --test 1080

    Exit codes: 0 done, 1 some photos failed, 2 usage, 3 no input, 6 all failed, 130 interrupted (continue with
    --resume).
    """
    from lowlight_cli.data import darken
    from lowlight_cli.machine import cores
    from lowlight_cli.tasks.synth import Synth, SynthOptions

    end_as_by_ctrl_c()
    names = dict.fromkeys(name for preset in darken.PRESETS.values() for name in preset.ranges)
    options = SynthOptions(
        inputs=flags["photos"],
        depth=int(flags["depth"]),
        workers=flags["workers"] or cores(),
        ranges={name: flags[name] for name in names if flags[name] is not None},
        **{name: flags[name] for name in ("out", "preset", "count", "test", "crop", "seed", "resume", "max_pixels")},
    )
    run = Synth(options)
    with Console(len(run.tasks), quiet=flags["quiet"], verbose=flags["verbose"]) as console:
        code = make(run, console, flags["as_json"])
    sys.exit(code)


def make(run: Synth, console: Console, as_json: bool) -> int:
    """Make the pairs and tell of it; gives the exit code."""
    console.say_passed_over(run.passed_over)
    console.say(f"{run.options.preset}: {counted(run.total, 'pair')} of {counted(len(run.tasks), 'photo')}")
    kept, failed, interrupted, started = len(run.records), 0, False, time.monotonic()
    with contextlib.closing(run.results()) as results:
        try:
            for result in results:
                failed += result.error is not None
                show(result, console, as_json)
        except KeyboardInterrupt:
            interrupted = True
    made, seconds = run.count() - kept, time.monotonic() - started
    code = exit_code(failed, made + kept, interrupted=interrupted)
    if as_json:
        total = {"pairs": made, "failed": failed, "seconds": round(seconds, 3), "exit_code": code}
        click.echo(json.dumps({"summary": total}))
    there = f", {kept} {'was' if kept == 1 else 'were'} there" if kept else ""
    text = f"{counted(made, 'pair')} made{there}, {counted(failed, 'photo')} failed in {seconds:.1f} s"
    if failed and not interrupted and (short := run.short()):
        text = f"{text}; {short} are there"
    text = f"Interrupted: {text}; --resume goes on" if interrupted else text
    console.say(text, error=interrupted)
    return code


def show(result: Result, console: Console, as_json: bool) -> None:
    """What became of one photo."""
    if as_json:
        click.echo(json.dumps({**vars(result), "source": str(result.source)}))
    if result.error is not None:
        console.say(f"FAILED {shown(result.source)}: {result.error} {result.hint or ''}".rstrip(), error=True)
    console.advance()
