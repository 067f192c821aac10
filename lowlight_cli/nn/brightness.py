"""Target brightness: a curve that reaches it, and a head that guesses it from a thumbnail."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lowlight_cli.color import BRIGHT, DIM, exposure_factor

LUMA = (0.299, 0.587, 0.114)
STEPS = 14
LOG_GAIN = (-3.0, 9.0)
"""Range of log2(gain): an eighth to 512 times."""
HEADROOM = 0.2
"""Distance of a pixel's largest channel to white below which a network may change less."""


def luma(pixels: Tensor) -> Tensor:
    """BT.601 luma (N, H, W) of sRGB-encoded (N, 3, H, W)."""
    r, g, b = pixels[:, 0], pixels[:, 1], pixels[:, 2]
    return LUMA[0] * r + LUMA[1] * g + LUMA[2] * b


def luma_mean(pixels: Tensor) -> Tensor:
    """Mean luma (N,) of (N, 3, H, W)."""
    return luma(pixels).mean(dim=(1, 2))


def lift(pixels: Tensor, gain: Tensor) -> Tensor:
    """`pixels` by the curve of exposure: one factor for all three channels keeps hue and saturation.

    (N, 3, H, W) in [0, 1] and (N,) -> (N, 3, H, W) in [0, 1].
    """
    return pixels * exposure_factor(pixels.amax(dim=1, keepdim=True), gain[:, None, None, None])


def solve_gain(thumbnail: Tensor, brightness: Tensor) -> Tensor:
    """The gain (N,) that brings the mean luma of (N, 3, h, w) to `brightness` (N,), by bisection."""
    low = torch.full_like(brightness, LOG_GAIN[0])
    high = torch.full_like(brightness, LOG_GAIN[1])
    for _ in range(STEPS):
        middle = (low + high) / 2
        too_dark = luma_mean(lift(thumbnail, torch.exp2(middle))) < brightness
        low = torch.where(too_dark, middle, low)
        high = torch.where(too_dark, high, middle)
    return torch.exp2((low + high) / 2)


def headroom(pixels: Tensor) -> Tensor:
    """What a network may change of each pixel: all (1), less and less near white, nothing (0) of white.

    (N, 3, H, W) in [0, 1] -> (N, 1, H, W).
    """
    return ((1 - pixels.amax(dim=1, keepdim=True)) / HEADROOM).clamp(0.0, 1.0)


class ExposureHead(nn.Module):
    """Guesses the brightness of a well-exposed version of a picture from statistics of its thumbnail.

    Statistics: a soft histogram of the root of luma, the mean of each channel's root, and of their spread.
    """

    def __init__(self, bins: int = 16, hidden: int = 32) -> None:
        super().__init__()
        self.bins = bins
        self.layers = nn.Sequential(
            nn.Linear(bins + 7, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, hidden), nn.LeakyReLU(0.1)
        )
        self.guess = nn.Linear(hidden, 1)

    def statistics(self, thumbnail: Tensor) -> Tensor:
        """(N, bins + 7) from (N, 3, h, w) in [0, 1]."""
        roots = thumbnail.clamp(min=0.0).sqrt()
        bright = luma(roots).flatten(1)
        centres = torch.linspace(0, 1, self.bins, dtype=roots.dtype, device=roots.device)
        near = (1 - (bright[:, None, :] - centres[None, :, None]).abs() * (self.bins - 1)).clamp(min=0.0)
        means = roots.mean(dim=(2, 3))
        spread = (roots - means[:, :, None, None]).square().mean(dim=(2, 3)).sqrt()
        return torch.cat([near.mean(dim=2), means, spread, luma_mean(thumbnail)[:, None]], dim=1)

    def forward(self, thumbnail: Tensor) -> Tensor:
        """(N, 3, h, w) -> (N,) in (0, 1)."""
        return torch.sigmoid(self.guess(self.layers(self.statistics(thumbnail))))[:, 0]

    def choose(self, thumbnail: Tensor) -> Tensor:
        """Target brightness (N,) for a user who leaves it to us: the guess, but never darker than the picture is."""
        own = luma_mean(thumbnail)
        more = (self(thumbnail) - own).clamp(min=0.0)
        return own + more * ((BRIGHT - own) / (BRIGHT - DIM)).clamp(0.0, 1.0)

    def target(self, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """`exposure` (N,) as asked for, our choice where it is negative; no gradient: the head learns from its own
        error alone, not through the curve."""
        return torch.where(exposure < 0, self.choose(thumbnail), exposure).detach()
