"""The training loop: get a batch, step, log, validate, save, stop."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lowlight_cli.errors import LowlightError
from lowlight_cli.nn.state import save_weights
from lowlight_cli.training import checkpoint
from lowlight_cli.training.recipe import Recipe, Settings

LAST, BEST, DEPLOYED, LOG = "last.pt", "best.safetensors", "last.safetensors", "log.csv"


@dataclass(frozen=True)
class Progress:
    """What the loop tells at a step: means of the loss terms since the last one, or a validation score."""

    step: int
    values: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When to log, validate and stop."""

    log_every: int = 50
    validate_every: int = 500
    minutes: float = math.inf


def train(
    recipe: Recipe,
    settings: Settings,
    draw: Callable[[int], dict[str, Tensor]],
    validate: Callable[[nn.Module], dict[str, float]],
    folder: Path,
    *,
    limits: Limits,
    accelerator: Accelerator,
    resume: bool = False,
) -> Iterator[Progress]:
    """Train to `settings.steps` or the time limit; yields progress. Files in `folder`: see the names above.

    `draw(step)` gives the batch of a step; `validate(network)` gives scores, the first of which chooses the best.
    """
    averaged = prepare(recipe, settings, accelerator)
    step, best = 0, -math.inf
    if resume and (folder / LAST).exists():
        step, best = checkpoint.restore(folder / LAST, recipe, averaged)
    deployed = averaged.module if averaged is not None else recipe.networks[recipe.deploy]
    started, sums, since = time.monotonic(), {}, step
    while step < settings.steps:
        batch = {name: value.to(accelerator.device) for name, value in draw(step).items()}
        with accelerator.autocast():
            terms = recipe.step(batch, accelerator.backward)
        if averaged is not None:
            averaged.update_parameters(recipe.networks[recipe.deploy])
        sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
        step += 1
        seconds = time.monotonic() - started
        out_of_time = seconds > 60 * limits.minutes
        if step % limits.log_every == 0:
            yield record(folder, step, means(sums, step - since, step), seconds)
            sums, since = {}, step
        if step % limits.validate_every == 0 or step == settings.steps or out_of_time:
            scores = validate(deployed)
            score = next(iter(scores.values()))
            if score > best:
                best = score
                save_weights(folder / BEST, deployed)
            checkpoint.save(folder / LAST, recipe, averaged, step, best)
            save_weights(folder / DEPLOYED, deployed)
            yield record(folder, step, scores, seconds)
        if out_of_time:
            return


def prepare(recipe: Recipe, settings: Settings, accelerator: Accelerator) -> AveragedModel | None:
    """Put networks and optimizers where they run; gives the moving average of weights, if there is one."""
    for name, network in recipe.networks.items():
        recipe.networks[name] = accelerator.prepare(network.to(memory_format=torch.channels_last))
    for name, optimizer in recipe.optimizers.items():
        recipe.optimizers[name] = accelerator.prepare(optimizer)
    if not settings.ema:
        return None
    network = accelerator.unwrap_model(recipe.networks[recipe.deploy], keep_fp32_wrapper=False)
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))


def means(sums: dict[str, Tensor], count: int, step: int) -> dict[str, float]:
    """Means of the terms; anything not finite stops the training, with the last checkpoint untouched."""
    values = {name: float(value) / count for name, value in sums.items()}
    if bad := [name for name, value in values.items() if not math.isfinite(value)]:
        raise LowlightError(
            f"The training diverged before step {step}: {', '.join(bad)} is not finite.",
            "The last good checkpoint is kept; resume with a lower learning rate (--set lr=...).",
        )
    return values


def record(folder: Path, step: int, values: dict[str, Any], seconds: float) -> Progress:
    """Append to the log, one line a value, and pass on."""
    with (folder / LOG).open("a", newline="") as file:
        csv.writer(file).writerows([step, f"{seconds:.1f}", name, f"{value:.6g}"] for name, value in values.items())
    return Progress(step, values, seconds)
