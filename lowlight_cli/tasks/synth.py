"""Make pairs of low-light and normal-light pictures from normal photos.

A pair depends on the seed, the photo's path below its folder, and the number of its copy: not on the other photos,
the number of workers or an interruption. `synth.jsonl` keeps every drawn parameter, a line a pair.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import atomic, jobs, picture
from lowlight_cli.data.darken import PRESETS, Preset, Range, from_record
from lowlight_cli.errors import LowlightError, NoInput, OptionError, OutputExists, PictureError

RECORDS, SETTINGS = "synth.jsonl", "synth.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """What `lowlight synth` can be told."""

    inputs: tuple[str, ...]
    out: Path
    preset: str = "camera"
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    """In place of the preset's own, by name."""
    count: int | None = None
    """Pairs in all; None: one of each photo."""
    test: int = 0
    """Pairs made besides from photos that give no others; they go to `test/`, the rest to `train/`."""
    crop: int = 0
    """Side of a random square of each photo; 0: the whole photo."""
    seed: int = 0
    depth: Literal[8, 16] = 8
    workers: int = 1
    resume: bool = False


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
        found = jobs.unique(jobs.gather(options.inputs, options.out))
        if not found:
            raise NoInput(f"There are no pictures in {', '.join(options.inputs)}.", "Name folders of normal photos.")
        self.tasks = planned(found, options)
        self.records = prepare_folder(options)

    @property
    def total(self) -> int:
        """Pairs asked for."""
        return sum(len(task.pairs) for task in self.tasks)

    def results(self) -> Iterator[Result]:
        """Do it: a result for every photo, in the order in which they are finished."""
        done = {(record["folder"], record["name"]) for record in self.records}
        left = [dataclasses.replace(task, pairs=missing(task, self.options.out, done)) for task in self.tasks]
        with (self.options.out / RECORDS).open("a", encoding="utf-8") as file:
            for result, records in self.made([task for task in left if task.pairs]):
                self.records += records
                file.writelines(json.dumps(record) + "\n" for record in records)
                file.flush()
                yield result
        self.write_records()

    def made(self, tasks: Sequence[Task]) -> Iterator[tuple[Result, list[dict[str, Any]]]]:
        """Results with the records of the pairs, from as many processes as asked for."""
        if self.options.workers == 1 or len(tasks) < 2:
            yield from (work(task, self.options, self.preset) for task in tasks)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.options.workers, mp_context=context) as pool:
            try:
                futures = [pool.submit(work, task, self.options, self.preset) for task in tasks]
                for future in as_completed(futures):
                    yield future.result()
            except BrokenProcessPool as error:
                raise LowlightError(
                    "A worker was killed, perhaps because memory ran out.", "Go on with --resume and fewer --workers."
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def write_records(self) -> None:
        """All records in the order of the plan, whatever the order they were made in."""
        place = {pair[:2]: k for k, pair in enumerate(pair for task in self.tasks for pair in task.pairs)}
        kept = {(record["folder"], record["name"]): record for record in self.records}
        lines = [json.dumps(kept[key]) for key in sorted(kept.keys() & place.keys(), key=place.__getitem__)]
        atomic.write(self.options.out / RECORDS, "".join(f"{line}\n" for line in lines).encode())


def checked_preset(options: SynthOptions) -> Preset:
    """The preset with the user's ranges; nonsense is an OptionError."""
    for name, (low, high) in options.ranges.items():
        if not 0 <= low <= high or (name == "noise" and low == 0) or not np.isfinite(high):
            raise OptionError(f"--{name} {low:g}:{high:g} is no range.", "Give LOW:HIGH, two numbers from zero on.")
    if options.preset not in PRESETS:
        raise OptionError(f"There is no preset {options.preset!r}.", f"There are {', '.join(PRESETS)}.")
    return PRESETS[options.preset].with_ranges(options.ranges)


def planned(found: Sequence[jobs.Found], options: SynthOptions) -> list[Task]:
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
    return [*tasks_of(training, count, "train"), *tasks_of(test, options.test, "test")]


def tasks_of(found: Sequence[jobs.Found], count: int, folder: str) -> list[Task]:
    """`count` pairs from these photos in turn."""
    digits = len(str(-(-count // len(found)) - 1))
    tasks, names = [], {}
    for number, item in enumerate(found):
        relative = item.relative.as_posix()
        stem = item.relative.with_suffix("").as_posix().replace("/", "_")
        if (other := names.setdefault(stem, relative)) != relative:
            raise OutputExists(f"{other} and {relative} would give pairs of one name.", "Rename one of them.")
        copies = range(len(range(number, count, len(found))))
        pairs = tuple((folder, f"{stem}-{copy:0{digits}}.png", copy) for copy in copies)
        tasks.append(Task(item.source, relative, pairs, item.problem))
    return [task for task in tasks if task.pairs]


def prepare_folder(options: SynthOptions) -> list[dict[str, Any]]:
    """Make the folder and keep the settings there; gives the records of the run that is resumed."""
    out, told = options.out, settings(options)
    try:
        holds = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
        if holds and not options.resume:
            raise OutputExists(
                f"{out} is not empty: it holds {', '.join(holds[:5])}.", "Use --resume, or another --out."
            )
        if holds:
            return resumed(out, told)
        out.mkdir(parents=True, exist_ok=True)
        atomic.write(out / SETTINGS, json.dumps(told, indent=2).encode())
    except OSError as error:
        raise OptionError(f"{out} cannot be used: {error.strerror}.", "Choose another --out.") from error
    return []


def settings(options: SynthOptions) -> dict[str, Any]:
    """What must be equal for a run to be resumed."""
    names = ("preset", "count", "test", "crop", "seed", "depth")
    ranges = {name: list(span) for name, span in options.ranges.items()}
    return {**{name: getattr(options, name) for name in names}, "ranges": ranges}


def resumed(out: Path, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records in a folder whose settings are the same."""
    try:
        kept = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{out} holds no run that can be resumed.", "Choose another --out.") from error
    if differ := sorted(name for name in told if not isinstance(kept, dict) or kept.get(name) != told[name]):
        raise OptionError(
            f"{out} was made with other values of: {', '.join(differ)}.", "Repeat them, or choose another --out."
        )
    try:
        lines = (out / RECORDS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [record for record in map(parsed, lines) if record is not None]


def parsed(line: str) -> dict[str, Any] | None:
    """A record; None for a line that a killed run left unfinished: that pair is made again."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"folder", "name"} <= record.keys() else None


def missing(task: Task, out: Path, done: set[tuple[str, str]]) -> tuple[tuple[str, str, int], ...]:
    """The pairs that have no record or a file too few."""
    return tuple(
        pair for pair in task.pairs if pair[:2] not in done or not all(path.exists() for path in paths(out, *pair[:2]))
    )


def paths(out: Path, folder: str, name: str) -> tuple[Path, Path]:
    """Where the low and the high picture of a pair lie."""
    return out / folder / "low" / name, out / folder / "high" / name


def work(task: Task, options: SynthOptions, preset: Preset) -> tuple[Result, list[dict[str, Any]]]:
    """Make the pairs of one photo; whatever fails is its result. Runs in a worker process."""
    records: list[dict[str, Any]] = []
    try:
        if task.problem:
            raise PictureError(task.problem, "Check the permissions.")
        data = task.photo.read_bytes()
        photo = picture.load(data)
        if options.crop > min(photo.height, photo.width):
            raise PictureError(f"It is {photo.width}x{photo.height}.", f"--crop {options.crop} does not fit into it.")
        source = {"photo": task.relative, "photo_sha256": hashlib.sha256(data).hexdigest()}
        for folder, name, copy in task.pairs:
            record = {"folder": folder, "name": name, **source, **drawn(task, copy, photo.pixels, options, preset)}
            write(record, photo.pixels, options)
            records.append(record)
    except LowlightError as error:
        return Result(task.photo, len(records), error.message, error.hint), records
    except OSError as error:
        remedy = "Check the path, its permissions and the space on the disk."
        return Result(task.photo, len(records), f"{error.strerror or error}: {error.filename or ''}", remedy), records
    return Result(task.photo, len(records)), records


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
    text = "\0".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
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
    low_path, high_path = paths(options.out, record["folder"], record["name"])
    for path, image in ((high_path, high), (low_path, low)):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(picture.from_array(image), path)


def default_workers() -> int:
    """One a core."""
    return os.cpu_count() or 1
