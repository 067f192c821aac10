"""Enhance what comes into folders, as it comes, until told to stop.

A file is taken when it has rested: same size and time of change for some seconds, and nobody has it open to write to
it, where the system tells. One that cannot be decoded then may still be on its way; it has failed only when it has
rested for longer. Outputs that are there count as done and are never written over. What is wrong with one file, what
folder is gone for a while, never ends a watch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lowlight_cli import __version__
from lowlight_cli import jobs as planning
from lowlight_cli.choices import PATIENCE, POLL, SETTLE
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import PictureError
from lowlight_cli.jobs import Job
from lowlight_cli.picture.extras import readable, to_install
from lowlight_cli.picture.file import STALL, patiently
from lowlight_cli.tasks.enhance import EnhanceOptions, Run, check_options, open_enhancer
from lowlight_cli.tasks.folders import make
from lowlight_cli.tasks.preset import preset
from lowlight_cli.tasks.results import Result
from lowlight_cli.tasks.unwitnessed import open_witness
from lowlight_cli.tasks.watch_folders import Folders, Seen, stamp_of, undecodable, written_elsewhere
from lowlight_cli.tasks.watch_memory import ELSEWHERE, Memory, file_for
from lowlight_cli.tasks.watch_plan import Pending, Plan, in_order, refuse_around, root_names, with_age

ROUND = 64
"""Pictures between two looks at most, where more are ready."""
THOROUGH = 60.0
"""Seconds between looks at files that are done too: have they changed?"""
SHARE = 20
"""A look may take one part in so many of the time; a slow one makes looks rarer."""
LATEST = 3600.0
"""Seconds after which a file that failed for other reasons than its content is tried again, at the latest."""
SLICE = 0.5
"""Seconds in which a wish to stop is noticed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds between looks, those for which a file must rest, and those after which a failure is believed."""

    poll: float = POLL
    settle: float = SETTLE
    patience: float = PATIENCE


class Stopped(Exception):
    """The watch ends while it looks."""


class Watch:
    """Folders that are watched. `results` gives what becomes of each file; `stop` lets it end."""

    def __init__(self, options: EnhanceOptions, pace: Pace, say: Callable[[str], None]) -> None:
        """`say` is told of folders that are gone or back. What cannot work is an OptionError."""
        roots = root_names(options)
        self.limit, self.fail_fast, layout = options.layout.limit, options.fail_fast, options.layout
        layout = dataclasses.replace(layout, existing="skip", limit=None)
        self.options = preset(dataclasses.replace(options, layout=layout, fail_fast=False))
        self.pace, self.say = pace, say
        check_options(self.options)
        aside = [path for path in (layout.out, options.maps) if path is not None]
        self.folders = Folders(roots, aside)
        for path, option in zip(aside, ("--out", "--save-maps"), strict=False):
            refuse_around(path, roots, option)
            make(path, option)
        self.witness = open_witness(self.options)
        log = None if self.options.evidence is None else os.path.abspath(self.options.evidence.log)  # noqa: PTH100
        watched = [[os.path.abspath(root) for root in roots], layout.shard, log]  # noqa: PTH100
        settings = {"version": __version__, "max_pixels": options.max_pixels, "kinds": sorted(readable())}
        self.plan = Plan(self.options, self.witness)
        self.memory = Memory(file_for(layout.out, watched), settings, self.plan.output_of)
        self.pending: dict[str, Pending] = {}
        self.working: dict[Path, Pending] = {}
        self.looks, self.next_look, self.next_thorough, self.count = 0, 0.0, 0.0, 0
        self.gone: dict[str, str] = {}
        self.kinds, self.odd = set(), set()
        self.looking = self.stopping = False
        self.late: list[Result] = []
        """Of files that were finished while an exception ended `results`."""
        for relative in self.memory.known:
            self.plan.claim(relative)

    def open(self) -> Enhancer:
        """The open model."""
        return open_enhancer(self.options)

    def stop(self) -> None:
        """Finish what is in work, and end. May be called by the handler of a signal."""
        self.stopping = True

    def results(self, enhancer: Enhancer) -> Iterator[Result]:
        """What became of each file, as it comes, until `stop` or the limit. Closing it is like `stop`; see `late`."""
        self.witness.begin(enhancer, None)
        try:
            while not self.stopping:
                self.look()
                if run := self.plan_round():
                    yield from self.round(run, enhancer)
                else:
                    self.rest()
        finally:
            self.witness.end()
            self.memory.close()

    def round(self, run: Run, enhancer: Enhancer) -> Iterator[Result]:
        """Enhance some files."""
        try:
            with contextlib.closing(run.results(enhancer)) as results:
                for result in results:
                    if told := self.outcome(result):
                        yield told
                    if self.stopping or self.witness.stopped:
                        break
        finally:
            self.late = [told for result in run.late if (told := self.outcome(result))]
            self.working.clear()
        while self.late:
            yield self.late.pop(0)
        self.stopping |= self.witness.stopped

    def rest(self) -> None:
        """Until the next look; the wish to stop is noticed on the way."""
        while not self.stopping and (left := self.next_look - time.monotonic()) > 0:
            time.sleep(min(left, SLICE))

    def look(self) -> None:
        """See what has come, changed and gone, if it is time."""
        now = time.monotonic()
        if now < self.next_look:
            return
        thorough = now >= self.next_thorough
        found = self.scan(thorough=thorough)
        self.next_look = now + max(self.pace.poll, SHARE * (time.monotonic() - now))
        self.tell()
        if found is None:
            return
        self.looks += 1
        for seen in found:
            self.note(seen, now)
        if thorough:
            self.next_thorough = now + THOROUGH
            self.forget(self.folders.present)
            self.folders.present = set()

    def scan(self, *, thorough: bool) -> list[Seen] | None:
        """What a look sees; None if the folders do not answer. While a look hangs, no other is made."""
        if self.looking:
            return None

        def look(alive: Callable[[], None]) -> list[Seen]:
            def goes_on() -> None:
                alive()
                if self.stopping:
                    raise Stopped

            self.looking = True
            try:
                return self.folders.look(self.memory.known, goes_on, thorough=thorough)
            finally:
                self.looking = False

        try:
            return patiently(look, STALL)
        except Stopped:
            return None
        except PictureError:
            self.folders.problems = {", ".join(self.folders.roots): "no answer"}
            return None

    def tell(self) -> None:
        """Say once what cannot be read, and that it can be read again."""
        problems = dict(self.folders.problems)
        if not self.memory.here:
            problems[str(self.options.layout.out)] = f"{self.memory.path.name}, which this watch keeps there, is gone"
        for folder in sorted(problems.keys() - self.gone.keys()):
            self.say(f"{folder}: {problems[folder]}; waiting for it")
        for folder in sorted(self.gone.keys() - problems.keys()):
            self.say(f"{folder} is there again")
        self.gone = problems
        for suffix in sorted(self.folders.kinds - self.kinds):
            hint = to_install([suffix])
            self.say(f"note: {suffix} files are passed over, as this kind is not read. {hint}".rstrip())
        for path in sorted(self.folders.passed.odd - self.odd):
            self.say(f"note: {path} is not a file, or a link to nothing; it is passed over as long as it is")
        self.kinds, self.odd = self.kinds | self.folders.kinds, {*self.folders.passed.odd}

    def note(self, seen: Seen, now: float) -> None:
        """A file was seen that is not known, or may have changed."""
        known = self.memory.known.get(seen.relative)
        if known is None and seen.relative not in self.pending:
            known = self.memory.recall(seen.relative, seen.stamp)
        if known in (seen.stamp, ELSEWHERE):
            return
        if not planning.in_shard(Path(seen.relative), self.options.layout.shard):
            self.memory.known[seen.relative] = ELSEWHERE
            return
        pending = self.pending.get(seen.relative)
        if pending is not None and pending.seen.stamp == seen.stamp:
            pending.look, pending.looks = self.looks, pending.looks + 1
            return
        done = known if pending is None and seen.relative not in self.memory.failed else None
        done = pending.done if pending is not None else done
        if done == seen.stamp:  # it is what it was again
            self.memory.add(seen.relative, done)
            self.pending.pop(seen.relative)
            return
        # From now on quick looks see it, until it is done.
        self.memory.known.pop(seen.relative, None)
        self.pending[seen.relative] = Pending(seen, now, now + self.pace.settle, self.looks, done=done)

    def forget(self, present: set[str]) -> None:
        """Files that are gone cost no memory; those of folders that are gone come back."""
        unseen = self.folders.unseen
        for table in (self.memory.known, self.pending):
            present |= {name for name in table if name.startswith(unseen)}
        self.pending = {name: pending for name, pending in self.pending.items() if name in present}
        self.memory.forget(present)
        self.plan.forget(present)

    def plan_round(self) -> Run | None:
        """A run of files that have rested; None if there are none, or no folder to write to."""
        now = time.monotonic()
        ready = [p for p in self.pending.values() if p.due <= now and p.look == self.looks and p.looks > 1]
        # `gone` is what the last look saw, and what is planned would make the output folder anew.
        if not ready or str(self.options.layout.out) in self.gone or not self.memory.here:
            return None
        left = ROUND if self.limit is None else min(ROUND, self.limit - self.count)
        jobs: dict[Job, int] = {}
        for pending in in_order(ready):
            if len(jobs) < left and (job := self.job(pending, now)):
                jobs[job] = pending.seen.stamp
                self.working[job.source] = pending
        return self.plan.run(jobs) if jobs else None

    def job(self, pending: Pending, now: float) -> Job | None:
        """What is to be done with a file; None: nothing yet."""
        job = self.plan.job(Path(pending.seen.path), Path(pending.seen.relative), changed=pending.done is not None)
        if now - pending.since < self.pace.patience:
            if job.problem:
                pending.due = pending.since + self.pace.patience
                return None
            if written_elsewhere(pending.seen.path):
                pending.due = self.next_look
                return None
        return job

    def outcome(self, result: Result) -> Result | None:
        """Keep in mind what became of a file; None if that need not be told, or may change."""
        pending = self.working.pop(result.source)
        name, number = pending.seen.relative, pending.seen.stamp
        if result.status != "failed":
            self.settle(pending)
            return self.count_result(with_age(result, number) if result.status == "skipped" else result)
        if stamp_of(pending.seen.path) != number and not self.witness.stopped:
            pending.due = self.next_look  # which sees what it is now
            return None
        now, patience = time.monotonic(), self.pace.patience
        if now - pending.since < patience and not self.witness.stopped:
            pending.due = pending.since + patience
            return None
        known = self.memory.told.get(name) == (number, result.error)
        if undecodable(result.source, self.options.max_pixels):
            self.settle(pending, result.error)
        else:
            pending.tries += 1
            pending.due = now + min(patience * 2.0 ** min(pending.tries, 60), LATEST)
            if not known:
                self.memory.add(name, number, result.error, final=False)
        return None if known else self.count_result(result)

    def waiting(self) -> list[str]:
        """Paths of files that the last look saw, and that were not tried yet."""
        found = [pending for pending in self.pending.values() if pending.look == self.looks and not pending.tries]
        return [pending.seen.path for pending in in_order(found)]

    def settle(self, pending: Pending, error: str | None = None) -> None:
        """Nothing is left to do with a file, unless it changes."""
        self.memory.add(pending.seen.relative, pending.seen.stamp, error)
        self.pending.pop(pending.seen.relative, None)

    def count_result(self, result: Result) -> Result:
        """The same, once it is known whether it is the last one."""
        self.count += result.status != "skipped"
        self.stopping |= self.count == self.limit or (self.fail_fast and result.status == "failed")
        return result
