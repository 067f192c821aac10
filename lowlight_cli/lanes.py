"""Threads that do the same work side by side, for networks that leave most of a core's neighbours idle."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Item = TypeVar("Item")


class Lanes:
    """So many threads, begun when they are needed. Each keeps one array, as new memory comes slowly."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._kept = threading.local()

    def each(self, work: Callable[[Item], Any], items: Iterable[Item], at_once: int) -> None:
        """Work on all items, at most `at_once` at a time. What it raises is raised once nothing runs any more; what was
        not begun by then is left."""
        pool = self._pool = self._pool or ThreadPoolExecutor(self.count, thread_name_prefix="lane")
        running: deque[Future] = deque()
        try:
            for item in items:
                if len(running) == at_once:
                    running.popleft().result()
                running.append(pool.submit(work, item))
            while running:
                running.popleft().result()
        finally:
            for future in running:
                future.cancel()
            wait(running)

    def array(self, shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
        """An array like `numpy.empty`'s, in memory that this thread had before: what it held is lost."""
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        memory = getattr(self._kept, "memory", None)
        if memory is None or memory.size < size:
            memory = self._kept.memory = np.empty(size, np.uint8)
        return memory[:size].view(kind).reshape(shape)

    def close(self) -> None:
        """Their threads end, and their memory goes back."""
        if self._pool:
            self._pool.shutdown()
        self._pool, self._kept = None, threading.local()
