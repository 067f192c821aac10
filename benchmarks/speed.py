"""Measure the bars of speed: start, pipeline, roofline, memory, scale, batches and int8, on the CPU.

    python benchmarks/speed.py --out benchmarks/results/speed.json

writes that file and a page beside it. With `--only PART`, as often as you like, only those parts are measured, and the
others stay as they are in the file. What is compared is measured in turn within one run, and ratios are taken within
each round. This process imports nothing heavy: Linux counts the memory of the process that starts a child into the
child's peak.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import machine
import speed_models
import speed_page
import speed_processes
from interleave import need_wait4, say

PARTS = {
    "start": speed_processes.start,
    "pipeline": speed_models.pipeline,
    "roofline": speed_models.roofline,
    "memory": speed_processes.memory,
    "scale": speed_models.scale,
    "batch": speed_models.batch,
    "int8": speed_models.int8,
}
RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure part by part; the JSON and the page are written after each."""
    need_wait4()
    options = parse(arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    result = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    for name in options.only or PARTS:
        say(f"== {name}")
        result[name] = measured(name, options)
        result = {part: result[part] for part in PARTS if part in result}
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(speed_page.page(result), encoding="utf-8")
    say(f"{options.out} and {options.out.with_suffix('.md')} are written")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "speed.json", help="JSON file to write")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="measure this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="see that it works: few rounds, few files, small pictures")
    parser.add_argument("--data", help="folder of photos for the pipeline (otherwise it makes pictures)")
    parser.add_argument("--seconds", type=float, default=120, help="about the most that the rounds of a part take")
    return parser.parse_args(arguments)


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One part, with the machine as it is now."""
    settings = {"quick": options.quick, "seconds": options.seconds, "photos": bool(options.data)}
    about = machine.about(settings) | {"busy": busy()}
    with tempfile.TemporaryDirectory() as folder:
        return {"about": about, **PARTS[name](Path(folder), options)}


def busy() -> float | None:
    """How many cores work on something else, over a second; None where the system does not tell."""
    source = Path("/proc/stat")
    if not source.exists():
        return None
    first = source.read_text(encoding="utf-8")
    time.sleep(1)
    return cores_busy(first, source.read_text(encoding="utf-8"))


def cores_busy(first: str, second: str) -> float:
    """Cores with work on average between two readings of Linux's /proc/stat."""
    before, after = ([int(word) for word in text.splitlines()[0].split()[1:9]] for text in (first, second))
    user, nice, system, idle, waiting, *rest = (b - a for a, b in zip(before, after, strict=True))
    working = user + nice + system + sum(rest)
    return sum(line[3:4].isdigit() for line in first.splitlines()) * working / (working + idle + waiting)


if __name__ == "__main__":
    main()
