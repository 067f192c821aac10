"""`lowlight verify`: what an evidence log still proves, record by record."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowlight_cli.choices import TOLERANCE
from lowlight_cli.cli.console import counted, end_as_by_ctrl_c, shown
from lowlight_cli.cli.options import Given, Number, json_option, log_options, talk_options
from lowlight_cli.errors import DONE, SOME_FAILED

if TYPE_CHECKING:
    from lowlight_cli.tasks.verify import Checked

WORDS = {"ok": "ok", "note": "note", "failed": "FAILED"}


@click.command()
@click.argument("log", type=Given(path_type=Path))
@click.option("--rerun", is_flag=True, help="Make every picture again and compare the pixels.")
@click.option(
    "--tolerance",
    type=Number(0, 255),
    default=TOLERANCE,
    show_default=True,
    help="Largest pixel difference, of 255 levels, allowed if machine or versions differ from the log's.",
)
@log_options
@json_option
@talk_options
def command(log: Path, rerun: bool, as_json: bool, quiet: bool, verbose: bool, **flags: Any) -> None:
    """Check an evidence log: its chain, its files and, with --rerun, its pictures.

    Tells which records were changed, removed or moved, and which inputs and outputs differ from the log. Changes
    nothing and uses no network.

    \b
    Example:
      lowlight verify case-17.jsonl --rerun

    Exit codes: 0 all is as the log says, 1 something is not, 2 not an evidence log, 3 no such file.
    """
    from lowlight_cli import network
    from lowlight_cli.tasks.verify import VerifyOptions, verify

    options = VerifyOptions(log=log, rerun=rerun, **flags)
    end_as_by_ctrl_c()
    counts: Counter[str] = Counter()
    records = 0
    with network.closed():
        for checked in verify(options):
            counts[checked.status] += 1
            records += checked.kind not in ("log", "torn")
            if as_json:
                click.echo(json.dumps(dataclasses.asdict(checked)))
            elif checked.status == "failed" or verbose or (checked.status == "note" and not quiet):
                show(checked)
    code = SOME_FAILED if counts["failed"] else DONE
    if as_json:
        total = {name: counts[name] for name in ("ok", "note", "failed")}
        total |= {"records": records, "head": checked.head, "exit_code": code}
        click.echo(json.dumps({"summary": total}))
    elif not quiet:
        verdict = f"{counts['failed']} FAILED" if counts["failed"] else "all as the log says"
        click.echo(f"{shown(log)}: {counted(records, 'record')}, {verdict}; head {checked.head}")
    sys.exit(code)


def show(checked: Checked) -> None:
    """One line, and what was found below it."""
    files = " -> ".join(shown(path) for path in (checked.source, checked.target) if path)
    again = "" if checked.difference is None else f", made again: {difference(checked.difference)}"
    what = "log as a whole" if checked.kind == "log" else f"record {checked.record}, {checked.kind}"
    click.echo(f"{WORDS[checked.status]:<7} {what}{f': {files}' if files else ''}{again}")
    for text in (*checked.problems, *checked.notes):
        click.echo(f"{'':8}{shown(text)}")


def difference(value: float) -> str:
    """In words."""
    return "the same pixels" if value == 0 else f"differs by up to {value:.2f} of 255"
