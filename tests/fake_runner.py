"""A runner that costs nothing: no weights, no network, multiplies by two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.errors import OutOfMemory
from lowlight_cli.manifest import ModelSpec


class FakeRunner:
    """Twice as bright; `fail_above` pixels in a batch it says that memory ran out."""

    backend, device, precision, sha256 = "fake", "cpu", "fp32", "0" * 64
    provider, threads, weights = "fake", 0, ()

    def __init__(
        self, spec: ModelSpec, scale: int = 1, fail_above: int = 1 << 60, *, deterministic: bool = False
    ) -> None:
        self.spec, self.scale, self.fail_above, self.deterministic = spec, scale, fail_above, deterministic
        self.batches: list[tuple[int, ...]] = []
        self.closed = False

    def context(self, thumbnails: NDArray[np.float32], exposure: float | None) -> NDArray[np.float32]:  # noqa: ARG002
        """Nothing to steer."""
        return np.zeros((len(thumbnails), 0), np.float32)

    def __call__(self, batch: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: ARG002
        """Twice the values, at `scale` times the size."""
        self.batches.append(batch.shape)
        if batch[:, 0].size > self.fail_above:
            raise OutOfMemory("There is not enough memory.", "")
        return np.minimum(2 * batch, 1).repeat(self.scale, axis=2).repeat(self.scale, axis=3)

    def close(self) -> None:
        """Nothing to give back, but for the note that it is."""
        self.closed = True
