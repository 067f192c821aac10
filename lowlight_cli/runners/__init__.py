"""Runners: one open network or classical method on one device, behind numpy arrays. No back end knows of another.

`auto` takes CUDA through torch where there is a CUDA device and a torch that was built for it, else ONNX Runtime on the
CPU without importing torch, which costs seconds; maps come through torch alone. What was asked for is what runs, or an
error: never a silent CPU run.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lowlight_cli import manifest, packages, weights_metadata
from lowlight_cli import weights as weight_files
from lowlight_cli.choices import BACKENDS, DEVICES, MOST_THREADS, NUMBERED
from lowlight_cli.errors import ModelUnavailable, OptionError
from lowlight_cli.manifest import ModelSpec, WeightFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lowlight_cli.shadows import Relit
    from lowlight_cli.tiles import TilePlan

# ONNX Runtime would tell its makers of runs, and keep a device id in the home folder. Read when it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

KNOWN = {"backend": BACKENDS, "device": DEVICES}
AUTO = -1.0
"""The exposure that lets the network decide, as graphs and networks take it."""


class Runner(Protocol):
    """An open network. The fields say what really runs."""

    spec: ModelSpec
    backend: str
    device: str
    precision: str
    provider: str
    """What computes: an execution provider of ONNX Runtime, a device of PyTorch's, or a library."""
    threads: int
    """On the CPU; 0: the back end chose."""
    weights: tuple[WeightFile, ...]
    """The files that were opened, checked; none for classical methods."""
    sha256: str | None
    """Of the file of weights, the graph of the tiles among several; None where there are none."""

    def context(self, thumbnails: NDArray[np.float32], exposure: float | None) -> NDArray[np.float32]:
        """Vectors (N, K) that steer every tile, from (N, 3, s, s) in [0, 1]; `exposure` None: the network decides.

        Networks that are not `tiling: guided` give (N, 0).
        """
        ...

    def __call__(self, batch: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, H * scale, W * scale) in [0, 1] from (N, 3, H, W) in [0, 1], H and W multiples of `spec.multiple`.

        Raises OutOfMemory if the device has not enough.
        """
        ...

    def close(self) -> None:
        """Give back memory and device."""
        ...


class Frames(Protocol):
    """Pictures (N, H, W, 3) of 8 or 16 bits, where a network takes them."""

    def thumbnails(self, side: int) -> list[NDArray[np.float32]]:
        """See `thumbnail.thumbnail`, of each."""
        ...

    def enhanced(
        self, vectors: NDArray[np.float32], plan: TilePlan, *, bits: int, relit: Relit | None, strength: float
    ) -> NDArray:
        """(N, H * scale, W * scale, 3) of 8 or 16 bits; see `tiles.run_tiled`. Raises OutOfMemory."""
        ...


@runtime_checkable
class Landing(Protocol):
    """A runner whose device takes pictures as they are, and gives back what is to be written."""

    def frames(self, pixels: NDArray) -> Frames:
        """These pictures (N, H, W, 3) there."""
        ...

    def room(self) -> int:
        """Bytes of the device that can be had."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """How to open a runner."""

    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    scale: int = 1
    weights: Path | None = None
    threads: int = 0
    offline: bool = False
    progress: bool = False
    maps: bool = False
    """Whether the runner must give the network's maps."""
    deterministic: bool = False
    """Whether the same input must give the same bits whatever the number of threads: float32 unless another precision
    is asked for, and no way of computing that is chosen by timing or that adds in no fixed order."""


def open_runner(spec: ModelSpec, options: RunnerOptions) -> Runner:
    """Find the weights and open them; every option is checked before anything is loaded."""
    spec, options = settled(spec, options)
    if spec.classical:
        from lowlight_cli.runners.classical import ClassicalRunner

        return ClassicalRunner(spec, options)
    if options.device.startswith("cuda") and options.backend == "torch":
        from lowlight_cli.runners.cuda import CudaRunner

        return CudaRunner(spec, options)
    if options.backend == "torch":
        from lowlight_cli.runners.pytorch import TorchRunner

        return TorchRunner(spec, options)
    from lowlight_cli.runners.onnx import OnnxRunner

    return OnnxRunner(spec, options)


def settled(spec: ModelSpec, options: RunnerOptions) -> tuple[ModelSpec, RunnerOptions]:
    """The row and the options as they will run, back end and device chosen; what cannot be is an error. Loads nothing,
    so that a device that is not there is found by `open_runner` alone.
    """
    spec = described(spec, options)
    check_options(spec, options)
    if spec.classical:
        return spec, options
    if options.precision == "int8":  # on this alone, see `check_int8`
        return spec, dataclasses.replace(options, backend="onnx", device="cpu")
    backend = choose_backend(options)
    options = dataclasses.replace(options, backend=backend, device=choose_device(options, backend))
    if options.backend == "onnx" and options.precision not in ("auto", "fp32"):
        raise OptionError(f"The ONNX files are fp32 or int8, not {options.precision}.", "Use backend torch.")
    return spec, options


def described(spec: ModelSpec, options: RunnerOptions) -> ModelSpec:
    """The row, with a user's own weights in place of its own."""
    if options.weights is None or spec.classical:
        return spec
    return with_weights(spec, options.weights)


def check_options(spec: ModelSpec, options: RunnerOptions) -> None:
    """Refuse what this model or no model can do."""
    for name, known in KNOWN.items():
        if (value := getattr(options, name)) not in known and not (name == "device" and NUMBERED.fullmatch(value)):
            raise OptionError(f"{name} {value} is none of {', '.join(known)}.", f"Leave out {name}: it is chosen.")
    if not 0 <= options.threads <= MOST_THREADS:
        raise OptionError(f"threads {options.threads} is not from 0 to {MOST_THREADS}.", "0 leaves it to the back end.")
    if options.scale not in spec.scales:
        raise OptionError(
            f"{spec.name} has no scale {options.scale}.", f"It has {', '.join(str(scale) for scale in spec.scales)}."
        )
    if options.precision == "int8" and options.weights and "int8" in manifest.find(spec.name).precisions:
        raise OptionError(
            f"{options.weights.name} has no int8 form: what ships is of the bundled weights alone.",
            "Leave out precision, or make a row of its own with `lowlight export --int8`.",
        )
    if options.precision not in ("auto", *spec.precisions):
        raise OptionError(
            f"{spec.name} does not run in {options.precision}.", f"Allowed: auto, {', '.join(spec.precisions)}."
        )
    if options.precision == "int8":
        check_int8(spec, options)
    if options.maps and options.backend == "onnx":
        raise OptionError(
            "Maps cannot be had with backend onnx: the ONNX files hold what makes the output, and no maps.",
            "Use backend torch, or leave it out.",
        )
    if spec.classical:
        check_classical(spec, options)


def check_int8(spec: ModelSpec, options: RunnerOptions) -> None:
    """Refuse what bytes cannot do: they run through ONNX Runtime, on the CPU."""
    asked = {"backend torch": options.backend == "torch", "maps": options.maps}
    asked[f"device {options.device}"] = options.device not in ("auto", "cpu")
    for what in (name for name, given in asked.items() if given):
        raise OptionError(
            f"{spec.name} cannot be asked for {what} with precision int8: that runs through ONNX Runtime on the CPU.",
            f"Leave out {what}, or precision.",
        )


def check_classical(spec: ModelSpec, options: RunnerOptions) -> None:
    """Refuse what only a network has."""
    allowed = {"backend": ("auto",), "device": ("auto", "cpu"), "weights": (None,)}
    for name, values in allowed.items():
        if (value := getattr(options, name)) not in values:
            raise OptionError(
                f"{spec.name} takes no {name} {value}: it is a classical method, without weights and back ends.",
                f"It runs on the CPU: leave out {name}.",
            )


def map_names(spec: ModelSpec, options: RunnerOptions) -> tuple[str, ...]:
    """Names of the maps that a model saves with these options, found without its weights; none is an OptionError.

    Imports torch, but for options that are refused.
    """
    spec = described(spec, options)
    check_options(spec, options)
    from lowlight_cli import models

    if names := () if spec.classical else models.map_names(spec):
        return names
    rows = [row for row in manifest.models().values() if not row.classical]
    able = ", ".join(row.name for row in rows if models.map_names(row))
    raise OptionError(f"{spec.name} has no maps to save.", f"Models that have: {able}." if able else "No model has.")


def choose_backend(options: RunnerOptions) -> str:
    """`torch` or `onnx`."""
    if options.backend != "auto" or options.maps:
        return options.backend.replace("auto", "torch")
    if options.device == "auto":
        return "torch" if has_cuda() or options.weights else "onnx"
    return "onnx" if options.device == "cpu" and not options.weights else "torch"


def choose_device(options: RunnerOptions, backend: str) -> str:
    """`cpu`, `cuda:N` or `mps` for a back end that is chosen; only `auto` may fall to the CPU."""
    if options.device == "auto":
        return "cuda:0" if backend == "torch" and has_cuda() else "cpu"
    return "cuda:0" if options.device == "cuda" else options.device


def has_cuda() -> bool:
    """Whether there are both a CUDA device and a torch that was built for it."""
    return cuda_devices() > 0 and packages.torch_has_cuda()


def cuda_devices() -> int:
    """Number of CUDA devices as the driver tells, without importing torch."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def with_weights(spec: ModelSpec, path: Path) -> ModelSpec:
    """The row with a user's own file in place of its weights; what the file says of its network goes before the row.

    A file of another network, or one that says what cannot be, is a ModelUnavailable. Imports no torch.
    """
    if not path.is_file():
        raise ModelUnavailable(f"There is no file {path}.", "Give a .safetensors or .pt file.")
    if path.suffix == ".onnx":
        raise OptionError(f"{path.name} holds no PyTorch weights.", "Give a .safetensors or .pt file.")
    origin = weights_metadata.read(path)
    if origin is not None and origin.arch != spec.arch:
        raise foreign(spec, path, origin.arch)
    # The int8 form is of the row's own weights.
    facts: dict[str, Any] = {"precisions": tuple(name for name in spec.precisions if name != "int8")}
    if origin is not None:
        facts |= {"params": origin.params, **origin.geometry, "parameters": weights_metadata.parameters(path)}
    digest = weight_files.sha256_of(path)
    # An absolute path stays one when it is joined to the folder of bundled files.
    file = WeightFile(role="torch", path=str(path.resolve()), bytes=path.stat().st_size, sha256=digest, bundled=True)
    return dataclasses.replace(spec, files=(file,), figures=(), **facts)


def foreign(spec: ModelSpec, path: Path, arch: str) -> ModelUnavailable:
    """The error for weights that say they are of another network."""
    names = [name for name, row in manifest.models().items() if row.arch == arch]
    hint = f"Use model {' or '.join(names)}." if names else "This version does not know that network."
    return ModelUnavailable(f"{path.name} was trained for {arch}, and {spec.name} is {spec.arch}.", hint)
