"""Optimizers: Adam, as all papers here have it, and Muon."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lowlight_cli.training.settings import Settings

HIDDEN = 16
"""Channels that a convolution has at least, on either side, for Muon to turn it."""
MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Jordan's coefficients: five rounds bring all singular values near 1, between 0.7 and 1.2."""
ROUNDS = 5
SIZE = 0.2
"""Root mean square of a step by the learning rate, which is about Adam's: one rate serves both."""


class Muon(torch.optim.Adam):
    """Adam, but for hidden convolutions: their steps are the momentum with all its singular values brought to 1.

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the size of a step is that of Liu et
    al., "Muon is Scalable for LLM Training", 2025. A kernel (out, in, h, w) counts as a matrix (out, in * h * w).
    torch.optim.Muon takes matrices alone, and computes in bfloat16, which most CPUs only emulate.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float]) -> None:
        parameters = list(parameters)
        hidden, others = [[one for one in parameters if turns(one) is turned] for turned in (True, False)]
        groups: list[dict[str, Any]] = [{"params": others, "momentum": None}, {"params": hidden, "momentum": MOMENTUM}]
        super().__init__([group for group in groups if group["params"]], lr=lr, betas=betas)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step. Gradients of hidden convolutions are used up by it: they are None afterwards."""
        for group in self.param_groups:
            for kernel in group["params"] if group["momentum"] else ():
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if not state:  # `step` is what Adam looks for when it restores a state
                    state |= {"step": torch.zeros(()), "mean": torch.zeros_like(kernel)}
                state["step"] += 1
                mean = state["mean"].lerp_(kernel.grad, 1 - group["momentum"])
                turned = orthogonal(kernel.grad.lerp(mean, group["momentum"]).flatten(1))
                size = SIZE * max(turned.shape) ** 0.5
                kernel.sub_(turned.view(kernel.shape), alpha=group["lr"] * size)
                kernel.grad = None
        return super().step(closure)


def turns(parameter: Tensor) -> bool:
    """Whether Muon turns its steps: those of hidden convolutions."""
    return parameter.ndim == 4 and min(parameter.shape[:2]) >= HIDDEN


def orthogonal(matrix: Tensor) -> Tensor:
    """(m, n) with the same singular vectors, and singular values near 1: by Newton and Schulz, without finding them."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-12)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide if wide.shape == matrix.shape else wide.T


def optimizer(settings: Settings, *networks: nn.Module) -> torch.optim.Adam:
    """One of the settings' kind, for the network or the generators."""
    make = {"adam": torch.optim.Adam, "muon": Muon}[settings.optimizer]
    return make(nn.ModuleList(networks).parameters(), lr=settings.lr, betas=tuple(settings.betas))


def discriminators_optimizer(settings: Settings, *networks: nn.Module) -> torch.optim.Adam:
    """Adam, whatever the network has."""
    parameters = nn.ModuleList(networks).parameters()
    return torch.optim.Adam(parameters, lr=settings.lr_discriminator, betas=tuple(settings.betas))
