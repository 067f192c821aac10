"""A batch of pictures to try faults on, the command on it, and what must hold after every fault."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from speed_pictures import texture, view

from lowlight_cli import atomic, picture
from lowlight_cli.weights import sha256_of

HERE = Path(__file__).resolve().parent
KINDS = (("jpg", "8"), ("png", "8"), ("png", "16"), ("tiff", "8"), ("tiff", "16"))
"""Suffix and bits per channel."""
FOLDERS = ("", "camera 1", "camera 2/night")
LONGEST = 300.0
"""Seconds after which a command is said to hang."""
AFTER = 5
"""Results of a run after which something happens."""
Hashes = dict[str, str]
Marks = dict[str, tuple[str, int]]


def make(folder: Path, count: int) -> None:
    """Dark pictures of mixed formats and sizes, in three folders; the same at every call."""
    base = texture(640, 480)
    for index in range(count):
        place = random.Random(index)
        width, height = place.randint(32, 240), place.randint(32, 240)
        suffix, bits = KINDS[index % len(KINDS)]
        pixels = view(base, width, height, index)
        if bits == "16":
            low = np.random.default_rng(index).integers(0, 256, pixels.shape, np.uint16)
            pixels = pixels.astype(np.uint16) * 256 + low
        path = folder / FOLDERS[index % len(FOLDERS)] / f"{index:03}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(picture.from_array(pixels), path)


def files(folder: Path) -> list[Path]:
    """All files below a folder, hidden ones too; none where there is no folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def marks(folder: Path) -> Marks:
    """Hash and time of change of every file."""
    return {str(path.relative_to(folder)): (sha256_of(path), path.stat().st_mtime_ns) for path in files(folder)}


def is_temporary(path: Path) -> bool:
    """Whether a file is one that was never finished."""
    return path.name.startswith(atomic.PREFIX)


def outputs(folder: Path) -> Hashes:
    """Hash of every file that a later run, or a person, takes for finished."""
    return {str(path.relative_to(folder)): sha256_of(path) for path in files(folder) if not is_temporary(path)}


def temporary(folder: Path) -> int:
    """How many unfinished files lie about."""
    return sum(is_temporary(path) for path in files(folder))


@dataclasses.dataclass
class Outcome:
    """How often a fault was injected, what came out, and what must not have."""

    times: int = 0
    came_out: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    figures: dict[str, object] = dataclasses.field(default_factory=dict)

    def demand(self, true: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        if not true:
            self.problems.append(problem)

    def saw(self, text: str) -> None:
        """Note what came out, once."""
        if text not in self.came_out:
            self.came_out.append(text)


class Batch:
    """Inputs, the outputs of an undisturbed run, and a fresh place for each disturbed one."""

    def __init__(self, work: Path, count: int, model: str) -> None:
        self.work, self.count, self.model = work, count, model
        self.inputs, self.out = work / "in", work / "out"
        self.rounds = 0
        shutil.rmtree(work, ignore_errors=True)
        make(self.inputs, count)
        self.before = marks(self.inputs)
        done = self.run("--quiet")
        if done.returncode:
            raise SystemExit(f"The undisturbed run failed:\n{done.stderr}")
        self.reference = outputs(self.out)

    def fresh(self) -> Path:
        """A new folder for outputs."""
        self.rounds += 1
        self.out = self.work / f"out{self.rounds}"
        return self.out

    def words(self, *flags: str, inputs: Path | None = None) -> list[str]:
        """The command's arguments."""
        return ["enhance", str(inputs or self.inputs), "--out", str(self.out), "--model", self.model, *flags]

    def run(self, *flags: str, **options: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        return call(self.words(*flags), **options)

    def start(self, *flags: str, inputs: Path | None = None, **options: str) -> subprocess.Popen[str]:
        """The command, running."""
        return start(self.words(*flags, inputs=inputs), **options)

    def judge(self, outcome: Outcome, *, inputs: bool = True) -> Hashes:
        """After a fault: inputs are as they were, and what bears a target's name is whole and right."""
        if inputs:
            outcome.demand(marks(self.inputs) == self.before, "an input was changed")
        found = outputs(self.out)
        wrong = [name for name, digest in found.items() if self.reference.get(name) != digest]
        outcome.demand(not wrong, f"not whole or not right: {', '.join(wrong[:3])}")
        return found

    def finish(self, outcome: Outcome) -> None:
        """Resume without a fault: everything must be there, bit by bit, and the exit code must be 0."""
        done = self.run("--skip-existing", "--quiet")
        outcome.demand(done.returncode == 0, f"the resumed run ended with {done.returncode}: {done.stderr[-300:]}")
        found = self.judge(outcome)
        outcome.demand(found == self.reference, "the resumed run did not complete everything")
        outcome.demand("Traceback" not in done.stderr, "the resumed run showed a traceback")


def environment(**more: str) -> dict[str, str]:
    """The package and the scripts beside this file, one thread."""
    paths = os.pathsep.join([str(HERE.parent), str(HERE)])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "LOWLIGHT_FAULT": "", **more}


def call(
    words: Sequence[str], first: Callable[[], object] | None = None, **options: str
) -> subprocess.CompletedProcess[str]:
    """Run `lowlight` with words, after `first` in its process; `options` go into the environment."""
    line, env = [sys.executable, "-m", "faults_inject", *words], environment(**options)
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=LONGEST, check=False, preexec_fn=first)


def start(words: Sequence[str], **options: str) -> subprocess.Popen[str]:
    """Start `lowlight` with words; what it says can be read from its pipes."""
    line = [sys.executable, "-m", "faults_inject", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, env=environment(**options), stdout=pipe, stderr=pipe, text=True)


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """What a process says to its end, and its exit code."""
    out, err = process.communicate(timeout=LONGEST)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def results(process: subprocess.Popen[str], count: int) -> list[dict]:
    """The next results of a command with --json, as they come."""
    lines = [process.stdout.readline() for _ in range(count)]
    return [json.loads(line) for line in lines if line]


def is_clear(outcome: Outcome, done: subprocess.CompletedProcess[str], *codes: int) -> None:
    """The exit code is one of those that fit, and what is said is not a traceback."""
    outcome.demand(done.returncode in codes, f"exit code {done.returncode}, not {codes}: {done.stderr[-400:]}")
    outcome.demand("Traceback" not in done.stderr, f"a traceback: {done.stderr[-600:]}")


def mid_run(batch: Batch, happens: Callable[[], None], *flags: str, **options: str) -> subprocess.CompletedProcess[str]:
    """A run during which something happens, after its first results."""
    process = batch.start("--json", *flags, **options)
    results(process, AFTER)
    happens()
    return ended(process)
