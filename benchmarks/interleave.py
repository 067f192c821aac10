"""Measure things in turn, A B A B, in processes of their own: the speed of a shared machine drifts, ratios within a
round do not. Imports nothing heavy: Linux counts the memory of the process that starts a child into the child's peak.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PAUSE = 0.2
"""Seconds between two measurements: threads of the one before stop spinning."""


def rounds(work: Mapping[str, Callable[[], T]], count: int, limit: float = math.inf) -> dict[str, list[T]]:
    """What everything gave, done once per round, in turn; no round begins that would probably pass `limit` seconds."""
    series: dict[str, list[T]] = {name: [] for name in work}
    started = time.perf_counter()
    for number in range(count):
        begun = time.perf_counter()
        for name, measure in work.items():
            say(f"round {number + 1} of {count}: {name}")
            time.sleep(PAUSE)
            series[name].append(measure())
        now = time.perf_counter()
        if now - started + (now - begun) > limit:
            break
    return series


def child(words: Sequence[str]) -> tuple[float, float]:
    """Wall seconds and peak resident bytes of one Python process; one that fails is an error."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"python {' '.join(words)} ended with exit code {process.returncode}; see its message above.")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def need_wait4() -> None:
    """End here where the system does not tell a process's peak memory."""
    if not hasattr(os, "wait4"):
        sys.exit(f"{sys.platform} has no wait4, which tells a process's peak memory: run this on Linux or macOS.")


class Worker:
    """A process that stays open and measures when asked."""

    def __init__(self, script: Path, *words: str, environment: Mapping[str, str] | None = None) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, str(script), *words]
        variables = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=variables)

    def ask(self, *request: object) -> Any:
        """Its answer to a request."""
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        return json.loads(answer) if answer else sys.exit(f"A worker ended at {request}; see its message above.")

    def close(self) -> None:
        """Let it end."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def summary(values: Iterable[float]) -> dict[str, Any]:
    """Median, smallest, largest and all values."""
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "all": values}


def ratios(values: Iterable[float], others: Iterable[float]) -> dict[str, Any]:
    """Quotients within each round."""
    return summary(value / other for value, other in zip(values, others, strict=True))


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)
