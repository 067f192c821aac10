"""The processes that make pairs. They end with the one that started them, however that ends.

Ctrl-C reaches every process of a terminal: the workers leave it to their parent, which asks them to stop after the
pair in hand. SIGTERM ends a worker, and no half-written file stays.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import TypeVar

from lowlight_cli.errors import OutOfMemory

Task = TypeVar("Task")
Made = TypeVar("Made")

MOST = 61 if sys.platform == "win32" else 1024
"""Processes that a pool can have."""
ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that end a run."""
GRACE = 5.0
"""Seconds that a worker without parent has to remove its temporary files."""

_stop: Event | None = None
"""In a worker: set when its parent wants no more."""


def each(work: Callable[[Task], Made], tasks: Sequence[Task], workers: int) -> Iterator[Made]:
    """`work` of every task, as it is finished: in so many processes, or in this one if one is enough."""
    if workers == 1 or len(tasks) < 2:
        yield from map(work, tasks)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    count = min(workers, len(tasks), MOST)
    with ProcessPoolExecutor(count, mp_context=context, initializer=begin, initargs=(stop,)) as pool:
        try:
            with blocked():  # a worker that is being started would die of a signal, and the pool with it
                futures = [pool.submit(guarded, work, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise OutOfMemory(
                "A worker was killed, perhaps because memory ran out.", "Go on with --resume and fewer --workers."
            ) from error
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Signals that end a run come when the block ends, here and in processes that it starts when `begin` has run; on
    Windows at once.

    What one thread blocks, the system gives to another, such as those of NumPy's libraries, and Python then handles it
    in the main thread, blocked or not: so it is noted besides, and sent again.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    came, handlers = [], {}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if (handler := signal.getsignal(number)) is not None:  # else it is not Python's, and cannot be put back
                    handlers[number] = handler
                    signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in {*came}:
            signal.raise_signal(number)


def stopping() -> bool:
    """Whether this process was asked to begin nothing more."""
    return _stop is not None and _stop.is_set()


def begin(stop: Event) -> None:
    """Make this process a worker."""
    global _stop
    _stop = stop
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    threading.Thread(target=follow, daemon=True).start()


def follow() -> None:
    """Wait for the end of the parent, and end then: a parent that was killed tells nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)


def guarded(work: Callable[[Task], Made], task: Task) -> Made:
    """`work` of a task in a worker. The pool would take an exit for a result, and wait for more."""
    try:
        return work(task)
    except SystemExit:
        os._exit(1)
