"""From a loss to a step of an optimizer, over parts of a batch and over processes.

Networks are not wrapped for data-parallel training: recipes call several of their methods, several times before one
backward, some of them frozen, which wrappers do not survive. Instead, gradients are averaged here, in one go, before
each step of an optimizer; every process then takes the same step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lowlight_cli.training.recipe import Recipe


class Descent:
    """The `Descend` of a recipe. `last_part` says whether the part of the batch at hand completes a step."""

    def __init__(self, recipe: Recipe, accelerator: Accelerator, *, clip: float, parts: int = 1) -> None:
        self.recipe, self.accelerator, self.clip, self.parts = recipe, accelerator, clip, parts
        self.last_part = True

    def __call__(self, loss: Tensor, name: str) -> None:
        """See `training.recipe.Descend`."""
        if not torch.is_grad_enabled():
            return
        self.accelerator.backward(loss / self.parts)
        if not self.last_part:
            return
        optimizer = self.recipe.optimizers[name]
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.accelerator.num_processes > 1:
            average([p.grad for p in parameters], self.accelerator)
        if self.clip:
            nn.utils.clip_grad_norm_(parameters, self.clip)
        optimizer.step()
        self.recipe.schedules[name].step()
        optimizer.zero_grad(set_to_none=True)


def average(gradients: Sequence[Tensor], accelerator: Accelerator) -> None:
    """Give each gradient its mean over all processes, in place; one message for all of them."""
    means = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
    for gradient, mean in zip(gradients, means.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
