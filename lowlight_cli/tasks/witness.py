"""Watches a run and writes the evidence log.

A picture's record is written when its outputs are in place, on the disk, read back, and its input was hashed again. So
a record never tells of what did not happen; what a run that was killed had written without a record is made again by
the next, compared byte by byte, and recorded then.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lowlight_cli import atomic, evidence, machine, picture, weights
from lowlight_cli import jobs as planning
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import LogError, OptionError, OutputExists, PictureError, reason_of
from lowlight_cli.evidence_chain import Record
from lowlight_cli.inputs import not_taken
from lowlight_cli.jobs import Job
from lowlight_cli.picture import Picture
from lowlight_cli.picture.extras import readable
from lowlight_cli.tasks import records
from lowlight_cli.tasks.earlier import Earlier
from lowlight_cli.tasks.preset import EvidenceOptions, baseline
from lowlight_cli.tasks.results import Item, as_lowlight_error, brief
from lowlight_cli.tasks.unwitnessed import Unwitnessed

if TYPE_CHECKING:
    from lowlight_cli.tasks.enhance import EnhanceOptions


MOST_NAMED = 1000
"""Of the files that a run leaves out."""


class Witness(Unwitnessed):
    """Appends a record to the log at the begin and the end of a run and for every picture that was tried."""

    def __init__(self, options: EnhanceOptions) -> None:
        super().__init__(options)
        self.asked: EvidenceOptions = options.evidence
        self.log = evidence.Log(self.asked.log)
        if not self.asked.log.parent.is_dir():
            raise OptionError(f"There is no folder {self.asked.log.parent} for the log.", "Make it first.")
        self.settings = records.settings(options)
        self.earlier = Earlier(self.log.records(), options, self.settings)
        self.refuse_strange_head()
        self.run, self.counts, self.planned = "", Counter(), None
        self.left: Sequence[Path] | None = None
        self.method: Record = {}
        self.other: Enhancer | None = None
        self.lock = threading.Lock()

    def refuse_strange_head(self) -> None:
        """What stands in the head's place must be the head of this log."""
        head, log = evidence.head_path(self.asked.log), self.asked.log
        if os.path.lexists(head) and not (evidence.read_head(log) and log.exists()):
            raise OptionError(f"{head} is there and is not the head of {log}.", "Choose another name for the log.")

    def refuse_writing_over(self, jobs: Sequence[Job]) -> None:
        """Neither log nor head may be an input or an output."""
        for path in (self.asked.log, evidence.head_path(self.asked.log)):
            here, name = planning.identity(path), records.absolute(path)
            for job in jobs:
                if here is not None and here == planning.identity(job.source):
                    raise OptionError(f"--evidence {self.asked.log}: {path} is an input.", "Choose another log.")
                if name == records.absolute(job.target):
                    raise OptionError(f"--evidence {self.asked.log}: {path} is an output.", "Choose another log.")

    def plan(self, jobs: Sequence[Job]) -> list[Job]:
        """See `Unwitnessed`; targets of baselines follow the rules of targets."""
        self.refuse_writing_over(jobs)
        if self.asked.baseline:
            beside = [Job(job.source, *self.beside(job), job.relative, job.problem) for job in jobs]
            planning.refuse_collisions([*jobs, *beside], "--baseline")
            planning.refuse_writing_over_inputs(beside)
            planning.mark_existing(beside, self.options.layout.existing)
        return [self.resume(job) if job.skip else job for job in jobs]

    def beside(self, job: Job) -> Sequence[Path]:
        """Where the baseline's result goes."""
        name = f"{job.target.stem}-{self.asked.baseline}{job.target.suffix}"
        return [job.target.with_name(name)] if self.asked.baseline else []

    def resume(self, job: Job) -> Job:
        """A job whose target is there: done, if the log tells of these very files; else to be made and compared."""
        record = self.earlier.done.get(records.absolute(job.target))
        if record is None:
            return dataclasses.replace(job, skip=False)
        problem = self.earlier.difference(job, record)
        if not problem and all(Path(file["path"]).exists() for file in records.outputs(record)):
            return job
        return dataclasses.replace(job, skip=False, problem=problem, remedy="Keep all of it, and use another --out.")

    def not_taken(self) -> Sequence[Path]:
        """See `Unwitnessed`."""
        if self.left is None:
            log, maps = self.asked.log, self.options.maps
            aside = [log, evidence.head_path(log), *[maps] * (maps is not None)]
            self.left = not_taken(self.options.inputs, self.options.layout.out, readable(), aside)
        return self.left

    def begin(self, enhancer: Enhancer, jobs: Sequence[Job] | None) -> None:
        """See `Unwitnessed`."""
        self.run, self.method = uuid.uuid4().hex, records.method(enhancer, self.options, self.settings)
        if self.asked.baseline:
            self.other = baseline(self.asked.baseline, self.options.settings.depth)
        counts = {"pictures": None, "already_done": 0, "not_taken": None}
        if jobs is not None:
            skipped, left = sum(job.skip for job in jobs), self.not_taken()
            named = {"count": len(left), "files": [*map(records.absolute, left[:MOST_NAMED])]}
            counts = {"pictures": len(jobs) - skipped, "already_done": skipped, "not_taken": named}
        self.planned = counts["pictures"]
        try:
            if self.asked.log.exists():
                self.log.seal()  # what can be refused is refused before a start is told
            self.append("start", argv=list(self.asked.argv), **counts, method=self.method, system=machine.system())
            self.log.seal()
        except LogError as error:  # nothing was done yet
            self.close()
            raise OptionError(error.message, error.hint) from error

    def append(self, kind: str, **fields: Any) -> Record:
        """A record of this run."""
        stated = {name: getattr(self.asked, name) for name in ("case", "examiner", "note")}
        return self.log.append({"kind": kind, "run": self.run, **(stated if kind != "end" else {}), **fields})

    def read(self, item: Item, data: bytes) -> None:
        """See `Unwitnessed`."""
        item.facts["input"] = records.input_facts(item.job.source, item.job.relative, data)

    def decoded(self, item: Item) -> None:
        """See `Unwitnessed`."""
        item.facts["input"] |= records.picture_facts(item.picture)

    def enhanced(self, item: Item, enhancer: Enhancer) -> None:
        """See `Unwitnessed`."""
        item.facts["tiles"] = records.tiles(enhancer)
        if self.other is not None:
            item.baseline = self.other.enhance([item.picture])[0]

    def put(self, item: Item, data: bytes) -> None:
        """See `Unwitnessed`."""
        refuse_loss(item.picture, item.job.target, self.options.settings.depth)
        item.facts["output"] = self.place(item, item.job.target, item.picture, data)
        if item.baseline is not None and self.other is not None:
            spec, (target,) = self.other.runner.spec, self.beside(item.job)
            encoded = picture.encode(item.baseline, picture.SUFFIXES[target.suffix.lower()])
            written = self.place(item, target, item.baseline, encoded)
            item.facts["baseline"] = {"model": spec.name, "params": dict(spec.params), **written}

    def put_map(self, item: Item, made: Picture, path: Path) -> None:
        """See `Unwitnessed`."""
        self.place(item, path, made, picture.encode(made, picture.SUFFIXES[path.suffix.lower()]))
        item.written += (path,)

    def place(self, item: Item, target: Path, made: Picture, data: bytes) -> Record:
        """Write one file, unless an earlier run left the very same, and read it back."""
        try:
            picture.write(data, target, overwrite=False, check=item.check)
        except OutputExists:
            if self.options.layout.existing != "skip":
                raise
            if target.read_bytes() != data:
                raise PictureError(f"{target} is there, and is another picture.", "Move it elsewhere.") from None
            item.notices += (f"{target.name} was there already and has the same bytes.",)
        else:
            item.made += (target,)
            atomic.sync_folder(target.parent)
        try:
            return read_back(target, made)
        except PictureError:
            if target in item.made:
                with contextlib.suppress(OSError):
                    target.unlink(missing_ok=True)
            raise

    def finish(self, item: Item) -> None:
        """See `Unwitnessed`. What cannot be recorded is taken away again, and the run ends."""
        item.baseline = None
        if item.error is not None and "output" not in item.facts:
            self.undo(item)
        if "input" in item.facts:
            self.hash_again(item)
        try:
            maps = [records.file_facts(path, path.read_bytes()) for path in item.written]
            self.append("picture", **self.told(item), maps=maps)
        except Exception as error:  # noqa: BLE001 - the boundary of one file
            item.error, self.stopped = as_lowlight_error(error), True
            self.undo(item)
            return  # the log tells of nothing, so its end must not count it
        with self.lock:
            self.counts["failed" if item.error else "done"] += 1

    def hash_again(self, item: Item) -> None:
        """The source must be what it was; else what was made of it goes."""
        try:
            item.facts["input"]["sha256_after"] = after = weights.sha256_of(item.job.source)
            changed = after != item.facts["input"]["sha256"]
        except OSError:
            changed = True
        if changed:
            error = PictureError(f"{item.job.source} changed or vanished during the work.", "Try again when it rests.")
            item.error = item.error or error
            self.undo(item)

    def undo(self, item: Item) -> None:
        """Take away what this run made of a picture."""
        for path in item.made:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                item.notices += (f"{path.name} could not be taken away again: {reason_of(error)}.",)
        item.made = item.written = ()
        item.facts.pop("output", None)
        item.facts.pop("baseline", None)

    def told(self, item: Item) -> Record:
        """What a picture's record says, but for its maps."""
        source = item.facts.get("input") or dict.fromkeys(records.INPUT) | {
            "path": records.absolute(item.job.source),
            "relative": item.job.relative.as_posix(),
        }
        return {
            "status": "failed" if item.error else "done",
            "error": item.error.message if item.error else None,
            "hint": (item.error.hint or None) if item.error else None,
            "notices": list(item.notices),
            "development": item.development,
            "seconds": round(item.seconds, 4),
            "input": source,
            **{name: item.facts.get(name) for name in ("output", "baseline", "tiles")},
            "exposure": brief(item.exposure),
            "shadows": brief(item.shadows),
            "method": self.method,
            "system": machine.system(),
        }

    def end(self) -> None:
        """See `Unwitnessed`."""
        self.close()
        whole = self.planned is None or self.counts.total() == self.planned
        try:
            self.append("end", status="finished" if whole else "interrupted", counts=dict(self.counts))
            self.log.seal()
        except LogError as error:
            self.unended = error

    def close(self) -> None:
        """Give back the memory of the baseline's method."""
        if self.other is not None:
            self.other.close()


def refuse_loss(made: Picture, target: Path, depth: picture.Depth) -> None:
    """The error for a format that does not give back all samples."""
    suffix = target.suffix.lower()
    lost = [what for what in picture.losses(made, picture.SUFFIXES[suffix], depth) if what in ("alpha", "16 bit")]
    if lost:
        raise PictureError(f"{suffix} cannot hold: {', '.join(lost)}; with a log nothing is lost.", "Add --format png.")


def read_back(target: Path, made: Picture) -> Record:
    """The facts of a file that was written, once it is known to hold the picture to the last bit."""
    data = picture.read(target)
    found = picture.load(data, max_pixels=made.width * made.height)
    alpha, made = found.alpha is not None, picture.stored(made, found.format, found.bits)
    if not np.array_equal(*(picture.samples(p, found.bits, alpha=alpha) for p in (found, made))):
        raise PictureError(f"{target} does not give back the pixels that were written.", "Check the disk.")
    return records.file_facts(target, data) | records.picture_facts(found)
