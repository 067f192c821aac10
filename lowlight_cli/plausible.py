"""Which values from outside are plausible, and how they are shown: `params` and facts of networks, numbers, whatever a
damaged file holds. Standard library only.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

LARGEST, MOST_VALUES, DEEPEST, LONGEST_TEXT = 4096, 1000, 8, 100
"""Of `params`: whole numbers such as widths and counts, values in all, lists within lists, letters of a name."""
GEOMETRY: Mapping[str, Callable[[Any, Mapping[str, Any]], bool]] = {
    "multiple": lambda value, _: whole(value, 1, 256),
    "halo": lambda value, _: whole(value, 0, 2048),
    "tiling": lambda value, _: value in ("exact", "guided", "whole"),
    "thumbnail": lambda value, facts: whole(value, 8 if facts["tiling"] == "guided" else 0, 1024),
    "scales": lambda value, _: value in ([1], [1, 2]) and all(whole(scale, 1, 2) for scale in value),
    "exposure": lambda value, _: isinstance(value, bool),
    "smallest": lambda value, _: whole(value, 1, 1024),
}
"""Facts of `manifest.ModelSpec` that follow from `params`: whether a value, beside the others, can be of a network."""


def problem_of_params(params: Mapping[str, Any]) -> str:
    """What no network could be built with; empty: nothing."""
    left = MOST_VALUES

    def sane(value: object, depth: int = 0) -> bool:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            return False
        if isinstance(value, dict | list):
            inside = [*value, *value.values()] if isinstance(value, dict) else value
            return all(sane(item, depth + 1) for item in inside)
        if isinstance(value, str):
            return len(value) <= LONGEST_TEXT
        return value is None or (math.isfinite(value) if isinstance(value, float) else abs(value) <= LARGEST)

    wrong = next((name for name, value in params.items() if not sane(value)), None)
    return "" if wrong is None else f"the value of {clipped(wrong)} in `params` is absurd"


def problem_of_geometry(geometry: Mapping[str, Any]) -> str:
    """What no network could have; empty: nothing."""
    geometry = {"smallest": 1, **geometry}  # rows and older files need not say it
    if geometry.keys() != GEOMETRY.keys():
        differ = ", ".join(clipped(name) for name in sorted(geometry.keys() ^ GEOMETRY.keys())[:3])
        return f"`geometry` lacks or does not know {differ}"
    wrong = next((name for name, fits in GEOMETRY.items() if not fits(geometry[name], geometry)), None)
    return "" if wrong is None else f"{wrong} {clipped(geometry[wrong])} in `geometry` is absurd"


def whole(value: object, least: int, most: int) -> bool:
    """Whether it is a whole number in that range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


class Clipping(reprlib.Repr):
    """Of lists only the first entries and levels are written, of numbers none that Python will not write."""

    def repr_int(self, value: int, _: int) -> str:
        """A whole number; Python refuses to write those of more than 4300 digits."""
        return repr(value) if value.bit_length() <= 64 else f"a whole number of {value.bit_length()} bits"


def clipped(value: object) -> str:
    """A value for a message: a damaged file may hold any, a list that holds itself a million times too."""
    clipping = Clipping()
    clipping.maxlevel, clipping.maxlist, clipping.maxtuple, clipping.maxdict = 4, 8, 8, 8
    clipping.maxstring = clipping.maxother = LONGEST_TEXT
    text = clipping.repr(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
