"""Figures that the papers state. They are shown, never mixed with what was measured. Standard library only."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("published.json")


@functools.cache
def _read() -> Mapping[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def published_figures(dataset: str) -> list[dict[str, Any]]:
    """What the five papers state for a data set, in their order; empty where they state nothing.

    Each has `dataset` (as the paper calls it), `method`, `paper` (its citation), `table`, `note`, `ours` (whether that
    paper's own system, which lowlight implements), `variant` (one of its ablation; else None), `model` (the name that
    lowlight has for the method, or None), and those of `psnr`, `ssim`, `lpips`, `niqe`, `parameters` that are stated.
    """
    known = _read()
    name = dataset.casefold()
    sets = {key: told for key, told in known["sets"].items() if name in map(str.casefold, told["shown_with"])}
    found = [row for row in known["figures"] if row["dataset"] in sets]
    defaults = {"ours": False, "variant": None, "model": None}
    about = [{"paper": known["papers"][row["paper"]], "note": sets[row["dataset"]].get("note", "")} for row in found]
    return [{**defaults, **row, **told} for row, told in zip(found, about, strict=True)]
