"""What a benchmark keeps in its folder of results: a row for each picture as it comes, and the picture itself.

`--resume` believes a kept row only where it is of the contestant and the picture asked for, its numbers are numbers,
its metrics are defined as they are now, and the stored picture is the very one that it was measured on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import jsonl, picture, weights
from lowlight_cli.errors import OptionError, OutputExists, reason_of
from lowlight_cli.report import Row
from lowlight_cli.report.document import plain

ROWS = "rows.jsonl"
NOT_KEPT = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What entries raise that somebody has edited."""


class KeptRows:
    """The rows and pictures of one folder; threads may write to it."""

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self.folder, self.lock = folder, threading.Lock()
        try:
            claim(folder, resume=resume)
            kept = jsonl.read((folder / ROWS).read_bytes())
        except OSError as error:
            raise OptionError(f"{folder} cannot be used: {reason_of(error)}.", "Choose another --results.") from error
        self.entries = {entry["key"]: entry for entry in kept if isinstance(entry.get("key"), str)}
        """By what they depend on; of two with one key the later."""

    def picture(self, model: str, name: str) -> Path:
        """Where an output lies."""
        return self.folder / "pictures" / model / f"{name.replace('/', '_')}.png"

    def find(self, key: str, model: str, name: str, measured: Mapping[str, str]) -> Row | None:
        """The row of an earlier run, with the metrics of `benchmark_metrics.digests` and no others, or None."""
        try:
            entry = self.entries[key]
            row, output = row_of(entry, measured), entry["output"]
        except NOT_KEPT:
            return None
        path = self.picture(model, name)
        same = (row.model, row.picture) == (model, name) and path.is_file() and weights.sha256_of(path) == output
        return row if same else None

    def write(self, key: str, row: Row, measured: Mapping[str, str], output: NDArray[np.uint8]) -> None:
        """Store the picture, then the row with the picture's sha256; an OSError or a PictureError if it cannot be."""
        path = self.picture(row.model, row.picture)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = picture.encode(picture.from_array(output), "png")
        picture.write(data, path)
        entry = {"key": key, "output": hashlib.sha256(data).hexdigest(), "measured": measured}
        self.append(json.dumps(plain({**entry, "row": dataclasses.asdict(row)}), allow_nan=False))

    def append(self, line: str) -> None:
        """A line more."""
        with self.lock, (self.folder / ROWS).open("a+b", buffering=0) as file:
            jsonl.append(file.fileno(), line)


def claim(folder: Path, *, resume: bool) -> None:
    """Make the folder and try to write there, before any work; what no benchmark has left is not touched."""
    if folder.is_dir() and any(folder.iterdir()):
        if not resume:
            raise OutputExists(f"{folder} is not empty.", "Use --resume to go on there, or another --results.")
        if not (folder / ROWS).is_file():
            raise OutputExists(f"{folder} is not empty, and holds no {ROWS} to go on from.", "Use another --results.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder), (folder / ROWS).open("ab"):
        pass


def row_of(entry: Mapping[str, Any], measured: Mapping[str, str]) -> Row:
    """The row of an entry; one of `NOT_KEPT` where it is not what `KeptRows.write` wrote of a row without an error."""
    told, was = entry["row"], entry["measured"]
    if told["error"] is not None or any(was.get(name) != digest for name, digest in measured.items()):
        raise ValueError
    width, height = told["width"], told["height"]
    if not all(type(side) is int and side > 0 for side in (width, height)):
        raise ValueError
    seconds = None if told["seconds"] is None else finite(told["seconds"])
    metrics = {name: score(told["metrics"][name]) for name in measured}
    return Row(told["model"], told["picture"], width, height, seconds, metrics)


def score(value: Any) -> float | None:
    """A metric's value as `plain` wrote it."""
    return value if value is None else float(value) if value in ("inf", "-inf") else finite(value)


def finite(value: Any) -> float:
    """A finite number as a float, anything else as a ValueError."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError
    return float(value)
