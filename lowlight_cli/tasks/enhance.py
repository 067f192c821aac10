"""Enhance files: decode threads, the network, encode threads, and a result for every file.

One bad file never stops the rest: what it raises is its result. Results come in the order of the jobs.
"""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from lowlight_cli import jobs as planning
from lowlight_cli import manifest, picture
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import LowlightError, OptionError, PictureError
from lowlight_cli.jobs import Job, Layout
from lowlight_cli.picture import Picture
from lowlight_cli.runners import RunnerOptions, open_runner

AHEAD_PIXELS = 60_000_000
"""Decoded pictures that wait, and results that are being written, hold at most about this many pixels each."""
AHEAD_FILES = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnhanceOptions:
    """Everything `lowlight enhance` can be told, but for how to show it."""

    inputs: tuple[str, ...]
    layout: Layout
    model: str = "neid"
    runner: RunnerOptions = dataclasses.field(default_factory=RunnerOptions)
    settings: Settings = dataclasses.field(default_factory=Settings)
    batch_size: int | None = None
    quality: int | None = None
    max_pixels: int = picture.MAX_PIXELS
    fail_fast: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one file. `seconds` is the time spent on it, waiting left out; sizes are the output's."""

    source: Path
    target: Path
    status: Literal["done", "failed", "skipped", "planned"]
    seconds: float = 0.0
    width: int | None = None
    height: int | None = None
    tile: int | None = None
    notices: tuple[str, ...] = ()
    error: str | None = None
    hint: str | None = None


@dataclasses.dataclass
class Item:
    """A picture on its way: from the decoder to the network to the encoder."""

    job: Job
    picture: Picture | None = None
    error: LowlightError | None = None
    seconds: float = 0.0
    tile: int | None = None
    notices: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    """Height and width of the output."""

    def result(self) -> Result:
        """What a user is told of it."""
        told: dict[str, Any] = {"status": "skipped" if self.job.skip else "done"}
        if self.error is not None:
            told = {"status": "failed", "error": self.error.message, "hint": self.error.hint or None}
        elif not self.job.skip:
            told |= {"height": self.size[0], "width": self.size[1], "tile": self.tile}
        return Result(
            source=self.job.source, target=self.job.target, seconds=self.seconds, notices=self.notices, **told
        )


class Run:
    """A planned run. Planning finds every conflict before `results` does any work."""

    def __init__(self, options: EnhanceOptions) -> None:
        self.options = options
        self.spec = manifest.find(options.model)
        self.jobs = planning.plan(options.inputs, options.layout)
        self.passed_over = planning.passed_over(options.inputs)
        """How many pictures of kinds that are not read lie in the folders, by suffix."""
        self.late: list[Result] = []
        """Of files that were finished while a run was stopped; complete once the iterator is closed."""

    def open(self) -> Enhancer:
        """The open model."""
        return opened(self.options)

    def planned(self) -> Iterator[Result]:
        """What would be done, without doing it."""
        for job in self.jobs:
            status = "skipped" if job.skip else "failed" if job.problem else "planned"
            yield Result(source=job.source, target=job.target, status=status, error=job.problem or None)

    def results(self, enhancer: Enhancer) -> Iterator[Result]:
        """Do it. Closing the iterator lets files that are being written finish (see `late`), and starts no more."""
        make_folder(self.options.layout.out, self.jobs)
        with Pipeline(self, enhancer) as pipeline:
            yield from pipeline.results()


def opened(options: EnhanceOptions) -> Enhancer:
    """The open model."""
    spec = manifest.find(options.model)
    return Enhancer(open_runner(spec, options.runner), options.settings, options.runner.scale)


def make_folder(out: Path, jobs: Sequence[Job]) -> None:
    """Make the folder of the output, so that one that cannot be made is told once."""
    folder = jobs[0].target.parent if len(jobs) == 1 else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{folder} cannot be made: {error.strerror}.", "Choose another --out.") from error


class Pipeline:
    """Decoders ahead of the network, encoders behind it, both bounded by files and by pixels."""

    def __init__(self, run: Run, enhancer: Enhancer) -> None:
        self.run, self.options, self.enhancer = run, run.options, enhancer
        threads = max(2, min(8, os.cpu_count() or 2))
        self.decoders = ThreadPoolExecutor(threads, "decode")
        self.encoders = ThreadPoolExecutor(threads, "encode")
        self.stopping = threading.Event()
        self.waiting: deque[tuple[int, Future[Item]]] = deque()
        """(pixels, picture being written) of all whose result nobody has yet."""

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        self.decoders.shutdown(wait=True, cancel_futures=True)
        self.encoders.shutdown(wait=True, cancel_futures=True)
        self.run.late = [future.result().result() for _, future in self.waiting if not future.cancelled()]

    def results(self) -> Iterator[Result]:
        """Results in the order of the jobs."""
        waiting = self.waiting
        for group in self.groups():
            for item in self.enhanced(group):
                waiting.append((math.prod(item.size), self.encoders.submit(self.write, item)))
            del group, item
            while waiting and (waiting[0][1].done() or is_enough(waiting)):
                result = self.next_written()
                yield result
                if result.status == "failed" and self.options.fail_fast:
                    return
        while waiting:
            yield self.next_written()

    def next_written(self) -> Result:
        """Wait for the oldest; taken from the queue only when it is there, so that Ctrl-C loses no result."""
        result = self.waiting[0][1].result().result()
        self.waiting.popleft()
        return result

    def items(self) -> Iterator[Item]:
        """Decoded pictures in order, decoded ahead."""
        ahead: deque[tuple[int, Future[Item]]] = deque()
        jobs = deque(self.run.jobs)
        while jobs or ahead:
            while jobs and not is_enough(ahead):
                pixels = pixels_to_read(jobs[0])
                if ahead and sum(p for p, _ in ahead) + pixels > AHEAD_PIXELS:
                    break
                ahead.append((pixels, self.decoders.submit(self.read, jobs.popleft())))
            yield ahead.popleft()[1].result()

    def groups(self) -> Iterator[list[Item]]:
        """Neighbours of one size and depth, as many as one batch takes; the others alone."""
        group: list[Item] = []
        for item in self.items():
            if group and not self.fits(group, item):
                yield group
                group = []
            group.append(item)
            del item
        if group:
            yield group

    def fits(self, group: Sequence[Item], item: Item) -> bool:
        """Whether a picture goes into the batch."""
        first, other = group[0].picture, item.picture
        if first is None or other is None or first.pixels.shape != other.pixels.shape or first.bits != other.bits:
            return False
        limit = self.options.batch_size or self.enhancer.batch_limit(first.height, first.width)
        return len(group) < limit

    def read(self, job: Job) -> Item:
        """Decode one file."""
        item = Item(job)
        if job.skip or self.stopping.is_set():
            return item
        started = time.perf_counter()
        try:
            if job.problem:
                raise PictureError(job.problem, "Check the permissions.")
            item.picture = picture.load(job.source, max_pixels=self.options.max_pixels)
            item.notices = item.picture.notices
        except Exception as error:  # noqa: BLE001 - the boundary of one file
            item.error = told(error)
        item.seconds = time.perf_counter() - started
        return item

    def enhanced(self, group: Sequence[Item]) -> Sequence[Item]:
        """Run the network on a batch; if that fails, on each picture alone, so that one cannot spoil the others."""
        pictures = [item.picture for item in group if item.picture is not None]
        if not pictures:
            return group
        started = time.perf_counter()
        try:
            results = self.enhancer.enhance(pictures)
        except Exception as error:  # noqa: BLE001 - the boundary of one file
            if len(group) > 1:
                return [self.enhanced([item])[0] for item in group]
            results, group[0].error = pictures, told(error)
        seconds = (time.perf_counter() - started) / len(group)
        for item, result in zip(group, results, strict=True):
            item.picture, item.size, item.tile = result, result.pixels.shape[:2], self.enhancer.used
            item.seconds += seconds
        return group

    def write(self, item: Item) -> Item:
        """Encode and write one picture."""
        if item.picture is None or item.error is not None:
            item.picture = None
            return item
        started = time.perf_counter()
        try:
            self.save(item)
        except Exception as error:  # noqa: BLE001 - the boundary of one file
            item.error = told(error)
        item.picture = None
        item.seconds += time.perf_counter() - started
        return item

    def save(self, item: Item) -> None:
        """Write the picture, and note what its format cannot hold."""
        target, layout, depth = item.job.target, self.options.layout, self.options.settings.depth
        format = picture.SUFFIXES[target.suffix.lower()]
        target.parent.mkdir(parents=True, exist_ok=True)
        overwrite = layout.existing == "overwrite"
        picture.save(item.picture, target, quality=self.options.quality, depth=depth, overwrite=overwrite)
        if lost := picture.losses(item.picture, format, depth):
            item.notices += (f"{target.suffix} cannot hold: {', '.join(lost)}.",)


def pixels_to_read(job: Job) -> int:
    """Pixels that a job's picture will take; 0 where nothing is decoded. A named pipe must not be opened: it waits."""
    return 0 if job.skip or job.problem or not job.source.is_file() else picture.pixel_count(job.source)


def is_enough(queue: Sequence[tuple[int, Future[Item]]]) -> bool:
    """Whether a queue of (pixels, future) holds all it may."""
    return len(queue) >= AHEAD_FILES or sum(pixels for pixels, _ in queue) > AHEAD_PIXELS


def told(error: Exception) -> LowlightError:
    """Any error of one file as one that can be shown."""
    if isinstance(error, LowlightError):
        return error
    if isinstance(error, MemoryError):
        return PictureError("There is not enough memory.", "Use a smaller --tile, or a machine with more memory.")
    if isinstance(error, OSError):
        remedy = "Free some space." if error.errno == errno.ENOSPC else "Check the path and its permissions."
        return PictureError(f"{error.strerror or error}: {error.filename or ''}", remedy)
    return PictureError(f"Unexpected {type(error).__name__}: {error}", "Please report this with `lowlight doctor`.")


def as_json(result: Result, enhancer: Enhancer | None, options: EnhanceOptions) -> dict[str, Any]:
    """A result as the line that `--json` prints: every field always there."""
    # Of what was there already, nobody knows what made it.
    skipped = result.status == "skipped"
    runner = None if enhancer is None or skipped else enhancer.runner
    line = dataclasses.asdict(result)
    line |= {"source": str(result.source), "target": str(result.target), "seconds": round(result.seconds, 4)}
    line |= {"model": None if skipped else options.model, "scale": None if skipped else options.runner.scale}
    line |= {"weights_sha256": runner.sha256 if runner else None}
    line |= {name: getattr(runner, name) if runner else None for name in ("backend", "device", "precision")}
    return line
