"""Learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

if TYPE_CHECKING:
    from lowlight_cli.training.settings import Settings

WARM_UP = 200
"""Steps from zero to the full rate of the cosine schedule."""


def schedules(
    settings: Settings, optimizers: Mapping[str, Optimizer], drops: Sequence[float] = ()
) -> dict[str, LambdaLR]:
    """The schedule of each optimizer, by its name: see `rate`."""
    return {name: LambdaLR(optimizer, rate(settings, drops)) for name, optimizer in optimizers.items()}


def rate(settings: Settings, drops: Sequence[float] = ()) -> Callable[[int], float]:
    """Factor on the learning rate at a step, for the `decay` of the settings.

    `paper` falls to a tenth at each of `drops`, shares of all steps. `linear` is constant for one half and then falls
    to zero, as in CycleGAN. `cosine` glides to a hundredth, after a short warm-up.
    """

    def paper(step: int) -> float:
        return 0.1 ** sum(step >= drop * settings.steps for drop in drops)

    def linear(step: int) -> float:
        return min(1.0, max(0.0, 2 * (1 - step / settings.steps)))

    def cosine(step: int) -> float:
        part = min(1.0, step / settings.steps)
        return min(1.0, (step + 1) / WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)

    def none(step: int) -> float:  # noqa: ARG001
        return 1.0

    return {"paper": paper, "linear": linear, "cosine": cosine, "none": none}[settings.decay]
