"""`lowlight enhance`: flags in, results out."""

from __future__ import annotations

import contextlib
import glob
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.cli.console import Console, counted, end_as_by_ctrl_c, shown
from lowlight_cli.cli.evidence import evidence_options, offline, read_evidence
from lowlight_cli.cli.options import (
    AutoOr,
    Given,
    Number,
    PathOf,
    Shard,
    Words,
    exposure_option,
    json_option,
    max_pixels_option,
    model_option,
    runner_options,
    shadows_option,
    talk_options,
)
from lowlight_cli.cli.results import Tally, running
from lowlight_cli.cli.watch import watch, watch_options
from lowlight_cli.errors import OptionError, some
from lowlight_cli.stopwatch import OFF, Stopwatch

if TYPE_CHECKING:
    from lowlight_cli.enhancer import Enhancer
    from lowlight_cli.tasks.enhance import EnhanceOptions, Run
    from lowlight_cli.tasks.results import Result

NAMELESS = {
    "save_maps": "names maps after files, and a pipe has no name",
    "suffix": "is added to the name of the input, and a pipe has no name",
    "shard": "chooses files by name, and a pipe has no name",
    "evidence": "tells of files, and a pipe leaves none",
}
"""What makes no sense without a file, and why."""
FORMATS = ["keep", "png", "jpg", "webp", "tiff", "avif"]


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=Given())
@click.option(
    "-o",
    "--out",
    required=True,
    type=PathOf(path_type=Path),
    help="Folder, file, or - for stdout; a name without the suffix of a picture is a folder.",
)
@model_option
@runner_options
@click.option("--scale", type=click.IntRange(1, 2), default=1, show_default=True, help="2: also double the size.")
@click.option(
    "--strength",
    type=Number(0, 1),
    default=1.0,
    show_default=True,
    help="Weight of the network's output; the input has the rest.",
)
@exposure_option("Target brightness (mean luma).")
@shadows_option(
    "auto", "How far shadows are lifted with light from bright parts, 0 to 1. auto: with neid, pictures that have both."
)
@click.option(
    "--tile", type=AutoOr(int, 0), default="auto", show_default=True, help="Tile size in pixels; 0: never tile."
)
@click.option(
    "--batch-size",
    type=AutoOr(int, 1),
    default="auto",
    show_default=True,
    help="How many pictures of equal size run together.",
)
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="keep", show_default=True, help="Format to write."
)
@click.option("--quality", type=click.IntRange(1, 100), help="Quality of JPEG, WebP and AVIF.  [default: 95, 95, 90]")
@click.option(
    "--depth",
    type=click.Choice(["keep", "8", "16"]),
    default="keep",
    show_default=True,
    help="Bits per channel to write.",
)
@click.option("--suffix", type=Words(), default="", help="Text to add to each name, before its extension.")
@click.option("--flatten", is_flag=True, help="Put all outputs into one folder, without subfolders.")
@click.option("--overwrite", is_flag=True, help="Replace existing outputs (never inputs).")
@click.option("--skip-existing", is_flag=True, help="Keep existing outputs and do the rest.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N pictures.")
@click.option(
    "--shard", type=Shard(), default="1/1", help="Only part I of N of the pictures, chosen by name: for batch systems."
)
@max_pixels_option
@click.option(
    "--save-maps",
    type=PathOf(path_type=Path),
    metavar="DIR",
    help="Also write the network's maps, such as illumination, as DIR/<name>-<map>.png.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be written; do nothing.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@watch_options
@evidence_options
@click.option("--profile", is_flag=True, help="Show at the end where the time went, stage by stage.")
@json_option
@talk_options
def command(**flags: Any) -> None:
    """Brighten and clean pictures.

    INPUT is a file, a folder (with everything below it except hidden files), a quoted pattern, or - for stdin. Inputs
    are never changed. If an output exists already, or a file or folder does not, the run stops before any work.

    \b
    Example:
      lowlight enhance photos/ --out bright/
      lowlight enhance night.jpg --out day.png --exposure 0.4
      cat night.jpg | lowlight enhance - --out - > day.jpg

    Exit codes: 0 done, 1 some files failed, 2 usage, 3 no input, 4 model unavailable, 5 device unavailable,
    6 all failed, 130 interrupted.
    """
    options = read_flags(flags)
    received, sent = "-" in flags["inputs"], str(flags["out"]) == "-"
    piped = received or sent
    if piped:
        refuse_piped(flags, received=received, sent=sent)
    if str(flags["save_maps"]) == "-":
        raise OptionError("--save-maps takes no -: maps are several pictures.", "Name a folder.")
    end_as_by_ctrl_c()
    sys.exit((watch if flags["watch"] else pipe if piped else files)(options, flags))


def refuse_piped(flags: dict[str, Any], *, received: bool, sent: bool) -> None:
    """Refuse what a picture from stdin, or one to stdout, cannot be asked for."""
    name = Path(flags["inputs"][0])
    several = len(flags["inputs"]) > 1 or name.is_dir() or (glob.has_magic(str(name)) and not name.exists())
    if several and not flags["watch"]:  # which says itself what it takes
        names, verb = some([*map(shown, flags["inputs"])]), "are" if len(flags["inputs"]) > 1 else "may be"
        raise OptionError(
            f"{'stdout takes' if sent else 'stdin gives'} one picture, and {names} {verb} several.",
            "Name one file, or - alone, as INPUT." if sent else "Name - alone, or files and folders without it.",
        )
    if sent and flags["as_json"]:
        raise OptionError("stdout cannot hold both a picture and JSON.", "Leave out --json, or name a file with --out.")
    if (received and sys.stdin is None) or (sent and sys.stdout is None):
        raise OptionError("stdin or stdout is closed, and a picture must go through it.", "Do not close it.")
    for flag, why in NAMELESS.items():
        if flags[flag] not in (None, "", (1, 1)):
            way = "as INPUT" if received else "with --out"
            raise OptionError(f"--{flag.replace('_', '-')} {why}.", f"Leave it out, or name a file {way}.")


def read_flags(flags: dict[str, Any]) -> EnhanceOptions:
    """The task's options from Click's."""
    from lowlight_cli.jobs import Layout
    from lowlight_cli.runners import RunnerOptions
    from lowlight_cli.settings import Settings
    from lowlight_cli.tasks.enhance import EnhanceOptions

    if flags["overwrite"] and flags["skip_existing"]:
        raise OptionError("--overwrite and --skip-existing contradict each other.", "Leave out one of them.")
    existing = "overwrite" if flags["overwrite"] else "skip" if flags["skip_existing"] else "refuse"
    return EnhanceOptions(
        inputs=flags["inputs"],
        layout=Layout(
            out=flags["out"],
            existing=existing,
            format=flags["format_"],
            **{name: flags[name] for name in ("suffix", "flatten", "shard", "limit")},
        ),
        runner=RunnerOptions(
            weights=Path(flags["weights"]) if flags["weights"] else None,
            progress=sys.stderr.isatty() and not flags["quiet"],
            **{
                name: flags[name]
                for name in ("backend", "device", "precision", "threads", "offline", "scale", "deterministic")
            },
        ),
        settings=Settings(
            depth=flags["depth"] if flags["depth"] == "keep" else int(flags["depth"]),
            **{name: flags[name] for name in ("strength", "exposure", "shadows", "tile")},
        ),
        maps=flags["save_maps"],
        evidence=read_evidence(flags),
        stopwatch=Stopwatch() if flags["profile"] else OFF,
        **{name: flags[name] for name in ("model", "batch_size", "quality", "max_pixels", "fail_fast")},
    )


def files(options: EnhanceOptions, flags: dict[str, Any]) -> int:
    """Enhance files; gives the exit code."""
    from lowlight_cli.picture.extras import to_install
    from lowlight_cli.tasks.enhance import plan_run
    from lowlight_cli.tasks.results import as_json

    run = plan_run(options)
    options.stopwatch.start()
    talk = Console(len(run.jobs), quiet=flags["quiet"], verbose=flags["verbose"])
    with talk as console, offline(options), contextlib.ExitStack() as opened:
        console.say_passed_over(run.passed_over, to_install(run.passed_over))
        if run.empty:
            console.say(f"note: nothing was taken from: {some([*map(shown, run.empty)])}")
        if left := run.witness.not_taken():
            files = some([*map(shown, left)])
            console.say(f"note: hidden files, and kinds that are not read, are left out; the log names them: {files}")
        if run.quality_unused:
            console.say("note: --quality is not used: nothing is written as JPEG, WebP or AVIF")
        idle = flags["dry_run"] or run.idle
        enhancer = None if idle else opened.enter_context(announce(run, console))
        tally = new_tally(run, console, (lambda r: as_json(r, enhancer, options)) if flags["as_json"] else None)
        interrupted = False
        with contextlib.closing(run.planned() if enhancer is None else run.results(enhancer)) as results:
            try:
                for result in results:
                    tally.add(result)
            except KeyboardInterrupt:
                interrupted = True
        for result in run.late:
            tally.add(result)
        left = len(run.jobs) - tally.counts.total()
        return tally.end(left=left, interrupted=interrupted, unended=run.witness.unended)


def new_tally(run: Run, console: Console, line: Callable[[Result], dict[str, Any]] | None) -> Tally:
    """An empty tally of a planned run."""
    options, nothing = run.options, ""
    if options.layout.shard != (1, 1):
        nothing = "part {} of {} of the pictures is empty: nothing to do".format(*options.layout.shard)
    return Tally(
        console,
        line,
        stopwatch=options.stopwatch,
        log=run.witness.log,
        maps_in=options.maps,
        passed_over=dict(sorted(run.passed_over.items())),
        empty=run.empty,
        nothing=nothing,
    )


def announce(run: Run, console: Console) -> Enhancer:
    """Open the model, and say once what really runs."""
    enhancer = run.open()
    console.say(f"{running(run.options.model, enhancer.runner)}, {counted(len(run.jobs), 'picture')}")
    return enhancer


def pipe(options: EnhanceOptions, flags: dict[str, Any]) -> int:
    """One picture from stdin or a file to stdout or, from stdin, to a file; gives the exit code."""
    from lowlight_cli.tasks import pipe as task
    from lowlight_cli.tasks.results import as_json

    with Console(1, quiet=flags["quiet"], verbose=flags["verbose"]) as console:
        result, enhancer = task.plan(options), None
        line = (lambda result: as_json(result, enhancer, options)) if flags["as_json"] else None
        tally = Tally(console, line, stopwatch=options.stopwatch)
        options.stopwatch.start()
        if result.status == "planned" and not flags["dry_run"]:
            with options.stopwatch.stage("wait_pipe"):
                data = task.read(result.source)
            data, result, enhancer = task.run(data, options)
            if data is not None:
                with options.stopwatch.stage("wait_pipe"):
                    write_stdout(data)
        tally.add(result)
        return tally.end()


def write_stdout(data: bytes) -> None:
    """All of it, or an OSError: an unbuffered stdout (python -u) may take less than it is given, without a word."""
    left = memoryview(data)
    while left:
        left = left[sys.stdout.buffer.write(left) or 0 :]
    sys.stdout.buffer.flush()
