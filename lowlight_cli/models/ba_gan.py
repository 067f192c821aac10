"""BA-GAN: a generator that a brightness attention map tells which regions are dark, against a discriminator.

The paper on adversarial networks with brightness attention for smart cities (our copy has neither title page nor
year). Parts: attention network (Table 1), U-Net trunk, discriminator (Table 2), and the loss of Eq. 2. Discriminator,
training algorithm and the terms without a formula are those of Ignatov et al., "DSLR-quality photos on mobile devices
with deep convolutional networks" (DPED, ICCV 2017), which the paper cites and compares with.

Where the paper is silent or we differ, and why:

* The "converted input" that is combined with the input and the attention map is the picture as lit as the map says it
  could be: Eq. 4, solved for the truth, is Ix / (1 - A). The trunk sees all three and makes the picture alone. (Added
  to the input, its output has to take strong noise away first: a decibel less, and SSIM 0.29 in place of 0.46, after
  500 steps. Added to the converted input, where the division made the noise stronger, it is worse still.)
* Table 1 has one 3x3 convolution of stride 1 in a deconvolution block, as in the blocks of the contracting path; the
  text counts one more in both. We follow the table. An odd size (25, 13, 7) comes back by cropping.
* The trunk, of which the paper tells nothing but "U-Net", has the widths of the one for low light that it cites (Chen
  et al., "Learning to see in the dark", CVPR 2018). Neither has norms: a pixel depends on `geometry`'s halo alone.
* The target of Eq. 4 is kept in [0, 1]: noise can make a dark picture brighter than its truth, a truth can be black.
* Eq. 3 is the mean of squares, as in Lv, Li and Lu, "Attention guided low-light image enhancement", 2019.
* Content is VGG's features, as in DPED, and the mean absolute difference of pixels. The paper's reason against the
  latter is that pairs are never aligned to the pixel; its data are: the low-light pictures are made from the others.
* -ln D(made) instead of ln(1 - D(made)): the generator learns even where the discriminator is sure (Goodfellow et al.).
* The two descents of a step share one batch, where Algorithm 1 draws two, and the made pictures of the first.
* Activations of the discriminator, leaky ReLU of slope 0.2 everywhere and Kaiming's initialisation are our choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_cli.nn.dped import REAL, Discriminator, color_distance, variation
from lowlight_cli.nn.gan import frozen, gradient_penalty
from lowlight_cli.nn.losses import check_weights, weighted
from lowlight_cli.nn.optimizer import discriminators_optimizer, optimizer
from lowlight_cli.nn.schedule import schedules

if TYPE_CHECKING:
    from lowlight_cli.training.recipe import Batch, Descend, Perceptual
    from lowlight_cli.training.settings import Settings

LEAK = 0.2
LARGEST_GAIN = 32.0
"""Of the converted input: nearer to A = 1 the error of the map matters more than the map."""
LEAST_LIGHT = 1 / 255
"""Least denominator of Eq. 4: the least light that 8 bits hold."""
WIDTHS = (32, 64, 128, 256, 512)
"""Of the trunk, finest first."""
ATTENTION = (16, 16, 32, 64, 128, 256)
"""Of Conv0 to Conv5 of Table 1."""


def conv(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution and its activation: (N, channels, H, W) -> (N, width, ceil(H / stride), ceil(W / stride))."""
    return nn.Sequential(nn.Conv2d(channels, width, 3, stride, padding=1), nn.LeakyReLU(LEAK))


def cropped(planes: Tensor, like: Tensor) -> Tensor:
    """Planes cut to the height and width of others: doubled from half of an odd size they have one row too many."""
    return planes[..., : like.shape[-2], : like.shape[-1]]


class AttentionNet(nn.Module):
    """Table 1: tells where, and how strongly, a picture lacks light. Sides of any size."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        first, *inner, bottom = widths
        self.first = conv(3, first, stride=2)
        self.downs = nn.ModuleList(
            nn.Sequential(conv(above, width), conv(width, width, stride=2))
            for above, width in pairwise((first, *inner))
        )
        self.bottom = conv(inner[-1], bottom)
        self.ups = nn.ModuleList(
            nn.Sequential(
                conv(below + skip, skip),
                nn.ConvTranspose2d(skip, skip, 3, stride=2, padding=1, output_padding=1),
                nn.LeakyReLU(LEAK),
            )
            for below, skip in pairwise((bottom, *reversed(inner)))
        )
        self.full = nn.Sequential(nn.ConvTranspose2d(inner[0] + first, 3, 2, stride=2), nn.LeakyReLU(LEAK))
        self.last = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1, H, W) in (-1, 1); 1 is dark, 0 and less is as bright as it should be."""
        skips = [self.first(pixels)]
        for down in self.downs:
            skips.append(down(skips[-1]))
        planes = self.bottom(skips[-1])
        for up, skip in zip((*self.ups, self.full), reversed(skips), strict=True):
            planes = up(torch.cat([cropped(planes, skip), skip], dim=1))
        return torch.tanh(self.last(cropped(planes, pixels)))


class Trunk(nn.Module):
    """U-Net: two convolutions a level, 2x2 max pooling down, 2x2 deconvolution and a skip up. Sides of any size."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(conv(above, width), conv(width, width)) for above, width in pairwise((channels, *widths))
        )
        self.ups = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, stride=2) for width, below in pairwise(widths))
        self.merges = nn.ModuleList(nn.Sequential(conv(2 * width, width), conv(width, width)) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], 3, 1)

    def forward(self, planes: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, 3, H, W), of any range."""
        skips: list[Tensor] = []
        for level in self.levels:
            skips.append(level(F.max_pool2d(skips[-1], 2, ceil_mode=True) if skips else planes))
        features = skips.pop()
        for up, merge, skip in reversed(list(zip(self.ups, self.merges, skips, strict=True))):
            features = merge(torch.cat([cropped(up(features), skip), skip], dim=1))
        return self.last(features)


class BAGAN(nn.Module):
    """The generator. It knows nothing of the whole picture: no context, and `tile` takes no vectors."""

    def __init__(self, widths: Sequence[int] = WIDTHS, attention: Sequence[int] = ATTENTION) -> None:
        super().__init__()
        if len(widths) < 2 or len(attention) < 3:
            raise ValueError("The trunk has two widths or more, the attention network three or more.")
        self.attention, self.trunk = AttentionNet(attention), Trunk(7, widths)
        self.apply(initialise)
        with torch.no_grad():
            self.attention.last.weight.mul_(0.1)
            self.trunk.last.weight.mul_(0.1)
        # The map begins half-way: from 0, dark data drive it to 1 at such a pace that tanh loses its slope for good.
        nn.init.constant_(self.attention.last.bias, math.atanh(0.5))

    def enhance(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Enhanced picture (N, 3, H, W), not clamped, and attention (N, 1, H, W) in (-1, 1)."""
        attention = self.attention(pixels)
        dark = attention.float().clamp(0.0, 1.0)
        converted = (pixels / (1 - dark).clamp(min=1 / LARGEST_GAIN)).clamp(max=1.0)
        return self.trunk(torch.cat([pixels, dark, converted], dim=1)).float(), attention

    def tile(self, pixels: Tensor, vectors: Tensor | None = None, scale: int = 1) -> Tensor:  # noqa: ARG002
        """Output (N, 3, H, W) in [0, 1] for pixels (N, 3, H, W) in [0, 1]."""
        return self.enhance(pixels)[0].clamp(0.0, 1.0)

    def maps(self, pixels: Tensor, vectors: Tensor | None = None) -> dict[str, Tensor]:  # noqa: ARG002
        """`attention` (N, 1, H, W) in [0, 1]: white where the picture lacks light."""
        return {"attention": self.attention(pixels).float().clamp(0.0, 1.0)}

    def forward(self, pixels: Tensor, thumbnail: Tensor, exposure: Tensor) -> Tensor:  # noqa: ARG002
        """`tile`; there is no control of brightness."""
        return self.tile(pixels)


def initialise(module: nn.Module) -> None:
    """Kaiming's weights for leaky ReLU, zero bias; of a deconvolution's kernel only 1 / stride^2 meet in one pixel."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        inputs = module.in_channels * module.kernel_size[0] ** 2
        if isinstance(module, nn.ConvTranspose2d):
            inputs /= module.stride[0] ** 2
        nn.init.normal_(module.weight, 0.0, (2 / (1 + LEAK**2) / inputs) ** 0.5)
        nn.init.zeros_(module.bias)


def build(**params: Any) -> BAGAN:
    """The network of a manifest row's `params`."""
    return BAGAN(**params)


def geometry(widths: Sequence[int] = WIDTHS, attention: Sequence[int] = ATTENTION) -> dict[str, object]:
    """The manifest facts that follow from the depths of both networks; what a pixel sees of one adds to the other's."""
    coarse, pooled = 2 ** (len(attention) - 1), 2 ** (len(widths) - 1)
    # Convolutions down to 1 / coarse, below and up again; the deconvolutions; the last two layers.
    map_halo = (1 + 2 * (coarse - 2)) + coarse + 2 * (coarse - 2) + (coarse - 2) + 2
    # Twice two convolutions a level, two below, and the pooling.
    trunk_halo = 4 * (pooled - 1) + 2 * pooled + (pooled - 1)
    return {
        "multiple": max(coarse, pooled),
        "halo": map_halo + trunk_halo,
        "tiling": "exact",
        "thumbnail": 0,
        "scales": [1],
        "exposure": False,
        "smallest": 1,
    }


def wanted_attention(low: Tensor, high: Tensor) -> Tensor:
    """Eq. 4: the share of light (N, 1, H, W) in [0, 1] that the low picture lacks; 0 where the truth is black."""
    dark, lit = (picture.float().amax(dim=1, keepdim=True) for picture in (low, high))
    return ((lit - dark) / lit.clamp(min=LEAST_LIGHT)).clamp(0.0, 1.0)


SMALLEST_CROP = 21
"""The loss blurs by a kernel of that size."""
DEFAULTS: Mapping[str, Any] = {
    "lr": 1e-4,
    "lr_discriminator": 1e-4,
    "batch": 32,
    "crop": 100,
    "steps": 20_000,
    "decay": "none",
    "preset": "paper",
    "synth": 1.0,
    "loss": {
        "attention": 1.0,
        "adversarial": 0.005,
        "content": 1.0,
        "perceptual": 0.1,
        "tv": 0.1,
        "color": 1.0,
        "penalty": 10.0,
    },
}
"""The paper gives no rate and no weights. As means over pixels DPED's are 0.007 of adversarial and 0.3 of total
variation to 1 of colour; we take less of both, because noise as strong as the paper's needs no help to be smoothed
away. Attention and content are of colour's magnitude. `penalty` is Gulrajani's weight, and the discriminator's loss."""


class BAGANRecipe:
    """Algorithm 1: the generator descends Eq. 2, then the discriminator learns to tell its pictures from real ones."""

    data = "paired"
    deploy = "generator"

    def __init__(self, settings: Settings, perceptual: Perceptual | None = None) -> None:
        known = DEFAULTS["loss"]
        check_weights(settings.loss, known, known.keys() - {"penalty"} - (set() if perceptual else {"perceptual"}))
        self.weights, self.perceptual = settings.loss, perceptual
        self.networks: dict[str, nn.Module] = {
            "generator": build(**settings.params),
            "discriminator": Discriminator(settings.crop, **settings.discriminator),
        }
        self.optimizers = {
            "generator": optimizer(settings, self.networks["generator"]),
            "discriminator": discriminators_optimizer(settings, self.networks["discriminator"]),
        }
        self.schedules = schedules(settings, self.optimizers)
        self.extras: dict[str, Any] = {}

    def step(self, batch: Batch, descend: Descend) -> dict[str, Tensor]:
        """One descent of the generator, one of the discriminator; the terms that have a weight, before it."""
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        # Spectral norm turns its vectors at every call in training mode: not while only measuring.
        discriminator.train(torch.is_grad_enabled())
        output, attention = generator.enhance(batch["low"])
        with frozen(discriminator):
            terms = dict(self.generator_terms(output, attention, batch))
            total = weighted(terms, self.weights)
            descend(total, "generator")
        terms = {"total": total, **terms}
        if self.weights["adversarial"]:
            judged = self.discriminator_terms(output.detach(), batch["high"])
            descend(weighted(judged, {"discriminator": 1.0, **self.weights}), "discriminator")
            terms |= judged
        return {name: term.detach() for name, term in terms.items()}

    def generator_terms(self, output: Tensor, attention: Tensor, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """The terms of Eq. 2 by name; content is two, by pixels and by `perceptual` features."""
        low, high, weights = batch["low"], batch["high"], self.weights
        if weights["attention"]:
            yield "attention", F.mse_loss(attention.float(), wanted_attention(low, high))
        if weights["adversarial"]:
            logits = self.networks["discriminator"](output).float()
            yield "adversarial", F.cross_entropy(logits, torch.full((len(low),), REAL, device=low.device))
        if weights["content"]:
            yield "content", F.l1_loss(output, high)
        if weights["tv"]:
            yield "tv", variation(output)
        if weights["color"]:
            yield "color", color_distance(output, high)
        if weights["perceptual"] and self.perceptual is not None:
            yield "perceptual", self.perceptual(output, high)

    def discriminator_terms(self, made: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Cross entropy on a batch in which chance puts a real or a made picture in each place; gradient penalty."""
        discriminator = self.networks["discriminator"]
        shown = torch.randint(2, (len(real),), device=real.device)  # REAL or MADE
        mixed = torch.where((shown == REAL)[:, None, None, None], real, made)
        terms = {"discriminator": F.cross_entropy(discriminator(mixed).float(), shown)}
        if self.weights["penalty"]:
            terms["penalty"] = gradient_penalty(discriminator.odds, real, made)
        return terms


def recipe(settings: Settings, perceptual: Perceptual | None = None) -> BAGANRecipe:
    """The recipe of the paper, with the settings given."""
    return BAGANRecipe(settings, perceptual)
