"""What --evidence costs: a folder enhanced with and without it, in turn.

    python benchmarks/evidence.py --data PHOTOS --out benchmarks/results/evidence.json

Outputs are PNG in both, so that what differs is hashing, reading back, and the log.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from interleave import child, need_wait4, ratios, rounds
from machine import about

MODELS = "aux-retinex", "neid"


def main() -> None:
    """Measure each model, and write ratios by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of photos")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=40, help="photos")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    need_wait4()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            plain, logged = model, f"{model} with --evidence"
            work = {name: run(args, Path(folder), model, name == logged) for name in (plain, logged)}
            seconds = {name: [took for took, _ in series] for name, series in rounds(work, args.rounds).items()}
            found = ratios(seconds[logged], seconds[plain])
            rows[model] = {"seconds": seconds, "ratios": found["all"], "median": found["median"]}
            print(model, rows[model])
    document = {"about": about({"rounds": args.rounds, "limit": args.limit, "photos": args.data.name}), "models": rows}
    if args.out:
        args.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def run(args: argparse.Namespace, folder: Path, model: str, logged: bool) -> Callable[[], tuple[float, float]]:
    """What measures one command, into a new folder each time."""

    def measure() -> tuple[float, float]:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            words = ["-m", "lowlight_cli", "enhance", str(args.data), "--out", f"{out}/out", "--model", model, "-q"]
            words += ["--format", "png", "--limit", str(args.limit)]
            return child([*words, "--evidence", f"{out}/log.jsonl"] if logged else words)

    return measure


if __name__ == "__main__":
    main()
