"""Where the maps of pictures go: illumination, attention, whatever a network has besides its output.

`DIR/<where the output lies below --out>/<its stem>-<map>.png`, one 8-bit PNG per map and picture, grey for one channel,
of the size of the input even where the output is twice as large. The rules are those of outputs: no two pictures have
one file, no input is written over, what exists stops the run before any work, or stays, or is replaced.

A map that cannot be made or written makes its file a failed one. The enhanced picture is written first and stays: it
is whole and is what was asked for. `--skip-existing` then writes the missing maps alone.
"""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_cli import jobs as planning
from lowlight_cli.errors import NoInput, OptionError
from lowlight_cli.inputs import inside, nobody
from lowlight_cli.jobs import Job, Layout
from lowlight_cli.picture import Picture
from lowlight_cli.tasks.results import Item

if TYPE_CHECKING:
    from lowlight_cli.tasks.enhance import EnhanceOptions

Files = dict[Job, dict[str, Path]]
"""Paths of maps by job and name."""


def sources(
    inputs: Sequence[str],
    layout: Layout,
    folder: Path,
    empty: Callable[[str], None] = nobody,
    beside: Callable[[Job], Iterable[Path]] = planning.nothing,
) -> list[Job]:
    """All jobs of `jobs.plan`, of all parts and unlimited, without maps of an earlier run below an input folder."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise OptionError(f"--save-maps {folder} is not a folder.", "Choose another one.")
    rule = "skip" if layout.existing == "skip" else "overwrite"
    free = dataclasses.replace(layout, existing=rule, shard=(1, 1), limit=None)
    jobs = planning.plan(inputs, free, empty, beside)
    if any(inside(Path(name), folder) for name in inputs):
        return jobs  # asked for by name
    if left := [job for job in jobs if not inside(job.source.parent, folder)]:
        return left
    raise NoInput(f"There are no pictures in {', '.join(inputs)} but maps.", "Check the name.")


def plan(everything: Sequence[Job], layout: Layout, folder: Path, names: Sequence[str]) -> tuple[list[Job], Files]:
    """The jobs of this part, and all their maps. Conflicts are errors."""
    every = [file for _, _, file in files(everything, layout, folder, names)]
    planning.refuse_collisions([*everything, *every], "--save-maps")
    planning.refuse_writing_over_inputs(every)
    planning.refuse_leading_out(every, folder)
    jobs = [job for job in everything if planning.in_shard(job.relative, layout.shard)][: layout.limit]
    jobs = planning.mark_existing(jobs, layout.existing)
    mine = files(jobs, layout, folder, names)
    planning.mark_existing([file for *_, file in mine], layout.existing)
    return jobs, table(mine)


def table(found: Sequence[tuple[Job, str, Job]]) -> Files:
    """The same maps by job and name."""
    paths: Files = defaultdict(dict)
    for job, name, file in found:
        paths[job][name] = file.target
    return dict(paths)


def to_write(every: Files, jobs: Sequence[Job], planned: Sequence[Job], options: EnhanceOptions) -> Files:
    """Of all maps of `jobs` those to write, by the jobs as a witness has `planned` them: where what exists stays, those
    that are missing; with a log, of pictures that are made again all, to be compared."""
    found: Files = {}
    for old, new in zip(jobs, planned, strict=True):
        again = options.layout.existing != "skip" or (options.evidence is not None and not new.skip)
        wanted = {name: path for name, path in every.get(old, {}).items() if again or not os.path.lexists(path)}
        if wanted:
            found[new] = wanted
    return found


def files(jobs: Sequence[Job], layout: Layout, folder: Path, names: Sequence[str]) -> list[tuple[Job, str, Job]]:
    """For every job and map (job, map, the job of writing it)."""
    found = []
    for job in jobs:
        below = Path(job.target.name) if job.target == layout.out else job.target.relative_to(layout.out)
        for name in names if not job.problem else ():
            path = folder / below.with_name(f"{below.stem}-{name}.png")
            found.append((job, name, Job(job.source, path, job.relative)))
    return found


def save(item: Item, put: Callable[[Item, Picture, Path], None]) -> None:
    """Write the maps that are wanted of a picture by `put`; its `written` lists what is whole, if one fails."""
    if item.unmapped is not None:
        raise item.unmapped
    for name, path in item.wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        put(item, item.maps[name], path)
