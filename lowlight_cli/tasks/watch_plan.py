"""What a watch does with the files that have rested: which output belongs to which, and what stands in its way."""

from __future__ import annotations

import dataclasses
import glob
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_cli import atomic, manifest
from lowlight_cli import jobs as planning
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import LowlightError, OptionError, PictureError, reason_of
from lowlight_cli.inputs import Found, natural
from lowlight_cli.jobs import Job
from lowlight_cli.runners.options import map_names
from lowlight_cli.tasks import maps as map_files
from lowlight_cli.tasks.enhance import EnhanceOptions, Run, runner_options
from lowlight_cli.tasks.results import Item, Result
from lowlight_cli.tasks.unwitnessed import Unwitnessed
from lowlight_cli.tasks.watch_folders import Seen, parts, stamp_of

if TYPE_CHECKING:
    from lowlight_cli.picture import Picture

SKEW_NS = 2_000_000_000
"""What clocks and the times of some file systems may differ by."""


@dataclasses.dataclass(slots=True)
class Pending:
    """A file that is not done. Times are those of the monotonic clock."""

    seen: Seen
    since: float
    """When its stamp was first seen."""
    due: float
    look: int
    """Number of the last look that saw it."""
    looks: int = 1
    tries: int = 0
    done: int | None = None
    """Its stamp when it was done, if it was, and is another one now."""
    place: tuple[object, str] = dataclasses.field(init=False)
    """Where its name stands among others: each round of a long backlog asks all of them."""

    def __post_init__(self) -> None:
        self.place = natural(Path(self.seen.relative))


def in_order(files: Iterable[Pending]) -> list[Pending]:
    """In natural order of their names."""
    return sorted(files, key=lambda pending: pending.place)


class Checked(Unwitnessed):
    """A witness, or nobody, and a look at what was read: only what has rested is enhanced."""

    def __init__(self, witness: Unwitnessed, stamps: Mapping[Path, int]) -> None:
        super().__init__(witness.options)
        self.witness, self.stamps = witness, stamps

    @property
    def stopped(self) -> bool:
        """See `Unwitnessed`."""
        return self.witness.stopped

    # The watch itself tells its witness of the begin and the end.

    def read(self, item: Item, data: bytes) -> None:
        """The source's bytes were read; `picture.read` sees to it that none of them changed meanwhile."""
        if stamp_of(str(item.job.source)) != self.stamps[item.job.source]:
            raise PictureError("It has changed since the last look.", "It is tried again when it has rested.")
        self.witness.read(item, data)

    def decoded(self, item: Item) -> None:
        """See `Unwitnessed`."""
        self.witness.decoded(item)

    def enhanced(self, item: Item, enhancer: Enhancer) -> None:
        """See `Unwitnessed`."""
        self.witness.enhanced(item, enhancer)

    def put_map(self, item: Item, made: Picture, path: Path) -> None:
        """See `Unwitnessed`."""
        self.witness.put_map(item, made, path)

    def put(self, item: Item, data: bytes) -> None:
        """Write the output. It will be remembered as done: a power cut must not take its name back."""
        self.witness.put(item, data)
        atomic.sync_folder(item.job.target.parent)

    def finish(self, item: Item) -> None:
        """See `Unwitnessed`."""
        self.witness.finish(item)


class Plan:
    """Where the pictures of a watch go. Conflicts are those of `jobs.plan`, found as files come."""

    def __init__(self, options: EnhanceOptions, witness: Unwitnessed) -> None:
        self.options, self.witness = options, witness
        self.claims: dict[int, str] = {}
        """Inputs by a hash of their target's name, where two may have one target."""
        self.names = [] if options.maps is None else map_names(manifest.find(options.model), runner_options(options))

    def run(self, jobs: Mapping[Job, int]) -> Run:
        """A run of these files, with the stamps that they must have when they are read. To plan whole folders for each
        run would take longer than its work."""
        planned = plan_each(self.witness, [*jobs])
        maps = map_files.to_write(self.maps([*jobs]), [*jobs], planned, self.options)
        witness = Checked(self.witness, {job.source: number for job, number in jobs.items()})
        return Run(self.options, witness, planned, maps)

    def job(self, source: Path, relative: Path, *, changed: bool) -> Job:
        """What is to be done with a file; `changed`: it was done, and is another one now."""
        target = planning.target(Found(source, relative), self.options.layout)
        problem, remedy = self.obstacle(relative.as_posix(), target, changed=changed)
        return Job(source, target, relative, problem, skip=not problem and os.path.lexists(target), remedy=remedy)

    def forget(self, present: Iterable[str]) -> None:
        """Only these files are there."""
        present = {*present}
        self.claims = {key: name for key, name in self.claims.items() if name in present}

    def obstacle(self, name: str, target: Path, *, changed: bool) -> tuple[str, str]:
        """Why a file cannot have its output, and a remedy; both are empty if it can."""
        if (other := self.claim(name)) != name:
            return f"{other} and {name} would both be written to {target}.", "Rename one of them."
        if problem := planning.obstacle(target):
            return problem
        if changed and os.path.lexists(target):
            remedy = "Give pictures names of their own; or remove that output, and it is made anew."
            return f"It has changed since it was enhanced; {target}, made of what it was, is left alone.", remedy
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"{target.parent} cannot be made: {reason_of(error)}.", "Remove or rename what is in its place."
        return "", ""

    def claim(self, relative: str) -> str:
        """The input that a target belongs to: this one, unless another came before."""
        layout = self.options.layout
        if layout.format == "keep" and not layout.flatten and sys.platform not in ("darwin", "win32"):
            return relative
        return self.claims.setdefault(hash(self.output_of(relative)), relative)

    def output_of(self, relative: str) -> str:
        """What makes the outputs of two inputs one file."""
        return planning.same_name(planning.target(Found(Path(relative), Path(relative)), self.options.layout))

    def maps(self, jobs: Sequence[Job]) -> map_files.Files:
        """All maps, by job."""
        folder = self.options.maps
        return {} if folder is None else map_files.table(map_files.files(jobs, self.options.layout, folder, self.names))


def plan_each(witness: Unwitnessed, jobs: Sequence[Job]) -> list[Job]:
    """The jobs as a witness wants them. What it refuses of a whole run is a file's own problem here: no file ends a
    watch. Two files that stand in each other's way are told when the second is written.
    """
    try:
        return witness.plan(jobs)
    except LowlightError as error:
        if len(jobs) == 1:
            return [dataclasses.replace(job, problem=error.message, remedy=error.hint, skip=False) for job in jobs]
        return [one for job in jobs for one in plan_each(witness, [job])]


def root_names(options: EnhanceOptions) -> dict[str, str]:
    """The folders to watch, and what their names are before the paths below them, as in `inputs.gather`."""
    roots: dict[str, str] = {}
    for name in options.inputs:
        if (os.path.lexists(name) and not Path(name).is_dir()) or (not os.path.lexists(name) and glob.has_magic(name)):
            raise OptionError(
                f"--watch watches folders, and {name} is not a folder.", "Name the folder that it lies in."
            )
        roots[name] = f"{Path(name).resolve().name}/" if len(options.inputs) > 1 else ""
    if len({*roots.values()}) < len(options.inputs):
        raise OptionError("Two of the folders have one name, and would share their outputs.", "Watch each by itself.")
    planning.single_target(options.inputs, options.layout)
    return roots


def refuse_around(path: Path, roots: Sequence[str] | dict[str, str], option: str) -> None:
    """An output folder that holds a watched one would be watched itself, and its outputs enhanced again and again."""
    for root in map(Path, roots):
        if path.resolve() in (root.resolve(), *root.resolve().parents):
            raise OptionError(f"{option} {path} is or holds {root}, which is watched.", "Choose another folder.")


def with_age(result: Result, number: int) -> Result:
    """A result of a file whose output was there, with a notice if the file is newer than that."""
    try:
        newer = parts(number)[1] - result.target.stat().st_mtime_ns > SKEW_NS
    except OSError:
        return result
    if not newer:
        return result
    notice = f"It is newer than {result.target}, which was there already and was left alone."
    return dataclasses.replace(result, notices=(*result.notices, notice))
