"""Signals, streams that are closed or full, and too little memory."""

from __future__ import annotations

import functools
import random
import resource
import signal
import subprocess
import sys
import time

from faults_batch import LONGEST, Batch, Outcome, call, ended, environment, is_clear, results

SHELL = {
    "| head -1": ("{} --json | head -1 >/dev/null", 0),
    ">&-": ("{} --json >&-", 2),
    ">/dev/full": ("{} --json >/dev/full", 1),
    "2>&-": ("{} 2>&-", 0),
    "2>/dev/full": ("{} --verbose 2>/dev/full", 0),
    ">&- 2>&-": ("{} --verbose >&- 2>&-", 0),
    ">/dev/full 2>/dev/full": ("{} --json >/dev/full 2>/dev/full", 1),
}
"""A line of sh, and the exit code that is due."""
LIMITS = [60 * 1.18**step for step in range(24)]
"""MB of address space, up to 2.7 GB."""


def signals(batch: Batch, rounds: int) -> Outcome:
    """SIGTERM, SIGHUP, SIGINT, and SIGINT twice at random moments of the work."""
    outcome, place, slowest = Outcome(), random.Random(3), 0.0
    for _ in range(rounds):
        for name, times in (("SIGTERM", 1), ("SIGHUP", 1), ("SIGINT", 1), ("SIGINT", 2)):
            batch.fresh()
            process = batch.start("--json")
            results(process, 1)
            time.sleep(place.uniform(0, 1))
            start = time.perf_counter()
            for _ in range(times):
                process.send_signal(getattr(signal, name))
                time.sleep(0.01 * (times > 1))
            done = ended(process)
            slowest = max(slowest, time.perf_counter() - start)
            outcome.times += 1
            is_clear(outcome, done, *((130, 0) if batch_is_done(batch) else (130,)))
            outcome.demand("nterrupted" in done.stderr or done.returncode == 0, f"nothing said: {done.stderr[-200:]}")
            batch.judge(outcome)
            batch.finish(outcome)
    outcome.figures = {"slowest_end_s": round(slowest, 2)}
    outcome.saw(f"exit code 130, said so; ended after {slowest:.1f} s at most")
    return outcome


def batch_is_done(batch: Batch) -> bool:
    """Whether the signal may have come too late."""
    return len(batch.judge(Outcome())) == batch.count


def streams(batch: Batch) -> Outcome:
    """stdout and stderr closed, full, or read for one line only."""
    outcome = Outcome()
    for name, (line, code) in SHELL.items():
        batch.fresh()
        words = " ".join(f"'{word}'" for word in (sys.executable, "-m", "faults_inject", *batch.words()))
        done = subprocess.run(
            ["sh", "-c", line.format(words)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        outcome.times += 1
        is_clear(outcome, done, code)
        found = len(batch.judge(outcome))
        if code == 0 and "head" not in name:
            outcome.demand(found == batch.count, f"{name}: {found} of {batch.count} done")
        outcome.figures[name] = {"exit_code": done.returncode, "done": found, "said": done.stderr[-200:]}
        batch.finish(outcome)
    outcome.saw("stderr gone: all done, 0; stdout gone or full: 2 before any work, 1 with what was written kept")
    return outcome


def memory(batch: Batch) -> Outcome:
    """Too little address space (ulimit -v), from what Python cannot start with up to enough."""
    outcome = Outcome()
    for megabytes in LIMITS:
        batch.fresh()
        limit = int(megabytes * 2**20)
        limited = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (limit, limit))
        done = call(batch.words("--quiet"), limited)
        outcome.times += 1
        found = len(batch.judge(outcome))
        text = f"{done.returncode}, {found} of {batch.count} done: {last_line(done.stderr)}"
        outcome.figures[f"{megabytes:.0f} MB"] = text
        is_clear(outcome, done, 0, 1, 4, 5, 6)
        outcome.demand(done.returncode != 0 or found == batch.count, "0 although something is missing")
    batch.finish(outcome)
    codes = sorted({str(text).split(",")[0] for text in outcome.figures.values()})
    outcome.saw(f"exit codes {', '.join(codes)}; what was written was right")
    return outcome


def last_line(text: str) -> str:
    """The last thing said."""
    return (text.strip().splitlines() or [""])[-1][-160:]
