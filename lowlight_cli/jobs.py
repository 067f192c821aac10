"""What to do: every source gets its target, and every conflict is found, before any work."""

# ruff: noqa: PTH110, PTH112, PTH113 - `os.path` says False where a folder may not be looked into, `Path` raises.

from __future__ import annotations

import glob
import hashlib
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lowlight_cli.errors import NoInput, OptionError, OutputExists, some
from lowlight_cli.inputs import UNWRITTEN, Found, gather, nobody, passed_over, unique
from lowlight_cli.picture import SUFFIXES
from lowlight_cli.picture.extras import HEIF, RAW, readable, to_install

LOSSLESS = ("png", "tiff", "bmp", "ppm")
"""Formats that give back every pixel."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How targets are named and which sources are taken."""

    out: Path
    format: str = "keep"
    """One to write; `keep`: that of the source; `lossless`: that too, but png where it would lose something."""
    suffix: str = ""
    flatten: bool = False
    existing: Literal["refuse", "never", "overwrite", "skip"] = "refuse"
    """`never` refuses too, and offers no --overwrite."""
    shard: tuple[int, int] = (1, 1)
    limit: int | None = None


@dataclass(frozen=True)
class Job:
    """One picture to read, one to write. `relative` is the source's path below the input that named it.

    `problem` tells why it cannot even be tried; `skip` that its target is there already.
    """

    source: Path
    target: Path
    relative: Path
    problem: str = ""
    skip: bool = False
    remedy: str = "Check the permissions."


def nothing(_: Job) -> Iterable[Path]:
    """A picture has its target alone."""
    return ()


def plan(
    inputs: Sequence[str],
    layout: Layout,
    empty: Callable[[str], None] = nobody,
    beside: Callable[[Job], Iterable[Path]] = nothing,
) -> list[Job]:
    """All jobs in natural order. Conflicts and missing inputs are errors; `empty` is told of each input among others
    that gave nothing. `beside` names what a run writes of a picture besides its target."""
    if {"/", os.sep, "\0"} & {*layout.suffix}:
        raise OptionError(f"--suffix {layout.suffix!r} cannot be a part of a name.", "Use one such as _bright.")
    single = single_target(inputs, layout)
    found = unique(gather(inputs, layout.out, readable(), empty))
    if not found:
        hint = f"Known kinds: {', '.join(sorted(readable()))}. {to_install(passed_over(inputs))}".rstrip()
        raise NoInput(f"There are no pictures in {', '.join(inputs)}.", hint)
    jobs = [Job(f.source, single or target(f, layout), f.relative, f.problem) for f in found]
    if layout.existing == "skip":
        # What an earlier run has left beside its inputs is no input, unless somebody names it.
        made = {same_name(path) for job in jobs for path in (*[job.target] * bool(layout.suffix), *beside(job))}
        jobs = [job for job in jobs if same_name(job.source) not in made or str(job.source) in inputs]
    given = {"--flatten": layout.flatten, "--format": layout.format != "keep"}
    refuse_collisions(jobs, " or ".join(option for option, there in given.items() if there))
    refuse_writing_over_inputs(jobs)
    refuse_leading_out(jobs, layout.out.parent if single else layout.out)
    jobs = [job for job in jobs if in_shard(job.relative, layout.shard)][: layout.limit]
    return mark_existing(jobs, layout.existing)


def single_target(inputs: Sequence[str], layout: Layout) -> Path | None:
    """The target, if one file goes to one file."""
    out = layout.out
    if os.path.isdir(out):
        return None
    refuse_no_file(out)
    if one_file(inputs, out):
        if os.path.exists(out) or out.suffix.lower() in {*SUFFIXES, *UNWRITTEN}:
            format_to_write(layout)
            if layout.suffix:
                raise OptionError(
                    f"--out {out} is the whole name: --suffix {layout.suffix} has no place in it.",
                    "Leave out one of them.",
                )
            return out
    elif len(inputs) == 1 and not os.path.lexists(inputs[0]) and not glob.has_magic(inputs[0]):
        return None  # `gather` says that it is not there
    elif os.path.exists(out) or out.suffix.lower() in SUFFIXES:
        remedy = "Name a folder, or one input and one output file."
        raise OptionError(f"--out {out} names a file, not a folder.", remedy)
    return None


def one_file(inputs: Sequence[str], out: Path) -> bool:
    """Whether there is one input, a file or a pipe, and no folder to put its picture into: `out` may name a file."""
    if len(inputs) != 1 or any(map(os.path.isdir, (inputs[0], out))):
        return False
    return inputs[0] == "-" or os.path.lexists(inputs[0])


def refuse_no_file(out: Path) -> None:
    """What stands in the way of a file that is to be written, a device or a pipe say, would be replaced by it."""
    if os.path.lexists(out) and not os.path.isfile(out):
        raise OptionError(f"--out {out} is neither a folder nor a file.", "Choose another --out.")


def format_to_write(layout: Layout) -> str:
    """The format of the one file that `out` names."""
    suffix = layout.out.suffix.lower()
    if suffix not in SUFFIXES:
        raise OptionError(
            f"--out {layout.out}: pictures cannot be written as {suffix or 'a file without suffix'}.",
            f"Known kinds: {', '.join(sorted(SUFFIXES))}.",
        )
    if layout.format == "lossless" and SUFFIXES[suffix] not in LOSSLESS:
        raise OptionError(f"--out {layout.out}: {suffix} loses something.", f"Choose one of {', '.join(LOSSLESS)}.")
    if layout.format not in ("keep", "lossless", SUFFIXES[suffix]):
        raise OptionError(f"--out {layout.out} and --format {layout.format} do not agree.", "Leave out one of them.")
    return SUFFIXES[suffix]


def target(found: Found, layout: Layout) -> Path:
    """Out folder + relative path + suffix + the format's extension.

    What is read but not written, or not where `lossless` is asked for, keeps its whole name before that: IMG_1.NEF lies
    beside an IMG_1.JPG of the same shot.
    """
    relative = Path(found.relative.name) if layout.flatten else found.relative
    extension = relative.suffix
    other = layout.format == "lossless" and SUFFIXES.get(extension.lower()) not in LOSSLESS
    stem = relative.name if other or extension.lower() in RAW | HEIF else relative.stem
    if layout.format == "lossless":
        extension = ".png" if other else extension
    elif layout.format != "keep" and SUFFIXES.get(extension.lower()) != layout.format:
        extension = f".{layout.format}"
    elif extension.lower() not in SUFFIXES:
        extension = ".png"
    return layout.out / relative.with_name(f"{stem}{layout.suffix}{extension}")


def same_name(path: Path) -> str:
    """What makes two targets one file: on macOS and Windows case and Unicode form do not count."""
    text = os.path.abspath(path)
    return unicodedata.normalize("NFC", text).casefold() if sys.platform in ("darwin", "win32") else text


def refuse_collisions(jobs: Sequence[Job], option: str) -> None:
    """Two sources with one target are an error that names them; `option`, if any, may have brought it about."""
    seen: dict[str, Job] = {}
    for job in jobs:
        if job.problem:
            continue
        other = seen.setdefault(same_name(job.target), job)
        if other is not job:
            remedy = f"Leave out {option}" if option else "Rename one of them"
            if other.relative == job.relative:
                remedy = "Name a folder that holds both, instead of what lies in it"
            raise OutputExists(
                f"{other.source} and {job.source} would both be written to {job.target}.",
                f"{remedy}, or enhance them into different folders.",
            )


def refuse_writing_over_inputs(jobs: Sequence[Job]) -> None:
    """A target that is one of the sources, by whatever name or link, is an error, --overwrite or not."""
    sources = {identity(job.source) for job in jobs} - {None}
    for job in jobs:
        if identity(job.target) in sources:
            raise OutputExists(
                f"{job.target} is an input; lowlight never writes over its inputs.",
                "Choose another --out, or a --suffix such as _bright; with that and --skip-existing a run goes on.",
            )


def refuse_leading_out(jobs: Sequence[Job], out: Path) -> None:
    """A link below the folder `out` that would lead what is written elsewhere is an error; `out` itself may be one."""
    root = Path(os.path.realpath(out))
    for folder in sorted({job.target.parent for job in jobs}):
        if root not in ((real := Path(os.path.realpath(folder))), *real.parents):
            raise OutputExists(f"{folder} leads out of {out}, to {real}.", "Remove the link, or choose another --out.")


def identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file, or None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def in_shard(relative: Path, shard: tuple[int, int]) -> bool:
    """Whether a path belongs to part I of N: decided by its name alone, so that every path is in just one part."""
    part, parts = shard
    digest = hashlib.sha256(os.fsencode(relative.as_posix())).digest()  # as it lies on the disk, in any locale
    return int.from_bytes(digest[:8], "big") % parts == part - 1


def obstacle(target: Path) -> tuple[str, str] | None:
    """What stands where a picture would be written and can be no earlier one, and a remedy."""
    if not os.path.exists(target) or os.path.isfile(target):
        return None
    what = "a folder" if os.path.isdir(target) else "not a regular file"
    return f"{target} is {what}, and a picture would be written there.", "Remove or rename it."


def mark_existing(jobs: Sequence[Job], rule: str) -> list[Job]:
    """Mark jobs whose target is there as skipped, or refuse them all."""
    there = [job.target for job in jobs if not job.problem and os.path.lexists(job.target)]
    for path in there:
        if problem := obstacle(path):
            raise OutputExists(*problem)
    if rule in ("refuse", "never") and there:
        other = " or --overwrite" if rule == "refuse" else ""
        raise OutputExists(
            f"{some([*map(str, there)])} exist{'s' * (len(there) == 1)} already.",
            f"Nothing was done. Use --skip-existing{other}.",
        )
    present = {*there} if rule == "skip" else ()
    return [replace(job, skip=not job.problem and job.target in present) for job in jobs]
