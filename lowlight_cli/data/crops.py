"""Batches of aligned random crops, the same for the same seed and step."""

from __future__ import annotations

from collections.abc import Sequence

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


def mean_luma(pixels: NDArray[np.uint8]) -> float:
    """Mean luma in [0, 1] of (H, W, 3) uint8."""
    return float(luma(pixels.reshape(-1, 3).mean(axis=0, dtype=np.float64).astype(np.float32)) / 255)


class Crops:
    """Draws batches from one or two lists of pairs. Batch k depends on the seed and k alone, so a resume is exact."""

    def __init__(
        self, real: Sequence[Pair], made: Sequence[Pair], *, share: float, crop: int, batch: int, seed: int, side: int
    ) -> None:
        """`share` of the pictures come from `made`; `side` of the thumbnails."""
        self.pairs = [*real, *made]
        self.real, self.share = len(real), share if made else 0.0
        self.crop, self.batch, self.seed = crop, batch, seed
        for pair in self.pairs:
            if min(pair.low.shape[:2]) < crop:
                raise PictureError(f"{pair.name} is {pair.low.shape[:2]}, smaller than the crop of {crop}.", "")
        # Half precision keeps four more bits than the 8-bit pictures these are averages of.
        self.thumbnails = [thumbnail(pair.low, side).astype(np.float16) for pair in self.pairs]
        self.brightness = [mean_luma(pair.high) for pair in self.pairs]

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The batch of a step; see `training.recipe.Batch`."""
        rng = np.random.default_rng([self.seed, step])
        chosen = [self.choose(rng) for _ in range(self.batch)]
        crops = [self.cut(self.pairs[index], rng) for index in chosen]
        return {
            "low": tensor([low for low, _ in crops]),
            "high": tensor([high for _, high in crops]),
            "thumbnail": torch.from_numpy(
                np.stack([self.thumbnails[i] for i in chosen]).astype(np.float32).transpose(0, 3, 1, 2)
            ),
            "brightness": torch.tensor([self.brightness[i] for i in chosen], dtype=torch.float32),
        }

    def choose(self, rng: np.random.Generator) -> int:
        """Index of a pair."""
        if rng.random() < self.share or not self.real:
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
