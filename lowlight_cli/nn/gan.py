"""What adversarial training is made of: losses on logits, a pool of made pictures, the PatchGAN discriminator.

After CycleGAN (Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks", ICCV
2017) where the papers that use it are silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.2

Objective = Literal["log", "lsgan"]
"""`log`: binary cross entropy on logits (Goodfellow et al., 2014). `lsgan`: least squares (Mao et al., 2017)."""


def judged(logits: Tensor, truth: float, objective: Objective) -> Tensor:
    """Mean loss () of logits of any shape, which should say `truth`: 1 for real, 0 for made."""
    logits = logits.float()
    loss = {"log": F.binary_cross_entropy_with_logits, "lsgan": F.mse_loss}[objective]
    return loss(logits, torch.full_like(logits, truth))


def generator_loss(made: Tensor, objective: Objective = "log") -> Tensor:
    """What a generator pays for the logits of its pictures; `log` is the form that does not saturate, -ln D(made)."""
    return judged(made, 1.0, objective)


def discriminator_loss(real: Tensor, made: Tensor, objective: Objective = "log") -> Tensor:
    """What a discriminator pays for its logits of real and of made pictures; the mean of both, as in CycleGAN."""
    return (judged(real, 1.0, objective) + judged(made, 0.0, objective)) / 2


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, made: Tensor) -> Tensor:
    """Mean of (norm of the gradient - 1)^2 on points between real and made pictures (Gulrajani et al., 2017).

    `discriminator` gives logits (N, ...), whose mean is a picture's score. Without gradients it is zero.
    """
    if not torch.is_grad_enabled():
        return real.new_zeros(())
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    # Gradients of gradients are small differences: not for bfloat16.
    with torch.autocast(real.device.type, enabled=False):
        between = torch.lerp(made.detach().float(), real.detach().float(), share).requires_grad_()
        score = discriminator(between).reshape(len(real), -1).mean(dim=1).sum()
        (gradient,) = torch.autograd.grad(score, between, create_graph=True)
    # A root has no gradient at zero.
    norm = (gradient.flatten(1).square().sum(dim=1) + 1e-12).sqrt()
    return (norm - 1).square().mean()


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Parameters that take no gradient inside, and are afterwards as they were; gradients still flow through."""
    learning = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


class ImagePool:
    """Made pictures that a discriminator is shown again, so that it does not forget (Shrivastava et al., 2017).

    Until `size` pictures are in, each is kept and shown. From then on every other one, by chance, changes places with
    a kept one. Without gradients, and with size 0, pictures pass and nothing is kept. Pictures of another shape than
    those that are kept drive these out.
    """

    def __init__(self, size: int = 50) -> None:
        self.size = size
        self.kept: list[Tensor] = []

    def __call__(self, made: Tensor) -> Tensor:
        """(N, ...) detached, some of them replaced by earlier ones."""
        made = made.detach()
        if not self.size or not torch.is_grad_enabled():
            return made
        if self.kept and self.kept[0].shape != made.shape[1:]:
            self.kept.clear()
        return torch.stack([self.exchange(picture) for picture in made])

    def exchange(self, picture: Tensor) -> Tensor:
        """The picture itself, or an earlier one in whose place it is kept."""
        # A clone, because a slice would keep its whole batch in memory.
        if len(self.kept) < self.size:
            self.kept.append(picture.clone())
            return picture
        if torch.rand(()) < 0.5:
            return picture
        place = int(torch.randint(self.size, ()))
        earlier, self.kept[place] = self.kept[place], picture.clone()
        return earlier.to(picture)

    def state_dict(self) -> dict[str, Tensor]:
        """All that is kept, as one tensor (count, ...)."""
        return {"kept": torch.stack(self.kept) if self.kept else torch.empty(0)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict`; what a smaller pool has no place for is dropped."""
        self.kept = [picture.clone() for picture in state["kept"][: self.size]]


def normal_weights(network: nn.Module) -> None:
    """Draw the weights of all convolutions from N(0, 0.02), biases zero: CycleGAN's initialisation."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al., 2017): a map of logits, each of which judges a patch; 70x70 pixels at depth 3.

    `depth` 4x4 convolutions of stride 2, two of stride 1; instance norm with each picture's own statistics.
    """

    def __init__(self, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        widths = [min(2**level, 8) * width for level in range(depth + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(LEAK)]
        for level in range(1, depth + 1):
            stride = 2 if level < depth else 1
            layers += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride, 1),
                nn.InstanceNorm2d(widths[level]),
                nn.LeakyReLU(LEAK),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        normal_weights(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, 1, h, w) of (N, 3, H, W) in [0, 1]; sides of at least 24 pixels at depth 3."""
        return self.layers(2 * pixels - 1)
