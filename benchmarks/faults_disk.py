"""Disks and folders of outputs that fail during a run: full, forbidden, gone, replaced, hanging."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from faults_batch import Batch, Outcome, call, ended, files, is_clear, mid_run, results


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """A disk of that size in memory."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "small", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def full(batch: Batch) -> Outcome:
    """The disk of the outputs takes a part of them, then it grows."""
    outcome = Outcome()
    whole = sum(path.stat().st_size for path in files(batch.work / "out")) // 1024
    for share in (0.05, 0.3, 0.6, 0.9):
        with small_disk(batch.fresh(), int(share * whole)):
            done = batch.run("--quiet")
            is_clear(outcome, done, 1, 6)
            outcome.demand("No space left" in done.stderr and "Free some space" in done.stderr, "no reason told")
            found = len(batch.judge(outcome))
            outcome.figures[f"disk of {share:.0%}"] = f"{found} of {batch.count} done, exit code {done.returncode}"
            subprocess.run(["mount", "-o", f"remount,size={4 * whole}k", batch.out], check=True)
            batch.finish(outcome)
        outcome.times += 1
    outcome.saw("those that fit are whole, the others FAILED: No space left on device; exit code 1")
    return outcome


def too_large(batch: Batch) -> Outcome:
    """No file may be larger than a limit (RLIMIT_FSIZE)."""
    outcome = Outcome()
    for limit in (0, 4096, 65536):
        batch.fresh()
        limited = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
        done = call(batch.words("--quiet"), limited)
        is_clear(outcome, done, 1, 6)
        outcome.demand("File too large" in done.stderr, "no reason told")
        batch.judge(outcome)
        batch.finish(outcome)
        outcome.times += 1
    outcome.saw("larger files FAILED: File too large; the others are whole")
    return outcome


def permission(batch: Batch) -> Outcome:
    """Permission for the folder of outputs, or for inputs, is taken away midway."""
    outcome = Outcome()
    for what in ("output", "input"):
        out, last = batch.fresh(), sorted(batch.before)[-5:]
        places: list[Path] = []

        def forbid(what: str = what, out: Path = out, last: list[str] = last, places: list[Path] = places) -> None:
            folders = [out, *(path for path in out.rglob("*") if path.is_dir())]
            for path in folders if what == "output" else [batch.inputs / name for name in last]:
                places.append(path)
                path.chmod(0o500 if what == "output" else 0)

        with unprivileged():
            done = mid_run(batch, forbid)
        for path in places:
            path.chmod(0o755 if path.is_dir() else 0o644)
        is_clear(outcome, done, 1)
        outcome.demand("Permission denied" in done.stderr and "Check the permissions" in done.stderr, "no reason told")
        batch.judge(outcome)
        batch.finish(outcome)
        outcome.times += 1
    outcome.saw("FAILED: Permission denied; exit code 1")
    return outcome


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Commands that are started meanwhile obey permissions, even where root starts them."""
    kept = sys.executable
    if os.geteuid() == 0:
        wrapper = Path(os.environ.get("TMPDIR", "/tmp")) / f"lowlight-unprivileged-{os.getpid()}"
        drop = "--bounding-set=-dac_override,-dac_read_search"
        wrapper.write_text(f'#!/bin/sh\nexec setpriv {drop} "{kept}" "$@"\n')
        wrapper.chmod(0o755)
        sys.executable = str(wrapper)
    try:
        yield
    finally:
        if sys.executable != kept:
            Path(sys.executable).unlink()
        sys.executable = kept


def hanging_write(batch: Batch) -> Outcome:
    """A write that never returns; Ctrl-C twice."""
    outcome = Outcome()
    batch.fresh()
    process = batch.start("--json", LOWLIGHT_FAULT="hang-fsync-7")
    results(process, 3)
    time.sleep(1)
    start = time.perf_counter()
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(1)
    done = ended(process)
    outcome.figures["seconds_after_2_ctrl_c"] = round(time.perf_counter() - start, 1)
    is_clear(outcome, done, 130)
    batch.judge(outcome)
    batch.finish(outcome)
    outcome.times = 1
    outcome.saw("exit code 130, at once after the second Ctrl-C; resumed to the same bits")
    return outcome


def gone(batch: Batch) -> Outcome:
    """The folder of outputs is deleted, or moved away, midway."""
    outcome = Outcome()
    for number in range(4):
        out = batch.fresh()

        def take(out: Path = out, number: int = number) -> None:
            moved = out.with_name(f"{out.name}-moved")
            out.rename(moved)
            if number % 2:
                shutil.rmtree(moved, ignore_errors=True)

        done = mid_run(batch, take)
        is_clear(outcome, done, 1, 6)
        outcome.demand("folder" in done.stderr, f"not told: {done.stderr[-300:]}")
        batch.judge(outcome)
        batch.finish(outcome)
        outcome.times += 1
    outcome.saw("what was not yet written FAILED: the output folder is not the one that the run began with")
    return outcome


def swapped(batch: Batch) -> Outcome:
    """The folder of outputs becomes a link to the inputs, with --overwrite, between two system calls of a write."""
    outcome = Outcome()
    for number in (1, 2, 5, 9):
        out = batch.fresh()
        options = {"LOWLIGHT_FAULT": f"swap-{number}", "LOWLIGHT_SWAP": f"{out}{os.pathsep}{batch.inputs}"}
        done = batch.run("--overwrite", **options)
        outcome.demand(out.is_symlink(), "the fault was not injected")
        is_clear(outcome, done, 1, 6)
        out.unlink()
        out.with_name(f"{out.name}-moved").rename(out)
        batch.judge(outcome)
        batch.finish(outcome)
        outcome.times += 1
    outcome.saw("no input was written over; what was not yet written FAILED; exit code 1")
    return outcome
