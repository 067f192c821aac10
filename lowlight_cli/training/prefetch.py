"""Batches drawn ahead, so that the loop waits for the network and not for its data."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lowlight_cli.machine import cores

Drawn = TypeVar("Drawn")

THREADS = max(1, min(8, cores() // 2))
DEPTH = THREADS + 2
"""Batches that are drawn or wait."""


def ahead(draw: Callable[[int], Drawn], steps: range) -> Iterator[tuple[Drawn, float]]:
    """(what `draw` gives for a step, seconds that were waited for it), step by step, drawn in other threads."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="draw") as thread:
        waiting = deque(thread.submit(draw, step) for step in steps[:DEPTH])
        try:
            for following in itertools.chain(steps[DEPTH:], [None] * min(DEPTH, len(steps))):
                started = time.perf_counter()
                drawn = waiting.popleft().result()
                seconds = time.perf_counter() - started
                if following is not None:
                    waiting.append(thread.submit(draw, following))
                yield drawn, seconds
        finally:
            for future in waiting:
                future.cancel()
