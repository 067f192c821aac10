"""`lowlight export`: trained weights to files that ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lowlight_cli.cli.options import Given, PathOf, need_stdout


@click.command()
@click.argument("source", metavar="RUN", type=Given(path_type=Path))
@click.option("-m", "--model", help="Row of the manifest whose network it is.  [default: that of the run]")
@click.option("--out", required=True, type=PathOf(path_type=Path), help="Folder to write to.")
@click.option("--name", help="Name of the files and the row.  [default: that of the model]")
@click.option("--last", is_flag=True, help="The last weights of the run instead of the best.")
@click.option(
    "--int8",
    type=PathOf(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Also int8 ONNX files, for CPUs that multiply bytes (VNNI); DIR: dark pictures to measure ranges on.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def command(**flags: Any) -> None:
    """Write the weights of a run as safetensors and ONNX.

    RUN is the folder of a run, or a file of weights (which needs --model). What is written is run through both back
    ends and compared. Prints the row for weights_manifest.json as JSON.

    \b
    Example:
      lowlight export runs/neid --name my-neid --out exported/
      lowlight export runs/neid --out exported/ --int8 dark-photos/
    """
    from lowlight_cli.cli.console import end_as_by_ctrl_c
    from lowlight_cli.tasks.export import ExportOptions, run

    need_stdout("the row for the manifest")
    end_as_by_ctrl_c()
    row = run(ExportOptions(**flags), announce=lambda text: click.echo(text, err=True))
    click.echo(json.dumps(row, indent=2, default=list))
