"""From trained weights to what ships: safetensors, ONNX graphs, and the manifest row's facts about the files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lowlight_cli import weights
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners.export import export_onnx


def run(spec: ModelSpec, source: Path, folder: Path) -> list[dict[str, Any]]:
    """Write `<name>.safetensors` and `<name>-<graph>.onnx` into `folder`; gives the row's `files`."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{spec.name}.safetensors"
    if source.resolve() != kept.resolve():
        shutil.copyfile(source, kept)
    written = {"torch": kept}
    for graph, path in export_onnx(spec, kept, folder).items():
        target = folder / f"{spec.name}-{graph}.onnx"
        path.replace(target)
        written[f"onnx-{graph}"] = target
    return [
        {
            "role": role,
            "path": path.name,
            "bytes": path.stat().st_size,
            "sha256": weights.sha256_of(path),
            "bundled": True,
        }
        for role, path in written.items()
    ]
