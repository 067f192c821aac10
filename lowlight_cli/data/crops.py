"""Batches of aligned random crops, the same for the same seed and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowlight_cli.color import luma
from lowlight_cli.data.pairs import Pair
from lowlight_cli.errors import PictureError
from lowlight_cli.thumbnail import thumbnail


def tensor(pixels: Sequence[NDArray]) -> Tensor:
    """(N, 3, H, W) float32 in [0, 1] from N (H, W, 3) uint8."""
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float().div_(255)
    return stacked.contiguous(memory_format=torch.channels_last)


def channel_means(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means in [0, 1] of the channels of (H, W, 3) uint8."""
    return (pixels.reshape(-1, 3).mean(axis=0, dtype=np.float64) / 255).astype(np.float32)


def mean_luma(pixels: NDArray[np.uint8]) -> float:
    """Mean luma in [0, 1] of (H, W, 3) uint8."""
    return float(luma(channel_means(pixels)))


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How batches are drawn."""

    crop: int
    batch: int
    seed: int
    thumbnail: int
    """Side of the thumbnails."""
    made: float = 0.0
    """Share of pictures from darkened photos."""
    shuffle: float = 0.0
    """Share of pictures whose channels change places: a small data set knows few pink or purple things."""


class Crops:
    """Draws batches from one or two lists of pairs. Batch k depends on the seed and k alone, so a resume is exact."""

    def __init__(self, real: Sequence[Pair], made: Sequence[Pair], drawing: Drawing) -> None:
        self.pairs, self.real, self.drawing = [*real, *made], len(real), drawing
        self.crop = drawing.crop
        for pair in self.pairs:
            if min(pair.low.shape[:2]) < self.crop:
                raise PictureError(f"{pair.name} is {pair.low.shape[:2]}, smaller than the crop of {self.crop}.", "")
        # Half precision keeps four more bits than the 8-bit pictures these are averages of.
        self.thumbnails = [thumbnail(pair.low, drawing.thumbnail).astype(np.float16) for pair in self.pairs]
        self.means = [channel_means(pair.high) for pair in self.pairs]

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The batch of a step; see `training.recipe.Batch`."""
        rng = np.random.default_rng([self.drawing.seed, step])
        samples = [self.sample(rng) for _ in range(self.drawing.batch)]
        lows, highs, thumbnails, brightness = zip(*samples, strict=True)
        return {
            "low": tensor(lows),
            "high": tensor(highs),
            "thumbnail": torch.from_numpy(np.stack(thumbnails).astype(np.float32).transpose(0, 3, 1, 2)),
            "brightness": torch.tensor(brightness, dtype=torch.float32),
        }

    def sample(self, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray, float]:
        """(low crop, high crop, thumbnail of the whole low picture, mean luma of the whole high picture)."""
        index = self.choose(rng)
        low, high = self.cut(self.pairs[index], rng)
        order = rng.permutation(3) if rng.random() < self.drawing.shuffle else np.arange(3)
        brightness = float(luma(self.means[index][order]))
        return low[..., order], high[..., order], self.thumbnails[index][..., order], brightness

    def choose(self, rng: np.random.Generator) -> int:
        """Index of a pair."""
        made = self.drawing.made if len(self.pairs) > self.real else 0.0
        if rng.random() < made or not self.real:
            return int(rng.integers(self.real, len(self.pairs)))
        return int(rng.integers(self.real))

    def cut(self, pair: Pair, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """One crop of both pictures, flipped and turned by a multiple of 90 degrees."""
        height, width = pair.low.shape[:2]
        top, left = rng.integers(height - self.crop + 1), rng.integers(width - self.crop + 1)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))

        def view(pixels: NDArray) -> NDArray:
            part = np.rot90(pixels[top : top + self.crop, left : left + self.crop], turns)
            return np.ascontiguousarray(part[::-1] if flip else part)

        return view(pair.low), view(pair.high)
