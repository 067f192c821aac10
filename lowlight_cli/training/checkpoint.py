"""Save and restore everything that a training needs to go on as if it had not stopped.

Random numbers need no saving: what a step draws depends on the seed, the step and the process alone.
"""

from __future__ import annotations

import errno
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from lowlight_cli import atomic
from lowlight_cli.errors import LowlightError
from lowlight_cli.training.recipe import Recipe

GROUPS = ("networks", "optimizers", "schedules")
POSITION = ("step", "best", "seconds", "counted", "sums")


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
    try:
        for group in GROUPS:
            for name, item in getattr(recipe, group).items():
                item.load_state_dict(state[group][name])
        if accelerator.process_index < len(state["extras"]):
            for name, extra in recipe.extras.items():
                extra.load_state_dict(state["extras"][accelerator.process_index][name])
        if averaged is not None:
            averaged.load_state_dict(state["averaged"])
        return {name: state["position"][name] for name in POSITION}
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise LowlightError(
            f"{path} is of a run with other settings: {str(error).splitlines()[0] if str(error) else 'nothing fits'}",
            "Leave out the --set that changes the network, or start anew from its weights with --init.",
        ) from error


def loaded(path: Path, accelerator: Accelerator) -> dict[str, Any]:
    """What a checkpoint holds; never more than tensors and plain values."""
    try:
        state = torch.load(path, weights_only=True, map_location=accelerator.device)
        if not isinstance(state, dict) or not {*GROUPS, "extras", "averaged", "position"} <= state.keys():
            raise ValueError("parts are missing")
        return state
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise LowlightError(
            f"{path} is damaged, or no checkpoint.",
            "Start anew from the weights beside it: --init, another --out.",
        ) from error
