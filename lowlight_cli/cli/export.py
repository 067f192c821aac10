"""`lowlight export`: trained weights to files that ship."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("-m", "--model", required=True, help="Row of the manifest whose network the weights fit.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--name", help="Name of the files.  [default: that of the model]")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def command(weights: Path, model: str, out: Path, name: str | None, overwrite: bool) -> None:
    """Write weights as safetensors and ONNX, checked against each other.

    Prints the files' entries for weights_manifest.json as JSON.

    \b
    Example:
      lowlight export runs/neid/best.safetensors --model neid --name my-neid --out exported/
    """
    from lowlight_cli import manifest
    from lowlight_cli.tasks.export import run

    click.echo(json.dumps(run(manifest.find(model), weights, out, name or model, overwrite=overwrite), indent=2))
