"""Where the time of a run goes, stage by stage, for `lowlight enhance --profile`. Standard library only."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path


class Untimed:
    """A stopwatch that is off: it has every method and does nothing."""

    def stage(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Takes the time of the block."""
        return contextlib.nullcontext()

    def count(self, name: str, pixels: int) -> None:
        """So many pixels went through a stage."""

    def start(self) -> None:
        """All that this process did until now was its start."""


OFF = Untimed()


@dataclasses.dataclass
class Stage:
    """Sums over all calls of one stage, in all threads."""

    seconds: float = 0.0
    calls: int = 0
    """Those that raised nothing; `seconds` are of all."""
    pixels: int = 0
    beside: bool = False
    """Whether it ran in threads beside the one that made the stopwatch: then its seconds are not seconds of the run."""


class Stopwatch(Untimed):
    """Seconds by stage. Any thread may take times; a stage within another one of its thread takes its time from it."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self._age, self._made = age(), time.perf_counter()
        self._thread = threading.get_ident()
        self._lock, self._local = threading.Lock(), threading.local()

    @property
    def wall(self) -> float:
        """Seconds since the process began."""
        return self._age + time.perf_counter() - self._made

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """See `Untimed`."""
        before, self._local.inner = getattr(self._local, "inner", 0.0), 0.0
        started, calls = time.perf_counter(), 0
        try:
            yield
            calls = 1
        finally:
            seconds = time.perf_counter() - started
            self._add(name, seconds - self._local.inner, calls)
            self._local.inner = before + seconds

    def count(self, name: str, pixels: int) -> None:
        """See `Untimed`."""
        with self._lock:
            self.stages.setdefault(name, Stage()).pixels += pixels

    def start(self) -> None:
        """See `Untimed`."""
        self._add("start", self.wall, 1)

    def _add(self, name: str, seconds: float, calls: int) -> None:
        with self._lock:
            stage = self.stages.setdefault(name, Stage())
            stage.seconds += seconds
            stage.calls += calls
            stage.beside |= threading.get_ident() != self._thread


def age() -> float:
    """Seconds since this process began; where the system does not tell, those in which it computed."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        # The 22nd field, counted behind the command's name, which may hold blanks.
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return max(time.process_time(), time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    return time.process_time()
