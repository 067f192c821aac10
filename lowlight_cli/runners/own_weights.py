"""A user's own weights in the place of a row's. Imports no torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lowlight_cli import manifest, weights, weights_metadata
from lowlight_cli.errors import ModelUnavailable, OptionError
from lowlight_cli.manifest import ModelSpec, WeightFile


def with_weights(spec: ModelSpec, path: Path) -> ModelSpec:
    """The row with a user's own file in place of its weights; what the file says of its network goes before the row.

    A file of another network, or one that says what cannot be, is a ModelUnavailable.
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
    digest = weights.sha256_of(path)
    # An absolute path stays one when it is joined to the folder of bundled files.
    file = WeightFile(role="torch", path=str(path.resolve()), bytes=path.stat().st_size, sha256=digest, bundled=True)
    return dataclasses.replace(spec, files=(file,), figures=(), **facts)


def foreign(spec: ModelSpec, path: Path, arch: str) -> ModelUnavailable:
    """The error for weights that say they are of another network."""
    names = [name for name, row in manifest.models().items() if row.arch == arch]
    hint = f"Use model {' or '.join(names)}." if names else "This version does not know that network."
    return ModelUnavailable(f"{path.name} was trained for {arch}, and {spec.name} is {spec.arch}.", hint)
