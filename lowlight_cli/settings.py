"""What to do with a picture, and what a model cannot be asked for."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np

from lowlight_cli import manifest, picture
from lowlight_cli.errors import OptionError
from lowlight_cli.manifest import ModelSpec

DEPTHS = get_args(picture.Depth)
WHOLE = (int, np.integer)
NUMBERS = {
    **dict.fromkeys(("strength", "exposure", "shadows"), ((float, np.floating, *WHOLE), "number")),
    "tile": (WHOLE, "whole number"),
}
"""What these settings are, where they are given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What to do with a picture."""

    strength: float = 1.0
    """Share of the network's output; the picture has the rest."""
    exposure: float | None = None
    """Target brightness, mean luma in [0, 1]; None: the network decides."""
    shadows: float | None = 0.0
    """Share of the differences of illumination that is taken away first, in [0, 1]; None: as the model's row and the
    picture ask. See `lowlight_cli.shadows`."""
    tile: int | None = None
    """Largest side of a tile's core in pixels; 0: never tile; None: chosen from the free memory."""
    depth: picture.Depth = "keep"
    """Bits of the result; 16 keeps what the network gives beyond the 8 bits of the source."""

    def __post_init__(self) -> None:
        for name, (kind, what) in NUMBERS.items():
            value = getattr(self, name)
            fits = isinstance(value, kind) and not isinstance(value, bool)
            if not fits and (value is not None or name == "strength"):
                raise OptionError(f"{name} {value!r} is no {what}.", "Give one, or leave it out.")
        if not 0 <= self.strength <= 1:
            raise OptionError(f"strength {self.strength} is not between 0 and 1.", "1 is the network's output.")
        if self.exposure is not None and not 0 < self.exposure < 1:
            raise OptionError(f"exposure {self.exposure} is not between 0 and 1.", "Try 0.4, or auto.")
        if self.shadows is not None and not 0 <= self.shadows <= 1:
            raise OptionError(f"shadows {self.shadows} is not between 0 and 1.", "Try 0.4, or auto.")
        if not isinstance(self.depth, str | int) or self.depth not in DEPTHS:
            raise OptionError(f"depth {self.depth!r} is none of {DEPTHS}.", "Try 16, or 'keep'.")
        if self.tile is not None and self.tile < 0:
            raise OptionError(f"tile {self.tile} is negative.", "Use auto, 0 (never) or a size in pixels.")


def check(spec: ModelSpec, settings: Settings) -> None:
    """Refuse what a model cannot be asked for."""
    if settings.exposure is not None and not spec.exposure:
        weights = "" if spec.classical else " with these weights"
        raise exposure_refused(f"{spec.name} takes no exposure{weights}.")
    if settings.tile and spec.tiling == "whole":
        raise OptionError(
            f"{spec.name} takes no tile {settings.tile}: each of its pixels depends on the whole picture.",
            "Use tile auto or 0.",
        )


def exposure_refused(text: str) -> OptionError:
    """The error for a brightness that nobody here takes, with the models that take one."""
    able = [name for name, row in manifest.models().items() if row.exposure]
    return OptionError(text, f"Models that do: {', '.join(able)}.")
