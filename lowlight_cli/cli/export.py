"""`lowlight export`: trained weights to files that ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lowlight_cli.cli.options import Given, PathOf, need_stdout


@click.command()
@click.argument("source", metavar="RUN", type=Given(path_type=Path))
@click.option("-m", "--model", help="Manifest row of the network.  [default: what RUN tells]")
@click.option("--out", required=True, type=PathOf(path_type=Path), help="Folder to write to.")
@click.option("--name", help="Name for the files and the row.  [default: the model's]")
@click.option("--last", is_flag=True, help="Take the last weights of the run instead of the best.")
@click.option(
    "--int8",
    type=PathOf(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Also write int8 ONNX files, for CPUs with VNNI; DIR: dark pictures to measure value ranges on.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def command(**flags: Any) -> None:
    """Write the weights of a run as safetensors and ONNX.

    RUN is the folder of a run, or a file of weights (which needs --model where it does not tell its network). The
    written files are run by both back ends and their outputs compared. Prints the row for weights_manifest.json as
    JSON.

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
