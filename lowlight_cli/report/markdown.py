"""The document as Markdown, for a README or a paper's notes: a table, and beside it what makes it a figure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowlight_cli import atomic
from lowlight_cli.errors import some
from lowlight_cli.printable import printable
from lowlight_cli.report.document import failures
from lowlight_cli.report.figures import Cell, cells, columns, speed


def markdown(document: Mapping[str, Any]) -> str:
    """Heading, command, the table of figures (mean ± standard deviation, the best in bold), speed, warnings."""
    models = document["models"]
    lines = [
        f"**{document['dataset']} {document['split']}**, n = {document['n']}, {document['date'][:10]}, "
        f"lowlight {document['versions'].get('lowlight', '')}. {document['protocol']}.",
        "",
        f"```sh\n{printable(document['command'])}\n```",
        "",
        *figures_table(document),
        *speed_table(models),
    ]
    warnings = dict.fromkeys(model["overlap"] for model in models if model["overlap"])
    notes = [*document["notices"], *(f"{text} ({trained_on(models, text)})" for text in warnings)]
    notes += [
        f"{model} failed on {len(pictures)} of {document['n']} pictures ({some(pictures)}): {error}"
        for model, error, pictures in failures(document)
    ]
    lines += ["", *(f"- {printable(note)}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def figures_table(document: Mapping[str, Any]) -> list[str]:
    """One line a model."""
    found = columns(document)
    heads = [
        "model",
        *(f"{column.title} {column.arrow}" + (f" ({column.unit})" * bool(column.unit)) for column in found),
    ]
    rows = zip(*(cells(document, column) for column in found), strict=True)
    return table(heads, [[code(m["model"]), *map(cell, row)] for m, row in zip(document["models"], rows, strict=True)])


def cell(figure: Cell) -> str:
    """Mean ± standard deviation; the best in bold, fewer pictures than the others with their number."""
    return f"**{figure.text}**" if figure.best else figure.text  # the best never lacks pictures


def code(name: str) -> str:
    """A name as code, on one line, behind more backticks than it has in a row."""
    text = printable(name)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


def speed_table(models: list[Mapping[str, Any]]) -> list[str]:
    """One line a model and back end, behind an empty one; nothing where no speed was measured."""
    if (told := speed(models)) is None:
        return []
    heads = [f"{heading} ({unit})" if unit else heading for heading, unit in told["heads"]]
    return ["", *table(["model", *heads], [[code(name), *texts] for name, texts in told["lines"]])]


def trained_on(models: list[Mapping[str, Any]], overlap: str) -> str:
    """The models that a warning is about."""
    return ", ".join(code(model["model"]) for model in models if model["overlap"] == overlap)


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table; bars in names are spelled out."""
    return [
        "| " + " | ".join(item.replace("|", "\\|") for item in row) + " |"
        for row in (heads, ["---"] * len(heads), *rows)
    ]


def write_markdown(document: Mapping[str, Any], path: Path) -> None:
    """Write summary.md, whole or not at all."""
    atomic.write(path, markdown(document).encode("utf-8", "backslashreplace"))
