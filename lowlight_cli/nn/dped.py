"""What networks take over from DPED, that is everything but its generator: the discriminator and the plain losses.

Ignatov et al., "DSLR-quality photos on mobile devices with deep convolutional networks", ICCV 2017. Its instance norms
are spectral norms here, as BA-GAN's paper has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lowlight_cli.nn.losses import gaussian

LEAK = 0.2
REAL, MADE = 0, 1
"""Classes of the discriminator: columns P_true and P_false."""
KERNELS, STRIDES = (11, 5, 3, 3, 3), (4, 2, 1, 1, 2)
BLUR = 21, 3.0
"""Taps and standard deviation."""


class Discriminator(nn.Module):
    """Five convolutions, two linear layers (BA-GAN, Table 2), each with spectral norm; for pictures of one size."""

    def __init__(self, crop: int = 100, widths: Sequence[int] = (48, 128, 192, 192, 128), hidden: int = 1024) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, width, kernel, stride in zip((3, *widths[:-1]), widths, KERNELS, STRIDES, strict=True):
            convolution = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2)
            layers += [spectral_norm(convolution), nn.LeakyReLU(LEAK)]
            crop = (crop - 1) // stride + 1
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.hidden = nn.Sequential(spectral_norm(nn.Linear(widths[-1] * crop**2, hidden)), nn.LeakyReLU(LEAK))
        self.classes = spectral_norm(nn.Linear(hidden, 2))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, crop, crop) -> (N, 2): logits of real and made; their softmax is (P_true, P_false)."""
        return self.classes(self.hidden(self.features(pixels)))

    def odds(self, pixels: Tensor) -> Tensor:
        """(N, 1): logarithm of the odds that a picture is real, the one number that the two logits stand for."""
        logits = self(pixels)
        return logits[:, REAL, None] - logits[:, MADE, None]


def variation(pixels: Tensor) -> Tensor:
    """Total variation: mean squared difference of neighbours, down plus across."""
    return pixels.float().diff(dim=2).square().mean() + pixels.float().diff(dim=3).square().mean()


def blurred(pixels: Tensor) -> Tensor:
    """(N, C, H, W) under a Gaussian, interior only: colour without detail."""
    taps = gaussian(*BLUR).to(pixels.device)
    planes = pixels.float().flatten(0, 1)[:, None]
    return F.conv2d(F.conv2d(planes, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))


def color_distance(output: Tensor, truth: Tensor) -> Tensor:
    """Mean squared difference of blurred pictures (N, 3, H, W), sides over 20."""
    with torch.autocast(output.device.type, enabled=False):
        return blurred(output.float() - truth.float()).square().mean()
