"""`lowlight train`: flags in, progress out."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import click

from lowlight_cli.choices import COPIES, PERCEPTUAL, TRAINABLE
from lowlight_cli.cli.console import end_as_by_ctrl_c, first_then_end
from lowlight_cli.cli.options import Device, Number, PathOf, json_option
from lowlight_cli.errors import INTERRUPTED, OptionError

FOLDER = PathOf(path_type=Path)


@click.command()
@click.option("-m", "--model", required=True, help="Network to train: a network of `lowlight models list`.")
@click.option("--data", type=FOLDER, help="Folder of pictures: low/ and high/, a known set such as LOL, or dark ones.")
@click.option("--synth", "--photos", "photos", type=FOLDER, help="Normal-light photos, darkened into pairs on the fly.")
@click.option(
    "--copies", type=click.IntRange(1), default=COPIES, show_default=True, help="Darkened versions of each photo."
)
@click.option("--out", required=True, type=FOLDER, help="Folder of the run.")
@click.option("--config", type=FOLDER, help="Settings of the recipe as YAML, such as another run's config.yaml.")
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe; VALUE is JSON or text."
)
@click.option("--val", "validation", metavar="N|PATH",
              help="Held out: N scenes, the names in a file, or another folder with low/ and high/.  "
                   "[default: 20, or a fifth if there are under 100]")  # fmt: skip
@click.option("--scenes", type=FOLDER, help="JSON that tells which pairs show the same scene.  [default: in the data]")
@click.option("--init", type=FOLDER, help="Weights to start from; the network takes its shape from them.")
@click.option("--resume", is_flag=True, help="Continue from the run's last checkpoint, as if it had not stopped.")
@click.option("--max-steps", type=click.IntRange(1), help="Stop cleanly after this step of the recipe.")
@click.option("--max-minutes", type=Number(0, min_open=True), help="Stop cleanly after this many minutes.")
@click.option("--precision", type=click.Choice(TRAINABLE), default="fp32", show_default=True,
              help="Precision of the network's arithmetic; losses and weights are fp32.")  # fmt: skip
@click.option("--perceptual", type=click.Choice(PERCEPTUAL),
              help="VGG16 for the perceptual loss; auto: a stated substitute if it cannot be had.")  # fmt: skip
@click.option("--device", type=Device(), default="auto", show_default=True, help="Device to train on.")
@click.option("--seed", type=int, help="Seed of the first weights and of all random numbers.  [default: 0]")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads; 0: PyTorch's choice.")
@click.option("--cache", type=FOLDER, help="Folder for decoded pictures.  [default: in lowlight's own folder]")
@click.option("--offline", is_flag=True, help="Download nothing.")
@json_option
def command(**flags: Any) -> None:
    """Train a network of one of the papers.

    Scores are measured on scenes held out from training. The folder of the run gets best.safetensors, ready for
    `lowlight enhance --weights`, last.pt to resume from, log.csv, samples/ to look at, TensorBoard logs, and a record
    of what was run. Ctrl-C or SIGTERM stops after the current step, with a checkpoint.

    For several processes, GPUs or machines, start it with `accelerate launch -m lowlight_cli train ...`.

    \b
    Example:
      lowlight train --model neid --data LOL --out runs/neid --set steps=4000
      lowlight train --model ba-gan --synth photos/ --out runs/ba-gan \\
        --max-minutes 600
    """
    from lowlight_cli.tasks.train import TrainOptions, run
    from lowlight_cli.training.run import Limits

    end_as_by_ctrl_c()
    requests = StopRequests()
    told = {"seed": flags["seed"], "perceptual": flags["perceptual"]}
    options = TrainOptions(
        overrides={
            **{name: value for name, value in told.items() if value is not None},
            **dict(setting(text) for text in flags["overrides"]),
        },
        limits=Limits(
            steps=flags["max_steps"] or math.inf,
            minutes=flags["max_minutes"] or math.inf,
            listen=requests.listen,
            asked=lambda: requests.received,
        ),
        validation=validation(flags["validation"]),
        **{
            name: flags[name]
            for name in (
                *("model", "data", "photos", "copies", "out", "config", "scenes", "init", "resume", "precision"),
                *("device", "threads", "cache", "offline"),
            )
        },
    )
    show, complete = as_json if flags["as_json"] else as_text, False
    for progress in run(options, announce=lambda text: click.echo(text, err=True)):
        show(progress)
        complete = progress.complete
    if requests.received and not complete:
        raise SystemExit(INTERRUPTED)


class StopRequests:
    """Ctrl-C, SIGTERM or SIGHUP ask once for a clean stop; the second time they interrupt at once."""

    def __init__(self) -> None:
        self.received = False

    def listen(self) -> None:
        """From now on. While data are read there is nothing to save, and an interrupt is one."""
        first_then_end(self.came)

    def came(self, number: int) -> None:
        """A signal came."""
        self.received = True
        click.echo(f"{signal.Signals(number).name}: stopping after this step", err=True)


def validation(text: str | None) -> int | Path | None:
    """What --val names: a number of scenes, or a path."""
    if text is None:
        return None
    return int(text) if text.isdecimal() else Path(text)


def as_json(progress: Any) -> None:
    """One line on stdout; what is not finite, which JSON lacks, is null."""
    values = {name: round(value, 6) if math.isfinite(value) else None for name, value in progress.values.items()}
    click.echo(json.dumps({"step": progress.step, "seconds": round(progress.seconds, 1), **values}))


def as_text(progress: Any) -> None:
    """One line on stderr."""
    told = [f"step {progress.step}", f"{progress.seconds:.0f} s"]
    told += [f"{progress.rate:.3g} steps/s"] if progress.rate else []
    told += [f"about {span(progress.left)} left"] if 0 < progress.left < math.inf else []
    told += [f"{name} {value:.4g}" for name, value in progress.values.items()]
    click.echo("  ".join(told), err=True)


def span(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON, else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise OptionError(f"--set {text} is not NAME=VALUE.", "For example --set lr=0.001")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):  # a text, or what Python will not read as a number
        return name, value
