"""`lowlight benchmark`: flags in, a table out."""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.cli.console import Console, counted, end_as_by_ctrl_c, shown
from lowlight_cli.cli.options import (
    PathOf,
    complete_model,
    exposure_option,
    json_option,
    max_pixels_option,
    need_stdout,
    runner_options,
    shadows_option,
    talk_options,
)
from lowlight_cli.errors import OptionError, PictureError, exit_code, reason_of

if TYPE_CHECKING:
    from lowlight_cli.tasks.benchmark import Benchmark, BenchmarkOptions

SUMMARY, MARKDOWN, PER_IMAGE, PAGE = "summary.json", "summary.md", "per_image.csv", "report.html"


@click.command()
@click.option("--dataset", required=True, help="LOL, LSRW, DICM, ...: see above; pairs: your own low/ and high/.")
@click.option(
    "--root",
    type=PathOf(path_type=Path),
    help="Folder of the data sets.  [default: $LOWLIGHT_DATA, else data in lowlight's own folder]",
)
@click.option("--split", default="test", show_default=True, help="Part of the set to score.")
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    shell_complete=complete_model,
    help="Model to score; repeat for several; all: every one there is.",
)
@click.option("--images", multiple=True, metavar="[NAME=]DIR", help="Score pictures that another tool made.")
@exposure_option("Target brightness for models that take one; truth: that of each ground truth.", "truth")
@shadows_option("0", "As for enhance, whose default is auto; 0: none are lifted.")
@click.option(
    "--metric", "metrics", multiple=True, help="Names, separated by commas; all: every metric that the set allows."
)
@click.option("--limit", type=click.IntRange(1), help="Only the first N pictures of the set.")
@max_pixels_option
@click.option("--results", type=PathOf(path_type=Path), help="Folder for the summary, rows, pictures and report.")
@click.option("--resume", is_flag=True, help="Use what an earlier run left in --results.")
@click.option("--published", is_flag=True, help="Add the papers' own figures to the report, marked as such.")
@click.option("--speed", is_flag=True, help="Also measure latency, memory and operations.")
@click.option("--download", is_flag=True, help="Download the set first, if the Hub has it: LOL, 347 MB.")
@runner_options
@json_option
@talk_options
def command(**flags: Any) -> None:
    """Score models and methods on a data set.

    Sets: LOL, LOL-v2-real, LOL-v2-syn, LSRW, Brightening, MIT-Adobe-5K and pairs made by `lowlight synth` (synth);
    LIME, DICM, NPE, MEF and VV have no ground truth. Pictures are paired strictly by name. The metrics are defined
    in docs/metrics.md.

    \b
    Example:
      lowlight benchmark --dataset LOL --root data/ --model neid --model clahe \\
        --results out/
      lowlight benchmark --dataset DICM --root data/ --model all \\
        --metric brightness,clipped,cast
      lowlight benchmark --dataset LOL --images mine=outputs/

    Exit codes: 0 done, 1 some pictures failed or results could not be written, 2 usage, 3 no or unpaired pictures,
    4 model or metric unavailable, 5 device unavailable, 6 all failed, 130 interrupted.
    """
    from lowlight_cli.tasks.benchmark import Benchmark
    from lowlight_cli.tasks.contestants import model_names

    if not flags["results"]:
        need_stdout("the figures")
    if (flags["resume"] or flags["published"]) and not flags["results"]:
        raise OptionError("--resume and --published need a folder of results.", "Add --results DIR.")
    options = read_flags(flags)
    model_names(options.models, options.images, options.runner)
    if flags["download"]:
        fetch(flags)
    end_as_by_ctrl_c()
    run = Benchmark(options)
    with Console(run.total, quiet=flags["quiet"], verbose=flags["verbose"]) as console:
        failures = go(run, console)
        document = run.document(speeds(run, flags, console))
        unwritten = write(run, document, flags, console) if flags["results"] else None
    show(document, as_json=flags["as_json"])
    if unwritten or run.unkept:
        raise PictureError(
            unwritten or run.unkept, "The figures are those shown; what is under --results is not whole."
        )
    sys.exit(code_of(run, failures))


def code_of(run: Benchmark, failures: int) -> int:
    """The exit code of the whole run; where no model opened, that of the reason."""
    reasons = [*run.problems.values()]
    if failures and not run.scored and len(reasons) == len(run.contestants) - 1:  # all but the input
        return reasons[0].exit_code
    return exit_code(failures, run.scored)


def read_flags(flags: dict[str, Any]) -> BenchmarkOptions:
    """The task's options from Click's."""
    from lowlight_cli.runners import RunnerOptions
    from lowlight_cli.tasks.benchmark import BenchmarkOptions

    runner = {name: flags[name] for name in ("backend", "device", "precision", "threads", "offline")}
    given = {field.name: flags[field.name] for field in dataclasses.fields(BenchmarkOptions) if field.name in flags}
    made = {
        "metrics": metric_names(flags["metrics"]),
        "runner": RunnerOptions(weights=Path(flags["weights"]) if flags["weights"] else None, **runner),
        "command": shlex.join(["lowlight", *sys.argv[1:]]),
    }
    return BenchmarkOptions(**given | made)


def metric_names(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The names between the commas; a --metric without any is an error."""
    names = [[name.strip() for name in text.split(",") if name.strip()] for text in texts]
    if [] in names:
        raise OptionError("A --metric names nothing.", "Name metrics with commas, all, or leave --metric out.")
    return tuple(name for part in names for name in part)


def fetch(flags: dict[str, Any]) -> None:
    """Bring the set to its folder."""
    from lowlight_cli.data.fetch import download

    quiet = flags["quiet"] or not sys.stderr.isatty()
    found = download(flags["dataset"], flags["root"], flags["split"], offline=flags["offline"], progress=not quiet)
    click.echo(f"{found.data.name} is in {found.folders[0].parent}", err=True)


def go(run: Benchmark, console: Console) -> int:
    """Score everything; gives the number of failed rows. What fails is told at once."""
    from lowlight_cli.report.document import INPUT

    data, started, pictures = run.found.data, time.monotonic(), counted(len(run.items), "picture")
    console.say(f"{data.name} {run.options.split}: {pictures}, {', '.join(run.metrics)}")
    for notice in run.notices:
        console.say(f"note: {notice}")
    failures, told = 0, set()
    for row in run.results():
        console.advance()
        if row.error is not None:
            failures += 1
            if (row.model, row.error) not in told:
                told.add((row.model, row.error))
                console.say(f"FAILED {shown(row.model)} {shown(row.picture)}: {row.error}", error=True)
    for name, reason in run.unmeasured.items():
        console.say(f"note: {name} could not be measured everywhere: {reason}")
    inputs = sum(row.error is None for row in run.rows if row.model == INPUT)
    outputs = len(run.rows) - failures - inputs
    told = " and ".join(counted(n, noun) for n, noun in ((outputs, "output"), (inputs, "input")) if n) or "nothing"
    console.say(f"{told} scored, {failures} failed in {time.monotonic() - started:.0f} s")
    return failures


def speeds(run: Benchmark, flags: dict[str, Any], console: Console) -> dict[str, Any] | None:
    """Speed of the models that opened, if asked for."""
    if not flags["speed"]:
        return None
    from lowlight_cli.tasks.contestants import Model
    from lowlight_cli.tasks.speed import measure

    names = [c.name for c in run.contestants if isinstance(c, Model) and c.name not in run.problems]
    console.say(f"measuring the speed of {len(names)} models")
    return measure(names, run.options.runner)


def write(run: Benchmark, document: dict[str, Any], flags: dict[str, Any], console: Console) -> str | None:
    """summary.json, the same as Markdown, per_image.csv and report.html; gives what could not be written, and why."""
    from lowlight_cli.report import published_figures, write_csv, write_json, write_page
    from lowlight_cli.report.markdown import write_markdown

    folder = flags["results"]
    published = published_figures(document["dataset"]) if flags["published"] else None
    writers = {
        SUMMARY: lambda path: write_json(document, path),
        MARKDOWN: lambda path: write_markdown(document, path),
        PER_IMAGE: lambda path: write_csv(run.rows, list(run.metrics), path, document),
        PAGE: lambda path: write_page(document, run.rows, run.picture_of, path, published),
    }
    for name, writer in writers.items():
        try:
            writer(folder / name)
        except OSError as error:
            return f"{folder / name} cannot be written: {reason_of(error)}."
    console.say(f"{folder / PAGE}, {MARKDOWN}, {PER_IMAGE} and {SUMMARY} are written")
    return None


def show(document: dict[str, Any], *, as_json: bool) -> None:
    """The document as JSON, or a table, on stdout."""
    if sys.stdout is None:
        return
    if as_json:
        from lowlight_cli.report import json_text

        click.echo(json_text(document))
        return
    click.echo(f"{document['dataset']} {document['split']}, n = {document['n']}, mean ± standard deviation")
    print_table(document)
    for notice in document["notices"]:
        click.echo(shown(notice))
    for entry in document["models"]:
        name = shown(entry["model"])
        if entry["overlap"]:
            click.echo(f"{name}: {entry['overlap']}")
        for speed in entry["speed"] or []:
            click.echo(f"{name} on {speed['backend']}: {speed_text(speed)}")


def print_table(document: dict[str, Any]) -> None:
    """A line for each model: as wide as the terminal, and where there is none as wide as it must be."""
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    from lowlight_cli.report.figures import cells, columns

    table, found = Table(), columns(document)
    table.add_column("model")
    for column in found:
        table.add_column(f"{column.title} {column.arrow}", justify="right")
    for model, *row in zip(document["models"], *(cells(document, column) for column in found), strict=True):
        table.add_row(Text(shown(model["model"])), *(cell.text for cell in row))
    console = RichConsole(width=None if sys.stdout.isatty() else 100_000)
    console.width = min(console.width, console.measure(table).maximum) if not sys.stdout.isatty() else console.width
    console.print(table)


def speed_text(speed: dict[str, Any]) -> str:
    """One line of figures."""
    if "error" in speed:
        return speed["error"]
    cost = speed["gflop_per_megapixel"]
    flops = f", {cost:g} GFLOP per megapixel" if cost is not None else ""
    memory = "" if speed["peak_memory_mb"] is None else f", {speed['peak_memory_mb']:g} MB"  # not told by Windows
    times = f"{speed['latency_median_ms']:g} ms (95 %: {speed['latency_p95_ms']:g} ms)"
    return f"{times} at {speed['size']}{memory}{flops}"
