"""The page of `accelerator.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tables import cell, machine_lines, table

COLUMNS = {
    "whole": ("model", "size", "precision", "way", "tiles", "mean_levels", "largest_levels"),
    "batches": ("model", "size", "pictures"),
    "network": ("model", "size", "precision", "way", "first_ms", "mean_levels", "largest_levels"),
    "moves": ("model", "size", "move"),
}
"""What stands beside the milliseconds in each table."""


def page(document: Mapping[str, Any], told_before: str) -> str:
    """The figures as tables, under what the script's docstring says of them."""
    about = document["about"]
    parts = ["# Accelerator", "* " + told_before.partition("\n\n* ")[2].strip()]
    parts.append(f"{machine_lines(about)}\n- Device: {about['device']}")
    for kind, names in COLUMNS.items():
        lines = ((shown(row), *(told(row.get(name)) for name in names)) for row in document[kind])
        parts.append(f"## {kind}\n\n{table(('ms', *names), lines)}".rstrip())
    return "\n\n".join(parts) + "\n"


def shown(row: Mapping[str, Any]) -> str:
    """Median and range, or why there is none."""
    return row["failed"] if "failed" in row else cell(row["ms"])


def told(value: Any) -> str:
    """A cell."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else f"`{value}`" if isinstance(value, str) else str(value)
