"""`lowlight report`: an evidence log in, a page for people out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.cli.console import counted, end_as_by_ctrl_c, shown
from lowlight_cli.cli.options import Given, PathOf, json_option, log_options
from lowlight_cli.errors import DONE, SOME_FAILED

if TYPE_CHECKING:
    from lowlight_cli.tasks.report import Summary

NAMED = 5
"""Problems that are told on stderr; the report has them all."""


@click.command()
@click.argument("log", metavar="LOG", type=Given(path_type=Path))
@click.option("--out", required=True, type=PathOf(path_type=Path), help="Report to write: an .html or .pdf file.")
@click.option(
    "--pictures", multiple=True, metavar="NAME", help="Only these pictures: a name or pattern; repeat for several."
)
@log_options
@click.option("--overwrite", is_flag=True, help="Replace an existing report.")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Write only errors to stderr.")
def command(**flags: Any) -> None:
    """Write a readable account of an evidence log.

    LOG is what `lowlight enhance --evidence LOG` wrote. The log and all files that it names are checked first, as by
    `lowlight verify`; problems stand at the top of the report, and a file that differs from its record is not shown.
    The report is one file that needs no network. It says who made it, what the method is and is not, with which
    settings, shows before and after, lists hashes, and tells how to check all of it. A PDF is printed by Chromium,
    Chrome or Edge, found on PATH or named by LOWLIGHT_BROWSER.

    \b
    Example:
      lowlight report case.jsonl --out case.html
      lowlight report case.jsonl --out gate.pdf --pictures 'gate/*'

    Exit codes: 0 report written, no problems found, 1 report written, problems found, or the PDF could not be
    printed, 2 usage, not an evidence log, or no browser, 3 no such log, 130 interrupted.
    """
    from lowlight_cli import network
    from lowlight_cli.tasks.report import ReportOptions, run

    end_as_by_ctrl_c()
    names = ("log", "out", "pictures", "head", "moved", "overwrite")
    with network.closed():
        done = run(ReportOptions(**{name: flags[name] for name in names}), announce=lambda text: say(text, flags))
    tell(done, flags)
    if flags["as_json"]:
        click.echo(json.dumps(vars(done)))
    sys.exit(DONE if done.verified else SOME_FAILED)


def say(text: str, flags: dict[str, Any]) -> None:
    """A line on stderr, unless quiet."""
    if not flags["quiet"]:
        click.echo(text, err=True)


def tell(done: Summary, flags: dict[str, Any]) -> None:
    """What is in the report, and what the check found."""
    for problem in done.problems[:NAMED]:
        click.echo(f"FAILED {shown(problem)}", err=True)
    if len(done.problems) > NAMED:
        click.echo(f"and {len(done.problems) - NAMED} more problems: see the report", err=True)
    pictures = f"{counted(done.enhanced, 'picture')} enhanced, {done.failed} failed"
    check = "no problem found" if done.verified else f"{counted(len(done.problems), 'problem')} found"
    say(f"{shown(done.out)} is written: {pictures}, {check}", flags)
