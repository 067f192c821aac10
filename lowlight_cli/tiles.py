"""Cut a large picture into tiles that a network can take, and put the results together without a seam.

Tiles do not blend. A tile is read with a halo at least as wide as what the network sees, it starts at a multiple of
the network's size multiple, and all tiles get the same global vectors: its core is what the whole picture would give.
Where nobody names a size, all tiles of a picture are read at one size, so that a back end's memory is used again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.errors import PictureError
from lowlight_cli.lanes import Lanes
from lowlight_cli.picture import to_float, to_integers
from lowlight_cli.picture.model import bands

NOT_FINITE = ("The network's output holds NaN or infinite values.", "Try precision fp32.")
"""What went wrong, and a remedy."""
SMALLEST_CORE = 64
"""Pixels on a side of the tiles that are chosen automatically."""
BAND = 2**17
"""Pixels that are converted at a time: a plane of them stays in a core's cache."""


@dataclass(frozen=True)
class Span:
    """One side of a tile: `read` from and to, of which `keep` from and to is the core; in pixels of the picture."""

    read: tuple[int, int]
    keep: tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """A tile's rows and columns."""

    rows: Span
    columns: Span

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as read."""
        return self.rows.read[1] - self.rows.read[0], self.columns.read[1] - self.columns.read[0]


Padded = Callable[[int], int]
"""The side of the network's input for so many pixels; see `manifest.ModelSpec.padded`."""
Prepare = Callable[[NDArray[np.float32], Tile], NDArray[np.float32]]
"""(N, 3, h, w) of a tile as read -> the same, as the network sees it."""


def as_read(read: NDArray[np.float32], tile: Tile) -> NDArray[np.float32]:  # noqa: ARG001
    """The network sees the picture itself."""
    return read


@dataclass(frozen=True)
class TilePlan:
    """Where the tiles of a picture lie. Iterates over them, row by row."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    at_once: int = 1
    """Tiles that are run side by side."""

    def __iter__(self) -> Iterator[Tile]:
        return (Tile(rows, columns) for rows in self.rows for columns in self.columns)

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def side(self) -> int:
        """The longest side of a core; 0: the picture is not cut."""
        return 0 if len(self) == 1 else max(end - start for start, end in (s.keep for s in (*self.rows, *self.columns)))

    @property
    def read(self) -> int:
        """Pixels that are read in all, those of halos as often as they are."""
        height, width = (
            sum(end - start for start, end in (s.read for s in side)) for side in (self.rows, self.columns)
        )
        return height * width


def spans(size: int, core: int, halo: int, multiple: int) -> tuple[Span, ...]:
    """Cores of nearly equal size, at most `core` (a multiple of `multiple`), that start at multiples of it."""
    count = math.ceil(size / core)
    ends = [*(round_up(math.ceil(i * size / count), multiple) for i in range(count)), size]
    halo = round_up(halo, multiple)
    return tuple(Span((max(0, a - halo), min(size, b + halo)), (a, b)) for a, b in itertools.pairwise(ends))


def round_up(value: int, multiple: int) -> int:
    """The least multiple that is not less."""
    return -(-value // multiple) * multiple


def plan(height: int, width: int, *, tile: int, halo: int, multiple: int) -> TilePlan:
    """Tiles whose cores have sides of at most `tile` (rounded down to the multiple); 0: the whole picture at once."""
    if not tile:
        return TilePlan((Span((0, height), (0, height)),), (Span((0, width), (0, width)),))
    core = max(multiple, tile // multiple * multiple)
    return TilePlan(spans(height, core, halo, multiple), spans(width, core, halo, multiple))


def fitting(height: int, width: int, *, pixels: float, halo: int, multiple: int) -> TilePlan | None:
    """Of the plans whose tiles have one size, at most `pixels` with their halos, that which reads least in all.

    None: there is none whose cores have sides of `SMALLEST_CORE`.
    """
    halo, found = round_up(halo, multiple), []
    for rows in range(1, math.ceil(height / max(SMALLEST_CORE, multiple)) + 1):
        high = part(height, rows, halo, multiple)
        columns = fewest(width, int(pixels / high), halo, multiple)
        if columns:
            found.append((rows * high * columns * part(width, columns, halo, multiple), rows, columns))
    if not found:
        return None
    _, rows, columns = min(found)
    return TilePlan(equal(height, rows, halo, multiple), equal(width, columns, halo, multiple))


def part(size: int, count: int, halo: int, multiple: int) -> int:
    """The length of `count` equal parts of a side, each a multiple, that overlap by two halos."""
    return round_up(math.ceil((round_up(size, multiple) + 2 * halo * (count - 1)) / count), multiple)


def fewest(size: int, room: int, halo: int, multiple: int) -> int:
    """The least number of such parts that are no longer than `room`; 0: their cores would be too small."""
    padded = round_up(size, multiple)
    if padded <= room:
        return 1
    core = room // multiple * multiple - 2 * halo
    return math.ceil((padded - 2 * halo) / core) if core >= SMALLEST_CORE else 0


def equal(size: int, count: int, halo: int, multiple: int) -> tuple[Span, ...]:
    """A side in parts that are read at one length, the last one's beyond the picture's end included."""
    length, padded = part(size, count, halo, multiple), round_up(size, multiple)
    starts = [
        (i * (padded - length) // multiple + (count - 1) // 2) // max(1, count - 1) * multiple for i in range(count)
    ]
    ends = [0, *(start + halo for start in starts[1:]), size]
    return tuple(
        Span((start, min(size, start + length)), keep)
        for start, keep in zip(starts, itertools.pairwise(ends), strict=True)
    )


def run_tiled(
    pictures: NDArray,
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    plan: TilePlan,
    out: NDArray,
    *,
    padded: Padded,
    prepare: Prepare = as_read,
    scale: int = 1,
    strength: float = 1.0,
    lanes: Lanes | None = None,
) -> None:
    """Fill `out` (N, H * scale, W * scale, 3) from `pictures` (N, H, W, 3), both integers.

    `run` maps (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale), h and w as `padded` gives them; it sees what
    `prepare` makes of a tile. `strength` is the share of its values; the picture has the rest. In `lanes`, if there
    are any, as many tiles are run at once as the plan says. Values that are not finite are a PictureError.
    """
    empty = lanes.array if lanes else np.empty

    def fill(tile: Tile) -> None:
        read = read_tile(pictures, tile, padded, empty)
        values = core(run(prepare(read, tile)), tile, scale)
        if strength < 1:
            values = strength * values + (1 - strength) * core(enlarged(read, scale), tile, scale)
        write(values, out[place(tile, scale)])

    if lanes:
        lanes.each(fill, plan, plan.at_once)
        return
    for tile in plan:
        fill(tile)  # nothing of a tile is left when the next is run: a back end would not find its memory as it was


def map_tiled(
    pictures: NDArray,
    run: Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]],
    plan: TilePlan,
    *,
    padded: Padded,
    prepare: Prepare = as_read,
) -> dict[str, NDArray[np.uint8]]:
    """Maps (N, H, W, 1 or 3) of `pictures` (N, H, W, 3) by name; as `run_tiled`, for a `run` that gives maps."""
    out: dict[str, NDArray[np.uint8]] = {}
    for tile in plan:
        read = read_tile(pictures, tile, padded)
        for name, values in run(prepare(read, tile)).items():
            if name not in out:
                out[name] = np.empty((*pictures.shape[:3], values.shape[1]), np.uint8)
            write(core(values, tile), out[name][place(tile)])
    return out


def read_tile(
    pictures: NDArray, tile: Tile, padded: Padded, empty: Callable[..., NDArray] = np.empty
) -> NDArray[np.float32]:
    """A tile of (N, H, W, 3) with its halo as planes (N, 3, h, w) in [0, 1], in an array that `empty` makes.

    The last row and column are repeated until the sides are as the network takes them.
    """
    (top, bottom), (left, right) = tile.rows.read, tile.columns.read
    height, width = tile.size
    out = empty((len(pictures), 3, padded(height), padded(width)), np.float32)
    for pixels, planes in zip(pictures[:, top:bottom, left:right], out[..., :height, :width], strict=True):
        for rows in bands(height, width, BAND):
            for channel, plane in zip(cv2.split(pixels[rows]), planes[:, rows], strict=True):
                to_float(channel, plane)
    out[..., :height, width:] = out[..., :height, width - 1 : width]
    out[..., height:, :] = out[..., height - 1 : height, :]
    return out


def core(values: NDArray[np.float32], tile: Tile, scale: int = 1) -> NDArray[np.float32]:
    """(N, C, h, w) of a tile as read -> that of its core."""
    return values[within(tile, scale)]


def write(values: NDArray[np.float32], out: NDArray) -> None:
    """Round (N, C, h, w) in [0, 1] into (N, h, w, C), 8 or 16 bits. NaN or infinite ones are a PictureError."""
    for planes, pixels in zip(values, out, strict=True):
        for rows in bands(*pixels.shape[:2], BAND):
            if not np.isfinite(planes[:, rows]).all():
                raise PictureError(*NOT_FINITE)
            rounded = [to_integers(plane, 8 * out.dtype.itemsize) for plane in planes[:, rows]]
            pixels[rows] = cv2.merge(rounded).reshape(pixels[rows].shape)


def within(tile: Tile, scale: int = 1) -> tuple[Any, ...]:
    """Where the core of a tile lies in (..., h * scale, w * scale) as read."""
    sides = (tuple(scale * (end - span.read[0]) for end in span.keep) for span in (tile.rows, tile.columns))
    return (..., *(slice(*ends) for ends in sides))


def place(tile: Tile, scale: int = 1) -> tuple[slice, ...]:
    """Where the core of a tile lies in (N, H * scale, W * scale, C)."""
    return (slice(None), *(slice(*(scale * end for end in span.keep)) for span in (tile.rows, tile.columns)))


def enlarged(planes: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """(N, 3, H, W) -> (N, 3, H * scale, W * scale), bicubic."""
    if scale == 1:
        return planes
    flat = planes.reshape(-1, *planes.shape[2:])
    larger = [cv2.resize(plane, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for plane in flat]
    return np.stack(larger).reshape(*planes.shape[:2], *larger[0].shape)
