"""Disks and folders that fail during a run: full, forbidden, vanished, replaced, growing, silent."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from faults_batch import Batch, Outcome, call, environment, files, is_clear, marks, outputs, results
from faults_fuse import Share

AFTER = 5
"""Results after which something happens."""


def mid_run(batch: Batch, happens: Callable[[], None], *flags: str, **options: str) -> subprocess.CompletedProcess[str]:
    """A run during which something happens, after its first results."""
    process = batch.start("--json", *flags, **options)
    results(process, AFTER)
    happens()
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess([], process.returncode, out, err)


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
        line = [sys.executable, "-m", "faults_inject", *batch.words("--quiet")]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            line,
            env=environment(),
            stdout=pipe,
            stderr=pipe,
            text=True,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        ) as process:
            out, err = process.communicate(timeout=300)
        is_clear(outcome, subprocess.CompletedProcess([], process.returncode, out, err), 1, 6)
        outcome.demand("File too large" in err, "no reason told")
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


def vanished(batch: Batch) -> Outcome:
    """Inputs are moved away between planning and reading."""
    outcome, aside = Outcome(), batch.work / "aside"
    aside.mkdir(exist_ok=True)
    batch.fresh()
    last = files(batch.inputs)[-batch.count // 3 :]

    def take() -> None:
        for path in last:
            path.rename(aside / path.name)

    done = mid_run(batch, take)
    for path in last:
        (aside / path.name).rename(path)
    is_clear(outcome, done, 1)
    outcome.demand(done.stderr.count("No such file") == len(last), f"{done.stderr.count('No such file')} told")
    batch.judge(outcome)
    batch.finish(outcome)
    outcome.times = len(last)
    outcome.saw("FAILED: No such file or directory; the others done; exit code 1")
    return outcome


def growing(batch: Batch, rounds: int) -> Outcome:
    """Inputs are still being copied in: written bit by bit while the run goes."""
    outcome, seen = Outcome(), {"changed": 0, "incomplete": 0}
    originals = {path: path.read_bytes() for path in files(batch.inputs)}
    for number in range(rounds):
        batch.fresh()
        chosen = [*originals][number % 3 :: 3]
        stop = threading.Event()
        for path in chosen:
            path.write_bytes(originals[path][: len(originals[path]) // 2])
        writer = threading.Thread(target=copy_slowly, args=(chosen, originals, stop))
        writer.start()
        done = batch.run()
        stop.set()
        writer.join()
        is_clear(outcome, done, 0, 1)
        seen["changed"] += done.stderr.count("changed while it was read")
        seen["incomplete"] += done.stderr.count("FAILED") - done.stderr.count("changed while it was read")
        batch.judge(outcome, inputs=False)
        restore(batch, originals)
        batch.finish(outcome)
        outcome.times += len(chosen)
    outcome.figures = seen
    outcome.saw("FAILED as changed or not whole, or done from the whole file; never from a part")
    return outcome


def copy_slowly(paths: list[Path], originals: dict[Path, bytes], stop: threading.Event) -> None:
    """Append to each in turn until all are whole."""
    sizes = {path: len(originals[path]) // 2 for path in paths}
    while sizes and not stop.wait(0.02):
        for path in list(sizes):
            with path.open("ab") as file:
                file.write(originals[path][sizes[path] : sizes[path] + 199])
            sizes[path] += 199
            if sizes[path] >= len(originals[path]):
                del sizes[path]


def restore(batch: Batch, originals: dict[Path, bytes]) -> None:
    """Inputs as they were, with their times."""
    for path, data in originals.items():
        if path.read_bytes() != data:
            path.write_bytes(data)
        time_ns = batch.before[str(path.relative_to(batch.inputs))][1]
        os.utime(path, ns=(time_ns, time_ns))


def stalled(batch: Batch) -> Outcome:
    """Inputs on a share that stops to answer for some files; then Ctrl-C, once and twice."""
    outcome, mount = Outcome(), batch.work / "share"
    names = sorted(batch.before)
    silent = set(names[3:5])
    with Share(batch.inputs, mount, set(silent)) as share:
        batch.fresh()
        start = time.perf_counter()
        process = batch.start(inputs=mount)
        out, err = process.communicate(timeout=300)
        outcome.figures["seconds"] = round(time.perf_counter() - start, 1)
        is_clear(outcome, subprocess.CompletedProcess([], process.returncode, out, err), 1)
        outcome.demand(err.count("Nothing came") == len(silent), f"not told: {err[-300:]}")
        outcome.demand(len(batch.judge(outcome)) == batch.count - len(silent), "other files did not go on")
        for times in (1, 2):
            batch.fresh()
            process = batch.start(inputs=mount)
            time.sleep(8)
            start = time.perf_counter()
            for _ in range(times):
                process.send_signal(signal.SIGINT)
                time.sleep(1)
            out, err = process.communicate(timeout=300)
            outcome.figures[f"seconds_after_{times}_ctrl_c"] = round(time.perf_counter() - start, 1)
            is_clear(outcome, subprocess.CompletedProcess([], process.returncode, out, err), 130)
            batch.judge(outcome)
        share.release()
        batch.finish(outcome)
    outcome.times = 3
    outcome.saw(f"FAILED: nothing came for 60 s, the others done; with Ctrl-C, figures: {outcome.figures}")
    return outcome


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
    out, err = process.communicate(timeout=300)
    outcome.figures["seconds_after_2_ctrl_c"] = round(time.perf_counter() - start, 1)
    is_clear(outcome, subprocess.CompletedProcess([], process.returncode, out, err), 130)
    batch.judge(outcome)
    batch.finish(outcome)
    outcome.times = 1
    outcome.saw("exit code 130, at once after the second Ctrl-C; resumed to the same bits")
    return outcome


def pipes(batch: Batch) -> Outcome:
    """A named pipe, a socket's place, a device, a folder with a picture's name in place of a file."""
    outcome = Outcome()
    batch.fresh()
    strange = batch.work / "strange"
    shutil.rmtree(strange, ignore_errors=True)
    strange.mkdir()
    os.mkfifo(strange / "pipe.png")
    (strange / "null.png").symlink_to("/dev/null")
    (strange / "zero.png").symlink_to("/dev/zero")
    (strange / "loop.png").symlink_to(strange / "loop.png")
    (strange / "folder.png").mkdir()
    shutil.copy2(files(batch.inputs)[0], strange / "good.jpg")
    done = call(["enhance", str(strange), "--out", str(batch.out), "--model", batch.model])
    is_clear(outcome, done, 1)
    outcome.demand(done.stderr.count("not a regular file") == 3, f"not told: {done.stderr[-400:]}")
    outcome.demand([*outputs(batch.out)] == ["good.jpg"], "the good one is not there, or others are")
    outcome.times = 4
    outcome.saw("FAILED: not a regular file; the good one done; exit code 1")
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
        outcome.demand(marks(batch.inputs) == batch.before, "an input was changed")
        is_clear(outcome, done, 1, 6)
        out.unlink()
        out.with_name(f"{out.name}-moved").rename(out)
        batch.judge(outcome)
        batch.finish(outcome)
        outcome.times += 1
    outcome.saw("no input was written over; what was not yet written FAILED; exit code 1")
    return outcome
