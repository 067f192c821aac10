"""Inputs that fail during a run: vanished, growing, silent, or no files at all."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
from faults_batch import Batch, Outcome, call, ended, files, is_clear, mid_run, outputs
from faults_fuse import Share

from lowlight_cli import picture


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
    """Inputs are still being copied in, bit by bit; one large file is never at rest."""
    outcome, seen = Outcome(), {"changed": 0, "incomplete": 0}
    originals = {path: path.read_bytes() for path in files(batch.inputs)}
    restless = batch.inputs / "restless.bmp"
    for number in range(rounds):
        batch.fresh()
        chosen = [*originals][number % 3 :: 3]
        picture.save(picture.from_array(np.full((2000, 3000, 3), 40, np.uint8)), restless)
        for path in chosen:
            path.write_bytes(originals[path][: len(originals[path]) // 2])
        stop = threading.Event()
        writers = [
            threading.Thread(target=copy_slowly, args=(chosen, originals, stop)),
            threading.Thread(target=append_always, args=(restless, stop)),
        ]
        for writer in writers:
            writer.start()
        done = batch.run()
        stop.set()
        for writer in writers:
            writer.join()
        restless.unlink()
        is_clear(outcome, done, 0, 1)
        changed = done.stderr.count("changed while it was read")
        seen["changed"] += changed
        seen["incomplete"] += done.stderr.count("FAILED") - changed
        batch.judge(outcome, inputs=False)
        restore(batch, originals)
        batch.finish(outcome)
        outcome.times += len(chosen) + 1
    outcome.figures = seen
    outcome.saw(
        f"{seen['changed']} FAILED: changed while it was read; {seen['incomplete']} FAILED: not whole; the others done "
        "from the whole file"
    )
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


def append_always(path: Path, stop: threading.Event) -> None:
    """Append a byte every now and then, without a pause that a reader could use."""
    with path.open("ab", buffering=0) as file:
        while not stop.wait(0.001):
            file.write(b"+")


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
        done = call(batch.words(inputs=mount))
        outcome.figures["seconds"] = round(time.perf_counter() - start, 1)
        is_clear(outcome, done, 1)
        outcome.demand(done.stderr.count("Nothing came") == len(silent), f"not told: {done.stderr[-300:]}")
        outcome.demand(len(batch.judge(outcome)) == batch.count - len(silent), "other files did not go on")
        for times in (1, 2):
            batch.fresh()
            process = batch.start(inputs=mount)
            time.sleep(8)
            start = time.perf_counter()
            for _ in range(times):
                process.send_signal(signal.SIGINT)
                time.sleep(1)
            done = ended(process)
            outcome.figures[f"seconds_after_{times}_ctrl_c"] = round(time.perf_counter() - start, 1)
            is_clear(outcome, done, 130)
            batch.judge(outcome)
        share.release()
        batch.finish(outcome)
    outcome.times = 3
    once, twice = (outcome.figures[f"seconds_after_{times}_ctrl_c"] for times in (1, 2))
    outcome.saw(
        f"FAILED: nothing came for 60 s, the others done; Ctrl-C ends it in {once} s, a second one in {twice} s"
    )
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
