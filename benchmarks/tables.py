"""Parts that the pages of measurements share: what machine it was, tables, cells. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def machine_lines(about: Mapping[str, Any]) -> str:
    """Processor, versions and commit as items of a list."""
    cores, versions = about["cores"], ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"- Machine: {about['cpu']}, {cores['used']} of {cores['of']} cores, {about['system']}\n"
        f"- Versions: {versions}\n"
        f"- {commit(about)}"
    )


def commit(about: Mapping[str, Any]) -> str:
    """Which state of the code was measured when."""
    changed = f" with {about['changed_files']} changed files" if about["changed_files"] else ""
    return f"Commit {about['commit'][:12] or 'unknown'}{changed}, {about['date']}"


def cell(summary: Mapping[str, Any], unit: float = 1.0, digits: int = 2) -> str:
    """Median (smallest to largest)."""
    median, low, high = (f"{summary[name] / unit:.{digits}f}" for name in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def section(title: str, text: str, headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A heading, a paragraph and a table."""
    return f"## {title}\n\n{text}\n\n{table(headings, rows)}"


def table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table alone."""
    lines = [" | ".join(row) for row in (headings, ("---",) * len(headings), *rows)]
    return "".join(f"| {line} |\n" for line in lines)
