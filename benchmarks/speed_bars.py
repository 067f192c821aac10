"""Bars: what is to be reached, what was measured, and whether that reaches it. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Sense = Literal["at most", "at least"]


def bar(what: str, measured: Mapping[str, Any], sense: Sense, limit: float, unit: str = "x") -> dict[str, Any]:
    """One bar; `measured` is a summary of the rounds, whose median counts."""
    return {"what": what, "sense": sense, "limit": limit, "unit": unit, "measured": dict(measured)}


def met(bar: Mapping[str, Any]) -> bool:
    """Whether the median reaches the bar."""
    median = bar["measured"]["median"]
    return median <= bar["limit"] if bar["sense"] == "at most" else median >= bar["limit"]


def spread(rates: Iterable[float]) -> float:
    """The largest by the smallest."""
    rates = list(rates)
    return max(rates) / min(rates)


def flat(resident: list[int], ends: int) -> dict[str, float]:
    """Mean of `ends` values at the start, up to the middle and at the end; the last by the first and by the middle.

    While queues and allocators fill up there is growth, which ends; what goes on growing does so after the middle.
    """
    half = len(resident) // 2
    if half < ends:
        raise ValueError(f"{len(resident)} results have no first and last {ends}.")
    first, middle, last = (
        sum(part) / ends for part in (resident[:ends], resident[half - ends : half], resident[-ends:])
    )
    return {"first": first, "middle": middle, "last": last, "growth": last / first, "late": last / middle}


def best_batch(quotients: Mapping[int, float], limit: int, slack: float = 0.03) -> dict[str, Any]:
    """The fastest size of a batch, and whether the limit is as fast within `slack`.

    `quotients` are times by that one by one. A limit that was not measured stands for the next size below it.
    """
    best = min(quotients, key=quotients.__getitem__)
    taken = max(size for size in quotients if size <= limit)
    return {"best": best, "limit": limit, "right": quotients[taken] <= quotients[best] + slack}
