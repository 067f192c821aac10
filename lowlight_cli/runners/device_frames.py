"""Pictures on the device of a network: integers go there once, integers come back once, and all between stays there.

What is computed is what `tiles.run_tiled`, `thumbnail` and `shadows.Relit` compute with numpy, but for rounding.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lowlight_cli.color import exposure_factor
from lowlight_cli.errors import PictureError
from lowlight_cli.shadows import FLOOR, Relit, centres
from lowlight_cli.tiles import NOT_FINITE, Padded, Tile, TilePlan, place, within

ROWS = 2048
"""Rows turned into float32 at a time for a thumbnail."""

Network = Callable[[Tensor], Tensor]
"""(N, 3, h * scale, w * scale) in [0, 1] of (N, 3, h, w) in [0, 1]."""


class DeviceFrames:
    """Pictures (N, H, W, 3) of 8 or 16 bits, on a device."""

    def __init__(self, pixels: NDArray, device: str) -> None:
        self.shape, self.bits, self.device = pixels.shape, 8 * pixels.dtype.itemsize, device
        there = torch.from_numpy(np.ascontiguousarray(pixels).view(np.uint8 if self.bits == 8 else np.int16))
        there = there if device == "cpu" else pinned(there.shape, there.dtype, device).copy_(there)
        self.pixels = there.to(device, non_blocking=True)

    def thumbnails(self, side: int) -> list[NDArray[np.float32]]:
        """See `thumbnail.thumbnail`, of each."""
        count, height, width, _ = self.shape
        if not side:
            return [np.zeros((0, 0, 3), np.float32)] * count
        down, along = (shrinking(size, side, self.device) for size in (height, width))
        narrow = torch.zeros(count, side, width * 3, device=self.device)
        for top in range(0, height, ROWS):
            rows = self.floats(slice(top, top + ROWS), slice(None)).flatten(2)
            narrow += down[:, top : top + ROWS] @ rows
        small = torch.einsum("sw,nhwc->nhsc", along, narrow.view(count, side, width, 3))
        return [*small.cpu().numpy()]

    def floats(self, rows: slice, columns: slice) -> Tensor:
        """(N, h, w, 3) in [0, 1] of a part."""
        part = self.pixels[:, rows, columns]
        return part.float().div_(255) if self.bits == 8 else (part.int() & 0xFFFF).float().div_(65535)

    def run(
        self,
        network: Network,
        plan: TilePlan,
        *,
        bits: int,
        padded: Padded,
        scale: int = 1,
        relit: Relit | None = None,
        strength: float = 1.0,
    ) -> NDArray:
        """(N, H * scale, W * scale, 3) of 8 or 16 bits from tiles that a network made; see `tiles.run_tiled`."""
        count, height, width, _ = self.shape
        out = torch.empty(
            (count, height * scale, width * scale, 3),
            dtype=torch.uint8 if bits == 8 else torch.int16,
            device=self.device,
        )
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        grids = torch.from_numpy(relit.grids()).to(self.device) if relit else None
        for tile in plan:
            read = self.tile(tile, padded)
            seen = read if grids is None else relight(read, grids, tile, self.shape)
            core = within(tile, scale)
            values = network(seen).float()[core]
            finite &= values.isfinite().all()
            if strength < 1:
                values = torch.lerp(enlarged(read, scale)[core], values, strength)
            out[place(tile, scale)] = integers(values, bits)
        here = pinned(out.shape, out.dtype, self.device).copy_(out)
        if not finite:
            raise PictureError(*NOT_FINITE)
        return here.numpy() if bits == 8 else here.numpy().view(np.uint16)

    def tile(self, tile: Tile, padded: Padded) -> Tensor:
        """See `tiles.read_tile`; channels last."""
        part = self.floats(slice(*tile.rows.read), slice(*tile.columns.read)).permute(0, 3, 1, 2)
        height, width = tile.size
        more = (0, padded(width) - width, 0, padded(height) - height)
        return F.pad(part, more, mode="replicate").contiguous(memory_format=torch.channels_last) if any(more) else part


def pinned(shape: Sequence[int], dtype: torch.dtype, device: str) -> Tensor:
    """Memory of the host, for copies: for CUDA such that the system may not move, which the driver would copy once more
    otherwise. Where the system gives none of that, any."""
    if device.startswith("cuda"):
        with contextlib.suppress(RuntimeError):
            return torch.empty(shape, dtype=dtype, pin_memory=True)
    return torch.empty(shape, dtype=dtype)


def integers(values: Tensor, bits: int) -> Tensor:
    """(N, h, w, C) of (N, C, h, w) in [0, 1], rounded; the bits of uint16 come as int16."""
    top = 2**bits - 1
    whole = values.permute(0, 2, 3, 1).mul(top).round_().clamp_(0, top)
    return whole.to(torch.uint8) if bits == 8 else whole.int().to(torch.int16)


def enlarged(planes: Tensor, scale: int) -> Tensor:
    """See `tiles.enlarged`."""
    return planes if scale == 1 else F.interpolate(planes, scale_factor=scale, mode="bicubic", align_corners=False)


def relight(planes: Tensor, grids: Tensor, tile: Tile, shape: Sequence[int]) -> Tensor:
    """See `shadows.Relit`: (N, 3, h, w) of a tile, by its grids (N, 2, s, s)."""
    rows = centres(tile.rows.read[0], planes.shape[2], shape[1])
    columns = centres(tile.columns.read[0], planes.shape[3], shape[2])
    slope, offset = between(between(grids, columns).mT, rows).mT.unbind(1)
    value = planes.amax(dim=1)
    gain = torch.log(value + FLOOR).mul_(slope).add_(offset).exp_()
    return planes * exposure_factor(value, gain)[:, None]


def between(grids: Tensor, places: NDArray[np.float32]) -> Tensor:
    """(..., s) read by straight lines at these shares (w,) of its last side: (..., w)."""
    count = grids.shape[-1]
    at = torch.from_numpy(places).to(grids.device).mul(count).sub(0.5).clamp(0, count - 1)
    cells = at.long().clamp(max=count - 2)
    return torch.lerp(grids[..., cells], grids[..., cells + 1], at - cells)


@functools.lru_cache(maxsize=16)
def shrinking(size: int, side: int, device: str) -> Tensor:
    """Matrix (side, size) that makes a line of pixels `side` long as `thumbnail` does: area averages to shrink it,
    straight lines to lengthen it."""
    cells = np.arange(side)[:, None]
    if size > side:
        starts, ends = cells * size / side, (cells + 1) * size / side
        pixels = np.arange(size)
        shares = np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0, None) * side / size
    else:
        at = np.clip((cells + 0.5) * size / side - 0.5, 0, size - 1)
        shares = np.clip(1 - np.abs(at - np.arange(size)), 0, None)
    return torch.from_numpy(shares.astype(np.float32)).to(device)
