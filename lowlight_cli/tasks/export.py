"""From trained weights to what ships: safetensors, ONNX graphs, and the row of the manifest that describes them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowlight_cli import atomic, manifest, models, weights, weights_metadata
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import ModelUnavailable, OptionError, OutputExists
from lowlight_cli.manifest import ModelSpec, WeightFile
from lowlight_cli.manifest_checks import PATH
from lowlight_cli.nn.state import save_weights
from lowlight_cli.picture import from_array
from lowlight_cli.plausible import clipped
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.runners.export import export_onnx
from lowlight_cli.runners.own_weights import with_weights
from lowlight_cli.settings import Settings
from lowlight_cli.tasks import calibration, selftest
from lowlight_cli.weights_metadata import Origin, texts

PICTURE_TOLERANCE = 1e-3
"""Difference, of 1, that a pixel of the picture of one back end may have from that of the other."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What `lowlight export` can be told."""

    source: Path
    """Folder of a run, or a file of weights."""
    out: Path
    model: str | None = None
    name: str | None = None
    last: bool = False
    overwrite: bool = False
    int8: Path | None = None
    """Folder of pictures that the ranges of an int8 form are measured on; None: there is no such form."""


def run(options: ExportOptions, announce: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Write `<name>.safetensors`, `<name>-<graph>.onnx` and, if asked for, `<name>-<graph>-int8.onnx`: each whole, and
    none before all are made and checked. Gives the manifest's row by its name."""
    source, model = located(options, announce)
    spec = manifest.find(model)
    if spec.classical:
        raise OptionError(f"{model} is a classical method: there is nothing to export.", "Name a network.")
    spec = with_weights(spec, source)
    name = options.name or model
    if not PATH.fullmatch(name) or "/" in name:
        remedy = "A name has letters from a to z, digits, dots, dashes and underscores. Leave folders to --out."
        raise OptionError(f"--name {name} is no name that a manifest takes.", remedy)
    targets = {"torch": options.out / f"{name}.safetensors"}
    graphs = [*spec.graphs(), *(f"{tile}-int8" for tile in tiles(spec) if options.int8)]
    targets |= {f"onnx-{graph}": options.out / f"{name}-{graph}.onnx" for graph in graphs}
    refuse_standing(targets.values(), options)
    told = training(options.source, source) if options.source.is_dir() else {}
    dark = [] if options.int8 is None else calibration.samples(options.int8, spec.thumbnail, announce)
    with written_below(options.out) as temporary:
        made = {f"onnx-{graph}": path for graph, path in export_onnx(spec, source, Path(temporary), announce).items()}
        made["torch"] = Path(temporary) / "weights.safetensors"
        network = models.load(spec, source)
        geometry = models.module(spec.arch).geometry(**spec.params)
        save_weights(made["torch"], network, texts(Origin(spec.arch, spec.params, geometry)))
        announce("comparing both back ends")
        ready = as_written(spec, made)
        compare(ready)
        if options.int8 is not None:
            made |= in_bytes(ready, made, dark, announce)
            spec = dataclasses.replace(spec, precisions=(*spec.precisions, "int8"))
            ready = as_written(spec, made)
        check = selftest.check(ready)
        for role, path in made.items():
            path.replace(targets[role])
    files = [described(role, path) for role, path in targets.items()]
    parameters = sum(p.numel() for p in network.parameters())
    return {name: row(spec, files, parameters, told, check)}


def refuse_standing(targets: Iterable[Path], options: ExportOptions) -> None:
    """Refuse to write where something stands, a folder even with --overwrite."""
    if os.path.lexists(options.out) and not options.out.is_dir():
        raise OptionError(f"--out {options.out} is no folder.", "Name a folder.")
    if there := [path for path in targets if path.is_dir() or (os.path.lexists(path) and not options.overwrite)]:
        remedy = "Use another --name, or remove it." if there[0].is_dir() else "Use another --name, or --overwrite."
        verb = "exists" if len(there) == 1 else "exist"
        raise OutputExists(f"{', '.join(map(str, there))} {verb} already.", remedy)


@contextlib.contextmanager
def written_below(out: Path) -> Iterator[str]:
    """A temporary folder below `out`, which is made; errors of the system name `out`."""
    with atomic.named(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=atomic.PREFIX, dir=out) as temporary:
            yield temporary


def tiles(spec: ModelSpec) -> list[str]:
    """The graphs that take pixels."""
    return [graph for graph in spec.graphs() if graph != "context"]


def in_bytes(
    ready: ModelSpec, made: Mapping[str, Path], dark: Sequence[calibration.Sample], announce: Callable[[str], None]
) -> dict[str, Path]:
    """Int8 forms of the graphs that were written, beside them, by their roles; ranges are measured on pictures."""
    from lowlight_cli.runners.quantize import quantize

    samples, found = calibration.inputs(ready, dark), {}
    for graph in tiles(ready):
        path = made[f"onnx-{graph}"].with_name(f"{graph}-int8.onnx")
        near = quantize(made[f"onnx-{graph}"], path, samples)
        announce(f"int8 form of {graph}: {near:.1f} dB from float32 on the worst of {len(samples)} pictures")
        found[f"onnx-{graph}-int8"] = path
    return found


def training(run: Path, source: Path) -> dict[str, Any]:
    """What a run tells of the training of its weights."""
    from lowlight_cli.tasks import train_record  # imports what only a training needs, as below

    return train_record.training(run, source)


def located(options: ExportOptions, announce: Callable[[str], None]) -> tuple[Path, str]:
    """(file of weights, name of the model): a run knows its own, and so do files that a training has written."""
    if not options.source.exists():
        raise ModelUnavailable(f"There is no run and no file {options.source}.", "Name a run's --out.")
    if options.source.is_dir():
        return of_run(options)
    if options.last:
        raise OptionError(
            f"--last takes the folder of a run, and {options.source} is a file.", "Leave out one of both."
        )
    if options.model is not None:
        return options.source, options.model
    origin = weights_metadata.read(options.source)
    if origin is None:
        raise OptionError(f"{options.source} is a file of weights: whose?", "Name its network with --model.")
    names = [name for name, row in manifest.models().items() if row.arch == origin.arch]
    if not names:
        told = f"{options.source} was trained for {clipped(origin.arch)}, a network that is not known here."
        raise ModelUnavailable(told, "Update lowlight.")
    announce(f"{options.source.name} says that it is of {names[0]}")
    return options.source, names[0]


def of_run(options: ExportOptions) -> tuple[Path, str]:
    """As `located`, of the folder of a run."""
    from lowlight_cli.tasks import train_record
    from lowlight_cli.training.loop import BEST, DEPLOYED

    path, config = options.source / (DEPLOYED if options.last else BEST), options.source / train_record.CONFIG
    if not path.is_file() or not config.is_file():
        raise ModelUnavailable(f"{options.source} is no folder of a run with {path.name}.", "See `lowlight train`.")
    model = options.model or train_record.read_config(config)[0]
    if model is None:
        raise OptionError(f"{config} names no model.", "Name it with --model.")
    return path, model


def as_written(spec: ModelSpec, made: Mapping[str, Path]) -> ModelSpec:
    """The row with the files that were written, where they lie."""
    files = tuple(WeightFile(**described(role, path.resolve(), whole=True)) for role, path in made.items())
    return dataclasses.replace(spec, files=files)


def compare(ready: ModelSpec) -> None:
    """Both runners must give the same picture from what was written, tiles included."""
    y, x = np.mgrid[0:197, 0:261]
    waves = 20 + 15 * np.sin(x / 17)[..., None] * np.cos(y / 23)[..., None] * np.array([1.0, 0.8, 0.6])
    pixels = (waves + np.random.default_rng(0).normal(0, 3, (197, 261, 3))).clip(0, 255).astype(np.uint8)
    outputs = []
    for backend in ("torch", "onnx"):
        runner = open_runner(ready, RunnerOptions(backend=backend, device="cpu"))
        with Enhancer(runner, Settings(depth=16)) as enhancer:
            outputs.append(enhancer.enhance([from_array(pixels)])[0].pixels.astype(np.float64) / 65535)
    difference = float(np.abs(outputs[0] - outputs[1]).max())
    if not difference <= PICTURE_TOLERANCE:
        raise ModelUnavailable(f"ONNX Runtime and PyTorch differ by {difference:g} on the exported {ready.name}.", "")


def described(role: str, path: Path, *, whole: bool = False) -> dict[str, Any]:
    """A file's entry in the manifest; `whole` keeps its folder."""
    return {
        "role": role,
        "path": str(path) if whole else path.name,
        "bytes": path.stat().st_size,
        "sha256": weights.sha256_of(path),
        "bundled": True,
    }


def row(
    spec: ModelSpec,
    files: list[dict[str, Any]],
    parameters: int,
    told: Mapping[str, Any],
    check: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest's row: what was trained and written is new, what the network is stays."""
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec) if field.name != "name"}
    new = {"parameters": parameters, "files": files, "training": dict(told), "check": dict(check)}
    return values | new | {"figures": [], "limits": []}
