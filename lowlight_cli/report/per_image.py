"""per_image.csv: one line per model and picture (RFC 4180, UTF-8). Standard library only."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowlight_cli import atomic
from lowlight_cli.report.document import Row

BEFORE, AFTER = ("model", "picture", "width", "height", "seconds"), ("error",)
ABOUT = ("dataset", "split", "protocol", "date", "command")
"""What every line repeats of the document, so that the lines of several runs can stand in one file."""

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")
"""A spreadsheet may run a cell that begins with one of these (the apostrophe: so that there is one way back)."""


def write_csv(
    rows: Iterable[Row], metrics: Iterable[str], path: Path, document: Mapping[str, Any] | None = None
) -> None:
    """Write per_image.csv, whole or not at all: model, picture, width, height, seconds, `metrics`, error.

    With the `document`, also what tells the run: `ABOUT`, weights_sha256 and versions. Numbers have all their digits;
    `inf` is infinite, an empty cell is no value. Text that a spreadsheet might run has an apostrophe in front.
    """
    names = list(metrics)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*BEFORE, *names, *AFTER, *((*ABOUT, "weights_sha256", "versions") if document else ())])
    for row in rows:
        line = [row.model, row.picture, row.width, row.height, row.seconds]
        line += [*(row.metrics.get(name) for name in names), row.error]
        writer.writerow([cell(value) for value in (*line, *(about(document, row.model) if document else ()))])
    atomic.write(path, text.getvalue().encode("utf-8", "backslashreplace"))


def about(document: Mapping[str, Any], model: str) -> Sequence[Any]:
    """What the document says of the run and of one model's weights."""
    weights = next((row.get("weights_sha256") for row in document["models"] if row["model"] == model), None)
    versions = ", ".join(f"{name} {version}" for name, version in document.get("versions", {}).items())
    return [*(document.get(name) for name in ABOUT), weights, versions]


def cell(value: object) -> str:
    """A value as it stands in the file, before quoting."""
    value = value.item() if hasattr(value, "item") else value  # NumPy's numbers
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        return str(value)
    return f"'{value}" if value.startswith(STARTS) else value
