"""Save and restore everything that a training needs to go on as if it had not stopped.

Random numbers need no saving: what a step draws depends on the seed, the step and the process alone.
"""

from __future__ import annotations

import errno
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from lowlight_cli import atomic, regular
from lowlight_cli.errors import LowlightError
from lowlight_cli.training.recipe import Recipe

GROUPS = ("networks", "optimizers", "schedules")
BROKEN = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, pickle.PickleError)
"""What torch and what it unpacks raise for files that are not checkpoints."""
POSITION = ("step", "best", "seconds", "counted", "best_of", "sums", "lit")
"""The fields of `run.Run` that say how far a run is."""


def save(
    path: Path, recipe: Recipe, averaged: nn.Module | None, position: Mapping[str, Any], accelerator: Accelerator
) -> None:
    """Write networks, optimizers, schedules, every process's extras, averaged weights and position; whole or not at
    all. All processes call it, the first one writes."""
    extras = gather_object([{name: extra.state_dict() for name, extra in recipe.extras.items()}])
    if not accelerator.is_main_process:
        return
    state = {group: {name: item.state_dict() for name, item in getattr(recipe, group).items()} for group in GROUPS}
    state |= {"extras": extras, "averaged": averaged.state_dict() if averaged is not None else None}
    with atomic.replacing(path) as temporary:
        try:
            torch.save(state | {"position": dict(position)}, temporary)
        except RuntimeError as error:  # torch's own writer, for any trouble with the disk
            raise OSError(errno.EIO, str(error).splitlines()[0], str(path)) from error


def restore(path: Path, recipe: Recipe, averaged: nn.Module | None, accelerator: Accelerator) -> dict[str, Any]:
    """Fill everything from the file; gives the position. With more processes than then, the new ones start their
    extras (image pools) empty."""
    state = loaded(path, accelerator)
    theirs, ours = (" ".join(sorted(names)) for names in (state["networks"], recipe.networks))
    if theirs != ours:
        raise LowlightError(
            f"{path} is of a run with other networks: {theirs}; these settings make {ours}.",
            "Leave out the --set that changes them (a CycleGAN has a way back only with the term `cycle`), or start "
            "anew from its weights with --init.",
        )
    if (averaged is None) != (state["averaged"] is None):
        begun = "without" if state["averaged"] is None else "with"
        raise LowlightError(f"{path} is of a run {begun} a moving average of weights.", "Leave `ema` as it was.")
    told = [*map(rates, recipe.schedules.values())]
    try:
        for group in GROUPS:
            for name, item in getattr(recipe, group).items():
                item.load_state_dict(state[group][name])
        for schedule, values in zip(recipe.schedules.values(), told, strict=True):
            set_rates(schedule, values)
        if accelerator.process_index < len(state["extras"]):
            for name, extra in recipe.extras.items():
                extra.load_state_dict(state["extras"][accelerator.process_index][name])
        if averaged is not None:
            averaged.load_state_dict(state["averaged"])
        position = {"best_of": None, "lit": False, **state["position"]}  # older checkpoints do not say it
        return {name: position[name] for name in POSITION}
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise LowlightError(
            f"{path} is of a run with other settings: {misfit(state, recipe) or ' '.join(str(error).split())[:200]}",
            "Leave out the --set that changes network or optimizer, or start anew from its weights with --init.",
        ) from error


def misfit(state: Mapping[str, Any], recipe: Recipe) -> str:
    """The first tensor of a network that is of another shape in the checkpoint, or in one of the two alone."""
    for name, network in recipe.networks.items():
        theirs, ours = (
            {key: "x".join(map(str, tensor.shape)) or "one number" for key, tensor in tensors.items()}
            for tensors in (state["networks"][name], network.state_dict())
        )
        for key in {**ours, **theirs}:
            if theirs.get(key) != ours.get(key):
                return f"{name}.{key} is {theirs.get(key, 'missing')} there, {ours.get(key, 'missing')} here."
    return ""


def rates(schedule: LRScheduler) -> list[tuple[float, tuple[float, float]]]:
    """Learning rate at the start and Adam's betas of each group of parameters: what settings say."""
    return [(group["initial_lr"], group["betas"]) for group in schedule.optimizer.param_groups]


def set_rates(schedule: LRScheduler, values: Sequence[tuple[float, tuple[float, float]]]) -> None:
    """Put them back after a checkpoint brought its own: `--set` may have changed them since."""
    schedule.base_lrs = [base for base, _ in values]
    for group, factor, (base, betas) in zip(schedule.optimizer.param_groups, schedule.lr_lambdas, values, strict=True):
        group |= {"initial_lr": base, "lr": base * factor(schedule.last_epoch), "betas": betas}
    schedule._last_lr = [group["lr"] for group in schedule.optimizer.param_groups]


def loaded(path: Path, accelerator: Accelerator) -> dict[str, Any]:
    """What a checkpoint holds; never more than tensors and plain values."""
    try:
        regular.refuse_others(path)
        # Of several processes on a CPU each calls it cpu:0, which torch does not know.
        device = "cpu" if accelerator.device.type == "cpu" else accelerator.device
        state = torch.load(path, weights_only=True, map_location=device)
        if not isinstance(state, dict) or not {*GROUPS, "extras", "averaged", "position"} <= state.keys():
            raise ValueError("parts are missing")
        if not isinstance(state["networks"], dict) or not isinstance(state["position"].get("step"), int):
            raise ValueError("parts are of another kind")
        return state
    except BROKEN as error:
        raise LowlightError(
            f"{path} is damaged, or not a checkpoint.",
            "Start anew from the weights beside it: --init, another --out.",
        ) from error
