"""A planned run at work: decode threads, the network, encode threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from lowlight_cli import picture
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import PictureError
from lowlight_cli.machine import cores
from lowlight_cli.picture import Picture
from lowlight_cli.tasks import maps as map_files
from lowlight_cli.tasks.folders import Held
from lowlight_cli.tasks.results import Item, Result, as_lowlight_error
from lowlight_cli.tile_choice import batch_limit

if TYPE_CHECKING:
    from lowlight_cli.tasks.enhance import Run

AHEAD_PIXELS = 60_000_000
"""Decoded pictures that wait, and results that are being written, hold at most about this many pixels each."""
AHEAD_FILES = 16
LAST = 20.0
"""Seconds that files which are being read and written have when a run is stopped."""


class Pipeline:
    """Decoders ahead of the network, encoders behind it, both bounded by files and by pixels."""

    def __init__(self, run: Run, enhancer: Enhancer, out: Held) -> None:
        self.run, self.options, self.enhancer, self.out = run, run.options, enhancer, out
        threads = max(2, min(8, cores()))
        self.decoders = ThreadPoolExecutor(threads, "decode")
        self.encoders = ThreadPoolExecutor(threads, "encode")
        self.stopping = threading.Event()
        self.ahead: deque[tuple[int, Future[Item]]] = deque()
        """(pixels as its header tells, picture being decoded) of all that nobody has taken yet."""
        self.waiting: deque[tuple[int, Future[Item]]] = deque()
        """(pixels, picture being written) of all whose result nobody has yet."""

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        for pool in (self.decoders, self.encoders):
            pool.shutdown(wait=False, cancel_futures=True)
        # A read or a write may hang on a disk or share that is gone: the command's end leaves such threads.
        wait([future for _, future in (*self.ahead, *self.waiting) if not future.cancelled()], LAST)
        finished = [future for _, future in self.waiting if future.done() and not future.cancelled()]
        self.run.late = [future.result().result() for future in finished]

    def results(self) -> Iterator[Result]:
        """Results in the order of the jobs."""
        waiting = self.waiting
        for group in self.groups():
            for item in self.enhanced(group):
                waiting.append((item.pixels, self.encoders.submit(self.write, item)))
            del group, item
            while waiting and (waiting[0][1].done() or is_enough(waiting)):
                result = self.next_written()
                yield result
                if result.status == "failed" and (self.options.fail_fast or self.run.witness.stopped):
                    return
        while waiting:
            yield self.next_written()

    def next_written(self) -> Result:
        """Wait for the oldest; taken from the queue only when it is there, so that Ctrl-C loses no result."""
        result = self.awaited(self.waiting[0][1], "wait_encode").result()
        self.waiting.popleft()
        return result

    def awaited(self, future: Future[Item], stage: str) -> Item:
        """What a thread gives; the stopwatch sees it where the main thread stands still for it."""
        with self.options.stopwatch.stage(stage) if not future.done() else contextlib.nullcontext():
            return future.result()

    def items(self) -> Iterator[Item]:
        """Decoded pictures in order, decoded ahead."""
        items = deque(map(self.run.item, self.run.jobs))
        self.decode_ahead(items)
        while self.ahead:
            yield self.next_decoded(items)

    def next_decoded(self, items: deque[Item]) -> Item:
        """The oldest; those that may follow it are on their way before anyone waits for it, or enhances it."""
        _, future = self.ahead.popleft()
        self.decode_ahead(items)
        return self.awaited(future, "wait_decode")

    def decode_ahead(self, items: deque[Item]) -> None:
        """Hand items to the decoders, as many as may wait."""
        while items and not is_enough(self.ahead):
            pixels = items[0].pixels_to_decode
            if self.ahead and sum(p for p, _ in self.ahead) + pixels > AHEAD_PIXELS:
                break
            self.ahead.append((pixels, self.decoders.submit(self.read, items.popleft())))

    def groups(self) -> Iterator[list[Item]]:
        """Neighbours of one size and depth, as many as one batch takes; the others alone."""
        group: list[Item] = []
        for item in self.items():
            if group and not self.fits(group, item):
                yield group
                group = []
            group.append(item)
            del item
            if not self.may_grow(group):
                yield group
                group = []
        if group:
            yield group

    def may_grow(self, group: Sequence[Item]) -> bool:
        """Whether it is worth waiting for the next picture: it may be of the same size, and there is room for it."""
        first = group[0].picture
        if first is None:
            return False
        limit = self.options.batch_size or batch_limit(self.enhancer.runner.device, first.height, first.width)
        following = self.ahead[0][0] if self.ahead else 0
        return len(group) < limit and following in (0, first.height * first.width)

    def fits(self, group: Sequence[Item], item: Item) -> bool:
        """Whether a picture goes into the batch."""
        first, other = group[0].picture, item.picture
        if first is None or other is None or first.pixels.shape != other.pixels.shape or first.bits != other.bits:
            return False
        return group[0].job.skip == item.job.skip

    def read(self, item: Item) -> Item:
        """Decode one file."""
        if item.idle or self.stopping.is_set():
            return item
        started = time.perf_counter()
        try:
            if item.job.problem:
                raise PictureError(item.job.problem, item.job.remedy)
            with self.options.stopwatch.stage("decode"):
                data = picture.read(item.job.source)
                self.run.witness.read(item, data)
                item.picture = picture.load(data, max_pixels=self.options.max_pixels)
                self.run.witness.decoded(item)
            self.options.stopwatch.count("decode", item.picture.height * item.picture.width)
            item.notices, item.development = item.picture.notices, item.picture.development
        except Exception as error:  # noqa: BLE001 - the boundary of one file
            item.error = as_lowlight_error(error)
        item.seconds = time.perf_counter() - started
        return item

    def enhanced(self, group: Sequence[Item]) -> Sequence[Item]:
        """Run the network on a batch; if that fails, on each picture alone, so that one cannot spoil the others."""
        pictures = [item.picture for item in group if item.picture is not None]
        if not pictures:
            return group
        started = time.perf_counter()
        try:
            # Where the output is there already, only maps are wanted.
            results = pictures if group[0].job.skip else self.made(group)
        except Exception as error:  # noqa: BLE001 - the boundary of one file
            if len(group) > 1:
                return [self.enhanced([item])[0] for item in group]
            results, group[0].error = pictures, as_lowlight_error(error)
        if wanted := [item for item in group if item.wanted and item.error is None]:
            with self.options.stopwatch.stage("maps"):
                self.add_maps(wanted)
        seconds = (time.perf_counter() - started) / len(group)
        for item, result in zip(group, results, strict=True):
            item.picture, item.size = result, result.pixels.shape[:2]
            item.seconds += seconds
        return group

    def made(self, group: Sequence[Item]) -> Sequence[Picture]:
        """What the network makes of a batch; the items know how."""
        results = self.enhancer.enhance([item.picture for item in group])
        self.trace(group)
        return results

    def trace(self, group: Sequence[Item]) -> None:
        """Note how a batch was just worked on, and have the witness see it."""
        enhancer = self.enhancer
        for item, exposure, shadows in zip(group, enhancer.aimed, enhancer.lifted, strict=True):
            item.tile, item.exposure, item.shadows = enhancer.tile_choice.used, exposure, shadows
            try:
                self.run.witness.enhanced(item, enhancer)
            except Exception as error:  # noqa: BLE001 - the boundary of one file
                item.error = as_lowlight_error(error)

    def add_maps(self, group: Sequence[Item]) -> None:
        """Give pictures their maps; if that fails for a batch, to each picture alone, as in `enhanced`."""
        try:
            found = self.enhancer.maps([item.picture for item in group])
            for item, maps in zip(group, found, strict=True):
                item.maps = maps
            if group[0].job.skip:
                self.trace(group)
        except Exception as error:  # noqa: BLE001 - the boundary of one file
            if len(group) == 1:
                group[0].unmapped = as_lowlight_error(error)
                return
            for item in group:
                self.add_maps([item])

    def write(self, item: Item) -> Item:
        """Encode and write one picture, and have the witness record it."""
        if item.picture is not None and item.error is None:
            self.put(item)
        item.picture, item.maps = None, {}
        if item.error is not None or (item.size != (0, 0) and not item.idle):
            self.run.witness.finish(item)
        return item

    def put(self, item: Item) -> None:
        """The picture, then its maps: a failure of theirs loses no picture."""
        started = time.perf_counter()
        saved = False
        try:
            with self.options.stopwatch.stage("encode"):
                if not item.job.skip:
                    self.save(item)
                saved = True
                map_files.save(item, self.run.witness.put_map)
            self.options.stopwatch.count("encode", item.pixels)
        except Exception as error:  # noqa: BLE001 - the boundary of one file
            item.error = as_lowlight_error(error)
            if saved:
                item.notices += ("The enhanced picture is there; maps of it are missing.",)
        item.seconds += time.perf_counter() - started

    def save(self, item: Item) -> None:
        """Write the picture, and note what its format cannot hold."""
        target, depth, item.check = item.job.target, self.options.settings.depth, self.out.check
        format = picture.SUFFIXES[target.suffix.lower()]
        item.check()
        target.parent.mkdir(parents=True, exist_ok=True)
        data = picture.encode(item.picture, format, quality=self.options.quality, depth=depth)
        self.run.witness.put(item, data)
        if lost := picture.losses(item.picture, format, depth):
            item.notices += (f"{target.suffix} cannot hold: {', '.join(lost)}.",)


def is_enough(queue: Sequence[tuple[int, Future[Item]]]) -> bool:
    """Whether a queue of (pixels, future) holds all it may."""
    return len(queue) >= AHEAD_FILES or sum(pixels for pixels, _ in queue) > AHEAD_PIXELS
