"""DRS-CycleGAN: CycleGAN whose generator has three paths of deep residual shrinkage blocks.

The paper on CycleGAN with multi-scale deep residual shrinkage, Journal of Intelligent & Fuzzy Systems, doi
10.3233/JIFS-211664; after CycleGAN (Zhu et al., ICCV 2017) and deep residual shrinkage networks with channel-wise
thresholds, DRSN-CW (Zhao et al., IEEE Transactions on Industrial Informatics, 2020). Parts: path 1 (3x3 blocks) -> X1,
path 2 (1x1 blocks) -> X2, path 3 (5x5 blocks) -> X4 with X3 after its first convolution; Y1 = [X3, X4], Y2 = [X2, X3],
Out = [X1, Y1, Y2]; a discriminator of two paths with two kernel sizes.

Where the paper is silent or we differ, and why:

* `context` / `tile`. Instance norm and the thresholds look at the whole picture they are given, so tiles would differ.
  Here both come from a thumbnail, once (`nn.guide`). `guided=False` is the paper's plain form.
* `exposure=True` (the paper's plain input: False, the default). The generator sees the picture brought to a target
  brightness, paints on it blurred, and keeps detail that is not noise (`nn.guide`). The way back has plain input.
  It asks for `guided`.
* A block is DRSN's: norm, ReLU and convolution twice, shrinkage, the input added. Its batch norm between the two layers
  that find a threshold is left out: a batch is one picture, and instance norm of one number is zero.
* Path 2 has blocks of 64 and an output of 32: a 1x1 convolution after the last block makes the one of the other.
* Between the last convolutions there is a ReLU and no norm, which would make all pictures equally bright. X3 is linear
  in the picture, and so its brightness reaches the output. The last one starts at a tenth of Kaiming's spread, in the
  middle of the output's range, which is tanh's as in CycleGAN, mapped to [0, 1].
* Edges are replicated: CycleGAN's reflection fails on pictures of few pixels.
* `downsample=1`: the paths run at the size of the picture, as the text tells; it gives no stride. But it speaks of
  upsampling, and the cost is 2100 GFLOP per megapixel: 2 or 4 computes the paths at a half or a quarter, behind strided
  convolutions, and returns by resizing and dilated convolutions. Their dilation is 3: after doubling, one of 2 sees the
  same at both of two neighbours, and the output would have no finer detail than the features.
* The discriminator's figure is lost: see `Discriminator`. Equations 1 to 4, the adversarial losses, are lost too:
  least squares as in CycleGAN's training, and its weights 10 and 5, where the paper just adds up.
* The rate is "dynamically adjusted": CycleGAN's linear decay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_cli.nn.cycle import CycleRecipe
from lowlight_cli.nn.gan import LEAK
from lowlight_cli.nn.guide import Guide, GuidedNetwork, GuidedNorm

if TYPE_CHECKING:
    from lowlight_cli.training.recipe import Perceptual
    from lowlight_cli.training.settings import Settings

THUMBNAIL = 64
DILATION = 2
"""Of the first convolution of paths 1 and 2, and of the last one."""
RETURN_DILATION = 3
"""Of the convolution after a doubling."""


def conv(channels: int, width: int, kernel: int, *, dilation: int = 1, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size, or divides it by the stride and rounds up; edges replicated."""
    padding = dilation * (kernel // 2)
    mode = "replicate" if padding else "zeros"
    return nn.Conv2d(channels, width, kernel, stride, padding=padding, dilation=dilation, bias=bias, padding_mode=mode)


def shrink(features: Tensor, thresholds: Tensor) -> Tensor:
    """Soft thresholding: zero within [-t, t], nearer to zero by t beyond; t (N, C) for features (N, C, H, W)."""
    thresholds = thresholds[:, :, None, None].to(features.dtype)
    return torch.relu(features - thresholds) - torch.relu(-features - thresholds)


class Thresholds(nn.Module):
    """DRSN-CW: a learned share of each channel's absolute average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.share = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, channels), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, C) in [0, absolute average of the channel] for features (N, C, H, W)."""
        averages = features.float().abs().mean(dim=(2, 3))
        return averages * self.share(averages).float()


class ShrinkageBlock(nn.Module):
    """Norm, ReLU and convolution twice, soft thresholding, and the input added."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.width = width
        self.norms = nn.ModuleList(GuidedNorm(width) for _ in range(2))
        # The norm behind it takes the first one's bias away.
        self.convs = nn.ModuleList(conv(width, width, kernel, bias=second) for second in (False, True))
        self.thresholds = Thresholds(width)

    def forward(self, features: Tensor, guide: Guide) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        branch = features
        for norm, convolution in zip(self.norms, self.convs, strict=True):
            branch = convolution(torch.relu(norm(branch, guide)))
        return features + shrink(branch, guide(self.width, lambda: self.thresholds(branch)))


class FeaturePath(nn.Module):
    """One way through the generator: a first convolution, halvings if any, shrinkage blocks of one kernel size."""

    def __init__(self, channels: int, width: int, kernel: int, blocks: int, *, dilation: int, halvings: int) -> None:
        super().__init__()
        self.first = conv(channels, width, 3, dilation=dilation)
        self.norms = nn.ModuleList(GuidedNorm(width) for _ in range(halvings))
        self.halvings = nn.ModuleList(conv(width, width, 3, stride=2) for _ in range(halvings))
        self.blocks = nn.ModuleList(ShrinkageBlock(width, kernel) for _ in range(blocks))

    def forward(self, planes: Tensor, guide: Guide) -> tuple[Tensor, Tensor]:
        """Features before and after the blocks, both (N, width, h, w), of planes (N, channels, H, W)."""
        features = self.first(planes)
        for norm, halve in zip(self.norms, self.halvings, strict=True):
            features = halve(torch.relu(norm(features, guide)))
        before = features
        for block in self.blocks:
            features = block(features, guide)
        return before, features


class Generator(GuidedNetwork):
    """The network. `context` sees a thumbnail of the whole picture, `tile` any part of it, sides of any size.

    Vectors are what norms and thresholds know of the whole picture; (N, 0) where not `guided`.
    """

    def __init__(
        self,
        width: int = 64,
        blocks: Sequence[int] = (9, 6, 6),
        *,
        downsample: int = 1,
        guided: bool = True,
        exposure: bool = False,
    ) -> None:
        super().__init__(guided=guided, exposure=exposure)
        if width % 2:
            raise ValueError(f"Paths of {width} and half as many channels: the width must be even.")
        half, halvings, (first, second, third) = width // 2, steps(downsample), blocks
        self.path1 = FeaturePath(self.seen, width, 3, first, dilation=DILATION, halvings=halvings)
        self.path2 = FeaturePath(self.seen, width, 1, second, dilation=DILATION, halvings=halvings)
        self.reduce = conv(width, half, 1)
        self.path3 = FeaturePath(self.seen, half, 5, third, dilation=1, halvings=halvings)
        self.smooth = conv(3 * width, width, 1)
        self.returns = nn.ModuleList(conv(width, width, 3, dilation=RETURN_DILATION) for _ in range(halvings))
        self.last = conv(width, self.made, 3, dilation=DILATION)
        self.apply(initialise)
        with torch.no_grad():
            self.last.weight.mul_(0.1)

    def features(self, planes: Tensor, guide: Guide) -> Tensor:
        """Out = [X1, Y1, Y2] (N, 3 * width, h, w) of planes (N, seen, H, W): sides by `downsample`, rounded up."""
        _, x1 = self.path1(planes, guide)
        x2 = self.reduce(self.path2(planes, guide)[1])
        x3, x4 = self.path3(planes, guide)
        y1, y2 = (x3, x4), (x2, x3)
        return torch.cat([x1, *y1, *y2], dim=1)

    def paint(self, planes: Tensor, guide: Guide) -> Tensor:
        """See `GuidedNetwork`."""
        features = torch.relu(self.smooth(self.features(planes, guide)))
        for convolution in self.returns:
            features = torch.relu(convolution(F.interpolate(features, scale_factor=2.0, mode="nearest")))
        if len(self.returns):
            features = features[:, :, : planes.shape[2], : planes.shape[3]]
        return torch.tanh(self.last(features).float())

    def ask(self, planes: Tensor, guide: Guide) -> None:
        """See `GuidedNetwork`: what follows the features asks for nothing."""
        self.features(planes, guide)


def steps(downsample: int) -> int:
    """Halvings that divide a side by `downsample`."""
    if downsample not in (1, 2, 4):
        raise ValueError(f"downsample is {downsample}; it can be 1, 2 or 4.")
    return downsample.bit_length() - 1


def initialise(module: nn.Module, leak: float = 0.0) -> None:
    """Kaiming's weights for what a (leaky) ReLU precedes or follows, zero bias."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, leak, nonlinearity="leaky_relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Discriminator(nn.Module):
    """Two paths, 3x3 and 5x5 kernels, to one score per picture, whatever its size; the layout is ours.

    Each path is three strided convolutions with CycleGAN's norms (instance norm, none in the first) and leaky ReLU, to
    an eighth of the size; joined, they go through one more, and a last one gives scores whose mean counts.
    """

    def __init__(self, width: int = 64, kernels: Sequence[int] = (3, 5)) -> None:
        super().__init__()
        self.paths = nn.ModuleList(discriminator_path(width, kernel) for kernel in kernels)
        self.joined = nn.Sequential(
            *normed(4 * width * len(kernels), 4 * width, 3, stride=1), nn.Conv2d(4 * width, 1, 3, padding=1)
        )
        self.apply(lambda module: initialise(module, LEAK))

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores (N, 1) of pictures (N, 3, H, W) in [0, 1], sides of 9 and more."""
        return self.joined(torch.cat([path(2 * pixels - 1) for path in self.paths], dim=1)).mean(dim=(2, 3))


def discriminator_path(width: int, kernel: int) -> nn.Sequential:
    """(N, 3, H, W) -> (N, 4 * width, H / 8, W / 8)."""
    return nn.Sequential(
        nn.Conv2d(3, width, kernel, 2, padding=kernel // 2),
        nn.LeakyReLU(LEAK, inplace=True),
        *normed(width, 2 * width, kernel, stride=2),
        *normed(2 * width, 4 * width, kernel, stride=2),
    )


def normed(channels: int, width: int, kernel: int, stride: int) -> list[nn.Module]:
    """Convolution, instance norm with the picture's own statistics, leaky ReLU."""
    return [
        nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False),
        nn.InstanceNorm2d(width),
        nn.LeakyReLU(LEAK, inplace=True),
    ]


def build(**params: object) -> Generator:
    """The network of a manifest row's `params`."""
    return Generator(**params)


def geometry(
    width: int = 64,  # noqa: ARG001 - all params of `build`
    blocks: Sequence[int] = (9, 6, 6),
    downsample: int = 1,
    guided: bool = True,
    exposure: bool = False,
) -> dict[str, object]:
    """What a manifest row must say of a network with these params."""
    steps(downsample)
    return {
        "multiple": downsample,
        "halo": reach(blocks, downsample),
        "tiling": "guided" if guided else "whole",
        "thumbnail": THUMBNAIL if guided else 0,
        "scales": [1],
        "exposure": exposure,
        "smallest": 1,
    }


def reach(blocks: Sequence[int], downsample: int) -> int:
    """How far a pixel of the output sees, in pixels."""
    halvings, farthest = steps(downsample), 0
    for pixel in range(downsample):  # where it lies within a cell of the features
        top, bottom = pixel - DILATION, pixel + DILATION
        for _ in range(halvings):
            top, bottom = (top - RETURN_DILATION) // 2, (bottom + RETURN_DILATION) // 2
        for first, within in ((DILATION, 2 * blocks[0]), (DILATION, 0), (1, 4 * blocks[2])):
            low, high = top - within, bottom + within
            for _ in range(halvings):
                low, high = 2 * low - 1, 2 * high + 1
            farthest = max(farthest, pixel - low + first, high - pixel + first)
    return farthest


DEFAULTS = {
    "lr": 1e-3,
    "lr_discriminator": 2e-3,
    "batch": 1,
    "crop": 96,
    "steps": 1000 * 485,
    "betas": (0.5, 0.999),
    "decay": "linear",
    "loss": {"adversarial": 1.0, "cycle": 10.0, "identity": 5.0, "paired": 0.0, "ssim": 0.0, "exposure": 1.0},
    "discriminator": {"objective": "lsgan"},
}
"""As in the paper: 1000 epochs of LOL's 485 pictures. Betas, decay and weights of the loss are CycleGAN's."""


def recipe(settings: Settings, perceptual: Perceptual | None = None) -> CycleRecipe:  # noqa: ARG001
    """CycleGAN's, with these networks; no perceptual term."""
    return CycleRecipe(settings, build, Discriminator)
