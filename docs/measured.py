"""What is known of the networks' figures: measured by `benchmarks/figures.py`, and stated by the papers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lowlight_cli import manifest
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.report import published_figures
from lowlight_cli.report.figures import as_stated, cells, columns

FIGURES = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "figures"
PAPER_SETS = ("LOL", "LOL-v2", "synth", "LOL-v2-real", "LSRW", "Brightening")
"""Where the papers state figures, the ones to compare with first."""

Document = Mapping[str, Any]


def networks() -> list[ModelSpec]:
    """The rows that are no classical methods."""
    return [spec for spec in manifest.models().values() if not spec.classical]


def measured(name: str) -> Document | None:
    """What `benchmarks/figures.py` has kept of a set, or None."""
    path = FIGURES / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def holds(document: Document, spec: ModelSpec) -> bool:
    """Whether a set was measured with the very files that the row names."""
    files = {file.role: file.sha256 for file in spec.files}
    return any(entry["model"] == spec.name and entry["files"] == files for entry in document["models"])


def figures(document: Document, model: str) -> dict[str, str]:
    """The cells of one model by metric, `mean ± standard deviation`; empty where it was not measured."""
    names = [entry["model"] for entry in document["models"]]
    if model not in names:
        return {}
    return {column.name: cells(document, column)[names.index(model)].text for column in columns(document)}


def first_row(spec: ModelSpec) -> str:
    """The first row with the same network: the paper's, and a heading in settings.md."""
    return next(other.name for other in networks() if other.arch == spec.arch)


def stated(spec: ModelSpec) -> list[dict[str, Any]]:
    """What the paper of a network states of it, the set to compare with first; without its ablation."""
    name = first_row(spec)
    found = [row for data in PAPER_SETS for row in published_figures(data) if row["dataset"] == data]
    return [row for row in found if row["ours"] and row["model"] == name and not row["variant"]]


def pair(row: Mapping[str, Any]) -> str:
    """PSNR / SSIM as a paper states them."""
    return " / ".join(as_stated(row[name]) for name in ("psnr", "ssim") if row.get(name) is not None)


def overlaps(document: Document, specs: Iterable[ModelSpec]) -> list[str]:
    """What a reader must know of models that were trained on pictures of the set, or of their scenes."""
    names = {spec.name for spec in specs if holds(document, spec)}
    found: dict[str, list[str]] = {}
    for entry in document["models"]:
        if entry["overlap"] and entry["model"] in names:
            found.setdefault(entry["overlap"], []).append(f"`{entry['model']}`")
    return [f"{text} ({', '.join(who)})" for text, who in found.items()]
