"""EMA-CycleGAN: CycleGAN with attention in its residual blocks and atrous pooling after its encoder.

Kuang, Ou, Lin and Zhong, "Research on Low-Light Image Enhancement Algorithm Based on Generative Adversarial Networks"
(the text names neither venue nor year; 2024 or later, by its references), after CycleGAN (Zhu et al., ICCV 2017), ASPP
(Chen et al., "Rethinking atrous convolution", 2017) and EMA (Ouyang et al., "Efficient multi-scale attention module
with cross-spatial learning", ICASSP 2023). Parts: encoder, ASPP (1x1, atrous 3x3 of rates 4, 8, 16, global pool),
residual blocks with EMA, decoder of transposed convolutions; two PatchGAN discriminators. `ema=False, aspp=False` is
CycleGAN; either alone gives the paper's ablations.

Where the paper is silent or we differ, and why:

* `guided=True`. Instance norm, ASPP's pool, and EMA's norm and pool look at all that they are given. Here a thumbnail
  of the whole picture answers for them, so that a tiled picture equals a whole one. `guided=False` is the papers' plain
  form: every call takes its own statistics, and a picture can not be tiled.
* `exposure=True` (the paper's plain input: False, the default). The generator sees the picture brought to a target
  brightness, paints on it blurred, and keeps detail that is not noise (`nn.guide`). The way back has plain input.
  Instance norm takes colour and brightness away, and small generators hardly find them again. It asks for `guided`.
* Small pictures are filled up to 128 pixels a side (with `guided`). In the middle of smaller ones no weight of ASPP's
  widest convolution but its centre falls on a feature; no training crop has such places, and one of 64 pixels that was
  to have a mean of 0.3 had 0.7.
* `window=17`. EMA averages over whole rows and columns, which no tile has and no vector can hold. With `guided` it
  averages over as many features of a row or column around each one; 17 are 68 pixels, a quarter of a training crop. The
  halo grows with it by 18 pixels a feature: 148 without EMA, 436 with 17 features (a core of 1024 costs 3.4 times its
  own area), 1300 with the 65 of a whole crop (12.5 times).
* x + EMA(F(x)): attention weighs what a residual block adds, and the skip "retains the original information". Weighing
  the sum would halve the skip nine times, as the weights start at one half.
* EMA pools the normalised branch for its softmax. The mean of such a plane is the learned bias, exactly: no pooling.
* Groups of EMA: 32, as in its authors' code. ASPP keeps the number of channels, has CycleGAN's instance norm and ReLU
  (none on the pooled branch: a single value has no variance), and zero padding; EMA, too.
* Weights N(0, 0.02), reflected borders, logits and pools as in CycleGAN, and its weights 10 (cycle) and 5 (identity) on
  L1 in [-1, 1]. Adam's first beta is 0.5. The paper has the logarithm (Eq. 2) and not CycleGAN's least squares:
  `discriminator.objective`. Its crop is not given: 256.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lowlight_cli.nn.cycle import CycleRecipe
from lowlight_cli.nn.gan import PatchDiscriminator, normal_weights
from lowlight_cli.nn.guide import Guide, GuidedNetwork, GuidedNorm

if TYPE_CHECKING:
    from lowlight_cli.training.recipe import Perceptual
    from lowlight_cli.training.settings import Settings

RATES = (4, 8, 16)
"""Dilations of ASPP."""
MULTIPLE = 8
"""Of the sides of a tile: a reflected border needs two features at a quarter of the size."""
THUMBNAIL = 112


def mean(features: Tensor) -> Tensor:
    """(N, C) in float32 from (N, C, H, W)."""
    return features.float().mean(dim=(2, 3))


def shares_within(window: int, length: int, like: Tensor) -> Tensor:
    """Matrix (length, length) whose product with a line of values is the mean of `window` values around each.

    Nine times faster than average pooling on a CPU, for the lengths that tiles have.
    """
    places = torch.arange(length, device=like.device)
    near = ((places[:, None] - places[None, :]).abs() <= window // 2).to(like.dtype)
    return near / near.sum(dim=1, keepdim=True)


class ConvNorm(nn.Module):
    """A convolution, instance norm and, if wanted, ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, *, relu: bool = True) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = conv, GuidedNorm(conv.out_channels), relu

    def forward(self, features: Tensor, guide: Guide) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        features = self.norm(self.conv(features), guide)
        return torch.relu(features) if self.relu else features


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3 and a global mean side by side, and a 1x1 back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.point = ConvNorm(nn.Conv2d(channels, channels, 1))
        self.atrous = nn.ModuleList(
            ConvNorm(nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate)) for rate in RATES
        )
        self.pooled = nn.Conv2d(channels, channels, 1)
        self.project = ConvNorm(nn.Conv2d((2 + len(RATES)) * channels, channels, 1))

    def forward(self, features: Tensor, guide: Guide) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        whole = guide(self.channels, lambda: mean(features))[:, :, None, None].to(features.dtype)
        pooled = torch.relu(self.pooled(whole)).expand(-1, -1, *features.shape[2:])
        branches = [branch(features, guide) for branch in (self.point, *self.atrous)]
        return self.project(torch.cat([*branches, pooled.to(branches[0].dtype)], dim=1), guide)


class EMA(nn.Module):
    """Efficient multi-scale attention: channels in groups, which share their convolutions.

    One branch weighs features by means along x and along y through a 1x1 convolution, and normalises them; the other is
    a 3x3 convolution. Each branch's softmax over its channel means weighs the channels of the other into one plane.
    `window`: how many features a mean along x or y spans, odd; 0: all of them.
    """

    def __init__(self, channels: int, groups: int = 32, window: int = 0) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{channels} channels do not divide into {groups} groups.")
        if window and window % 2 == 0:
            raise ValueError(f"window is {window}; it must be odd, or 0.")
        self.channels, self.width, self.window = channels, channels // groups, window
        self.point = nn.Conv2d(self.width, self.width, 1)
        self.local = nn.Conv2d(self.width, self.width, 3, padding=1)
        self.norm = GuidedNorm(channels)
        self.scale = nn.Parameter(torch.ones(self.width))
        self.bias = nn.Parameter(torch.zeros(self.width))

    def strips(self, grouped: Tensor) -> tuple[Tensor, Tensor]:
        """Means along x and along y; what lies beyond the border does not count."""
        if not self.window:
            return grouped.mean(dim=3, keepdim=True), grouped.mean(dim=2, keepdim=True)
        rows, columns = (shares_within(self.window, length, grouped) for length in grouped.shape[2:])
        return grouped @ columns.T, rows @ grouped

    def attention(self, features: Tensor, guide: Guide) -> Tensor:
        """Weights (N, groups, H, W) in (0, 1) of (N, channels, H, W)."""
        grouped = self.split(features)
        along_x, along_y = (torch.sigmoid(self.point(strip)) for strip in self.strips(grouped))
        directed = self.split(self.norm((grouped * along_x * along_y).reshape(features.shape), guide))
        directed = directed * self.scale[:, None, None] + self.bias[:, None, None]
        local = self.local(grouped)
        means = guide(self.channels, lambda: mean(local.reshape(features.shape)))
        shares = torch.softmax(means.reshape(-1, 1, self.width), dim=2)
        planes = torch.softmax(self.bias, dim=0)[None, None] @ local.flatten(2) + shares @ directed.flatten(2)
        return torch.sigmoid(planes.float()).reshape(features.shape[0], -1, *features.shape[2:])

    def split(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N * groups, width, H, W)."""
        return features.reshape(-1, self.width, *features.shape[2:])

    def forward(self, features: Tensor, guide: Guide) -> Tensor:
        """(N, channels, H, W), each group weighed by its plane."""
        weights = self.attention(features, guide).flatten(0, 1)[:, None].to(features.dtype)
        return (self.split(features) * weights).reshape(features.shape)


class ResidualBlock(nn.Module):
    """x + F(x), F two 3x3 convolutions with instance norm; x + EMA(F(x)) with attention."""

    def __init__(self, channels: int, attention: EMA | None) -> None:
        super().__init__()
        self.first, self.second = (
            ConvNorm(nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"), relu=relu)
            for relu in (True, False)
        )
        self.attention = attention

    def forward(self, features: Tensor, guide: Guide) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        added = self.second(self.first(features, guide), guide)
        return features + (self.attention(added, guide) if self.attention is not None else added)


class Generator(GuidedNetwork):
    """The network, for both directions. `context` sees a thumbnail of the whole picture, `tile` any part of it.

    Vectors are all the means and variances that its layers ask for, in order: 20,224 numbers as in the paper. Without
    `guided` there are none.
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 9,
        *,
        ema: bool = True,
        aspp: bool = True,
        groups: int = 32,
        window: int = 17,
        guided: bool = True,
        exposure: bool = False,
    ) -> None:
        if guided and ema and window < 1:
            raise ValueError(f"window is {window}: whole rows and columns ask for guided=False, for no tile has them.")
        super().__init__(guided=guided, exposure=exposure)
        deep = 4 * width
        self.encoder = nn.ModuleList(
            [
                ConvNorm(nn.Conv2d(self.seen, width, 7, padding=3, padding_mode="reflect")),
                ConvNorm(nn.Conv2d(width, 2 * width, 3, 2, 1)),
                ConvNorm(nn.Conv2d(2 * width, deep, 3, 2, 1)),
            ]
        )
        self.aspp = nn.ModuleList([ASPP(deep)] if aspp else [])
        self.blocks = nn.ModuleList(
            ResidualBlock(deep, EMA(deep, groups, window if guided else 0) if ema else None) for _ in range(blocks)
        )
        self.decoder = nn.ModuleList(
            ConvNorm(nn.ConvTranspose2d(before, before // 2, 3, 2, 1, output_padding=1)) for before in (deep, deep // 2)
        )
        self.tail = nn.Conv2d(width, self.made, 7, padding=3, padding_mode="reflect")
        normal_weights(self)
        if exposure:
            with torch.no_grad():
                self.tail.weight.mul_(0.1)

    def paint(self, planes: Tensor, guide: Guide) -> Tensor:
        """See `GuidedNetwork`."""
        features = planes
        for stage in (*self.encoder, *self.aspp, *self.blocks, *self.decoder):
            features = stage(features, guide)
        # Strided convolutions round odd sides up; the decoder's pixel 2i lies on their feature i, so the excess is at
        # the end.
        features = features[:, :, : planes.shape[2], : planes.shape[3]]
        return torch.tanh(self.tail(features).float())


def build(**params: Any) -> Generator:
    """The network of a manifest row's `params`."""
    return Generator(**params)


def geometry(
    *,
    blocks: int = 9,
    ema: bool = True,
    aspp: bool = True,
    window: int = 17,
    guided: bool = True,
    exposure: bool = False,
    **params: Any,  # noqa: ARG001 - of no influence
) -> dict[str, Any]:
    """Facts of a manifest row that follow from its `params`."""
    reach = blocks * (2 + (max(1, window // 2) if ema else 0)) + (max(RATES) if aspp else 0)
    return {
        "multiple": MULTIPLE,
        # Inside, features are four pixels apart; 3 + 1 + 2 pixels before, and as many after.
        "halo": 12 + 4 * reach,
        "tiling": "guided" if guided else "whole",
        "thumbnail": THUMBNAIL if guided else 0,
        "scales": [1],
        "exposure": exposure,
        # Then every feature has another at the widest rate from it, on one side at least; they are four pixels apart.
        "smallest": 4 * 2 * max(RATES) if aspp and guided else 1,
    }


SMALLEST_CROP = 24
"""Below that the discriminator's deepest features are one number, which has no variance."""
DEFAULTS = {
    "steps": 200 * 485 // 8,
    "batch": 8,
    "crop": 256,
    "lr": 1e-4,
    "lr_discriminator": 1e-4,
    "betas": (0.5, 0.999),
    "decay": "linear",
    "clip": 0.0,
    "pool": 50,
    "perceptual": "off",
    "discriminator": {"objective": "log"},
    "loss": {"adversarial": 1.0, "cycle": 10.0, "identity": 5.0, "paired": 0.0, "ssim": 0.0, "exposure": 1.0},
}
"""200 epochs of 485 pictures in batches of 8 at 1e-4, as the paper says; the rest is CycleGAN's."""


def recipe(settings: Settings, perceptual: Perceptual | None = None) -> CycleRecipe:  # noqa: ARG001 - as every network's
    """The recipe of the paper, with the settings given."""
    return CycleRecipe(settings, build, PatchDiscriminator)
