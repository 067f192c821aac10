"""The table of models: one row of `weights_manifest.json` is one `ModelSpec`. Standard library only.

Rows hold facts that both back ends need; networks hold mathematics. A second set of weights for a known
network is one more row; `docs/add-a-model.md` tells the rest. Classical methods are rows without files.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.manifest_checks import check_file, check_row
from lowlight_cli.plausible import clipped

SCHEMA_VERSION = 1
FILE = "weights_manifest.json"
PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file of weights; `role` is `torch`, or `onnx-<graph>` for one of the graphs of the ONNX form, and
    `onnx-<graph>-int8` for its int8 form.

    `bundled` files lie in `lowlight_cli/bundled/`. Others come from the Hub: `repo` (None: the project's own),
    a 40-hex `revision`, and `path` in that repository.

    An asset that only others have held in hand has no `bytes`, and of its sha256 the first digits, 16 at least.
    """

    role: str
    path: str
    bytes: int | None
    sha256: str
    bundled: bool = False
    repo: str | None = None
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One row: what a model is, what a runner must know, where its weights are, what they measure."""

    name: str
    arch: str
    """A file of `lowlight_cli.models`, or `classical.<file>`: one of `lowlight_cli.classical`."""
    summary: str
    paper: Mapping[str, str]
    licence: str
    params: Mapping[str, Any]
    parameters: int
    multiple: int
    """H and W of the network's input must be multiples of this; runners pad and crop."""
    halo: int
    """Pixels (of the picture) around a tile that can influence it; tiles begin at multiples of `multiple`."""
    tiling: Literal["exact", "guided", "whole"]
    """`exact`: only the halo matters. `guided`: vectors computed once from a thumbnail steer every tile. `whole`: every
    pixel may depend on every other, and nothing is ever tiled."""
    thumbnail: int
    """Longest side of the thumbnail a `guided` network looks at, in pixels; 0 for others."""
    scales: tuple[int, ...]
    exposure: bool
    """True where the network takes a target brightness."""
    precisions: tuple[str, ...]
    bytes_per_pixel: int
    """Working memory of a float32 run per pixel of the picture, for the choice of tiles."""
    generative: bool
    files: tuple[WeightFile, ...]
    training: Mapping[str, Any]
    figures: tuple[Mapping[str, Any], ...]
    limits: tuple[str, ...] = ()
    """What it does badly, in sentences."""
    check: Mapping[str, Any] = field(default_factory=dict)
    """Output of a tiny run by its name, for `lowlight models verify --run`."""
    shadows: float = 0.0
    """Most that `enhance --shadows auto` gives to this model's pictures; 0: it leaves them alone."""
    smallest: int = 1
    """Pixels that a side of the network's input has at least; runners fill smaller pictures up, and crop."""
    channel_blocks: bool = True
    """False where ONNX Runtime must not lay channels out in blocks of 16: thin layers would be mostly padding."""

    @property
    def classical(self) -> bool:
        """Whether this is a classical method and not a network: no weights, no choice of back end, on the CPU."""
        return self.arch.startswith("classical.")

    @property
    def untrained(self) -> bool:
        """Whether this is a network without weights of ours yet: it can be trained, and run with a user's own."""
        return not self.classical and not self.files

    def padded(self, length: int) -> int:
        """The side of the network's input for `length` pixels of a picture or a tile."""
        return max(self.smallest, -(-length // self.multiple) * self.multiple)

    def file(self, role: str) -> WeightFile | None:
        """The file of that role, or None."""
        return next((file for file in self.files if file.role == role), None)

    def graphs(self) -> tuple[str, ...]:
        """Names of the graphs of the ONNX form: `context` for guided networks, `x1` / `x2` per scale."""
        if self.classical:
            return ()
        return (*(("context",) if self.tiling == "guided" else ()), *(f"x{scale}" for scale in self.scales))


def manifest_path() -> Path:
    """Inside the package (an installed wheel), else beside it (a checkout)."""
    inside = PACKAGE / FILE
    return inside if inside.exists() else PACKAGE.parent / FILE


@functools.cache
def read() -> Mapping[str, Any]:
    """The whole manifest as parsed JSON."""
    path = manifest_path()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document["schema_version"]
        if not isinstance(document["models"], dict):
            raise TypeError("its models are not a table")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}.", "Reinstall lowlight.") from error
    if version != SCHEMA_VERSION:
        raise ModelUnavailable(
            f"{path} has schema version {clipped(version)}, this is version {SCHEMA_VERSION}.",
            "Install the lowlight version that the file was written for.",
        )
    return document


def hub_repo() -> str:
    """The project's own Hub repository: `LOWLIGHT_HUB_REPO`, else the one place that names it."""
    return os.environ.get("LOWLIGHT_HUB_REPO") or read()["hub_repo"]


@functools.cache
def models() -> Mapping[str, ModelSpec]:
    """All rows by name, in the order of the file."""
    return MappingProxyType({name: spec_from_row(name, row) for name, row in read()["models"].items()})


def spec_from_row(name: str, row: Mapping[str, Any]) -> ModelSpec:
    """One parsed row as a `ModelSpec`; a row that is not valid is a ModelUnavailable."""
    check_row(name, row, ModelSpec)
    values = dict(row)
    values["scales"] = tuple(row["scales"])
    values["precisions"] = tuple(row["precisions"])
    values["figures"] = tuple(row["figures"])
    values["limits"] = tuple(row.get("limits") or ())
    values["files"] = tuple(weight_file(name, file) for file in row["files"])
    return ModelSpec(name=name, **values)


def weight_file(name: str, fields: Mapping[str, Any]) -> WeightFile:
    """One file of the row `name`; one that is not valid is a ModelUnavailable."""
    check_file(name, fields, WeightFile)
    return WeightFile(**fields)


def find(name: str) -> ModelSpec:
    """The row of that name; an unknown name is an error that names the nearest one."""
    table = models()
    if name in table:
        return table[name]
    import difflib

    near = difflib.get_close_matches(name.casefold(), table, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known models: {', '.join(table)}."
    raise ModelUnavailable(f"No model is called {name!r}.", hint)
