"""From trained weights to what ships: safetensors, ONNX graphs, and the manifest row's facts about the files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from lowlight_cli import atomic, weights
from lowlight_cli.errors import OptionError, OutputExists
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.models import load
from lowlight_cli.nn.state import save_weights
from lowlight_cli.runners.export import export_onnx


def run(spec: ModelSpec, source: Path, folder: Path, name: str, *, overwrite: bool = False) -> list[dict[str, Any]]:
    """Write `<name>.safetensors` and `<name>-<graph>.onnx` into `folder`, all or none; gives the row's `files`."""
    if spec.classical:
        raise OptionError(f"{spec.name} is a classical method: there is nothing to export.", "Name a network.")
    targets = {"torch": folder / f"{name}.safetensors"}
    targets |= {f"onnx-{graph}": folder / f"{name}-{graph}.onnx" for graph in spec.graphs()}
    if there := [path for path in targets.values() if path.exists() and not overwrite]:
        raise OutputExists(f"{', '.join(map(str, there))} exist already.", "Use another --name, or --overwrite.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=atomic.PREFIX, dir=folder) as temporary:
        made = {f"onnx-{graph}": path for graph, path in export_onnx(spec, source, Path(temporary)).items()}
        made["torch"] = Path(temporary) / "weights.safetensors"
        save_weights(made["torch"], load(spec, source))
        for role, path in made.items():
            path.replace(targets[role])
    return [
        {
            "role": role,
            "path": path.name,
            "bytes": path.stat().st_size,
            "sha256": weights.sha256_of(path),
            "bundled": True,
        }
        for role, path in targets.items()
    ]
