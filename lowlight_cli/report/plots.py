"""Where everything stands in a plot of one metric: a line per model, a dot per picture, a box over the quartiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowlight_cli.report.document import Row
from lowlight_cli.report.figures import Column

WIDTH, LABELS, LINE, TOP, BOTTOM = 400, 104, 20, 6, 20
"""In units of the drawing, which a page scales to its column."""
MARGIN = 10
MOST_DOTS = 120
"""Per model; of more pictures, so many are drawn at even steps of their rank, the first and the last among them."""
LONGEST_LABEL = 16
SPREAD = (0.0, 0.55, -0.55, 0.28, -0.28)
"""Heights of neighbouring dots, of half a box: dots of near values do not hide each other."""


@dataclass(frozen=True)
class Dot:
    """One picture: its place and its figure."""

    x: float
    y: float
    picture: int
    """Index in the order of the report."""
    text: str


@dataclass(frozen=True)
class Line:
    """One model: its dots, and the quartiles' places."""

    model: int
    """Index in the document."""
    name: str
    label: str
    y: float
    dots: tuple[Dot, ...]
    low: float
    middle: float
    high: float
    summary: str
    """The same in words."""


@dataclass(frozen=True)
class Plot:
    """One metric."""

    column: Column
    height: float
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    note: str
    """What is not drawn; mostly empty."""


def plot(column: Column, models: Sequence[str], pictures: Sequence[str], rows: Sequence[Row]) -> Plot | None:
    """The plot of one metric, the best median on top; None where there is nothing to draw."""
    values = by_model(column.name, models, pictures, rows)
    drawn = {model: {p: v for p, v in own.items() if math.isfinite(v)} for model, own in values.items()}
    drawn = {model: own for model, own in drawn.items() if own}
    if not drawn:
        return None
    left = min(min(own.values()) for own in drawn.values())
    right = max(max(own.values()) for own in drawn.values())
    if right - left < 1e-9 * max(1.0, abs(right)):
        left, right = left - 0.5, right + 0.5
    ticks, scale = steps(left, right), Scale(left, right)
    order = sorted(drawn, key=lambda model: column.rank(float(np.median([*drawn[model].values()]))))
    lines = [line(column, models, model, drawn[model], scale, at) for at, model in enumerate(order)]
    digits = tick_digits(ticks)
    return Plot(
        column=column,
        height=TOP + LINE * len(lines) + BOTTOM,
        lines=tuple(lines),
        ticks=tuple((scale(tick), f"{tick:.{digits}f}".replace("-", "−")) for tick in ticks),
        note=left_out(values, drawn),
    )


def by_model(
    metric: str, models: Sequence[str], pictures: Sequence[str], rows: Sequence[Row]
) -> dict[int, dict[int, float]]:
    """Index of a model -> index of a picture -> value; without those that were not measured."""
    place, at = {name: i for i, name in enumerate(pictures)}, {name: i for i, name in enumerate(models)}
    found: dict[int, dict[int, float]] = {}
    for row in rows:
        value = row.metrics.get(metric)
        if value is not None and not math.isnan(value) and row.model in at:
            found.setdefault(at[row.model], {})[place[row.picture]] = float(value)
    return found


@dataclass(frozen=True)
class Scale:
    """From values to places across the drawing."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(LABELS + MARGIN + share * (WIDTH - LABELS - 2 * MARGIN), 1)


def line(column: Column, models: Sequence[str], model: int, values: dict[int, float], scale: Scale, at: int) -> Line:
    """A model's line, `at` from the top."""
    y = TOP + LINE * (at + 0.5)
    ranked = sorted(values, key=values.__getitem__)
    kept = [ranked[round(i)] for i in np.linspace(0, len(ranked) - 1, min(len(ranked), MOST_DOTS))]
    dots = [
        Dot(scale(values[p]), round(y + SPREAD[i % len(SPREAD)] * LINE / 3, 1), p, column.text(values[p]))
        for i, p in enumerate(kept)
    ]
    low, middle, high = np.percentile([*values.values()], (25, 50, 75))
    summary = (
        f"median {column.text(middle)}, half of them from {column.text(low)} to {column.text(high)}, all from "
        f"{column.text(values[ranked[0]])} to {column.text(values[ranked[-1]])}, n = {len(values)}"
    )
    name = models[model]
    label = name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"
    return Line(model, name, label, y, tuple(dots), *map(scale, (low, middle, high)), summary)


def steps(low: float, high: float, most: int = 6) -> list[float]:
    """Round values from `low` to `high`, at most `most` steps of them and never fewer than two values."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if power * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * i for i in range(first, last + 1)]


def tick_digits(ticks: Sequence[float]) -> int:
    """Digits after the point that tell the ticks apart exactly."""
    least = 1e-6 * (ticks[1] - ticks[0])
    return next(digits for digits in range(12) if all(abs(round(tick, digits) - tick) < least for tick in ticks))


def left_out(values: dict[int, dict[int, float]], drawn: dict[int, dict[int, float]]) -> str:
    """What the plot does not show."""
    infinite = sum(map(len, values.values())) - sum(map(len, drawn.values()))
    most = max(map(len, drawn.values()))
    notes = [f"Infinite, so not drawn: {infinite}."] if infinite else []
    if most > MOST_DOTS:
        notes.append(f"Of up to {most} pictures per model, {MOST_DOTS} are drawn as dots; the boxes count all.")
    return " ".join(notes)
