"""One tiny inference, to see that a model really runs and gives what its row says: on a back end, at a scale.

A row's `check` holds the figures of each scale, `{"x1": [...], "x2": [...]}`: what the model makes of `night()`; a form
in bytes has figures of its own, `"x1-int8"`: so small and odd a picture is no measure of how far it is from float32.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import manifest
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import LowlightError, ModelUnavailable
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.picture import from_array
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.settings import Settings

HEIGHT, WIDTH = 45, 62
"""Not square, and no multiples of what a network asks for: it is padded and cropped."""
NAMES = tuple(
    f"{measure}, {vertical} {horizontal}"
    for vertical in ("upper", "lower")
    for horizontal in ("left", "right")
    for measure in ("mean red", "mean green", "mean blue", "green of a pixel")
)
"""What the figures are, in their order."""

TOLERANCE: Mapping[str, float] = MappingProxyType(
    {"fp32": 0.5 / 255, "fp16": 4 / 255, "bf16": 4 / 255, "int8": 4 / 255, "classical": 4 / 255}
)
"""Largest difference of a figure from the row's, of 1, by precision, or for classical methods.

Measured on a CPU over the networks: PyTorch in fp32 is within 0.0001 of ONNX Runtime in each figure and 0.001 in each
pixel; half a level of 8 bits leaves room for other processors. In bf16 within 0.003 and 0.014; fp16 gets the same.
Classical methods differ by 0.00002 with OpenCV's vector code switched off; other versions may round 8 bits otherwise.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One run and what came of it. Where `expected` is None the row says nothing; with an `error` nothing ran."""

    model: str
    backend: str
    scale: int
    device: str | None = None
    precision: str | None = None
    seconds: tuple[float, float] = (0.0, 0.0)
    """To open the model, and to run it."""
    mean: float = 0.0
    """Of the output."""
    found: list[float] = dataclasses.field(default_factory=list)
    expected: list[float] | None = None
    tolerance: float = 0.0
    error: str = ""

    @property
    def differences(self) -> list[float]:
        """Of the row's figures, one by one; empty where they cannot be compared."""
        if self.expected is None or len(self.expected) != len(self.found):
            return []
        return [round(abs(found - told), 5) for found, told in zip(self.found, self.expected, strict=True)]

    @property
    def problem(self) -> str:
        """What is wrong; empty: nothing."""
        if self.error:
            return self.error
        if self.expected is None:
            dark = float(night().mean()) / 255
            return "" if self.mean > dark else f"it gives a picture of mean {self.mean:.3f} for one of {dark:.3f}"
        differences = self.differences
        if not differences:
            return f"its row has {len(self.expected)} figures where {len(self.found)} are computed"
        if not (wrong := sum(not difference <= self.tolerance for difference in differences)):
            return ""
        worst = differences.index(max(differences))
        return (
            f"{NAMES[worst]} is {self.found[worst]:.5f}, its row says {self.expected[worst]:.5f}; off by "
            f"{differences[worst]:.5f}, allowed is {self.tolerance:.5f} ({wrong} of {len(differences)} figures fail)"
        )

    @property
    def detail(self) -> str:
        """One line of what ran, or of what is wrong."""
        if self.error:
            return self.error
        where = f"{self.backend} on {self.device}, {self.precision}"
        if self.problem:
            return f"{where}: {self.problem}"
        off = f"off by {max(self.differences):.5f}" if self.differences else "no figure to compare with"
        opened, ran = self.seconds
        return f"{where}: opened in {opened:.2f} s, ran in {ran:.2f} s, mean {self.mean:.2f}, {off}"

    def as_row(self) -> dict[str, Any]:
        """All of it, for JSON."""
        fields = {name: value for name, value in vars(self).items() if name != "error"}
        difference = max(self.differences, default=None)
        return fields | {"difference": difference, "ok": not self.problem, "detail": self.detail}


def night() -> NDArray[np.uint8]:
    """A small dark picture with a lamp, (H, W, 3): colours that differ from side to side, grain, an edge.

    Integers alone make it, so that it is the same everywhere.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    grain = (7 * x * x + 13 * y * y + 5 * x * y) % 11
    pixels = np.stack([4 + x // 2, 6 + y // 2, 30 - (x + y) // 4], axis=-1) + grain[..., None]
    pixels[20:30, 8:20] += 25
    pixels[(y - 11) ** 2 + (x - 45) ** 2 < 17] = (250, 230, 190)
    return pixels.astype(np.uint8)


def figures(pixels: NDArray[np.uint16]) -> list[float]:
    """Sixteen numbers in [0, 1] of (H, W, 3), see `NAMES`: they move with colours, brightness, place and detail."""
    values = pixels.astype(np.float64) / 65535
    found: list[float] = []
    for rows in np.array_split(values, 2, axis=0):
        for part in np.array_split(rows, 2, axis=1):
            pixel = part[part.shape[0] // 3, part.shape[1] // 3]
            found += [round(float(value), 5) for value in (*part.mean(axis=(0, 1)), pixel[1])]
    return found


def trial(spec: ModelSpec, scale: int, **options: Any) -> Trial:
    """Enhance `night()` as a user's picture would be; errors of opening and running are raised.

    `options` are those of `RunnerOptions`: backend, device, precision, offline.
    """
    started = time.perf_counter()
    runner = open_runner(spec, RunnerOptions(scale=scale, **options))
    with Enhancer(runner, Settings(depth=16), scale) as enhancer:
        opened = time.perf_counter()
        pixels = enhancer.enhance([from_array(night())])[0].pixels
        done = time.perf_counter()
    return Trial(
        model=spec.name,
        backend=runner.backend,
        scale=scale,
        device=runner.device,
        precision=runner.precision,
        seconds=(opened - started, done - opened),
        mean=float(pixels.mean()) / 65535,
        found=figures(pixels),
        expected=spec.check.get(key(scale, runner.precision)),
        tolerance=TOLERANCE["classical" if spec.classical else runner.precision],
    )


def key(scale: int, precision: str) -> str:
    """The name in a row's `check` of the figures of a scale in a precision."""
    return f"x{scale}-int8" if precision == "int8" else f"x{scale}"


def trials(spec: ModelSpec, *, offline: bool = False) -> Iterator[Trial]:
    """The row at each scale on each back end; one that does not run is no end. None without weights."""
    if spec.untrained:
        return
    for backend, precision in ways(spec):
        for scale in spec.scales:
            try:
                yield trial(spec, scale, backend=backend, precision=precision, offline=offline)
            except LowlightError as error:
                name = "classical" if spec.classical else backend
                yield Trial(model=spec.name, backend=name, scale=scale, error=str(error))


def ways(spec: ModelSpec) -> tuple[tuple[str, str], ...]:
    """(back end, precision) of all that a row runs on."""
    if spec.classical:
        return (("auto", "auto"),)
    return (("torch", "auto"), ("onnx", "auto"), *((("onnx", "int8"),) if "int8" in spec.precisions else ()))


def check(spec: ModelSpec) -> dict[str, list[float]]:
    """What the row's `check` must hold: its figures by scale, through ONNX Runtime on the CPU, or the method itself."""
    return {
        key(scale, precision): trial(spec, scale, backend=backend, device="cpu", precision=precision).found
        for backend, precision in ways(spec)
        if backend != "torch"
        for scale in spec.scales
    }


def selftest(spec: ModelSpec, *, backend: str = "auto", device: str = "auto", offline: bool = False) -> str:
    """One trial at the first scale; one line of what ran. An output that is not as it should be is an error."""
    tried = trial(spec, spec.scales[0], backend=backend, device=device, offline=offline)
    if tried.problem:
        hint = "Report this." if spec.classical else "Its weights may be wrong: run `lowlight models verify --run`."
        raise ModelUnavailable(f"{spec.name} on {tried.detail}.", hint)
    return tried.detail


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
