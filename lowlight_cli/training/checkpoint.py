"""Save and restore everything that a training needs to go on as if it had not stopped."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from lowlight_cli import atomic
from lowlight_cli.training.recipe import Recipe


def save(path: Path, recipe: Recipe, averaged: nn.Module | None, step: int, best: float) -> None:
    """Write networks, optimizers, extras, averaged weights, random states and position; whole or not at all."""
    state = {
        "networks": {name: network.state_dict() for name, network in recipe.networks.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in recipe.optimizers.items()},
        "extras": {name: extra.state_dict() for name, extra in recipe.extras.items()},
        "averaged": averaged.state_dict() if averaged is not None else None,
        "random": torch.get_rng_state(),
        "step": step,
        "best": best,
    }
    with atomic.replacing(path) as temporary:
        torch.save(state, temporary)


def restore(path: Path, recipe: Recipe, averaged: nn.Module | None) -> tuple[int, float]:
    """Fill everything from the file; gives (step, best score so far)."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    for group in ("networks", "optimizers", "extras"):
        for name, item in getattr(recipe, group).items():
            item.load_state_dict(state[group][name])
    if averaged is not None:
        averaged.load_state_dict(state["averaged"])
    torch.set_rng_state(state["random"])
    return state["step"], state["best"]
