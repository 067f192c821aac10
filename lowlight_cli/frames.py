"""Pictures in memory, as the enhancer hands them to networks behind numpy arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import tiles
from lowlight_cli.shadows import Relit
from lowlight_cli.thumbnail import thumbnail
from lowlight_cli.tiles import Padded, TilePlan

Network = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""See `runners.Runner`."""


class HostFrames:
    """Pictures where they are, for a network behind numpy arrays: see `runners.Frames`."""

    def __init__(self, pixels: NDArray, network: Network, padded: Padded, scale: int) -> None:
        self.pixels, self.network, self.padded, self.scale = pixels, network, padded, scale

    def thumbnails(self, side: int) -> list[NDArray[np.float32]]:
        """See `runners.Frames`."""
        return [thumbnail(one, side) for one in self.pixels]

    def enhanced(
        self, vectors: NDArray[np.float32], plan: TilePlan, *, bits: int, relit: Relit | None, strength: float
    ) -> NDArray:
        """See `runners.Frames`."""
        count, height, width, _ = self.pixels.shape
        out = np.empty((count, height * self.scale, width * self.scale, 3), np.uint16 if bits == 16 else np.uint8)
        tiles.run_tiled(
            self.pixels,
            lambda batch: self.network(batch, vectors),
            plan,
            out,
            padded=self.padded,
            prepare=relit or tiles.as_read,
            scale=self.scale,
            strength=strength,
        )
        return out
