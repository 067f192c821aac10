"""How a runner is asked for: what can be said, what a model refuses of it, and what `auto` comes to.

`auto` takes CUDA through torch where there is a CUDA device and a torch that was built for it, else ONNX Runtime on the
CPU without importing torch, which costs seconds; maps come through torch alone. What was asked for is what runs, or an
error: never a silent CPU run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

from lowlight_cli import manifest, packages
from lowlight_cli.choices import BACKENDS, DEVICES, MOST_THREADS, NUMBERED, PRECISIONS
from lowlight_cli.errors import OptionError
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners import driver
from lowlight_cli.runners.own_weights import with_weights

KNOWN = {"backend": BACKENDS, "device": DEVICES}
KINDS: Mapping[str, tuple[tuple[type, ...], str, str]] = {
    "backend": ((str,), "text", f"One of {', '.join(BACKENDS)}."),
    "device": ((str,), "text", f"One of {', '.join(DEVICES)}, or cuda:N."),
    "precision": ((str,), "text", f"One of auto, {', '.join(PRECISIONS)}."),
    "scale": ((Integral,), "whole number", "Give 1, or 2 where the model has it."),
    "threads": ((Integral,), "whole number", f"Give one from 0, which leaves it to the back end, to {MOST_THREADS}."),
    **dict.fromkeys(("offline", "progress", "maps", "deterministic"), ((bool,), "truth value", "Give True or False.")),
}
"""What these options are: types, a word for them, and what is allowed."""


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
    """Whether a picture must get the same bits whatever the number of threads, what is enhanced beside it and however
    much memory is free: float32 unless another precision is asked for, no way of computing that is chosen by timing or
    that adds in no fixed order, one picture at a time, in tiles whose size depends on the picture alone."""

    def __post_init__(self) -> None:
        for name, (kinds, what, allowed) in KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise OptionError(f"{name} {value!r} is no {what}.", allowed)


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
    return driver.cuda_devices() > 0 and packages.torch_has_cuda()
