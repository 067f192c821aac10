"""Batches of random crops from pictures in the cache. A sample depends on the seed, its step and its index alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowlight_cli.color import luma
from lowlight_cli.data.cache import Pictures, channel_means
from lowlight_cli.data.copies import darkened_crop, darkened_thumbnail
from lowlight_cli.data.darken import PAPER_RANGES, draw_paper
from lowlight_cli.data.sources import Request
from lowlight_cli.thumbnail import thumbnail

TURNS = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
"""By one, two and three times 90 degrees."""


def tensor(pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(N, 3, H, W) float32 in [0, 1], channels last, from N (H, W, 3) uint8."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).div(255)


class Window(NamedTuple):
    """Which square of a picture, and how it is turned."""

    top: int
    left: int
    side: int
    turns: int
    """By 90 degrees each."""
    flipped: bool

    @classmethod
    def drawn(cls, size: NDArray[np.int64], side: int, rng: np.random.Generator) -> Window:
        """Anywhere in a picture of (height, width)."""
        top, left = (int(rng.integers(length - side + 1)) for length in size)
        return cls(top, left, side, int(rng.integers(4)), bool(rng.integers(2)))

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(side, side, 3) of (H, W, 3)."""
        part = pixels[self.top : self.top + self.side, self.left : self.left + self.side].copy()
        if self.turns:
            part = cv2.rotate(part, TURNS[self.turns - 1])
        return cv2.flip(part, 0) if self.flipped else part


class Drawn(NamedTuple):
    """One crop and what is known of its whole picture."""

    crop: NDArray[np.uint8]
    thumbnail: NDArray[np.floating]
    """(s, s, 3) in [0, 1]."""
    means: NDArray[np.float32]
    """Of the channels."""


@dataclass(frozen=True)
class Kept:
    """Pictures of the cache that crops are drawn from, by their numbers there."""

    pictures: Pictures
    numbers: NDArray[np.intp]
    thumbnails: NDArray[np.float16]
    """Of all `pictures`."""

    def __len__(self) -> int:
        return len(self.numbers)

    def size(self, index: int) -> NDArray[np.int64]:
        """(height, width)."""
        return self.pictures.sizes[self.numbers[index]]

    def draw(self, index: int, window: Window, rng: np.random.Generator) -> Drawn:  # noqa: ARG002
        """That crop."""
        number = self.numbers[index]
        return Drawn(window.of(self.pictures[number]), self.thumbnails[number], self.pictures.means[number])


class Darkened(Kept):
    """Photos that are darkened when they are drawn, as the paper of BA-GAN says: no two crops alike."""

    def draw(self, index: int, window: Window, rng: np.random.Generator) -> Drawn:
        """That crop in too little light; the means are those of the photo."""
        photo, how = super().draw(index, window, rng), draw_paper(rng, PAPER_RANGES)
        small = darkened_thumbnail(how, photo.thumbnail, int(self.size(index).prod()), rng)
        return Drawn(darkened_crop(how, photo.crop, rng), small, photo.means)


@dataclass(frozen=True)
class Pool:
    """What is drawn together: dark pictures and well-lit ones."""

    low: Kept | None
    high: Kept | None
    paired: bool
    """The two show the same scenes, in this order."""


class Crops:
    """Draws from real pictures, darkened photos or both. Any thread may draw."""

    def __init__(self, real: Pool | None, made: Pool | None, request: Request) -> None:
        self.real, self.made, self.request = real, made, request

    def batch(self, step: int, samples: Sequence[int]) -> dict[str, Tensor]:
        """These samples of a step; see `training.recipe.Batch`."""
        lows, highs = zip(*(self.sample(step, index) for index in samples), strict=True)
        return _batch(lows, None if self.request.kind == "low" else highs)

    def sample(self, step: int, index: int) -> tuple[Drawn, Drawn | None]:
        """(low, high); with `kind` low there is no high."""
        rng = np.random.default_rng([self.request.seed, step, index])
        low_side, high_side, paired = self._sides(rng)
        low = int(rng.integers(len(low_side)))
        window = Window.drawn(low_side.size(low), self.request.crop, rng)
        dark, lit = low_side.draw(low, window, rng), None
        if high_side is not None:
            high = low if paired else int(rng.integers(len(high_side)))
            if not paired:
                window = Window.drawn(high_side.size(high), self.request.crop, rng)
            lit = high_side.draw(high, window, rng)
        if rng.random() < self.request.shuffle:
            order = rng.permutation(3)
            dark, lit = _shuffled(dark, order), _shuffled(lit, order) if lit else None
        return dark, lit

    def _sides(self, rng: np.random.Generator) -> tuple[Kept, Kept | None, bool]:
        """What low and high are drawn from, and whether they belong together.

        Own dark pictures without well-lit ones take those of the photos.
        """
        first, second = self.real, self.made
        if first is None or (second is not None and rng.random() < self.request.synth):
            first, second = second, first
        pools = [pool for pool in (first, second) if pool is not None]
        low = next(pool.low for pool in pools if pool.low is not None)
        if self.request.kind == "low":
            return low, None, False
        paired = self.request.kind == "paired" and pools[0].paired
        return low, next(pool.high for pool in pools if pool.high is not None), paired


def _shuffled(drawn: Drawn, order: NDArray[np.intp]) -> Drawn:
    """With its channels in another order."""
    return Drawn(drawn.crop[..., order], drawn.thumbnail[..., order], drawn.means[order])


def middles(
    lows: Sequence[NDArray[np.uint8]], highs: Sequence[NDArray[np.uint8]] | None, crop: int, side: int
) -> dict[str, Tensor]:
    """A batch of the middles of pictures (H, W, 3), with thumbnails of that side; see `training.recipe.Batch`."""
    sides = [[_middle(pixels, crop, side) for pixels in pictures] for pictures in (lows, highs or ())]
    return _batch(sides[0], sides[1] or None)


def _middle(pixels: NDArray[np.uint8], crop: int, side: int) -> Drawn:
    """The middle of (H, W, 3)."""
    top, left = ((length - crop) // 2 for length in pixels.shape[:2])
    cut = pixels[top : top + crop, left : left + crop]
    return Drawn(cut, thumbnail(pixels, side), channel_means(pixels))


def _batch(lows: Sequence[Drawn], highs: Sequence[Drawn] | None) -> dict[str, Tensor]:
    """Of crops; see `training.recipe.Batch`."""
    batch = {"low": tensor([low.crop for low in lows]), "low_thumbnail": _thumbnails(lows)}
    if highs is None:
        return batch
    # One by one: how a product of matrices is rounded depends on their size.
    brightness = torch.tensor([float(luma(high.means)) for high in highs], dtype=torch.float32)
    batch |= {"high": tensor([high.crop for high in highs]), "high_thumbnail": _thumbnails(highs)}
    return batch | {"brightness": brightness}


def _thumbnails(drawn: Sequence[Drawn]) -> Tensor:
    """(N, 3, s, s) float32 in [0, 1]."""
    stacked = np.stack([one.thumbnail for one in drawn]).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)))
