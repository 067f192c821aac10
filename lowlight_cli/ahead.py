"""Work that threads do ahead of whoever takes what it gives. Standard library only."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ordered(work: Callable[[Item], Made], items: Iterable[Item], threads: int, depth: int) -> Iterator[Made]:
    """`work` of every item, in order, begun for `depth` items at most beyond the one that is taken.

    Items come from the thread of the caller. What `work` raises comes in its turn; what was not begun by then, or when
    nobody takes more, is left.
    """
    items = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        waiting = deque()
        try:
            while True:
                waiting.extend(pool.submit(work, item) for item in itertools.islice(items, depth + 1 - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
