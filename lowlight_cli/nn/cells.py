"""Squares of pixels that a network takes as one."""

from __future__ import annotations

from torch import Tensor


def whole_cells(pixels: Tensor, multiple: int) -> Tensor:
    """(N, C, H, W) without what exceeds multiples of a cell's side."""
    height, width = (side // multiple * multiple for side in pixels.shape[2:])
    return pixels[:, :, :height, :width]
