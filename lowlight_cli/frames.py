"""Pictures in memory, as the enhancer hands them to networks behind numpy arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import tiles
from lowlight_cli.lanes import Lanes
from lowlight_cli.shadows import Relit
from lowlight_cli.thumbnail import thumbnail
from lowlight_cli.tiles import Padded, TilePlan

Network = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""See `runners.Runner`."""


class HostFrames:
    """Pictures where they are, for a network behind numpy arrays: see `runners.Frames`.

    `alone` gives the network as `lanes` run it, where a plan asks for tiles side by side.
    """

    def __init__(
        self,
        pixels: NDArray,
        network: Network,
        padded: Padded,
        scale: int,
        alone: Callable[[], Network] | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        self.pixels, self.network, self.padded, self.scale = pixels, network, padded, scale
        self.alone, self.lanes = alone, lanes

    def thumbnails(self, side: int) -> list[NDArray[np.float32]]:
        """See `runners.Frames`."""
        return [thumbnail(one, side) for one in self.pixels]

    def enhanced(
        self, vectors: NDArray[np.float32], plan: TilePlan, *, bits: int, relit: Relit | None, strength: float
    ) -> NDArray:
        """See `runners.Frames`."""
        count, height, width, _ = self.pixels.shape
        out = np.empty((count, height * self.scale, width * self.scale, 3), np.uint16 if bits == 16 else np.uint8)
        abreast = self.alone is not None and plan.at_once > 1
        network = self.alone() if abreast else self.network
        tiles.run_tiled(
            self.pixels,
            lambda batch: network(batch, vectors),
            plan,
            out,
            padded=self.padded,
            prepare=relit or tiles.as_read,
            scale=self.scale,
            strength=strength,
            lanes=self.lanes if abreast else None,
        )
        return out
