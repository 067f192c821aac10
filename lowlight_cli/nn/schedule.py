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


class Schedule(LambdaLR):
    """A factor on an optimizer's rate, by how much of the recipe is behind: see `rate`."""

    part = 0.0
    """That share, where the recipe lasts for so many minutes; whoever looks at the clock sets it."""

    def __init__(self, optimizer: Optimizer, settings: Settings, drops: Sequence[float]) -> None:
        factor = rate(settings.decay, drops)
        super().__init__(optimizer, lambda step: factor(step, self.part if settings.minutes else step / settings.steps))


def schedules(
    settings: Settings, optimizers: Mapping[str, Optimizer], drops: Sequence[float] = ()
) -> dict[str, Schedule]:
    """The schedule of each optimizer, by its name."""
    return {name: Schedule(optimizer, settings, drops) for name, optimizer in optimizers.items()}


def rate(decay: str, drops: Sequence[float] = ()) -> Callable[[int, float], float]:
    """Factor on the learning rate at a step, when such a share of the recipe is behind.

    `paper` falls to a tenth at each of `drops`, shares of all. `linear` is constant for one half and then falls to
    zero, as in CycleGAN. `cosine` glides to a hundredth, after a short warm-up.
    """

    def paper(step: int, part: float) -> float:  # noqa: ARG001
        return 0.1 ** sum(part >= drop for drop in drops)

    def linear(step: int, part: float) -> float:  # noqa: ARG001
        return min(1.0, max(0.0, 2 * (1 - part)))

    def cosine(step: int, part: float) -> float:
        return min(1.0, (step + 1) / WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, part))) / 2)

    def none(step: int, part: float) -> float:  # noqa: ARG001
        return 1.0

    return {"paper": paper, "linear": linear, "cosine": cosine, "none": none}[decay]
