"""What the loop and a network's recipe agree on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Batch = Mapping[str, Tensor]
"""`low` and `high` (N, 3, crop, crop); `low_thumbnail` and `high_thumbnail` (N, 3, s, s) of the whole pictures;
`brightness` (N,), mean luma of the whole high picture. All in [0, 1]. `unpaired`: low and high show different scenes.
`low`: there is nothing of high and no `brightness`."""

Descend = Callable[[Tensor, str], None]
"""`descend(loss, name)`: backward, and one step of the optimizer and the schedule of that name. Gradients are gathered
over processes and over parts of a batch first, clipped, and gone afterwards. Without gradients (validation) nothing
happens."""

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Distance () of two (N, 3, H, W) in [0, 1] that has a gradient in the first."""


class Recipe(Protocol):
    """One way to train: `step` owns forward, losses and the order of descents; the loop owns everything else."""

    data: Literal["paired", "unpaired", "low"]
    """What a batch must hold."""
    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    schedules: dict[str, LRScheduler]
    """By the names of the optimizers."""
    extras: dict[str, Any]
    """Whatever else a resume must restore, such as image pools: objects with `state_dict` and `load_state_dict`."""
    deploy: str
    """Name of the network that is exported."""

    def step(self, batch: Batch, descend: Descend) -> dict[str, Tensor]:
        """One step; gives the terms of the loss, detached, before their weights. The first is the total that the
        deployed network descends."""
        ...
