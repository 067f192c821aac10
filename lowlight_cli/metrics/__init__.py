"""The table of metrics, and how one is opened.

Importing this imports nothing heavy; `open_metric` imports the module of one metric and loads what that needs.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from lowlight_cli.errors import OptionError
from lowlight_cli.metrics.table import ROWS, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["METRICS", "Metric", "OpenMetric", "find", "open_metric"]

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in ROWS})
"""By name, in the order of reports."""


@dataclass(frozen=True)
class OpenMetric:
    """A metric ready to score; `files` are those it loaded, name -> sha256."""

    metric: Metric
    function: Callable[..., float]
    files: Mapping[str, str] = field(default_factory=dict)

    def __call__(
        self,
        output: NDArray[np.uint8],
        truth: NDArray[np.uint8] | None = None,
        source: NDArray[np.uint8] | None = None,
    ) -> float:
        """The score of (H, W, 3) uint8 RGB; unequal sizes and pictures that are too small are a PictureError."""
        metric = self.metric
        if missing := metric.missing(truth=truth is not None, source=source is not None):
            raise OptionError(f"{metric.name} needs {missing}.", "Leave it out for this set.")
        if metric.needs_either:
            return self.function(output, source if truth is None else truth)
        if metric.needs_reference:
            return self.function(output, truth)
        return self.function(output, source) if metric.needs_source else self.function(output)


def find(name: str) -> Metric:
    """The metric of that name; an unknown name is an error that names the nearest one."""
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(name.lower(), METRICS, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known metrics: {', '.join(METRICS)}."
    raise OptionError(f"No metric is called {name!r}.", hint)


def open_metric(name: str, *, offline: bool = False) -> OpenMetric:
    """The metric with what it loads, once for many pictures; a ModelUnavailable says what cannot be had, and why."""
    metric = find(name)
    module, _, function = metric.target.partition(":")
    target = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    if not metric.opens:
        return OpenMetric(metric, target)
    opened = target(offline=offline)
    return OpenMetric(metric, opened.score, opened.files)
