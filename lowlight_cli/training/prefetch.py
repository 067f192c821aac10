"""Batches drawn ahead, so that the loop waits for the network and not for its data."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from lowlight_cli.ahead import ordered
from lowlight_cli.machine import cores

Drawn = TypeVar("Drawn")

THREADS = max(1, min(8, cores() // 2))
DEPTH = THREADS + 2
"""Batches that are drawn or wait."""


def ahead(draw: Callable[[int], Drawn], steps: range) -> Iterator[tuple[Drawn, float]]:
    """(what `draw` gives for a step, seconds that were waited for it), step by step, drawn in other threads."""
    with contextlib.closing(ordered(draw, steps, THREADS, DEPTH)) as batches:
        started = time.perf_counter()
        for drawn in batches:
            yield drawn, time.perf_counter() - started
            started = time.perf_counter()
