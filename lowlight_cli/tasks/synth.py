"""Make pairs of low-light and normal-light pictures from normal photos.

A pair depends on the seed, the options that say how it is made (preset, ranges, crop, depth), the photo, its path
below the input and the number of its copy: not on the other photos, the number of workers or an interruption. Only
which photos are kept for tests depends on all of them. `synth.jsonl` keeps every drawn parameter, a line a pair.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture
from lowlight_cli.choices import CAMERA
from lowlight_cli.data.darken import PRESETS, Preset, Range, from_record
from lowlight_cli.errors import NoInput, OptionError, OutputExists, PictureError
from lowlight_cli.inputs import Found, gather, passed_over, unique
from lowlight_cli.jobs import identity
from lowlight_cli.tasks import synth_records, synth_workers
from lowlight_cli.tasks.results import as_lowlight_error
from lowlight_cli.tasks.synth_records import Record

ANY_PATH = "Check the path, its permissions and the space on the disk."
REMEDIES = {"memory": "Go on with --resume and fewer --workers.", "path": ANY_PATH, "disk": ANY_PATH}
"""See `results.as_lowlight_error`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """What `lowlight synth` can be told."""

    inputs: tuple[str, ...]
    out: Path
    preset: str = CAMERA
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    """In place of the preset's own, by name."""
    count: int | None = None
    """Pairs, those for tests not counted; None: one of each photo that is not kept for tests."""
    test: int = 0
    """Pairs made besides from photos that give no others; they go to `test/`, the rest to `train/`."""
    crop: int = 0
    """Side of a random square of each photo; 0: the whole photo."""
    seed: int = 0
    depth: Literal[8, 16] = 8
    workers: int = 1
    resume: bool = False
    max_pixels: int = picture.MAX_PIXELS


@dataclasses.dataclass(frozen=True)
class Task:
    """A photo and the pairs to be made of it: (folder below `out`, name, number of the copy)."""

    photo: Path
    relative: str
    pairs: tuple[tuple[str, str, int], ...]
    problem: str = ""
    """Why the photo cannot even be tried."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one photo: how many pairs it gave, or why none."""

    source: Path
    pairs: int = 0
    error: str | None = None
    hint: str | None = None


class Synth:
    """A planned run: every conflict is found before any work."""

    def __init__(self, options: SynthOptions) -> None:
        self.options = options
        self.preset = checked_preset(options)
        synth_records.refuse_unreachable(options.out)
        refuse_photos_as_output(options)
        found = unique(gather(options.inputs, options.out))
        if not found:
            raise NoInput(f"There are no pictures in {', '.join(options.inputs)}.", "Name folders of normal photos.")
        refuse_equal_names(found)
        self.tasks = planned(found, options)
        kept = synth_records.prepare(options.out, settings(options, found), resume=options.resume)
        synth_records.refuse_other_content(kept, {f.relative.as_posix(): f.source for f in found if not f.problem})
        self.records = [record for record in kept if self.agrees(record)]
        """Of all pairs that are there."""
        self.passed_over = passed_over(options.inputs)
        """Kinds of pictures that are not read, and how many of each lie among the photos."""

    @functools.cached_property
    def plan(self) -> dict[tuple[str, str], tuple[str, int]]:
        """(folder, name) of every pair in order -> (photo, number of the copy)."""
        return {pair[:2]: (task.relative, pair[2]) for task in self.tasks for pair in task.pairs}

    @property
    def total(self) -> int:
        """Pairs asked for."""
        return sum(len(task.pairs) for task in self.tasks)

    def count(self) -> int:
        """Pairs that are there now; those of a photo that was interrupted too."""
        return sum(self.agrees(record) for record in synth_records.load(self.options.out))

    def short(self) -> str:
        """How many of the pairs that were asked for are there, where some are not."""
        asked = Counter(folder for folder, _ in self.plan)
        there = Counter(record["folder"] for record in synth_records.load(self.options.out) if self.agrees(record))
        if all(there[folder] >= count for folder, count in asked.items()):
            return ""
        kinds = {"test": "test pairs"}
        return " and ".join(f"{there[key]} of {count} {kinds.get(key, 'pairs')}" for key, count in asked.items())

    def agrees(self, record: Record) -> bool:
        """Whether a record is what the plan says of its pair, if it says anything."""
        made = (record["photo"], record.get("copy"))
        return self.plan.get((record["folder"], record["name"]), made) == made

    def results(self) -> Iterator[Result]:
        """Do it: a result for every photo that lacks pairs, in the order in which they are finished."""
        done = {(record["folder"], record["name"]) for record in self.records}
        left = [
            dataclasses.replace(task, pairs=tuple(pair for pair in task.pairs if pair[:2] not in done))
            for task in self.tasks
        ]
        make = functools.partial(work, options=self.options, preset=self.preset)
        for result, records in synth_workers.each(make, [task for task in left if task.pairs], self.options.workers):
            self.records += records
            yield result
        place = {key: number for number, key in enumerate(self.plan)}
        self.records.sort(key=lambda record: place.get((record["folder"], record["name"]), len(place)))
        synth_records.rewrite(self.options.out, self.records)


def refuse_photos_as_output(options: SynthOptions) -> None:
    """An OptionError for an output that is the folder of the photos; among others it is left out as an input."""
    out = identity(options.out)
    if out is not None and [identity(Path(name)) for name in options.inputs] == [out]:
        raise OptionError(f"--out {options.out} is the folder of the photos.", "Choose another --out.")


def checked_preset(options: SynthOptions) -> Preset:
    """The preset with the user's ranges; nonsense is an OptionError."""
    if options.preset not in PRESETS:
        raise OptionError(f"There is no preset {options.preset!r}.", f"There are {', '.join(PRESETS)}.")
    return PRESETS[options.preset].with_ranges(options.ranges)


def settings(options: SynthOptions, found: Sequence[Found]) -> dict[str, Any]:
    """What must be equal for a run to be resumed."""
    names = ("preset", "count", "test", "crop", "seed", "depth")
    ranges = {name: list(span) for name, span in options.ranges.items()}
    photos = [f.relative.as_posix() for f in found]
    return {**{name: getattr(options, name) for name in names}, "ranges": ranges, "photos": photos}


def refuse_equal_names(found: Sequence[Found]) -> None:
    """Two photos whose pairs would have one name are an error that names them."""
    names: dict[str, Path] = {}
    for item in found:
        if not item.problem and (other := names.setdefault(pair_name(item), item.source)) is not item.source:
            raise OutputExists(f"{other} and {item.source} would give pairs of one name.", "Rename one of them.")


def pair_name(photo: Found) -> str:
    """What the names of a photo's pairs begin with; no dot, or nobody would see them."""
    return photo.relative.with_suffix("").as_posix().replace("/", "_").lstrip(".") or "photo"


def planned(found: Sequence[Found], options: SynthOptions) -> list[Task]:
    """Which pairs each photo gives."""
    if not options.test:
        return tasks_of(found, options.count or len(found), "")
    count = options.count or len(found)
    share = max(1, round(len(found) * options.test / (count + options.test)))
    if share >= len(found):
        raise OptionError(
            f"{len(found)} photos cannot be parted for {count} pairs and {options.test} for tests.", "Give more photos."
        )
    order = sorted(found, key=lambda f: digest(options.seed, f.relative.as_posix()))
    held = {id(f) for f in order[:share]}
    training, test = [f for f in found if id(f) not in held], [f for f in found if id(f) in held]
    return [*tasks_of(training, options.count or len(training), "train"), *tasks_of(test, options.test, "test")]


def tasks_of(found: Sequence[Found], count: int, folder: str) -> list[Task]:
    """`count` pairs from these photos in turn."""
    digits = len(str(-(-count // len(found)) - 1))
    tasks = []
    for number, item in enumerate(found):
        copies = range(len(range(number, count, len(found))))
        pairs = tuple((folder, f"{pair_name(item)}-{copy:0{digits}}.png", copy) for copy in copies)
        tasks.append(Task(item.source, item.relative.as_posix(), pairs, item.problem))
    return [task for task in tasks if task.pairs]


def work(task: Task, options: SynthOptions, preset: Preset) -> tuple[Result, list[Record]]:
    """Make the pairs of one photo; whatever fails is its result. Runs in a worker process."""
    records: list[Record] = []
    try:
        photo, source = opened(task, options)
        for folder, name, copy in task.pairs:
            if synth_workers.stopping():
                break
            record = {"folder": folder, "name": name, **source, **drawn(task, copy, photo, options, preset)}
            write(record, photo, options)
            synth_records.append(options.out, record)
            records.append(record)
    except Exception as error:  # noqa: BLE001 - the boundary of one photo
        failure = as_lowlight_error(error, **REMEDIES)
        return Result(task.photo, len(records), failure.message, failure.hint), records
    return Result(task.photo, len(records)), records


def opened(task: Task, options: SynthOptions) -> tuple[NDArray, dict[str, str]]:
    """A photo's pixels, and what a record says of it."""
    if task.problem:
        raise PictureError(task.problem, "Check the permissions.")
    data = picture.read(task.photo)
    photo = picture.load(data, max_pixels=options.max_pixels)
    if options.crop > min(photo.height, photo.width):
        raise PictureError(f"It is {photo.width}x{photo.height}.", f"--crop {options.crop} does not fit into it.")
    return photo.pixels, {"photo": task.relative, "photo_sha256": hashlib.sha256(data).hexdigest()}


def drawn(task: Task, copy: int, pixels: NDArray, options: SynthOptions, preset: Preset) -> dict[str, Any]:
    """Everything that chance decides of one pair."""
    rng = np.random.default_rng(digest(options.seed, task.relative, copy))
    height, width = pixels.shape[:2]
    side = (options.crop, options.crop) if options.crop else (height, width)
    box = [int(rng.integers(height - side[0] + 1)), int(rng.integers(width - side[1] + 1)), *side]
    parameters = dataclasses.asdict(preset.draw(rng, preset.ranges))
    if options.depth == 16 and "quality" in parameters:
        parameters["quality"] = 0  # a JPEG file has eight bits
    return {"copy": copy, "box": box, "preset": options.preset, "parameters": parameters}


def digest(*parts: object) -> list[int]:
    """A seed from whatever names a thing."""
    text = os.fsencode("\0".join(map(str, parts)))  # paths as they lie on the disk, in any locale
    return np.frombuffer(hashlib.sha256(text).digest(), "<u4").tolist()


def pair_of(record: Mapping[str, Any], pixels: NDArray, depth: int) -> tuple[NDArray, NDArray]:
    """(low, high) as integers of `depth` bits, again from a record and the pixels of its photo."""
    top, left, height, width = record["box"]
    photo = picture.to_float(pixels[top : top + height, left : left + width])
    low = from_record(record["preset"], record["parameters"]).darken(photo)
    return picture.to_integers(low, depth), picture.to_integers(photo, depth)


def write(record: Mapping[str, Any], pixels: NDArray, options: SynthOptions) -> None:
    """Both files of a pair, the low one last."""
    low, high = pair_of(record, pixels, options.depth)
    low_path, high_path = synth_records.paths(options.out, record["folder"], record["name"])
    for path, image in ((high_path, high), (low_path, low)):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(picture.from_array(image), path)
