"""How fast models are: each back end in a process of its own, warmed up, measured in turn.

`python -m lowlight_cli.tasks.speed MODEL OPTIONS` is the worker: a line on stdin asks for one run, a line on stdout
gives its seconds, so that what is compared runs in turn, A B A B, on a machine that others may disturb.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lowlight_cli import manifest, models
from lowlight_cli.errors import LowlightError
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners.options import RunnerOptions, described

SIZE = (600, 400)
"""Width and height of the picture: LOL's."""
WARM_UP, ROUNDS = 2, 11
CLASSICAL = "classical"
"""The one back end of classical methods."""


@dataclasses.dataclass
class Worker:
    """One model on one back end, in a process of its own."""

    backend: str
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, model: str, backend: str, options: RunnerOptions) -> Worker:
        """Start it; it opens its model by itself."""
        told = json.dumps(asked(backend, options))
        words = [sys.executable, "-m", __name__, model, told]
        pipe = subprocess.PIPE
        return cls(backend, subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True))

    def ask(self) -> dict[str, Any] | None:
        """One run; None where the worker has failed."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            return None

    def stop(self) -> None:
        """End it."""
        self.process.communicate()


def asked(backend: str, options: RunnerOptions) -> dict[str, Any]:
    """What a worker opens its model with: all that the run was told; of a classical method, what such a one takes."""
    told: dict[str, Any] = {"threads": options.threads, "offline": options.offline}
    if backend == CLASSICAL:
        return told
    weights = str(options.weights.resolve()) if options.weights else None
    return {**told, "backend": backend, "device": options.device, "precision": options.precision, "weights": weights}


def measure(names: Sequence[str], options: RunnerOptions) -> dict[str, list[dict[str, Any]]]:
    """By model, for each back end: latency, throughput and peak memory, and what a megapixel costs."""
    return {name: measure_one(manifest.find(name), options) for name in names}


def measure_one(spec: ModelSpec, options: RunnerOptions) -> list[dict[str, Any]]:
    """A model's back ends in turn; those of other models would only disturb, so they are not open."""
    workers = [Worker.start(spec.name, backend, options) for backend in backends(spec, options)]
    try:
        rounds = [[worker.ask() for worker in workers] for _ in range(WARM_UP + ROUNDS)]
    finally:
        for worker in workers:
            worker.stop()
    # Of the weights that ran, which may be of another width than the row's; without a run there is none to tell.
    ran = all(rounds[-1]) and not spec.classical
    cost = {"gflop_per_megapixel": models.gflop_per_megapixel(described(spec, options)) if ran else None}
    return [
        {"backend": worker.backend, **figures([answers[k] for answers in rounds[WARM_UP:]]), **cost}
        for k, worker in enumerate(workers)
    ]


def backends(spec: ModelSpec, options: RunnerOptions) -> tuple[str, ...]:
    """What to measure: the back end asked for, or all that have the precision."""
    if spec.classical:
        return (CLASSICAL,)
    if options.backend != "auto":
        return (options.backend,)
    return {"auto": ("onnx", "torch"), "fp32": ("onnx", "torch"), "int8": ("onnx",)}.get(options.precision, ("torch",))


def figures(answers: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """Median and 95th percentile of the runs; nothing but an error where one failed."""
    if not all(answers):
        return {"error": "it failed; `lowlight models verify --run` says why"}
    seconds = [answer["seconds"] for answer in answers]
    median = float(np.median(seconds))
    return {
        "size": f"{SIZE[0]}x{SIZE[1]}",
        "latency_median_ms": round(1e3 * median, 2),
        "latency_p95_ms": round(1e3 * float(np.quantile(seconds, 0.95)), 2),
        "throughput_mp/s": round(SIZE[0] * SIZE[1] / 1e6 / median, 3),
        "peak_memory_mb": answers[-1]["peak_memory_mb"],
        "runs": len(seconds),
    }


def work(model: str, told: str) -> None:
    """The worker: one run for each line on stdin."""
    import lowlight_cli as lowlight

    options = json.loads(told)
    if options.get("weights"):
        options["weights"] = Path(options["weights"])
    enhancer = lowlight.open_model(model, **options)
    picture = (np.random.default_rng(0).random((SIZE[1], SIZE[0], 3)) ** 2 * 80).astype(np.uint8)
    for _ in sys.stdin:
        started = time.perf_counter()
        enhancer(picture)
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "peak_memory_mb": peak_memory()}), flush=True)


def peak_memory() -> float | None:
    """Most memory that this process had resident, in MB; None where the system does not tell.

    Not `getrusage` on Linux: its peak begins with that of the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6, 1)
    except (OSError, StopIteration):
        return peak_of_usage()


def peak_of_usage() -> float | None:
    """The same from `getrusage`, in bytes on macOS."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


if __name__ == "__main__":
    try:
        work(*sys.argv[1:])
    except LowlightError:
        sys.exit(1)
