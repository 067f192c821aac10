"""What a record of the evidence log says of a file, its pixels, the method and the tiles: plain JSON values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import evidence, machine, manifest, weights
from lowlight_cli.picture import Picture
from lowlight_cli.report.evidence_log import items

if TYPE_CHECKING:
    from lowlight_cli.enhancer import Enhancer
    from lowlight_cli.manifest import WeightFile
    from lowlight_cli.tasks.enhance import EnhanceOptions

PICTURE = ("pixels_sha256", "width", "height", "bits", "format")
TEXT, TABLE = (str, NoneType), (dict, NoneType)
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "start": {"argv": list, "method": dict, "system": dict},
    "picture": {"status": str, "output": TABLE, "baseline": TABLE, "maps": list, "method": dict, "system": dict},
    "end": {"status": str, "counts": dict},
}
"""What records hold that is read again, by kind."""
METHOD = {"model": str, "backend": str, "settings": dict, "weights": list}
FILE = {"path": str, "bytes": int, "sha256": str}
WEIGHTS = {"role": str, **FILE}
SETTINGS = ("strength", "exposure", "shadows", "depth", "tile")
"""Of `settings.Settings`, those that a user chose."""
INPUT = ("path", "relative", "bytes", "modified", "sha256", "sha256_after", *PICTURE)


def input_facts(path: Path, relative: Path, data: bytes) -> dict[str, Any]:
    """Of a file whose content was just read; what is not known yet is None."""
    try:
        modified = evidence.written_time(datetime.fromtimestamp(path.stat().st_mtime, UTC))
    except (ValueError, OverflowError):  # beyond the year 9999
        modified = None
    return dict.fromkeys(INPUT) | file_facts(path, data) | {"relative": relative.as_posix(), "modified": modified}


def file_facts(path: Path, data: bytes) -> dict[str, Any]:
    """Absolute path (links as they are), size and digest."""
    return {"path": absolute(path), "bytes": len(data), "sha256": evidence.sha256(data)}


def absolute(path: Path) -> str:
    """As it was given, from the root, links unresolved; but `..` behind a link leads elsewhere than it looks."""
    return str(path.parent.resolve() / path.name if ".." in path.parts else path.absolute())


def picture_facts(source: Picture) -> dict[str, Any]:
    """Digest of the pixels, size, depth and format of a picture as it was read from its file."""
    facts = {"width": source.width, "height": source.height, "bits": source.bits, "format": source.format}
    return {"pixels_sha256": pixels_sha256(source), **facts}


def pixels_sha256(source: Picture) -> str:
    """Of the upright pixels (H, W, 3), R, G, B, 8 bits or 16 bits little-endian, row by row; then those of alpha."""
    digest = hashlib.sha256()
    for part in (source.pixels, source.alpha):
        if part is not None:
            digest.update(memoryview(little_endian(part)).cast("B"))
    return digest.hexdigest()


def little_endian(values: NDArray) -> NDArray:
    """The values in one piece, low byte first; a copy only where they are not."""
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))


def method(enhancer: Enhancer, options: EnhanceOptions, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what comes out, but for the picture: model, weights, `settings`, and what really computes."""
    spec, runner = enhancer.runner.spec, enhancer.runner
    row = {name: getattr(spec, name) for name in ("arch", "summary", "licence", "generative", "parameters")}
    row |= {"paper": dict(spec.paper), "params": dict(spec.params), "limits": list(spec.limits)}
    allowed = options.evidence is not None and options.evidence.allow_generative
    ran = {name: getattr(runner, name) for name in ("backend", "provider", "device", "precision", "threads")}
    return {
        "model": spec.name,
        **row,
        "allow_generative": allowed,
        "manifest_sha256": weights.sha256_of(manifest.manifest_path()),
        "weights": [weight_facts(file) for file in runner.weights],
        "settings": chosen,
        **ran,
        "device_name": machine.processor() if runner.device == "cpu" else runner.provider,
        "deterministic": runner.deterministic,
    }


def weight_facts(file: WeightFile) -> dict[str, Any]:
    """Of a file of weights."""
    return {name: getattr(file, name) for name in ("role", "path", "bytes", "sha256")}


def settings(options: EnhanceOptions) -> dict[str, Any]:
    """What a user can set of the output, their own weights and the baseline among it."""
    chosen = explicit(options.model, {name: getattr(options.settings, name) for name in SETTINGS})
    own = options.runner.weights
    chosen |= {"own_weights_sha256": weights.sha256_of(own) if own is not None and own.is_file() else None}
    baseline = options.evidence.baseline if options.evidence is not None else None
    return chosen | {"scale": options.runner.scale, "max_pixels": options.max_pixels, "baseline": baseline}


def explicit(model: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come to work: logs of before know no shadows, and they are `auto` (None) only where the model's
    row lifts any."""
    found = {"shadows": 0.0, **chosen}
    if found["shadows"] is None and not manifest.find(model).shadows:
        found["shadows"] = 0.0
    return found


def tiles(enhancer: Enhancer) -> dict[str, int]:
    """How the last picture was cut up."""
    spec, choice = enhancer.runner.spec, enhancer.tile_choice
    rows, columns = (len(choice.plan.rows), len(choice.plan.columns)) if choice.plan else (1, 1)
    return {"side": choice.used, "rows": rows, "columns": columns, "halo": spec.halo, "multiple": spec.multiple}


def flaw(record: Mapping[str, Any]) -> str:
    """What a record lacks to be one of lowlight's; empty: nothing. Whoever reads a log may meet any JSON in it."""
    shapes = {"": (record, SHAPES.get(record["kind"]))}
    if record["kind"] == "picture":
        shapes["input."] = (record.get("input"), {"path": str, "sha256": TEXT, "sha256_after": TEXT})
        files = [record.get("output"), record.get("baseline")]
        files += items(record, "maps")
        shapes |= {f"file {i}.": (file, FILE) for i, file in enumerate(files) if file is not None}
        shapes["method."] = (record.get("method"), METHOD)
        shapes |= {f"weights {i}.": (file, WEIGHTS) for i, file in enumerate(items(record, "method", "weights"))}
    for prefix, (values, shape) in shapes.items():
        if shape is None:
            return f"this version of lowlight writes no {record['kind']} records."
        if not isinstance(values, Mapping):
            return f"its {prefix.rstrip('.')} is not what lowlight writes."
        for name, kind in shape.items():
            if not isinstance(values.get(name), kind):
                return f"its {prefix}{name} is not what lowlight writes."
    return ""


def outputs(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of every file that a record says was written: path, size and digest."""
    single = [record[name] for name in ("output", "baseline") if record.get(name)]
    return [*single, *(record.get("maps") or ())]
