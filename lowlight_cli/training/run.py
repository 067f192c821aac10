"""One run of a training: what is trained, how far it is, when it stops, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lowlight_cli.errors import OptionError
from lowlight_cli.training.recipe import Batch, Recipe
from lowlight_cli.training.settings import Settings
from lowlight_cli.training.validation import Judge

YOUNG = 500
"""Steps for which a network may give one flat colour that has never given anything else."""


@dataclass(frozen=True)
class Progress:
    """What the loop tells at a step: means since the last time, or scores of a validation."""

    step: int
    values: dict[str, float]
    seconds: float
    complete: bool = False
    """Whether nothing is left of the recipe."""
    rate: float = 0.0
    """Steps a second since the start, validations among them; 0: there was none yet."""
    left: float = math.inf
    """About how many seconds it goes on; infinite: it cannot be told yet."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When to stop before the recipe's last step, cleanly and with a checkpoint."""

    steps: float = math.inf
    minutes: float = math.inf
    listen: Callable[[], None] = lambda: None
    """Called when the run begins: a stop that is asked for from then on comes after a step, with a checkpoint."""
    asked: Callable[[], bool] = lambda: False
    """Whether somebody wants the run to stop."""

    def __post_init__(self) -> None:
        if math.isnan(self.minutes):
            raise OptionError("--max-minutes nan is not a limit.", "Give a number of minutes, or leave it out.")


@dataclass(kw_only=True)
class Run:
    """One run: what is trained, on what, where, and how far it is."""

    recipe: Recipe
    settings: Settings
    draw: Callable[[int, Sequence[int]], dict[str, Tensor]]
    """Gives samples of the batch of a step, by their numbers in it."""
    judge: Judge
    held_out: Sequence[Batch]
    """Batches for the validation loss."""
    folder: Path
    metadata: Mapping[str, str]
    """Goes into the files of weights."""
    limits: Limits
    accelerator: Accelerator
    averaged: AveragedModel | None = None
    step: int = 0
    best: float = -math.inf
    best_of: str | None = None
    """What `best` is a score of; unequal ones do not compare."""
    seconds: float = 0.0
    """Spent on training so far, by all runs together."""
    sums: dict[str, Tensor | float] = field(default_factory=dict)
    counted: int = 0
    """Steps that `sums` holds."""
    began: tuple[int, float] = (0, 0.0)
    """Step and seconds at this start."""
    lit: bool = False
    """Whether no output of a validation was one flat colour: what is flat later has collapsed."""

    @property
    def last(self) -> int:
        """The step to stop at."""
        return int(min(self.settings.steps, self.limits.steps))

    @property
    def late(self) -> bool:
        """Whether the minutes of the recipe are over."""
        return 0 < 60 * self.settings.minutes <= self.seconds

    @property
    def complete(self) -> bool:
        """Whether nothing is left of the recipe."""
        return self.step >= self.settings.steps or self.late

    @property
    def rate(self) -> float:
        """See `Progress`."""
        steps, seconds = self.step - self.began[0], self.seconds - self.began[1]
        return steps / seconds if seconds > 0 else 0.0

    @property
    def left(self) -> float:
        """See `Progress`."""
        steps = (self.last - self.step) / self.rate if self.rate else math.inf
        minutes = 60 * self.settings.minutes - self.seconds if self.settings.minutes else math.inf
        allowed = 60 * self.limits.minutes - (self.seconds - self.began[1])
        return max(0.0, min(steps, minutes, allowed))

    @property
    def collapsed(self) -> bool:
        """Whether an output of the last validation is one flat colour, and not because the network is a fresh one."""
        return self.judge.flat is not None and (self.lit or self.step >= YOUNG)

    @property
    def deployed(self) -> nn.Module:
        """The network that is validated and exported."""
        return self.averaged.module if self.averaged is not None else self.recipe.networks[self.recipe.deploy]
