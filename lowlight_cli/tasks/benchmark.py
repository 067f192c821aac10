"""Score models on a data set: every picture, every metric, one document.

Rows are kept as they come, so that `--resume` computes nothing twice. One picture or model that fails is told in the
document and does not lose the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import __version__, machine, packages, picture
from lowlight_cli.ahead import ordered
from lowlight_cli.data import sets
from lowlight_cli.data.pairs import SWAPPED
from lowlight_cli.errors import LowlightError, OptionError, PictureError, reason_of
from lowlight_cli.report import Row
from lowlight_cli.report.document import INPUT, TRUTH, conditions
from lowlight_cli.runners import RunnerOptions
from lowlight_cli.tasks.benchmark_metrics import described, digests, gaps, opened, rounded, spread
from lowlight_cli.tasks.benchmark_rows import KeptRows
from lowlight_cli.tasks.contestants import Brightness, Contestant, contestants

AHEAD = 4
"""Pictures that wait to be scored."""
FIDELITY = ("psnr", "ssim", "psnr_gtmean", "ssim_gtmean", "mae", "ciede2000")
LOOKS = ("brightness", "clipped", "cast", "loe")
"""What is measured when nobody says: with and without truths."""
PROTOCOL = (
    "8-bit RGB as written to a file, at the set's own size, no border cut; mean and standard deviation over pictures"
)

Pixels = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What `lowlight benchmark` can be told."""

    dataset: str
    models: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    """Folders of pictures that some other tool made, as PATH or NAME=PATH."""
    root: Path | None = None
    split: str = "test"
    metrics: tuple[str, ...] = ()
    limit: int | None = None
    max_pixels: int = picture.MAX_PIXELS
    """Larger pictures are refused."""
    results: Path | None = None
    resume: bool = False
    exposure: Brightness = None
    shadows: float | None = 0.0
    runner: RunnerOptions = dataclasses.field(default_factory=RunnerOptions)
    command: str = ""


class Benchmark:
    """A planned run: the set is found, the names are known, the metrics open before any work."""

    def __init__(self, options: BenchmarkOptions) -> None:
        self.options = options
        self.found = sets.find(options.dataset, options.root, options.split)
        if options.exposure == TRUTH and not self.found.data.truth:
            raise OptionError(f"{self.found.data.name} has no truths.", "Give --exposure a number, or leave it out.")
        self.items = self.found.items[: options.limit]
        self.by_name = {item.name: item for item in self.items}
        names = options.metrics or (FIDELITY if self.found.data.truth else LOOKS)
        self.metrics, left_out = opened(names, truth=self.found.data.truth, offline=options.runner.offline)
        self.notices = (*self.found.notices, *left_out)
        self.measured = digests(self.metrics)
        self.contestants = contestants(
            options.models,
            options.images,
            self.items,
            options.runner,
            exposure=options.exposure,
            shadows=options.shadows,
            max_pixels=options.max_pixels,
        )
        self.light: dict[str, tuple[float, float]] = {}
        """Mean levels of each dark picture and its truth."""
        self.rows: list[Row] = []
        self.problems: dict[str, LowlightError] = {}
        """Models that did not open at all, and why."""
        self.unmeasured: dict[str, str] = {}
        """Metrics that could not be had of some picture, and why."""
        self.unkept = ""
        """Why a row or its picture could not be written; the figures are not lost by that."""
        self.pictured: set[tuple[str, str]] = set()
        """(model, picture) of the outputs that lie there and belong to the rows of this run."""
        self.kept = KeptRows(options.results, resume=options.resume) if options.results else None

    @property
    def total(self) -> int:
        """Rows there will be."""
        return len(self.items) * len(self.contestants)

    @property
    def scored(self) -> bool:
        """Whether anything but the dark pictures themselves has figures."""
        return any(row.error is None and row.model != INPUT for row in self.rows)

    def results(self) -> Iterator[Row]:
        """Do it: a row for every picture of every contestant."""
        for contestant in self.contestants:
            with contextlib.closing(contestant), contextlib.closing(self.rows_of(contestant)) as rows:
                for row in rows:
                    self.rows.append(row)
                    yield row

    def rows_of(self, contestant: Contestant) -> Iterator[Row]:
        """Rows of one contestant in the order of the set, scored while the next picture runs."""
        try:
            contestant.open()
        except LowlightError as error:
            self.problems[contestant.name] = error
            yield from (failed(contestant.name, item.name, error) for item in self.items)
            return
        outputs = (self.one(contestant, item) for item in self.items)
        yield from ordered(settled, outputs, max(1, min(4, machine.cores() - 1)), AHEAD)

    def one(self, contestant: Contestant, item: sets.Item) -> Row | Callable[[], Row]:
        """Enhance one picture; what is given scores it, unless there is a row already."""
        try:
            low, high = sets.load(item, max_pixels=self.options.max_pixels)
            if high is not None and item.name not in self.light:
                self.light[item.name] = (float(low.mean()), float(high.mean()))
            key = self.key(contestant, item.name, low, high)
            if self.kept and (row := self.kept.find(key, contestant.name, item.name, self.measured)):
                self.pictured.add((row.model, row.picture))
                return row
            started = time.perf_counter()
            output = contestant(item, low, high)
            seconds = time.perf_counter() - started
            return functools.partial(self.score, contestant, item, key, seconds, (output, high, low))
        except Exception as error:  # noqa: BLE001 - the boundary of one picture
            return failed(contestant.name, item.name, error)

    def score(
        self, contestant: Contestant, item: sets.Item, key: str, seconds: float, images: tuple[Pixels, Any, Pixels]
    ) -> Row:
        """All metrics of one output; the output and the row are written down."""
        output = images[0]
        try:
            values = self.values(images)
            size = (output.shape[1], output.shape[0])
            row = Row(contestant.name, item.name, *size, seconds if contestant.runs else None, values, None)
        except Exception as error:  # noqa: BLE001 - the boundary of one picture
            return failed(contestant.name, item.name, error)
        if self.kept:
            self.keep(self.kept, key, row, output)
        return row

    def values(self, images: tuple[Pixels, Any, Pixels]) -> dict[str, float | None]:
        """The metrics; one that cannot be had of this picture is None, unless that is all of them."""
        found, errors = {}, []
        for name, metric in self.metrics.items():
            try:
                found[name] = rounded(metric(*images))
            except LowlightError as error:
                found[name] = None
                errors.append(error)
                self.unmeasured.setdefault(name, str(error))
        if len(errors) == len(found):
            raise errors[0]
        return found

    def keep(self, kept: KeptRows, key: str, row: Row, output: Pixels) -> None:
        """Write down what `--resume` reads."""
        try:
            kept.write(key, row, self.measured, output)
            self.pictured.add((row.model, row.picture))
        except PictureError as error:
            self.unkept = str(error)
        except OSError as error:
            self.unkept = f"Cannot write to {kept.folder}: {reason_of(error)}. Free some space on its disk."

    def key(self, contestant: Contestant, name: str, low: Pixels, high: Pixels | None) -> str:
        """What a row depends on: this version, the contestant, the pixels; the metrics are checked beside it."""
        shapes = [None if image is None else image.shape for image in (low, high)]
        told = [__version__, contestant.identity(name), name, self.found.data.name, shapes]
        digest = hashlib.sha256(json.dumps(told).encode())
        for image in (low, high):
            digest.update(b"" if image is None else np.ascontiguousarray(image).tobytes())
        return digest.hexdigest()

    def picture_of(self, model: str, name: str) -> Path | None:
        """For the report: an output of this run, or the words `input` and `truth`."""
        if model in (INPUT, TRUTH):
            item = self.by_name[name]
            return item.low if model == INPUT else item.high
        return self.kept.picture(model, name) if self.kept and (model, name) in self.pictured else None

    def document(self, speeds: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Everything that a reader needs to trust and repeat the figures."""
        data, options = self.found.data, self.options
        models = [self.summary(contestant, (speeds or {}).get(contestant.name)) for contestant in self.contestants]
        return {
            "schema": 1,
            "dataset": data.name,
            "title": data.title,
            "paper": data.paper,
            "split": options.split,
            "n": len(self.items),
            "protocol": PROTOCOL,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": options.command,
            "versions": {"lowlight": __version__, **packages.versions("torchmetrics")},
            # What ran it; no name, no path.
            "machine": {
                "system": machine.kind(),
                "processor": machine.processor(),
                "cores": str(machine.cores()),
            },
            "notices": [
                *self.notices,
                *limited(self.found, self.items),
                *swapped([*self.light.values()]),
                *gaps(self.rows, [*self.metrics]),
                *(f"{model['model']} {told}." for model in models if (told := conditions(model))),
                *([data.note] if data.note else []),
            ],
            "metrics": {name: described(metric) for name, metric in self.metrics.items()},
            "models": models,
        }

    def summary(self, contestant: Contestant, speed: Any) -> dict[str, Any]:
        """One entry of `models`."""
        rows = [row for row in self.rows if row.model == contestant.name]
        done = [row for row in rows if row.error is None]
        overlap = sets.overlaps(contestant.training, self.found.data.name, self.options.split)
        return {
            "model": contestant.name,
            **contestant.about(),
            "n": len(done),
            "overlap": overlap,
            "failed": [{"picture": row.picture, "error": row.error} for row in rows if row.error is not None],
            "metrics": {name: spread([row.metrics.get(name) for row in done]) for name in self.metrics},
            "speed": speed,
        }


def settled(row: Row | Callable[[], Row]) -> Row:
    """The row, which may still have to be made."""
    return row if isinstance(row, Row) else row()


def failed(model: str, name: str, error: Exception) -> Row:
    """The row of a picture that gave no figures."""
    text = str(error) if isinstance(error, LowlightError) else f"{type(error).__name__}: {error}"
    return Row(model, name, None, None, None, {}, text)


def swapped(light: Sequence[tuple[float, float]]) -> list[str]:
    """A notice where the dark pictures, by their mean levels, are brighter than their truths."""
    lows, highs = zip(*light, strict=True) if light else ((), ())
    return [SWAPPED] if sum(lows) > sum(highs) else []


def limited(found: sets.Found, items: Sequence[sets.Item]) -> list[str]:
    """A notice where --limit left pictures out."""
    left = len(found.items) - len(items)
    these = "first picture of" if len(items) == 1 else f"first {len(items)} pictures of"
    verb = "was" if len(items) == 1 else "were"
    return [f"Only the {these} {len(found.items)} {verb} used (--limit)."] if left else []
