"""`lowlight benchmark`: flags in, a table out."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.cli.console import Console, shown
from lowlight_cli.cli.options import json_option, model_names, runner_options, talk_options
from lowlight_cli.errors import ALL_FAILED, DONE, SOME_FAILED, OptionError

if TYPE_CHECKING:
    from lowlight_cli.tasks.benchmark import Benchmark, BenchmarkOptions

SUMMARY, MARKDOWN, PER_IMAGE, PAGE = "summary.json", "summary.md", "per_image.csv", "report.html"


@click.command()
@click.option("--dataset", required=True, help="LOL, LOL-v2-real, LSRW, DICM, ...; see below.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the data sets.  [default: $LOWLIGHT_DATA]")
@click.option("--split", default="test", show_default=True, help="Part of the set.")
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    shell_complete=model_names,
    help="Repeat for several; all: every model there is.",
)
@click.option("--images", multiple=True, metavar="[NAME=]DIR", help="Score pictures that some other tool made.")
@click.option("--metric", "metrics", multiple=True, help="Names with commas; all: every one the set allows.")
@click.option("--limit", type=click.IntRange(1), help="Only the first pictures of the set.")
@click.option("--results", type=click.Path(path_type=Path), help="Folder for summary, rows, pictures and report.")
@click.option("--resume", is_flag=True, help="Use what an earlier run left in --results.")
@click.option("--published", is_flag=True, help="Show what the papers state in the report, marked as such.")
@click.option("--speed", is_flag=True, help="Measure latency, memory and operations too.")
@click.option("--download", is_flag=True, help="Fetch the set first, where it is on the Hub: LOL, 347 MB.")
@runner_options
@json_option
@talk_options
def command(**flags: Any) -> None:
    """Score models and methods on a data set.

    Sets: LOL, LOL-v2-real, LOL-v2-syn, LSRW, Brightening, MIT-Adobe-5K and pairs made by `lowlight synth` (synth);
    LIME, DICM, NPE, MEF and VV have no ground truth. Pictures are paired by name, strictly. The metrics are defined
    in docs/metrics.md. Exit codes: 0 done, 1 some pictures failed, 6 all failed.

    \b
    Examples:
      lowlight benchmark --dataset LOL --root data/ --model neid --model clahe --results out/
      lowlight benchmark --dataset DICM --root data/ --model all --metric brightness,clipped,cast
      lowlight benchmark --dataset LOL --images mine=outputs/
    """
    from lowlight_cli.tasks.benchmark import Benchmark

    if flags["weights"] and len(flags["models"]) != 1:
        raise OptionError("--weights fits one model.", "Name one --model.")
    if not flags["models"] and not flags["images"]:
        raise OptionError("Nothing to score.", "Name a --model (or all), or --images DIR.")
    if (flags["resume"] or flags["published"]) and not flags["results"]:
        raise OptionError("--resume and --published speak of a folder of results.", "Add --results DIR.")
    if flags["results"]:
        from lowlight_cli.report import check_page

        check_page()
    if flags["download"]:
        fetch(flags)
    run = Benchmark(read_flags(flags))
    with Console(run.total, quiet=flags["quiet"], verbose=flags["verbose"]) as console:
        failures = go(run, console)
        document = run.document(speeds(run, flags, console))
        if flags["results"]:
            write(run, document, flags, console)
    show(document, as_json=flags["as_json"])
    sys.exit(DONE if not failures else SOME_FAILED if run.scored else ALL_FAILED)


def read_flags(flags: dict[str, Any]) -> BenchmarkOptions:
    """The task's options from Click's."""
    from lowlight_cli.runners import RunnerOptions
    from lowlight_cli.tasks.benchmark import BenchmarkOptions

    runner = {name: flags[name] for name in ("backend", "device", "precision", "threads", "offline")}
    return BenchmarkOptions(
        metrics=tuple(name.strip() for text in flags["metrics"] for name in text.split(",") if name.strip()),
        runner=RunnerOptions(weights=Path(flags["weights"]) if flags["weights"] else None, **runner),
        command=shlex.join(["lowlight", *sys.argv[1:]]),
        **{
            name: flags[name] for name in ("dataset", "models", "images", "root", "split", "limit", "results", "resume")
        },
    )


def fetch(flags: dict[str, Any]) -> None:
    """Bring the set to its folder."""
    from lowlight_cli.data.fetch import download

    quiet = flags["quiet"] or not sys.stderr.isatty()
    found = download(flags["dataset"], flags["root"], flags["split"], offline=flags["offline"], progress=not quiet)
    click.echo(f"{found.data.name} is in {found.folders[0].parent}", err=True)


def go(run: Benchmark, console: Console) -> int:
    """Score everything; gives the number of failed rows. What fails is told at once."""
    data, started = run.found.data, time.monotonic()
    console.say(f"{data.name} {run.options.split}: {len(run.items)} pictures, {', '.join(run.metrics)}")
    for notice in run.found.notices:
        console.say(f"note: {notice}")
    failures, told = 0, set()
    for row in run.results():
        console.advance()
        if row.error is not None:
            failures += 1
            if (row.model, row.error) not in told:
                told.add((row.model, row.error))
                console.say(f"FAILED {row.model} {shown(Path(row.picture))}: {row.error}", error=True)
    console.say(f"{len(run.rows)} scored, {failures} failed in {time.monotonic() - started:.0f} s")
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


def write(run: Benchmark, document: dict[str, Any], flags: dict[str, Any], console: Console) -> None:
    """summary.json, the same as Markdown, per_image.csv and report.html."""
    from lowlight_cli.report import published_figures, write_csv, write_json, write_page
    from lowlight_cli.report.markdown import write_markdown

    folder = flags["results"]
    published = published_figures(document["dataset"]) if flags["published"] else None
    write_json(document, folder / SUMMARY)
    write_markdown(document, folder / MARKDOWN)
    write_csv(run.rows, list(run.metrics), folder / PER_IMAGE, document)
    write_page(document, run.rows, run.picture_of, folder / PAGE, published)
    console.say(f"{folder / PAGE}, {MARKDOWN}, {PER_IMAGE} and {SUMMARY} are written")


def show(document: dict[str, Any], *, as_json: bool) -> None:
    """The document as JSON, or a table, on stdout."""
    if as_json:
        from lowlight_cli.report import json_text

        click.echo(json_text(document))
        return
    from rich.console import Console as RichConsole
    from rich.table import Table

    from lowlight_cli.report.figures import cells, columns

    table = Table(title=f"{document['dataset']} {document['split']}, n = {document['n']}, mean ± standard deviation")
    table.add_column("model")
    found = columns(document)
    for column in found:
        table.add_column(f"{column.title} {column.arrow}", justify="right")
    for name, *row in zip((m["model"] for m in document["models"]), *(cells(document, c) for c in found), strict=True):
        table.add_row(name, *(f"{cell.mean} ± {cell.std}" if cell.std else cell.mean for cell in row))
    RichConsole(width=None if sys.stdout.isatty() else 200).print(table)
    for entry in document["models"]:
        if entry["overlap"]:
            click.echo(f"{entry['model']}: {entry['overlap']}")
        for speed in entry["speed"] or []:
            click.echo(f"{entry['model']} on {speed['backend']}: {speed_text(speed)}")


def speed_text(speed: dict[str, Any]) -> str:
    """One line of figures."""
    if "error" in speed:
        return speed["error"]
    cost = speed["gflop_per_megapixel"]
    flops = f", {cost:g} GFLOP per megapixel" if cost is not None else ""
    return (
        f"{speed['latency_median_ms']:g} ms (95 %: {speed['latency_p95_ms']:g} ms) at {speed['size']}, "
        f"{speed['peak_memory_mb']:g} MB{flops}"
    )
