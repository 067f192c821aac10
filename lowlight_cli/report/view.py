"""What the templates show, made from the document and its rows; they only lay it out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowlight_cli.printable import printable
from lowlight_cli.report import figures, plots
from lowlight_cli.report.document import INPUT, TRUTH, Row, failures, names, number
from lowlight_cli.report.embed import Embedded, Image
from lowlight_cli.report.figures import Cell, Column

STATED = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS", "niqe": "NIQE"}
"""What papers state, by the names of metrics."""


@dataclass(frozen=True)
class Shot:
    """One embedded picture; `of` are the sources that it stands for: `input`, `truth`, indices of models."""

    of: tuple[str, ...]
    label: str
    image: Image
    place: str
    """`left` or `right` of the slider at first, or empty."""


@dataclass(frozen=True)
class Card:
    """One picture of the set."""

    index: int
    name: str
    size: str
    shots: tuple[Shot, ...]
    values: tuple[str, ...]
    """Of the model that is shown first, by column."""
    error: str


def context(
    document: Mapping[str, Any], rows: Sequence[Row], embedded: Embedded, published: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All names that the templates use."""
    columns, pictures = figures.columns(document), names(rows)
    models = [model["model"] for model in document["models"]]
    first = first_model(document)
    drawn = [plots.plot(column, models, pictures, rows) for column in columns]
    cells = {column.name: figures.cells(document, column) for column in columns}
    return {
        "document": document,
        "models": document["models"],
        "columns": columns,
        "groups": groups(columns),
        "edges": {part[0].name for _, part in groups(columns)},
        "cells": cells,
        "plots": [plot for plot in drawn if plot],
        "plot_width": plots.WIDTH,
        "first": first,
        "cards": cards(document, columns, rows, embedded, first),
        "embedded": embedded,
        "truth": any(TRUTH in own for own in embedded.images.values()),
        "data": data(models, columns, pictures, rows),
        "failures": lost(document),
        "speed": figures.speed(document["models"]),
        "published": stated(published, document["models"], cells, columns),
        "count": figures.count,
        "date": str(document["date"]).replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC"),
    }


def first_model(document: Mapping[str, Any]) -> int:
    """Index of the model that is shown at first: the first that is not the input and that gave something."""
    order = [model["kind"] == "input" or not model["n"] for model in document["models"]]
    return order.index(False) if False in order else 0


def groups(columns: Sequence[Column]) -> list[tuple[str, list[Column]]]:
    """The columns under their headings: as they are, and at the truth's mean. A group without columns is left out."""
    parts = {
        "As the outputs are": [column for column in columns if not column.at_mean],
        "At the truth’s mean brightness": [column for column in columns if column.at_mean],
    }
    return [(title, part) for title, part in parts.items() if part]


def cards(
    document: Mapping[str, Any], columns: Sequence[Column], rows: Sequence[Row], embedded: Embedded, first: int
) -> list[Card]:
    """One for every picture, embedded or not."""
    models = [model["model"] for model in document["models"]]
    of_first = {row.picture: row for row in rows if models and row.model == models[first]}
    sizes = {row.picture: f"{row.width} × {row.height}" for row in rows if row.width and row.height}
    return [
        Card(
            index=index,
            name=name,
            size=sizes.get(name, ""),
            shots=shots(embedded.images.get(name, {}), models, first),
            values=tuple(column.text(number(value(of_first.get(name), column))) for column in columns),
            error=(of_first[name].error or "") if name in of_first else "",
        )
        for index, name in enumerate(names(rows))
    ]


def value(row: Row | None, column: Column) -> float | None:
    """A row's figure, None where there is no row."""
    return row.metrics.get(column.name) if row else None


def shots(images: Mapping[str, Image], models: Sequence[str], first: int) -> tuple[Shot, ...]:
    """The pictures of one card, each once, and which of them stand beside the slider at first."""
    keys: dict[str, list[str]] = {INPUT: [INPUT], TRUTH: [TRUTH]}
    for index, name in enumerate(models):
        keys.setdefault(name, []).append(str(index))  # a model may be called input
    by_image: dict[int, list[str]] = {}
    for source, image in images.items():
        by_image.setdefault(id(image), []).append(source)
    found = []
    for sources in by_image.values():
        of = [key for source in sources for key in keys[source]]
        place = "right" if str(first) in of else "left" if INPUT in of else ""
        found.append(Shot(tuple(of), " and ".join(sources), images[sources[0]], place))
    if not any(shot.place == "right" for shot in found):
        found = [Shot(shot.of, shot.label, shot.image, "right" if INPUT in shot.of else "") for shot in found]
    return tuple(found)


def data(
    models: Sequence[str], columns: Sequence[Column], pictures: Sequence[str], rows: Sequence[Row]
) -> dict[str, Any]:
    """What the script sorts and shows: figures by model, picture and column; "inf" is infinite."""
    by_key = {(row.model, row.picture): row for row in rows}
    return {
        "models": [printable(name) for name in models],
        "columns": [{"title": c.title, "decimals": c.decimals, "better": c.better} for c in columns],
        "values": [
            [[sortable(value(by_key.get((model, name)), c)) for c in columns] for name in pictures] for model in models
        ],
        "errors": {
            f"{models.index(row.model)} {pictures.index(row.picture)}": printable(row.error)
            for row in rows
            if row.error and row.model in models
        },
    }


def sortable(value: float | None) -> float | str | None:
    """A figure for the script, in seven digits."""
    value = number(value)
    return value if value is None else str(value) if math.isinf(value) else float(f"{value:.7g}")


def lost(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(model, error, its pictures) of the table of failures."""
    n = document["n"]
    return [
        (model, error, f"all {n}" if len(pictures) == n > 1 else ", ".join(pictures))
        for model, error, pictures in failures(document)
    ]


def stated(
    published: Sequence[Mapping[str, Any]],
    models: Sequence[Mapping[str, Any]],
    cells: Mapping[str, Sequence[Cell]],
    columns: Sequence[Column],
) -> dict[str, Any] | None:
    """The papers' figures as they print them, and beside them what was measured here of the same method."""
    if not published:
        return None
    shown = [key for key in (*STATED, "parameters") if any(row.get(key) is not None for row in published)]
    place = {model["model"]: index for index, model in enumerate(models)}
    beside = [column for column in columns if column.name in STATED and column.name in shown]
    lines = []
    for row in published:
        at = place.get(row.get("model") or "") if not row.get("variant") else None
        here = [cells[column.name][at].mean if at is not None else "" for column in beside]
        lines.append({**row, "printed": [figures.as_stated(row.get(key)) for key in shown], "here": here})
    heads = [STATED.get(key, "Parameters") for key in shown]
    papers = dict.fromkeys(row["paper"] for row in published)
    marks = {paper: chr(ord("A") + index) for index, paper in enumerate(papers)}
    notes = dict.fromkeys(row["note"] for row in published if row.get("note"))
    return {"heads": heads, "beside": beside, "lines": lines, "papers": marks, "notes": list(notes)}
