"""Numbers as a page prints them: columns of metrics, cells of mean and deviation, and which are best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lowlight_cli.report.document import number

AT_MEAN = "_gtmean"
"""Names of metrics that end so are of outputs brought to the truth's mean; they never stand among the others."""
NONE = "–"
FIGURE_SPACE, THIN_SPACE = "\u2007", "\u2009"
UNITS = {"ms": "ms", "s": "s", "mb": "MB", "mib": "MiB", "gb": "GB", "gib": "GiB", "mp/s": "MP/s"}


@dataclass(frozen=True)
class Column:
    """One metric; `decimals` are the same down the column."""

    name: str
    title: str
    unit: str
    better: bool | None
    """Whether higher is; None: zero is best, as of a change, which nobody wins by changing nothing."""
    definition: str
    decimals: int

    @property
    def at_mean(self) -> bool:
        return self.name.endswith(AT_MEAN)

    @property
    def arrow(self) -> str:
        return {True: "↑", False: "↓", None: ""}[self.better]

    @property
    def best(self) -> str:
        return {True: "higher is better", False: "lower is better", None: "signed, zero is no change"}[self.better]

    def text(self, value: float | None) -> str:
        """A value with the column's decimals."""
        return printed(value, self.decimals)

    def rank(self, value: float) -> float:
        """The lower the better."""
        return -value if self.better else abs(value) if self.better is None else value


@dataclass(frozen=True)
class Cell:
    """A model's figure in one column."""

    value: float | None
    mean: str
    std: str
    n: int
    partial: bool
    """Over fewer pictures than another model's: such a mean is not ranked."""
    fewer: bool
    """Over fewer pictures than there are."""
    best: bool = False

    @property
    def text(self) -> str:
        """Mean ± standard deviation, and the number of pictures where it is not that of all."""
        text = f"{self.mean} ± {self.std.strip()}" if self.std else self.mean
        return f"{text} (n = {self.n})" if self.fewer and self.n else text


def columns(document: Mapping[str, Any]) -> list[Column]:
    """All metrics of a document, those at the truth's mean last."""
    found = []
    for name, told in document["metrics"].items():
        means = (number((model["metrics"].get(name) or {}).get("mean")) for model in document["models"])
        found.append(
            Column(
                name=name,
                title=told.get("title") or name,
                unit=told.get("unit") or "",
                better=told.get("higher_is_better"),
                definition=told.get("definition") or "",
                decimals=decimals(means),
            )
        )
    return sorted(found, key=lambda column: column.at_mean)


def decimals(values: Iterable[float | None]) -> int:
    """Digits after the point with which the largest of `values` has about four in all; 2 where none is finite."""
    finite = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest = max(finite, default=10)
    return next((digits for least, digits in ((1000, 0), (100, 1), (9.995, 2), (0.1, 3)) if largest >= least), 4)


def printed(value: float | None, digits: int) -> str:
    """A number as text; a dash for none."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def cells(document: Mapping[str, Any], column: Column) -> list[Cell]:
    """The column from top to bottom. All that print like the best are marked; the input never is."""
    models = document["models"]
    told = [model["metrics"].get(column.name) or {} for model in models]
    most = max((figure.get("n") or 0 for figure in told), default=0)
    means = [number(figure.get("mean")) for figure in told]
    deviations = [deviation(figure, column) for figure in told]
    width = max(map(len, deviations), default=0)
    found = []
    for figure, mean, std in zip(told, means, deviations, strict=True):
        n = figure.get("n") or 0
        found.append(
            Cell(mean, column.text(mean), std and std.rjust(width, FIGURE_SPACE), n, n < most, n < document["n"])
        )
    return _marked(found, [model["kind"] != "input" for model in models], column)


def deviation(figure: Mapping[str, Any], column: Column) -> str:
    """The standard deviation, empty where there is none or where the mean is infinite."""
    mean, std = number(figure.get("mean")), number(figure.get("std"))
    return "" if std is None or mean is None or math.isinf(mean) else column.text(std)


def _marked(found: Sequence[Cell], ranked: Sequence[bool], column: Column) -> list[Cell]:
    """The cells with the best of those that are ranked; none where fewer than two are."""
    able = [yes and cell.value is not None and not cell.partial for cell, yes in zip(found, ranked, strict=True)]
    ranks = [column.rank(cell.value) if yes else math.inf for cell, yes in zip(found, able, strict=True)]
    if sum(able) < 2 or column.better is None:
        return list(found)
    best = column.text(min(ranks))
    return [
        replace(cell, best=yes and column.text(rank) == best)
        for cell, yes, rank in zip(found, able, ranks, strict=True)
    ]


def quantity(key: str, value: Any) -> tuple[str, str, str]:
    """Heading, unit and text of a figure of speed: `latency_p95_ms` is "latency p95" in ms."""
    stem, _, unit = key.replace(" ", "_").rpartition("_")
    known = UNITS.get(unit.lower()) if stem else None
    heading = (stem if known else key).replace("_", " ").replace("gflop", "GFLOP")
    if isinstance(value, bool | str) or value is None:
        return heading, known or "", NONE if value is None else str(value)
    if isinstance(value, int):
        return heading, known or "", count(value)
    return heading, known or "", printed(number(value), decimals([number(value)]))


def speed(models: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]] | None:
    """The table of speed: `heads` with their units, and `lines` of a model's name and texts, one a model and back end,
    also where it failed. None where nothing was measured."""
    told = [(model["model"], line) for model in models for line in model["speed"] or ()]
    keys = sorted(dict.fromkeys(key for _, line in told for key in line), key=lambda key: key == "error")
    lines = [(name, [quantity(key, line.get(key))[2] for key in keys]) for name, line in told]
    return {"heads": [quantity(key, None)[:2] for key in keys], "lines": lines} if lines else None


def count(value: int | None) -> str:
    """A whole number in groups of three digits."""
    return NONE if value is None else f"{value:,}".replace(",", THIN_SPACE)


def as_stated(value: float | None) -> str:
    """A paper's figure with the digits that it has, at least two after the point."""
    if value is None:
        return NONE
    if isinstance(value, int):
        return count(value)
    return max(f"{value:.2f}", repr(value), key=len)
