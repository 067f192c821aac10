"""One tiny inference, to see that a model really runs: a network on a back end, or a classical method."""

from __future__ import annotations

import time

import numpy as np

from lowlight_cli import manifest
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import LowlightError, ModelUnavailable
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners import RunnerOptions, open_runner


def selftest(spec: ModelSpec, *, backend: str = "auto", device: str = "auto", offline: bool = False) -> str:
    """Brighten a dark gradient; one line of what ran. An output that is not brighter is an error."""
    started = time.perf_counter()
    runner = open_runner(spec, RunnerOptions(backend=backend, device=device, offline=offline))
    opened = time.perf_counter()
    dark = np.linspace(0.02, 0.12, 48 * 64 * 3, dtype=np.float32).reshape(48, 64, 3)
    bright = Enhancer(runner, Settings())(dark)
    done = time.perf_counter()
    mean = float(bright.mean()) / 65535
    runner.close()
    if not mean > float(dark.mean()):
        raise ModelUnavailable(
            f"{spec.name} on {runner.backend} gives a picture of mean {mean:.3f} for one of {dark.mean():.3f}.",
            "Report this." if spec.classical else "Its weights may be wrong: run `lowlight models verify`.",
        )
    where = f"{runner.backend} on {runner.device}, {runner.precision}"
    return f"{where}: opened in {opened - started:.2f} s, ran in {done - opened:.2f} s, mean {mean:.2f}"


def classical_methods() -> tuple[list[str], list[LowlightError]]:
    """Names of the classical methods that run here, and why the others do not."""
    ran, failed = [], []
    for spec in filter(lambda spec: spec.classical, manifest.models().values()):
        try:
            selftest(spec)
        except LowlightError as error:
            failed.append(error)
        else:
            ran.append(spec.name)
    return ran, failed
