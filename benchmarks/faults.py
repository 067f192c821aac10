"""Inject faults into `lowlight enhance` and see that each ends in a clear state.

After every fault: inputs are unchanged (sha256 and time), whatever bears a target's name is whole and right, the exit
code and the message fit, and `--skip-existing` completes the rest, bit-equal to an undisturbed run.

python benchmarks/faults.py [--only kill,full] [--work DIR] --out benchmarks/results/faults.json

Linux. As root it also mounts a small disk, and a network share that stalls (FUSE).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults_disk as disk
import faults_inputs as inputs
import faults_kill as kill
import faults_talk as talk
import machine
from faults_batch import Batch, Outcome
from tables import table

MODEL = "gamma"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is injected, how, into how many pictures."""

    title: str
    how: str
    pictures: int
    inject: Callable[[Batch], Outcome]
    root: bool = False
    model: str = MODEL


def faults(kills: int) -> dict[str, Fault]:
    """All of them, by name."""
    given = functools.partial
    steps = "before and after open, fsync, link, replace (1st, 2nd, 17th call), with and without O_TMPFILE"
    return {
        "kill": Fault("kill -9", "at random moments of 300 pictures", 300, given(kill.at_random, kills=kills)),
        "kill-named": Fault(
            "kill -9, file system without O_TMPFILE",
            "at random moments of 300 pictures",
            300,
            given(kill.at_random, kills=kills // 2, fault="named"),
        ),
        "kill-steps": Fault("kill -9 in a write", steps, 30, kill.at_steps),
        "kill-evidence": Fault(
            "kill -9 with --evidence",
            "at random moments of 300 pictures, then `lowlight verify`",
            300,
            given(kill.with_evidence, kills=kills),
        ),
        "two": Fault("two runs at once", "one tree, one folder", 60, given(kill.two_at_once, rounds=5)),
        "shards": Fault("two shards, one killed", "--shard 1/2 and 2/2", 60, given(kill.two_shards, rounds=5)),
        "full": Fault("disk full", "a disk of 5 to 90 % of the outputs", 60, disk.full, root=True),
        "too-large": Fault("file too large", "RLIMIT_FSIZE of 0, 4, 64 KiB", 60, disk.too_large),
        "permission": Fault("permission lost midway", "chmod of outputs, of inputs", 60, disk.permission),
        "vanished": Fault("inputs vanish", "moved away after planning", 60, inputs.vanished),
        "growing": Fault("inputs grow", "a third is written while the run goes", 60, given(inputs.growing, rounds=6)),
        "stalled": Fault("share stalls", "FUSE: two files never answer", 40, inputs.stalled, root=True),
        "hanging": Fault("a write hangs", "fsync never returns; Ctrl-C twice", 40, disk.hanging_write),
        "pipes": Fault("pipes and devices as inputs", "FIFO, /dev/null, /dev/zero, link loop", 5, inputs.pipes),
        "gone": Fault("output folder gone", "deleted, moved away midway", 60, disk.gone),
        "swapped": Fault("output folder swapped", "a link to the inputs takes its name, --overwrite", 40, disk.swapped),
        "signals": Fault(
            "SIGTERM, SIGHUP, SIGINT once and twice", "at random moments", 60, given(talk.signals, rounds=5)
        ),
        "streams": Fault("closed and full streams", "| head, >&-, 2>&-, /dev/full", 30, talk.streams),
        "memory": Fault("out of memory", "ulimit -v, 60 MB to 2.7 GB", 12, talk.memory),
        "memory-network": Fault(
            "out of memory, network", "ulimit -v, 60 MB to 2.7 GB", 12, talk.memory, model="aux-retinex"
        ),
    }


def tried(fault: Fault, work: Path) -> dict[str, Any]:
    """A fault's row."""
    start = time.perf_counter()
    try:
        outcome = fault.inject(Batch(work, fault.pictures, fault.model))
    except Exception as error:  # noqa: BLE001 - the other faults are still to be tried
        traceback.print_exc()
        outcome = Outcome(problems=[f"the injection itself failed: {error!r}"])
    row = {"title": fault.title, "how": fault.how, "pictures": fault.pictures, **dataclasses.asdict(outcome)}
    about = machine.about({})  # rows of several runs may stand in one file
    code = {"date": about["date"], "commit": about["commit"], "changed_files": about["changed_files"]}
    return row | {"seconds": round(time.perf_counter() - start, 1), "code": code}


def page(rows: dict[str, dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = []
    for row in rows.values():
        text = "; ".join([*row["came_out"], *(f"PROBLEM: {problem}" for problem in row["problems"][:5])])
        cells = (row["title"], row["how"], row["times"], text)
        lines.append(tuple(str(cell).replace("|", "\\|") for cell in cells))
    return table(("Fault", "How", "Times", "What came out"), lines)


def main() -> None:
    """Inject what was asked for, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names with commas between: " + ", ".join(faults(0)))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    known = faults(args.kills)
    names = args.only.split(",") if args.only else [*known]
    rows = json.loads(args.out.read_text())["faults"] if args.only and args.out and args.out.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        for name in names:
            if known[name].root and os.geteuid() != 0:
                print(f"{name}: passed over, needs root")
                continue
            rows[name] = tried(known[name], work / name)
            print(name, json.dumps(rows[name], indent=1), flush=True)
            if args.out:
                rows = {key: rows[key] for key in known if key in rows}
                document = {"about": machine.about({"kills": args.kills, "model": MODEL}), "faults": rows}
                args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(page({name: rows[name] for name in names if name in rows}))
    sys.exit(any(rows[name]["problems"] for name in names if name in rows))


if __name__ == "__main__":
    main()
