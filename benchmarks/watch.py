"""A day of `lowlight enhance --watch` in minutes: as many small pictures as a camera makes at one every five seconds.

    python benchmarks/watch.py --out benchmarks/results/watch.json

A feeder puts pictures into a folder, most by a rename, every tenth in three pieces with pauses that
are longer than a file must rest to be taken. After a quarter of them the watch is killed (SIGKILL) and started again.
Memory, open files, threads and what waits are read from /proc every second. At the end every picture must have been
told of once and every output equal that of a plain run.

kept      all pictures stay in the folder        taken     each is taken away once its output is there
network   fewer and larger ones, aux-retinex     idle      nothing comes into the folder of `kept`, for a while
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import machine
import numpy as np
from interleave import say

from lowlight_cli import picture

DAY = 24 * 3600 // 5
KINDS = 50
"""Different pictures; the feeder repeats them."""
SLOW, PIECES, PAUSE = 10, 3, 2.5
WARM = 90.0
"""Seconds of a process that its figures leave out: pools, arenas and caches fill."""
PER_FOLDER = 1000
TICK = os.sysconf("SC_CLK_TCK")
Sample = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Load:
    """What a scenario asks."""

    name: str
    model: str
    size: tuple[int, int]
    files: int
    rate: float
    taken: bool = False


def main() -> None:
    """Measure, then write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=DAY)
    parser.add_argument("--rate", type=float, default=60.0, help="pictures per second")
    parser.add_argument("--idle", type=float, default=150.0, help="seconds")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    loads = [
        Load("taken", "gamma", (64, 48), options.files, options.rate, taken=True),
        Load("kept", "gamma", (64, 48), options.files, options.rate),
        Load("network", "aux-retinex", (160, 120), options.files // 60, options.rate / 20),
    ]
    settings = {"files": options.files, "rate": options.rate}
    settings |= {"slow_share": 1 / SLOW, "slow_pause_seconds": PAUSE, "warm_up_seconds": WARM}
    result: dict[str, Any] = {"about": machine.about(settings)}
    for load in loads:
        with tempfile.TemporaryDirectory() as name:
            result[load.name] = scenario(Path(name), load)
            say(json.dumps({key: value for key, value in result[load.name].items() if key != "samples"}))
            if load.name == "kept":
                result["idle"] = idle(Path(name), load, options.idle)
                say(json.dumps(result["idle"]))
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


class Watcher:
    """One `lowlight enhance --watch`, and what it told."""

    def __init__(self, folder: Path, load: Load) -> None:
        words = ["enhance", str(folder / "in"), "--out", str(folder / "out"), "--model", load.model]
        command = [sys.executable, "-m", "lowlight_cli", *words, "--watch", "--json", "--device", "cpu"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.told: list[tuple[str, str]] = []
        self.taken = 0
        self.started = time.monotonic()
        self.errors: list[str] = []
        self.samples: list[Sample] = []
        self.readers = [threading.Thread(target=work, daemon=True) for work in (self.read, self.hear)]
        for reader in self.readers:
            reader.start()

    def read(self) -> None:
        """Take the JSON lines."""
        for line in self.process.stdout:
            result = json.loads(line)
            if "source" in result:
                self.told.append((result["status"], Path(result["source"]).name))

    def hear(self) -> None:
        """Take what it says."""
        self.errors += [line for line in self.process.stderr if line.startswith(("FAILED", "Error", "Traceback"))]

    def end(self, number: int) -> int:
        """By a signal; gives the exit code."""
        self.process.send_signal(number)
        code = self.process.wait()
        for reader in self.readers:
            reader.join()
        return code

    def sample(self) -> Sample:
        """Memory in MB, open files, threads and seconds of computing."""
        place = Path("/proc") / str(self.process.pid)
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        times = (place / "stat").read_text().rpartition(")")[2].split()
        return {
            "age": time.monotonic() - self.started,
            "rss_mb": int(status["VmRSS"].split()[0]) / 1024,
            "files": len([*(place / "fd").iterdir()]),
            "threads": int(status["Threads"]),
            "cpu_s": (int(times[11]) + int(times[12])) / TICK,
        }


class Feeder(threading.Thread):
    """Puts pictures into a folder at an even rate."""

    def __init__(self, folder: Path, load: Load, pictures: Sequence[bytes]) -> None:
        super().__init__(daemon=True)
        self.folder, self.load, self.pictures = folder, load, pictures
        self.count = 0

    def run(self) -> None:
        """Begin every picture in time; slow ones go on beside."""
        started, slow = time.monotonic(), collections.deque()
        for number in range(self.load.files):
            time.sleep(max(0.0, started + number / self.load.rate - time.monotonic()))
            while slow and slow[0][0] <= time.monotonic():
                _, steps = slow.popleft()
                if next(steps, None) is not None:
                    slow.append((time.monotonic() + PAUSE, steps))
            path, data = place(self.folder, number), self.pictures[number % KINDS]
            path.parent.mkdir(parents=True, exist_ok=True)
            if number % SLOW:
                temporary = path.with_name(f".{path.name}")
                temporary.write_bytes(data)
                temporary.rename(path)
            else:
                slow.append((0.0, in_pieces(path, data)))
            self.count = number + 1
        for at, steps in slow:
            time.sleep(max(0.0, at - time.monotonic()))
            collections.deque(steps, 0)


def place(folder: Path, number: int) -> Path:
    """Where picture N goes."""
    return folder / "in" / f"{number // PER_FOLDER:03}" / f"{number:06}.png"


def in_pieces(path: Path, data: bytes) -> Iterator[int]:
    """Write a file bit by bit, closed in between, so that only its content tells that it is not whole."""
    for piece in range(PIECES):
        with path.open("ab") as file:
            file.write(data[len(data) * piece // PIECES : len(data) * (piece + 1) // PIECES])
        yield piece + 1


def scenario(folder: Path, load: Load) -> dict[str, Any]:
    """Feed, kill after a quarter, start again, wait until all is done, and check."""
    say(f"{load.name}: {load.files} pictures, {load.rate:g} a second, {load.model}")
    pictures = made(load.size)
    expected = plain(folder / "plain", load, pictures)
    feeder, watchers = Feeder(folder, load, pictures), [Watcher(folder, load)]
    feeder.start()
    begun = fed = time.monotonic()
    while (told := len(finished(watchers))) < load.files:
        time.sleep(1)
        if feeder.count > load.files / 4 and len(watchers) == 1:
            watchers[0].end(signal.SIGKILL)
            watchers.append(Watcher(folder, load))
        waiting = feeder.count - told
        watchers[-1].samples.append(watchers[-1].sample() | {"fed": feeder.count, "waiting": waiting})
        if load.taken:
            take(folder, watchers)
        if feeder.is_alive():
            fed = time.monotonic()
        elif time.monotonic() - fed > 180:
            say(f"{waiting} are missing")
            break
    seconds = time.monotonic() - begun
    code = watchers[-1].end(signal.SIGTERM)
    return verdict(folder, load, watchers, expected) | {
        "seconds": round(seconds, 1),
        "exit_code": code,
        "processes": [figures(watcher.samples) for watcher in watchers],
        "samples": [[rounded(sample) for sample in watcher.samples[::10]] for watcher in watchers],
    }


def made(size: tuple[int, int]) -> list[bytes]:
    """Dark noisy pictures as PNG files."""
    ramp = np.linspace(2, 50, size[0])[None, :, None]
    noise = (np.random.default_rng(seed).normal(0, 3, (size[1], size[0], 3)) for seed in range(KINDS))
    pixels = (np.clip(ramp + grain, 0, 255).astype(np.uint8) for grain in noise)
    return [picture.encode(picture.from_array(one), "png") for one in pixels]


def plain(folder: Path, load: Load, pictures: Sequence[bytes]) -> list[bytes]:
    """What a run without --watch makes of the pictures."""
    (folder / "in").mkdir(parents=True)
    for kind, data in enumerate(pictures):
        (folder / "in" / f"{kind}.png").write_bytes(data)
    words = [str(folder / "in"), "--out", str(folder / "out"), "--model", load.model, "--device", "cpu", "--quiet"]
    subprocess.run([sys.executable, "-m", "lowlight_cli", "enhance", *words], check=True)
    return [(folder / "out" / f"{kind}.png").read_bytes() for kind in range(len(pictures))]


def finished(watchers: Sequence[Watcher]) -> set[str]:
    """Names of all that needs nothing more."""
    return {name for watcher in watchers for status, name in watcher.told if status != "failed"}


def take(folder: Path, watchers: Sequence[Watcher]) -> None:
    """Remove inputs that are done, as a camera's housekeeping does."""
    for watcher in watchers:
        for _, name in watcher.told[watcher.taken :]:
            place(folder, int(name[:6])).unlink()
            watcher.taken += 1


def verdict(folder: Path, load: Load, watchers: Sequence[Watcher], expected: Sequence[bytes]) -> dict[str, Any]:
    """Was every picture told of once, and is every output what it must be?"""
    told = [line for watcher in watchers for line in watcher.told]
    counts = collections.Counter(status for status, _ in told)
    done = collections.Counter(name for status, name in told if status == "done")
    outputs = {path.name: path for path in (folder / "out").rglob("*.png")}
    equal = sum(path.read_bytes() == expected[int(name[:6]) % KINDS] for name, path in outputs.items())
    return {
        **{name: getattr(load, name) for name in ("model", "size", "files", "rate")},
        "told": dict(counts),
        "done_twice": sum(count - 1 for count in done.values()),
        "told_of": len({name for _, name in told}),
        "outputs": len(outputs),
        "outputs_equal_to_plain_run": equal,
        "temporary_files_left": len([*(folder / "out").rglob("*.tmp")]),
        "errors": [line for watcher in watchers for line in watcher.errors][:5],
    }


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """Of one process, once it was warm."""
    warm = [sample for sample in samples if sample["age"] > WARM] or list(samples[-1:])
    if not warm:
        return {}
    fed, memory = ([sample[name] for sample in warm] for name in ("fed", "rss_mb"))
    slope = float(np.polyfit(fed, memory, 1)[0]) * 2**20 if len({*fed}) > 5 else 0.0
    return {
        "seconds": round(samples[-1]["age"], 1),
        "fed_while_warm": fed[-1] - fed[0],
        "rss_mb": {"first": round(memory[0], 1), "last": round(memory[-1], 1), "peak": round(max(memory), 1)},
        "rss_bytes_per_picture": round(slope),
        **{name: [min(s[name] for s in warm), max(s[name] for s in warm)] for name in ("files", "threads", "waiting")},
        "cpu_share": round(samples[-1]["cpu_s"] / samples[-1]["age"], 3),
    }


def idle(folder: Path, load: Load, seconds: float) -> dict[str, Any]:
    """What a watch costs to which nothing comes."""
    say(f"idle: {seconds:g} s")
    watcher = Watcher(folder, load)
    time.sleep(WARM)
    before = watcher.sample()
    time.sleep(seconds)
    after = watcher.sample()
    code, told = watcher.end(signal.SIGTERM), len(watcher.told)
    spent = {name: after[name] - before[name] for name in ("age", "cpu_s", "rss_mb")}
    share = round(spent["cpu_s"] / spent["age"], 4)
    memory = {"rss_mb": round(after["rss_mb"], 1), "rss_growth_mb": round(spent["rss_mb"], 2)}
    return {"files": load.files, "seconds": seconds, "told": told, "exit_code": code, "cpu_share": share} | memory


def rounded(sample: Sample) -> Sample:
    """Fit for a file."""
    return {name: round(value, 1) for name, value in sample.items()}


if __name__ == "__main__":
    main()
