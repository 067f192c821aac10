"""`lowlight train`: flags in, progress out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lowlight_cli.cli.options import json_option
from lowlight_cli.errors import OptionError


@click.command()
@click.option("-m", "--model", required=True, help="Architecture to train: neid or aux-retinex.")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Folder with low/ and high/, paired by name."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--scenes", type=click.Path(path_type=Path), help="JSON that tells which pairs show one scene.")
@click.option("--photos", type=click.Path(path_type=Path), help="Normal-light photos, darkened into more pairs.")
@click.option("--copies", type=click.IntRange(1), default=6, show_default=True, help="Darkened versions of each photo.")
@click.option("--init", type=click.Path(path_type=Path), help="Weights to start from.")
@click.option("--held-out", type=click.IntRange(0), default=20, show_default=True, help="Scenes kept for validation.")
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe; JSON values.")
@click.option("--max-minutes", type=click.FloatRange(0.01), default=float("inf"), help="Stop cleanly after so long.")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True, help="Of the training."
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Threads; 0: PyTorch's choice.")
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@json_option
def command(**flags: Any) -> None:
    """Train a network of one of the papers.

    Scores are on scenes held out from training. The folder of the run gets best.safetensors, which
    `lowlight enhance --weights` takes at once, last.pt to resume from, and log.csv.

    \b
    Example:
      lowlight train --model neid --data LOL/our485 --out runs/neid --set steps=4000 --precision bf16
    """
    from lowlight_cli.tasks.train import TrainOptions, architecture, run

    options = TrainOptions(
        arch=architecture(flags["model"]).__name__.rpartition(".")[2],
        minutes=flags["max_minutes"],
        precision="bf16" if flags["precision"] == "bf16" else "no",
        overrides=dict(setting(text) for text in flags["overrides"]),
        **{
            name: flags[name]
            for name in ("out", "data", "scenes", "photos", "copies", "init", "held_out", "threads", "resume")
        },
    )
    for progress in run(options):
        values = {name: round(value, 5) for name, value in progress.values.items()}
        if flags["as_json"]:
            click.echo(json.dumps({"step": progress.step, "seconds": round(progress.seconds, 1), **values}))
        else:
            text = "  ".join(f"{name} {value:g}" for name, value in values.items())
            click.echo(f"step {progress.step}  {progress.seconds:.0f} s  {text}", err=True)


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON, else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise OptionError(f"--set {text} is not NAME=VALUE.", "For example --set lr=0.001")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
