"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015), with upsampling that is cheap, and a sub-pixel tail."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.1


def double_conv(channels: int, width: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with its activation: (N, channels, H, W) -> (N, width, H, W)."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.LeakyReLU(LEAK, inplace=True),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(LEAK, inplace=True),
    )


class Encoder(nn.Module):
    """U-Net's contracting path: two convolutions per level, 2x2 max pooling between levels."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            double_conv(before, width) for before, width in zip((channels, *widths), widths, strict=False)
        )

    def forward(self, planes: Tensor) -> list[Tensor]:
        """Features of all levels, finest first; level k is (N, widths[k], H / 2^k, W / 2^k)."""
        features = []
        for k, level in enumerate(self.levels):
            planes = level(F.max_pool2d(planes, 2) if k else planes)
            features.append(planes)
        return features


class Decoder(nn.Module):
    """U-Net's expansive path with skips, and a sub-pixel tail: `out` channels at twice the encoder's size."""

    def __init__(self, widths: Sequence[int], out: int, extra: int = 0) -> None:
        super().__init__()
        self.ups = nn.ModuleList(nn.Conv2d(below, width, 1) for width, below in pairwise(widths))
        self.levels = nn.ModuleList(double_conv(2 * width, width) for width in widths[:-1])
        self.tail = nn.Conv2d(widths[0], 4 * out + extra, 3, padding=1)

    def forward(self, deepest: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """(N, 4 * out + extra, H, W), before the pixel shuffle."""
        features = deepest
        for up, level, skip in reversed(list(zip(self.ups, self.levels, skips, strict=True))):
            # A 1x1 convolution commutes with nearest-neighbour upsampling and is four times cheaper before it.
            upsampled = F.interpolate(up(features), scale_factor=2.0, mode="nearest")
            features = level(torch.cat([upsampled, skip], dim=1))
        return self.tail(features)
