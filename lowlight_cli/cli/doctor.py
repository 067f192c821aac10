"""`lowlight doctor`: findings as aligned lines or as one JSON document."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from lowlight_cli.cli.options import json_option
from lowlight_cli.errors import SOME_FAILED

if TYPE_CHECKING:
    from lowlight_cli.tasks.findings import Finding

WORDS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@click.command()
@click.option("--offline", is_flag=True, help="Judge as for a machine without network: weights must be on this disk.")
@json_option
@click.pass_context
def command(context: click.Context, offline: bool, as_json: bool) -> None:
    """Check this installation: versions, back ends, devices, cache.

    Uses no network; `lowlight models pull` tests the connection to the Hub. Shows no tokens and no passwords, so that
    its output can go into a bug report. Exit code 1 means that there is a problem.

    \b
    Example:
      lowlight doctor
    """
    from lowlight_cli import __version__
    from lowlight_cli.tasks.doctor import DoctorOptions, examine

    findings = []
    # What a broken package prints while it is tried is no JSON.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        for finding in examine(DoctorOptions(offline=offline)):
            findings.append(finding)
            if not as_json:
                show(finding)
    counts = Counter(finding.level for finding in findings)
    if as_json:
        document = {"ok": not counts["problem"], "lowlight": __version__, "findings": findings}
        click.echo(json.dumps(document, indent=2, default=dataclasses.asdict))
    else:
        click.echo(f"\n{counts['ok']} ok, {counts['note']} to note, {counts['problem']} problems")
    if counts["problem"]:
        context.exit(SOME_FAILED)


def show(finding: Finding) -> None:
    """One line, and the remedy below it."""
    first, *more = finding.text.splitlines() or [""]
    click.echo(f"{WORDS[finding.level]:<8} {finding.area:<12} {first}")
    for line in (*more, *finding.remedy.splitlines()):
        click.echo(f"{'':21} {line}")
