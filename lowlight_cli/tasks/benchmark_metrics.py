"""The metrics of a benchmark: opened before any work, summed up after it, and described for its readers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lowlight_cli.errors import LowlightError, OptionError, some
from lowlight_cli.metrics import METRICS, OpenMetric, find, open_metric
from lowlight_cli.report import Row


def opened(names: Sequence[str], *, truth: bool, offline: bool) -> tuple[dict[str, OpenMetric], list[str]]:
    """The metrics, ready, and what `all` had to leave out; one that is named and cannot be had is an error."""
    named = [name for name in dict.fromkeys(names) if name != "all"]
    for name in named:
        if lacks := find(name).missing(truth=truth, source=True):
            raise OptionError(f"The metric {name} needs {lacks}, which this set does not have.", "Leave it out.")
    found, left_out = {name: open_metric(name, offline=offline) for name in named}, []
    for name in METRICS if "all" in names else ():
        if name in found or find(name).missing(truth=truth, source=True):
            continue
        try:
            found[name] = open_metric(name, offline=offline)
        except LowlightError as error:
            left_out.append(f"{name} is left out: {error.message} `--metric {name}` says how to get it.")
    return {name: found[name] for name in (METRICS if "all" in names else named) if name in found}, left_out


def rounded(value: float) -> float | None:
    """A score as it is kept; None where it could not be measured."""
    return None if math.isnan(value) else round(float(value), 6)


def spread(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean, standard deviation (of these pictures, not of a sample) and number; None without any, no deviation
    where the mean is infinite.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    finite = all(math.isfinite(value) for value in known)
    return {
        "mean": float(np.mean(known)),
        "std": float(np.std(known)) if finite else None,
        "n": len(known),
    }


def gaps(rows: Sequence[Row], metrics: Iterable[str]) -> list[str]:
    """Notices of metrics that could not be had of pictures that have others."""
    found = []
    for name in metrics:
        lost = dict.fromkeys(row.picture for row in rows if row.error is None and row.metrics.get(name) is None)
        if lost:
            found.append(f"{name} could not be measured everywhere: not on {some([*lost], 3)}.")
    return found


def described(metric: OpenMetric) -> dict[str, Any]:
    """What a reader must know of a metric."""
    about = metric.metric
    return {
        "title": about.label,
        "unit": about.unit,
        "higher_is_better": about.higher_is_better,
        "definition": about.definition,
        "files": dict(metric.files),
    }


def digests(metrics: Mapping[str, OpenMetric]) -> dict[str, str]:
    """What the value of each metric depends on beside the pixels: its definition and the files it loaded."""
    told = {name: json.dumps([m.metric.definition, dict(m.files)], sort_keys=True) for name, m in metrics.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in told.items()}
