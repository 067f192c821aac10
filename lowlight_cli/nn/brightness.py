"""Target brightness: a curve that reaches it, and a head that guesses it from a thumbnail."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LUMA = (0.299, 0.587, 0.114)
STEPS = 14
LOG_GAIN = (-3.0, 9.0)
"""Range of log2(gain): an eighth to 512 times."""
BRIGHT, DIM = 0.46, 0.34
"""Mean luma from which on a picture keeps its brightness, and up to which the head alone decides."""
HEADROOM = 0.2
"""Distance of a pixel's largest channel to white below which a network may change less."""
LARGEST_GRID = 32
"""Cells a side that an exposure head may see; thumbnails have 64 pixels and more."""
CENTRE, SPREAD = 0.2, 0.1
"""Of what an exposure head with a grid sees of dark pictures, roughly."""
DROPPED = 0.3
"""Share of what it sees that it does without in training: hundreds of pictures are few for it."""


def luma(pixels: Tensor) -> Tensor:
    """BT.601 luma (N, H, W) of sRGB-encoded (N, 3, H, W)."""
    r, g, b = pixels[:, 0], pixels[:, 1], pixels[:, 2]
    return LUMA[0] * r + LUMA[1] * g + LUMA[2] * b


def luma_mean(pixels: Tensor) -> Tensor:
    """Mean luma (N,) of (N, 3, H, W)."""
    return luma(pixels).mean(dim=(1, 2))


def lift(pixels: Tensor, gain: Tensor) -> Tensor:
    """`pixels` times g / (1 + (g - 1) v), v their largest channel: black stays black, white stays white.

    One factor for all three channels keeps hue and saturation; near black the factor is the gain itself.
    (N, 3, H, W) in [0, 1] and (N,) -> (N, 3, H, W) in [0, 1].
    """
    gain = gain[:, None, None, None]
    value = pixels.amax(dim=1, keepdim=True)
    return pixels * (gain / (1 + (gain - 1) * value))


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
    """Guesses the brightness of a well-exposed version of a picture from its thumbnail.

    It sees statistics: a soft histogram of the root of luma, the mean of each channel's root, and of their spread. With
    a `grid` it also sees the root of the thumbnail in grid x grid cells. What is bright where tells scenes apart, and
    those that were trained on from others: that serves data of few scenes, such as LOL, and not any picture.
    """

    def __init__(self, grid: int = 0, bins: int = 16) -> None:
        super().__init__()
        if not 0 <= grid <= LARGEST_GRID:
            raise ValueError(f"grid is {grid}; it must be from 0 to {LARGEST_GRID}.")
        self.grid, self.bins = grid, bins
        seen, hidden = bins + 7 + 3 * grid**2, 64 if grid else 32
        if grid:
            layers = [nn.Dropout(DROPPED), nn.Linear(seen, hidden), nn.LeakyReLU(0.1), nn.Dropout(DROPPED)]
        else:
            layers = [nn.Linear(seen, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, hidden), nn.LeakyReLU(0.1)]
        self.layers, self.guess = nn.Sequential(*layers), nn.Linear(hidden, 1)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, 0.1, nonlinearity="leaky_relu")
        for values in (self.guess.weight, self.guess.bias):  # a half for every picture, to begin with
            nn.init.zeros_(values)

    def statistics(self, thumbnail: Tensor) -> Tensor:
        """(N, bins + 7) from (N, 3, h, w) in [0, 1]."""
        roots = thumbnail.clamp(min=0.0).sqrt()
        bright = luma(roots).flatten(1)
        centres = torch.linspace(0, 1, self.bins, dtype=roots.dtype, device=roots.device)
        near = (1 - (bright[:, None, :] - centres[None, :, None]).abs() * (self.bins - 1)).clamp(min=0.0)
        means = roots.mean(dim=(2, 3))
        spread = (roots - means[:, :, None, None]).square().mean(dim=(2, 3)).sqrt()
        return torch.cat([near.mean(dim=2), means, spread, luma_mean(thumbnail)[:, None]], dim=1)

    def cells(self, thumbnail: Tensor) -> Tensor:
        """(N, 3, grid, grid) from (N, 3, h, w); in training some in the mirror, in which a scene is as bright."""
        cells = F.adaptive_avg_pool2d(thumbnail.clamp(min=0.0).sqrt(), self.grid)
        if not self.training:
            return cells
        mirrored = torch.rand(len(cells), 1, 1, 1, device=cells.device) < 0.5
        return torch.where(mirrored, cells.flip(3), cells)

    def seen(self, thumbnail: Tensor) -> Tensor:
        """What the layers see of (N, 3, h, w): statistics, with a grid also cells, all of one order of size."""
        found = self.statistics(thumbnail)
        if not self.grid:
            return found
        histogram, others = found[:, : self.bins].sqrt(), found[:, self.bins :]
        return (torch.cat([histogram, others, self.cells(thumbnail).flatten(1)], dim=1) - CENTRE) / SPREAD

    def forward(self, thumbnail: Tensor) -> Tensor:
        """(N, 3, h, w) -> (N,) in (0, 1)."""
        return torch.sigmoid(self.guess(self.layers(self.seen(thumbnail))))[:, 0]

    def choose(self, thumbnail: Tensor) -> Tensor:
        """Target brightness (N,) for a user who leaves it to us: the guess, but never darker than the picture is."""
        own = luma_mean(thumbnail)
        more = (self(thumbnail) - own).clamp(min=0.0)
        return own + more * ((BRIGHT - own) / (BRIGHT - DIM)).clamp(0.0, 1.0)

    def target(self, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """`exposure` (N,) as asked for, our choice where it is negative; no gradient: the head learns from its own
        error alone, not through the curve."""
        return torch.where(exposure < 0, self.choose(thumbnail), exposure).detach()
