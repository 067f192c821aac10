"""The brightness that a network aims at: the one asked for, or the one it chose, as what steers it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import exposure_factor, luma
from lowlight_cli.manifest import ModelSpec

Floats = NDArray[np.float32]

AUTO = -1.0
"""The exposure that lets the network decide, as graphs and networks take it."""
ENOUGH = 0.4
"""Mean luma that `aux_retinex` brings dark pictures to when nobody says; brighter ones stay as they are."""


def aims(spec: ModelSpec, thumbnails: Floats, vectors: Floats, exposure: float | None) -> list[float | None]:
    """Mean luma in [0, 1] that each picture is brought to, from thumbnails (N, 3, s, s) and the vectors (N, K) that the
    network made of them. None: it takes no brightness, or nobody knows how to read its choice."""
    choice = CHOICES.get(spec.arch)
    if not spec.exposure or (exposure is None and choice is None):
        return [None] * len(vectors)
    return [*map(float, choice(thumbnails, vectors))] if exposure is None else [float(exposure)] * len(vectors)


def stated(_: Floats, vectors: Floats) -> Floats:
    """The second of the vectors' numbers."""
    return vectors[:, 1]


def reached(thumbnails: Floats, vectors: Floats) -> Floats:
    """What the curve of exposure makes of the thumbnail; its gain is the first of the vectors' numbers."""
    gain = vectors[:, 0, None, None, None]
    return mean_luma(thumbnails * exposure_factor(thumbnails.max(axis=1, keepdims=True), gain))


def enough(thumbnails: Floats, _: Floats) -> Floats:
    """See `ENOUGH`."""
    return np.maximum(mean_luma(thumbnails), ENOUGH)


def mean_luma(planes: Floats) -> Floats:
    """(N,) of (N, 3, H, W)."""
    return luma(planes.transpose(0, 2, 3, 1)).mean(axis=(1, 2))


CHOICES: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "neid": stated,
    "ema_cyclegan": reached,
    "drs_cyclegan": reached,
    "aux_retinex": enough,
}
"""What a network chose, by its file in `lowlight_cli.models`."""
