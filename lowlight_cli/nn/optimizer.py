"""Optimizers: Adam, as all papers here have it, and Muon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
            kernels = [one for one in group["params"] if one.grad is not None] if group["momentum"] else []
            for kernel in kernels:
                state = self.state[kernel]
                if not state:  # `step` is what Adam looks for when it restores a state
                    state |= {"step": torch.zeros(()), "mean": torch.zeros_like(kernel)}
                state["step"] += 1
            alike: dict[torch.Size, list[nn.Parameter]] = {}
            for kernel in kernels:
                alike.setdefault(kernel.shape, []).append(kernel)
            for same in alike.values():
                self.turn(same, group)
        return super().step(closure)

    def turn(self, kernels: Sequence[nn.Parameter], group: Mapping[str, Any]) -> None:
        """Move kernels of one shape, together: an accelerator takes as long for a small matrix as for ten."""
        means, gradients = [self.state[kernel]["mean"] for kernel in kernels], [kernel.grad for kernel in kernels]
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, means, group["momentum"])
        with torch.autocast(kernels[0].device.type, enabled=False):
            turned = orthogonal(torch.stack(ahead).flatten(2))
        size = SIZE * max(turned.shape[1:]) ** 0.5
        steps = [one.view(kernel.shape) for one, kernel in zip(turned, kernels, strict=True)]
        torch._foreach_add_(list(kernels), steps, alpha=-group["lr"] * size)
        for kernel in kernels:
            kernel.grad = None


def turns(parameter: Tensor) -> bool:
    """Whether Muon turns its steps: those of hidden convolutions."""
    return parameter.ndim == 4 and min(parameter.shape[:2]) >= HIDDEN


def orthogonal(matrices: Tensor) -> Tensor:
    """(k, m, n) with the same singular vectors, and singular values near 1: by Newton and Schulz, without finding
    them."""
    upright = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if upright else matrices
    wide = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=1e-12)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        square = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(square, square, square, beta=b, alpha=c), wide, beta=a)
    return wide.mT if upright else wide


def optimizer(settings: Settings, *networks: nn.Module) -> torch.optim.Adam:
    """One of the settings' kind, for the network or the generators."""
    make = {"adam": torch.optim.Adam, "muon": Muon}[settings.optimizer]
    return make(nn.ModuleList(networks).parameters(), lr=settings.lr, betas=tuple(settings.betas))


def discriminators_optimizer(settings: Settings, *networks: nn.Module) -> torch.optim.Adam:
    """Adam, whatever the network has."""
    parameters = nn.ModuleList(networks).parameters()
    return torch.optim.Adam(parameters, lr=settings.lr_discriminator, betas=tuple(settings.betas))
