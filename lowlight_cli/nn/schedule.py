"""Learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowlight_cli.training.recipe import Settings

WARM_UP = 200
"""Steps from zero to the full rate of the cosine schedule."""


def rate(settings: Settings, drops: Sequence[float]) -> Callable[[int], float]:
    """Factor on the learning rate at a step: `paper` falls to a tenth at each of `drops`, `cosine` glides."""

    def paper(step: int) -> float:
        return 0.1 ** sum(step >= drop * settings.steps for drop in drops)

    def cosine(step: int) -> float:
        part = min(1.0, step / settings.steps)
        return min(1.0, (step + 1) / WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)

    return {"paper": paper, "cosine": cosine}[settings.decay]
