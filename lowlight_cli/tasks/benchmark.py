"""Score models on a data set: every picture, every metric, one document.

Rows are kept as they come, so that `--resume` computes nothing twice. One picture or model that fails is told in the
document and does not lose the others.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
import os
import platform
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import __version__, packages, picture
from lowlight_cli.data import sets
from lowlight_cli.errors import LowlightError, OptionError, OutputExists
from lowlight_cli.metrics import METRICS, OpenMetric, find, open_metric
from lowlight_cli.report import Row
from lowlight_cli.runners import RunnerOptions
from lowlight_cli.tasks.contestants import INPUT, Contestant, contestants

ROWS = "rows.jsonl"
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
    results: Path | None = None
    resume: bool = False
    runner: RunnerOptions = dataclasses.field(default_factory=RunnerOptions)
    command: str = ""


class Benchmark:
    """A planned run: the set is found, the names are known, the metrics open before any work."""

    def __init__(self, options: BenchmarkOptions) -> None:
        self.options = options
        self.found = sets.find(options.dataset, options.root, options.split)
        self.items = self.found.items[: options.limit]
        names = options.metrics or (FIDELITY if self.found.data.truth else LOOKS)
        self.metrics = opened(names, truth=self.found.data.truth, offline=options.runner.offline)
        self.contestants = contestants(options.models, options.images, self.items, options.runner)
        self.rows: list[Row] = []
        self.problems: dict[str, str] = {}
        """Models that did not open at all, and why."""
        self.kept = kept_rows(options) if options.results else {}

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
        with ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 2) - 1)), "score") as pool:
            for contestant in self.contestants:
                try:
                    contestant.open()
                except LowlightError as error:
                    self.problems[contestant.name] = str(error)
                    rows = iter([failed(contestant.name, item.name, error) for item in self.items])
                else:
                    rows = self.rows_of(contestant, pool)
                for row in rows:
                    self.rows.append(row)
                    yield row
                contestant.close()

    def rows_of(self, contestant: Contestant, pool: ThreadPoolExecutor) -> Iterator[Row]:
        """Rows of one contestant in the order of the set, scored while the next picture runs."""
        waiting: deque[Future[Row] | Row] = deque()
        for item in self.items:
            waiting.append(self.one(contestant, item, pool))
            while len(waiting) > AHEAD:
                yield self.settled(waiting.popleft())
        while waiting:
            yield self.settled(waiting.popleft())

    def one(self, contestant: Contestant, item: sets.Item, pool: ThreadPoolExecutor) -> Future[Row] | Row:
        """Enhance one picture; its scores follow."""
        try:
            low, high = sets.load(item)
            key = self.key(contestant, item.name, low, high)
            if key in self.kept and self.is_complete(contestant, self.kept[key]):
                return self.kept[key]
            started = time.perf_counter()
            output = contestant(item, low)
            seconds = time.perf_counter() - started
            return pool.submit(self.score, contestant, item, key, seconds, (output, high, low))
        except Exception as error:  # noqa: BLE001 - the boundary of one picture
            return failed(contestant.name, item.name, error)

    def settled(self, row: Future[Row] | Row) -> Row:
        """The row, computed by now."""
        return row.result() if isinstance(row, Future) else row

    def score(
        self, contestant: Contestant, item: sets.Item, key: str, seconds: float, images: tuple[Pixels, Any, Pixels]
    ) -> Row:
        """All metrics of one output; the output and the row are written down."""
        output = images[0]
        try:
            values = {name: rounded(metric(*images)) for name, metric in self.metrics.items()}
            size = (output.shape[1], output.shape[0])
            row = Row(contestant.name, item.name, *size, seconds if contestant.runs else None, values, None)
            if self.options.results:
                path = self.picture_path(contestant.name, item.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(picture.from_array(output), path)
                self.keep(key, row)
        except Exception as error:  # noqa: BLE001 - the boundary of one picture
            return failed(contestant.name, item.name, error)
        return row

    def keep(self, key: str, row: Row) -> None:
        """Append the row to what `--resume` reads: one write, so that no line is torn by a second thread."""
        line = json.dumps({"key": key, "row": dataclasses.asdict(row)}) + "\n"
        with (self.options.results / ROWS).open("a", encoding="utf-8") as file:
            file.write(line)

    def key(self, contestant: Contestant, name: str, low: Pixels, high: Pixels | None) -> str:
        """What a row depends on: the contestant, the pixels, and the set of metrics is checked beside it."""
        digest = hashlib.sha256(json.dumps([contestant.identity(name), name, self.found.data.name]).encode())
        for image in (low, high):
            digest.update(b"" if image is None else np.ascontiguousarray(image).tobytes())
        return digest.hexdigest()

    def is_complete(self, contestant: Contestant, row: Row) -> bool:
        """Whether a kept row has all metrics, and its output is there."""
        return self.metrics.keys() <= row.metrics.keys() and self.picture_path(contestant.name, row.picture).is_file()

    def picture_path(self, model: str, name: str) -> Path:
        """Where an output lies."""
        return self.options.results / "pictures" / model / f"{name.replace('/', '_')}.png"

    def picture_of(self, model: str, name: str) -> Path | None:
        """For the report: an output, or the words `input` and `truth`."""
        item = next((item for item in self.items if item.name == name), None)
        if model in ("input", "truth") and item is not None:
            return item.low if model == "input" else item.high
        path = self.picture_path(model, name)
        return path if path.is_file() else None

    def document(self, speeds: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Everything that a reader needs to trust and repeat the figures."""
        data, options = self.found.data, self.options
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
            "versions": {"lowlight": __version__, **packages.versions()},
            "machine": machine(),
            "notices": [*self.found.notices, *limited(self.found, self.items), *([data.note] if data.note else [])],
            "metrics": {name: described(metric) for name, metric in self.metrics.items()},
            "models": [
                self.summary(contestant, (speeds or {}).get(contestant.name)) for contestant in self.contestants
            ],
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


def opened(names: Sequence[str], *, truth: bool, offline: bool) -> dict[str, OpenMetric]:
    """The metrics, ready; one that this set cannot have is an OptionError."""
    chosen = list(dict.fromkeys(METRICS if "all" in names else names))
    if "all" in names:
        chosen = [name for name in chosen if not find(name).missing(truth=truth, source=True)]
    for name in chosen:
        if lacks := find(name).missing(truth=truth, source=True):
            raise OptionError(f"The metric {name} needs {lacks}, which this set does not have.", "Leave it out.")
    return {name: open_metric(name, offline=offline) for name in chosen}


def kept_rows(options: BenchmarkOptions) -> dict[str, Row]:
    """Make the folder of results; gives the rows that an earlier run left there, if they may be used."""
    folder = options.results
    try:
        if not options.resume and folder.is_dir() and any(folder.iterdir()):
            raise OutputExists(f"{folder} is not empty.", "Use --resume to go on there, or another --results.")
        folder.mkdir(parents=True, exist_ok=True)
        lines = (folder / ROWS).read_text(encoding="utf-8").splitlines() if (folder / ROWS).exists() else []
    except OSError as error:
        raise OptionError(f"{folder} cannot be used: {error.strerror}.", "Choose another --results.") from error
    rows = {}
    for line in lines:
        try:
            entry = json.loads(line)
            rows[entry["key"]] = Row(**entry["row"])
        except (ValueError, KeyError, TypeError):
            continue  # a line that a killed run left unfinished
    return rows


def failed(model: str, name: str, error: Exception) -> Row:
    """The row of a picture that gave no figures."""
    text = str(error) if isinstance(error, LowlightError) else f"{type(error).__name__}: {error}"
    return Row(model, name, None, None, None, {}, text)


def rounded(value: float) -> float | None:
    """A score as it is kept; None where it could not be measured."""
    return None if math.isnan(value) else round(float(value), 6)


def spread(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean, standard deviation (of these pictures, not of a sample) and number; None without any."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    finite = all(math.isfinite(value) for value in known)
    return {
        "mean": float(np.mean(known)),
        "std": float(np.std(known)) if finite else 0.0,
        "n": len(known),
    }


def limited(found: sets.Found, items: Sequence[sets.Item]) -> list[str]:
    """A notice where --limit left pictures out."""
    left = len(found.items) - len(items)
    return [f"Only the first {len(items)} of {len(found.items)} pictures were used (--limit)."] if left else []


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


def machine() -> dict[str, str]:
    """What ran it; no name, no path."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": packages.processor(),
        "cores": str(os.cpu_count() or "unknown"),
    }
