"""kill -9 at random moments and at each step of a write, until all is done; two runs at once."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from faults_batch import Batch, Outcome, call, ended, is_clear, outputs, temporary

STEPS = {
    "": ("kill-open", "killed-open", "kill-fsync", "killed-fsync", "kill-link", "killed-link"),
    "--overwrite": ("kill-fsync", "kill-replace", "killed-replace"),
}
"""Places of a write, by the flag that makes it come by them."""


class Dice:
    """Moments to kill at, over the whole time that a run takes, which changes with what else the machine does."""

    def __init__(self, batch: Batch, *flags: str) -> None:
        self.random = random.Random(" ".join(flags))
        start = time.perf_counter()
        batch.fresh()
        self.first = batch.run(*flags)
        self.longest, self.chosen = time.perf_counter() - start, 0.0

    def moment(self) -> float:
        """Seconds from the start of a run to its end by kill -9."""
        self.longest *= 1.02
        self.chosen = self.random.uniform(0.05, self.longest)
        return self.chosen

    def ended(self, whole: bool) -> None:
        """The run ended before that moment; it had all the work to do, or only what others had left."""
        if whole:
            self.longest = self.chosen


def until_killed(process: subprocess.Popen[str], seconds: float) -> tuple[int | None, int]:
    """Exit code and results told, once it ended by itself or by kill -9 after some seconds."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    return process.returncode, said.count("\n")


def until_done(batch: Batch, outcome: Outcome, dice: Dice, *flags: str, fault: str = "") -> list[int]:
    """A whole batch, killed at random moments and resumed until done: how many results each killed run told."""
    batch.fresh()
    told = []
    while True:
        process = batch.start("--json", "--skip-existing", *flags, LOWLIGHT_FAULT=fault)
        code, results = until_killed(process, dice.moment())
        found = batch.judge(outcome)
        if code != -signal.SIGKILL:
            break
        outcome.times += 1
        told.append(results)
    outcome.demand(code == 0, f"exit code {code}")
    outcome.demand(found == batch.reference, "a round did not complete everything")
    dice.ended(whole=not told)
    return told


def at_random(batch: Batch, kills: int, fault: str = "") -> Outcome:
    """Rounds of a whole batch, each killed at random moments and resumed until done."""
    outcome, dice = Outcome(), Dice(batch, "--quiet")
    phases = {"before the first result": 0, "among the results": 0}
    rounds = left = 0
    while outcome.times < kills:
        rounds += 1
        for told in until_done(batch, outcome, dice, fault=fault):
            phases["among the results" if told else "before the first result"] += 1
        left += temporary(batch.out)
        if rounds == 1:
            refused_as_input(batch, outcome)
    outcome.figures = {"pictures": batch.count, "rounds": rounds, "left_over_files": left, **phases}
    outcome.saw(f"all {batch.count} outputs of {rounds} rounds equal; {left} temporary files left")
    return outcome


def refused_as_input(batch: Batch, outcome: Outcome) -> None:
    """A run over the folder of outputs takes as many pictures as there are outputs, and no leftover."""
    done = call(["enhance", str(batch.out), "--out", str(batch.work / "again"), "--model", "gamma", "--dry-run"])
    planned = sum(line.startswith("planned ") for line in done.stderr.splitlines())
    outcome.demand(planned == batch.count, f"{planned} inputs seen among {batch.count} outputs")


def at_steps(batch: Batch) -> Outcome:
    """kill -9 before and after system calls of a write, with and without files that have no name."""
    outcome, left, tries = Outcome(), {"": 0, "named,": 0}, 0
    places = [(flag, step, number) for flag, steps in STEPS.items() for step in steps for number in (1, 2, 17)]
    for way in left:
        for flag, step, number in places:
            batch.fresh()
            if flag:
                shutil.copytree(batch.work / "out", batch.out)
            done = batch.run("--quiet", *filter(None, [flag]), LOWLIGHT_FAULT=f"{way}{step}-{number}")
            tries += 1
            outcome.times += done.returncode == -signal.SIGKILL
            found = batch.judge(outcome)
            outcome.demand(not flag or found == batch.reference, "a file that was to be replaced is gone")
            left[way] += temporary(batch.out)
            batch.finish(outcome)
    outcome.demand(outcome.times == tries, f"only {outcome.times} of {tries} kills came")
    outcome.figures = {"left_over_files": left[""], "left_over_files_where_all_have_names": left["named,"]}
    outcome.saw(f"resumed to the same bits; {left['']} temporary files left ({left['named,']} without O_TMPFILE)")
    return outcome


def two_at_once(batch: Batch, rounds: int) -> Outcome:
    """Two processes, one tree, one folder of outputs, with --skip-existing."""
    outcome, double = Outcome(), 0
    for _ in range(rounds):
        batch.fresh()
        both = [batch.start("--json", "--skip-existing") for _ in range(2)]
        for done in [ended(process) for process in both]:
            is_clear(outcome, done, 0)
            double += done.stdout.count('"status": "done"')
        double -= batch.count
        outcome.demand(batch.judge(outcome) == batch.reference, "something is missing")
        outcome.times += 1
    outcome.figures = {"done_by_both": double}
    outcome.saw("both ended with 0; each output is there once")
    return outcome


def two_shards(batch: Batch, rounds: int) -> Outcome:
    """Two processes with --shard 1/2 and 2/2, one of them killed and resumed."""
    outcome, place = Outcome(), random.Random(2)
    for _ in range(rounds):
        batch.fresh()
        one = batch.start("--quiet", "--shard", "1/2")
        two = batch.start("--quiet", "--shard", "2/2")
        time.sleep(place.uniform(0.3, 2.0))
        two.kill()
        for process in (one, two):
            ended(process)
        outcome.demand(one.returncode == 0, f"the other shard ended with {one.returncode}")
        batch.judge(outcome)
        done = batch.run("--quiet", "--shard", "2/2", "--skip-existing")
        is_clear(outcome, done, 0)
        outcome.demand(batch.judge(outcome) == batch.reference, "something is missing")
        outcome.times += 1
    outcome.saw("the killed shard resumed, the other undisturbed")
    return outcome


def with_evidence(batch: Batch, kills: int) -> Outcome:
    """As `at_random`, with an evidence log that every run appends to; then the log is verified."""
    outcome = Outcome()
    dice = Dice(batch, "--quiet", "--evidence", str(batch.work / "undisturbed.jsonl"))
    is_clear(outcome, dice.first, 0)
    batch.reference = outputs(batch.out)
    rounds = torn = 0
    while outcome.times < kills and not outcome.problems:
        rounds += 1
        log = batch.work / f"log{rounds}.jsonl"
        until_done(batch, outcome, dice, "--evidence", str(log))
        verified = call(["verify", str(log)])
        outcome.demand(verified.returncode == 0, f"verify: {verified.returncode} {verified.stdout[-300:]}")
        torn += log.read_bytes().count(b'"torn"')
        logged(log, batch, outcome)
    outcome.figures = {"pictures": batch.count, "rounds": rounds, "torn_lines": torn}
    outcome.saw(f"{rounds} logs whole, every output logged with its hash; {torn} torn lines")
    return outcome


def logged(log: Path, batch: Batch, outcome: Outcome) -> None:
    """Every output stands in the log as done, with its hash."""
    records = [
        json.loads(line) for line in log.read_bytes().splitlines() if line.startswith(b"{") and line[-1:] == b"}"
    ]
    told = {}
    for record in records:
        if record["kind"] == "picture" and record["status"] == "done":
            told[str(Path(record["output"]["path"]).relative_to(batch.out.resolve()))] = record["output"]["sha256"]
    missing = [name for name, digest in batch.reference.items() if told.get(name) != digest]
    outcome.demand(not missing, f"{len(missing)} outputs are not in the log, as {', '.join(missing[:3])}")
