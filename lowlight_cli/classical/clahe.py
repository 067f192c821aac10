"""Contrast limited adaptive histogram equalisation of luma.

Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems IV, 1994. The picture is divided into a
grid of 8 x 8 tiles. The histogram of a tile (256 bins) is cut at 2 times its mean and what was cut is spread over all
bins; its running sum is the curve of the tile, and a pixel takes a mean of the curves of the four nearest tiles. Two
is OpenCV's usual clip limit: it barely lifts a picture that is dark all over.

It works on BT.601 luma and adds the change to R, G and B alike, so that Cb and Cr stay. Where we differ: a curve is a
line from bin to bin, not a stair, so that the levels of a 16-bit picture stay apart (OpenCV's own CLAHE counts 16 bits
in 65,536 bins, which clips every histogram flat, and its Lab of floats has 512 levels); tiles differ by a pixel where
the grid does not divide the sides, instead of a padded picture; a picture has at most one tile per pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import luma

BINS = 256
STEPS = 257
"""Levels of 16 bits from one bin to the next."""
LEVELS = STEPS * (BINS - 1) + 1
BAND = 256
"""Rows looked up at a time, so that a large picture needs no index as large as itself."""


def enhance(pixels: NDArray[np.float32], clip: float = 2.0, grid: int = 8) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; `clip` is the limit in means of the histogram."""
    old = luma(pixels)
    level = np.rint(old * (LEVELS - 1)).clip(0, LEVELS - 1).astype(np.uint16)
    rows, columns = (min(grid, side) for side in old.shape)
    nodes = [[sums(tile, clip) for tile in split(band, columns, 1)] for band in split(level, rows, 0)]
    curves = drawn(np.array(nodes, np.float32))
    out = np.empty_like(pixels)
    for top in range(0, len(old), BAND):
        band = np.s_[top : top + BAND]
        change = looked_up(curves, level[band], top, len(old)) - old[band]
        np.clip(pixels[band] + change[..., None], 0, 1, out=out[band])
    return out


def split(level: NDArray[np.uint16], count: int, axis: int) -> list[NDArray[np.uint16]]:
    """`count` parts of nearly equal size along an axis."""
    ends = np.linspace(0, level.shape[axis], count + 1).round().astype(int)
    return np.split(level, ends[1:-1], axis)


def sums(tile: NDArray[np.uint16], clip: float) -> NDArray[np.float64]:
    """The running sum of one tile's clipped histogram: a value in [0, 1] per bin."""
    counts = np.bincount(np.rint(tile.ravel() / STEPS).astype(np.intp), minlength=BINS)
    kept = np.minimum(counts / tile.size, clip / BINS)
    return np.cumsum(kept + (1 - kept.sum()) / BINS)


def drawn(nodes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, columns, BINS) as lines from bin to bin: (rows, columns, LEVELS)."""
    steps = np.arange(STEPS, dtype=np.float32) / STEPS
    lines = nodes[..., :-1, None] + np.diff(nodes)[..., None] * steps
    return np.concatenate([lines.reshape(*nodes.shape[:2], -1), nodes[..., -1:]], axis=2)


def looked_up(curves: NDArray[np.float32], level: NDArray[np.uint16], top: int, height: int) -> NDArray[np.float32]:
    """The mean of the four nearest curves for a band of rows that starts at `top`."""
    above, below, down = neighbours(np.arange(top, top + len(level)), height, curves.shape[0])
    left, right, across = neighbours(np.arange(level.shape[1]), level.shape[1], curves.shape[1])
    above, below, down = above[:, None], below[:, None], down[:, None]
    upper = (1 - across) * curves[above, left, level] + across * curves[above, right, level]
    lower = (1 - across) * curves[below, left, level] + across * curves[below, right, level]
    return (1 - down) * upper + down * lower


def neighbours(position: NDArray[np.intp], size: int, count: int) -> tuple[NDArray, NDArray, NDArray[np.float32]]:
    """The tiles whose centres lie before and behind each pixel of one side, and how near the second is, in [0, 1]."""
    place = ((position + 0.5) * count / size - 0.5).clip(0, count - 1)
    first = place.astype(np.intp)
    return first, np.minimum(first + 1, count - 1), (place - first).astype(np.float32)
