"""The benchmark's document as JSON that every parser takes, and the rows behind it. Standard library only."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowlight_cli import atomic

INPUT, TRUTH = "input", "truth"
"""What stands in place of a model's name where the dark picture or its ground truth is asked for."""

Pictures = Callable[[str, str], Path | None] | Mapping[tuple[str, str], Path | None]
"""From (model, `INPUT` or `TRUTH`; name of a picture) to its file; None or no entry where there is none."""


@dataclass(frozen=True)
class Row:
    """What one model made of one picture; `seconds` are those of the enhancement alone."""

    model: str
    picture: str
    width: int | None
    height: int | None
    seconds: float | None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    error: str | None = None


def conditions(model: Mapping[str, Any]) -> str:
    """What a reader must know of how one of `models` ran: with other weights than its row's, in fewer bits than
    float32, for a brightness that it was told, or on pictures whose shadows were lifted; empty for others."""
    precision, exposure, shadows = (model.get(name) for name in ("precision", "exposure", "shadows"))
    told = ["ran with weights of your own, not with those that ship"] if model.get("own_weights") else []
    told += [] if precision in (None, "fp32") else [f"ran in {precision}, not in float32"]
    if exposure is not None:
        told.append("was told each truth's mean luma" if exposure == TRUTH else f"was told a mean luma of {exposure:g}")
    if shadows:
        told.append(f"was shown lifted shadows (--shadows {shadows})")
    return ", and ".join(told)


def failures(document: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """(model, error, its pictures), those of one error together."""
    found: dict[tuple[str, str], list[str]] = {}
    for model in document["models"]:
        for failed in model["failed"]:
            found.setdefault((model["model"], failed["error"]), []).append(failed["picture"])
    return [(*key, pictures) for key, pictures in found.items()]


def plain(value: Any) -> Any:
    """`value` with JSON's own types only: infinite numbers are the strings "inf" and "-inf", NaN is None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item"):  # a number of NumPy's
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    return str(value)


def number(value: Any) -> float | None:
    """The float that `plain` made of one: infinite again, and None for None and NaN."""
    if value is None or math.isnan(float(value)):
        return None
    return float(value)


def json_text(document: Mapping[str, Any]) -> str:
    """The document as ASCII JSON; see `plain` for numbers that JSON does not have."""
    return json.dumps(plain(document), indent=2, allow_nan=False)


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """Write summary.json, whole or not at all."""
    atomic.write(path, (json_text(document) + "\n").encode("ascii"))


def names(rows: Sequence[Row]) -> list[str]:
    """The pictures, each once, in the order of the rows."""
    return list(dict.fromkeys(row.picture for row in rows))
