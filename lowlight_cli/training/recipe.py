"""What the loop and a network's recipe agree on."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from lowlight_cli.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; a network's module overrides what its paper says in `DEFAULTS`."""

    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the network's `build`."""
    steps: int = 10_000
    batch: int = 8
    crop: int = 256
    lr: float = 1e-4
    decay: str = "cosine"
    """`cosine`: to a hundredth at the last step. `paper`: the steps that the recipe knows."""
    clip: float = 1.0
    """Largest norm of the gradient; 0: no limit."""
    ema: float = 0.0
    """Decay of the moving average of weights that is deployed; 0: none."""
    synth: float = 0.0
    """Share of pictures drawn from darkened photos instead of real pairs."""
    shuffle: float = 0.0
    """Share of pictures whose colour channels change places."""
    loss: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Weights of the terms of the loss, by name."""
    seed: int = 0

    def override(self, values: Mapping[str, Any]) -> Settings:
        """A copy with other values; unknown names are an error that names the nearest one."""
        fields = {field.name for field in dataclasses.fields(self)}
        for name in values:
            if name not in fields:
                near = difflib.get_close_matches(name, fields, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(fields))}."
                raise OptionError(f"There is no training setting {name!r}.", hint)
            checked(name, values[name], getattr(self, name))
        return dataclasses.replace(self, **values)


def checked(name: str, value: Any, default: Any) -> None:
    """Refuse a value of another kind than the setting has; whole numbers are numbers."""
    kinds = (
        (float, int) if isinstance(default, float) else (Mapping,) if isinstance(default, Mapping) else type(default)
    )
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise OptionError(f"{value!r} is no value for {name}.", f"For example --set {name}={default!r}")


Batch = Mapping[str, Tensor]
"""`low`, `high` (N, 3, crop, crop); `thumbnail` (N, 3, s, s) of the whole low picture; `brightness` (N,),
mean luma of the whole high picture. All in [0, 1]."""


class Recipe(Protocol):
    """One way to train: `step` owns forward, losses, backward and optimizers; the loop owns everything else."""

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    extras: Mapping[str, Any]
    """Whatever else a resume must restore: objects with `state_dict` and `load_state_dict`."""
    deploy: str
    """Name of the network that is exported."""

    def step(self, batch: Batch, backward: Callable[[Tensor], None]) -> dict[str, Tensor]:
        """One step; returns the terms of the loss, detached."""
        ...

    def enhance(self, network: nn.Module, batch: Batch) -> Tensor:
        """The network's output for a validation batch."""
        ...
