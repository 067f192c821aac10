"""Light that a picture's lights can spare, given to its shadows before a network sees it.

No single exposure shows both a room and what lies before its window. So the curve of the networks' exposure, see
`color.exposure_factor`, is bent from place to place: two such curves one after the other are one, of the product of
their gains, and what follows works as if parts of the picture had been exposed otherwise. The gain is c / L^amount, L
the illumination: the largest channel under a guided filter of its logarithm, which smooths and keeps edges, so that
nothing is ringed by a halo. c keeps the picture's mean luma.

The filter's coefficients are found on the small square that networks look at, and are applied at full size: any part of
a picture gets what the whole would.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import BRIGHT, DIM, exposure_factor, luma
from lowlight_cli.guided import coefficients
from lowlight_cli.tiles import Tile

SIDE = 112
"""Of the thumbnail, where the network itself looks at none."""
RADIUS = 0.06
"""Of the filter's box, as a share of the side."""
EDGE = 0.02
"""Variance of the logarithm from which on a step is an edge."""
FLOOR = 0.02
"""Added to values before their logarithm is taken: what is blacker than that is all one black."""
LIGHTS, LIT = 0.95, (0.3, 0.6)
"""A picture has lights where this share of it has less illumination than the first bound (none) and the second (as many
as any): one that is dark as a whole needs exposure, and nothing else."""
BLACK, NIGHT = 0.012, (0.3, 0.6)
"""A picture of which more than this share has less illumination than the first number is night: there is nothing but
noise to lift."""
HALVINGS = 16
LOG_SCALE = (-8.0, 8.0)
"""Range of log2(c)."""
BAND = 32
"""Rows that are computed at a time: they stay in a cache."""


class Shadows:
    """What one picture's shadows get. `small` (s, s, 3) is its thumbnail in [0, 1], RGB.

    `amount` is the share of the illumination's differences that is taken away, 0 (none) to 1 (all); None: up to `most`,
    by the picture.
    """

    def __init__(self, small: NDArray[np.float32], amount: float | None, most: float = 0.0) -> None:
        self.amount = 0.0
        if amount == 0 or (amount is None and most == 0):
            return
        value = functools.reduce(
            np.maximum, small.transpose(2, 0, 1)
        )  # along an axis of three it takes six times as long
        logarithm = np.log(value + FLOOR)
        slope, offset = coefficients(logarithm, logarithm, max(1, round(RADIUS * len(small))), EDGE)
        light = slope * logarithm + offset
        self.amount = needed(small, light) * most if amount is None else amount
        if self.amount == 0:
            return
        gain = np.exp(-self.amount * light)
        self.slope, self.offset = -self.amount * slope, -self.amount * offset + scale(small, value, gain)

    def __call__(
        self, planes: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(3, h, w) in [0, 1] of the pixels whose centres lie at these shares of the picture's sides: (h,), (w,)."""
        if self.amount == 0:
            return planes
        at, down = between(rows, len(self.slope))
        slope, offset = (Lines(grid, columns) for grid in (self.slope, self.offset))
        out = np.empty_like(planes)
        for top in range(0, len(rows), BAND):
            here = slice(top, top + BAND)
            part = planes[:, here]
            value = part.max(axis=0)
            gain = cv2.log(value + FLOOR)
            gain *= slope(at[here], down[here])
            gain += offset(at[here], down[here])
            np.multiply(part, exposure_factor(value, cv2.exp(gain)), out=out[:, here])
        return out


class Relit:
    """Pictures of one size, each with its shadows: what a network is shown of their tiles (`tiles.Prepare`)."""

    def __init__(self, shadows: Sequence[Shadows], height: int, width: int) -> None:
        self.shadows, self.height, self.width = shadows, height, width

    def __call__(self, read: NDArray[np.float32], tile: Tile) -> NDArray[np.float32]:
        """A tile (N, 3, h, w) as read, its padding among it -> the same with its shadows lifted."""
        rows = centres(tile.rows.read[0], read.shape[2], self.height)
        return self.lifted(read, rows, centres(tile.columns.read[0], read.shape[3], self.width))

    def grids(self) -> NDArray[np.float32]:
        """(N, 2, s, s): slope and offset of the logarithm of each picture's gain over that of its value."""
        given = [np.stack([each.slope, each.offset]) if each.amount else None for each in self.shadows]
        none = np.zeros_like(next(grid for grid in given if grid is not None))
        return np.stack([none if grid is None else grid for grid in given])

    def thumbnails(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for thumbnails (N, 3, s, s)."""
        middles = centres(0, planes.shape[3], planes.shape[3])
        return self.lifted(planes, middles, middles)

    def lifted(
        self, planes: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Each picture by its own."""
        return np.stack([each(part, rows, columns) for each, part in zip(self.shadows, planes, strict=True)])


def needed(small: NDArray[np.float32], light: NDArray[np.float32]) -> float:
    """Share of the most that is given, 0 to 1, where nobody says."""
    lights = ramp(float(np.exp(np.quantile(light, LIGHTS))), *LIT)
    day = 1 - ramp(float((light < np.log(BLACK + FLOOR)).mean()), *NIGHT)
    return lights * day * (1 - ramp(float(luma(small).mean()), DIM, BRIGHT))


def ramp(value: float, start: float, end: float) -> float:
    """0 up to `start`, 1 from `end` on."""
    return min(max((value - start) / (end - start), 0.0), 1.0)


def scale(small: NDArray[np.float32], value: NDArray[np.float32], gain: NDArray[np.float32]) -> float:
    """log(c), by bisection: with c times the gain the picture keeps its mean luma."""
    own, (low, high) = luma(small), LOG_SCALE
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        darker = (own * exposure_factor(value, np.float32(2**middle) * gain)).mean() < own.mean()
        low, high = (middle, high) if darker else (low, middle)
    return (low + high) / 2 * float(np.log(2))


class Lines:
    """A grid (s, s) over the whole picture, read by straight lines between the centres of its cells.

    Along its columns once, for all rows; nothing is multiplied as a matrix, whose threads would wait for the network's.
    """

    def __init__(self, grid: NDArray[np.float32], columns: NDArray[np.float32]) -> None:
        cells, right = between(columns, len(grid))
        self.lines = grid[:, cells] + np.diff(grid, axis=1)[:, cells] * right
        self.steps = np.diff(self.lines, axis=0)

    def __call__(self, cells: NDArray[np.intp], down: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w) of the rows that lie `down` of the way from the centres of these cells to the next ones."""
        found = self.steps[cells]
        found *= down[:, None]
        found += self.lines[cells]
        return found


def between(places: NDArray[np.float32], count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For shares of a side the cell of `count` whose centre lies before each, and how far it lies towards the next."""
    at = np.clip(places * count - 0.5, 0, count - 1)
    cells = np.minimum(at.astype(np.intp), count - 2)
    return cells, (at - cells).astype(np.float32)


def centres(start: int, count: int, size: int) -> NDArray[np.float32]:
    """Where the centres of `count` pixels from `start` on lie, as shares of a side of `size`; none beyond the last."""
    return ((np.minimum(np.arange(start, start + count), size - 1) + 0.5) / size).astype(np.float32)
