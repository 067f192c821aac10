"""Train several networks at once on one rented accelerator, inside hard limits, and bring everything home.

    python benchmarks/campaign.py pack --data LOL --photos BSDS500/train --out parts --part-mb 36
    python benchmarks/campaign.py unpack parts/part-00.tar --to /tmp/data
    python benchmarks/campaign.py run benchmarks/campaign.yaml --data /tmp/data --runs /tmp/runs --minutes 9 --out out
    python benchmarks/campaign.py join out --to runs

`pack` puts the pictures, as they are, into archives that a transfer takes; `unpack` may be called for one at a time.
`run` trains all runs of the plan side by side (one network alone leaves a large accelerator idle), stops them in time,
goes on with those that were begun when called again, and writes weights, logs and strips as one archive in pieces,
`home.tar.00` and so on. `join` unpacks those.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lowlight_cli import manifest, weights

WEIGHTS = ("best.safetensors", "last.safetensors")
RECORDS = ("log.csv", "config.yaml", "run.json")
"""Of a run's folder; `last.pt` is too large to travel, and a run resumes where it is."""
STRIPS = 4
"""The last pictures of `samples/` that come home."""
PIECE_MB = 15
HELD_OUT = Path(__file__).with_name("held-out.txt")
"""A pair of each of the ten scenes of LOL that are held out for every row that pairs teach; none is in eval15."""
STOPPED = 130
"""Exit code of a run that was asked to stop. Without a checkpoint by then it begins anew the next time."""


def pack(data: Path, photos: Path | None, out: Path, part_mb: float) -> list[Path]:
    """`part-NN.tar` with the training pairs, the scenes and the photos, none larger than asked unless a file is."""
    emptied(out, "part-*.tar")
    groups: list[list[tuple[Path, str]]] = [[]]
    size = 0
    for path, name in members(data, photos):
        bytes_ = path.stat().st_size + 1024
        if groups[-1] and size + bytes_ > part_mb * 2**20:
            groups.append([])
            size = 0
        groups[-1].append((path, name))
        size += bytes_
    written = []
    for number, group in enumerate(groups):
        written.append(out / f"part-{number:02d}.tar")
        with tarfile.open(written[-1], "w") as archive:
            for path, name in group:
                archive.add(path.resolve(), name)
    if not groups[0]:
        raise SystemExit(f"There is nothing to pack: {data} holds no our485, or {photos} no photos.")
    return written


def emptied(folder: Path, pattern: str) -> None:
    """Make a folder, and remove what an earlier call left in it: other pieces would be taken for these."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(pattern):
        path.unlink()


def members(data: Path, photos: Path | None) -> Iterator[tuple[Path, str]]:
    """Files, and what they are called in the archives."""
    for path in [data / "scenes.json", *sorted((data / "our485").glob("*/*"))]:
        if path.is_file():
            yield path, f"LOL/{path.relative_to(data)}"
    for path in sorted(filter(Path.is_file, photos.iterdir())) if photos else []:
        yield path, f"photos/{path.name}"


def command(name: str, run: dict[str, Any], data: Path, runs: Path, device: str) -> list[str]:
    """`lowlight train` for a run of the plan; goes on with what is there."""
    folder = runs / name
    words = [sys.executable, "-m", "lowlight_cli", "train", "--model", run["model"], "--out", str(folder), "--json"]
    words += ["--device", device, "--offline", "--cache", str(runs / "cache")]
    words += ["--data", str(data / "LOL"), "--val", str(HELD_OUT)] if run.get("data", True) else []
    words += ["--synth", str(data / run["photos"])] if "photos" in run else []
    words += ["--precision", run["precision"]] if "precision" in run else []
    if "init" in run:
        words += ["--init", str(weights.find(manifest.find(run["init"]), "torch", offline=True))]
    if (folder / "last.pt").exists():
        words.append("--resume")
    elif folder.exists():  # stopped before its first checkpoint
        shutil.rmtree(folder)
    return words + [f"--set={setting}={json.dumps(value)}" for setting, value in run.get("set", {}).items()]


def train(plan: dict[str, Any], data: Path, runs: Path, *, minutes: float, grace: float, device: str) -> dict[str, int]:
    """Run all of the plan side by side; gives exit codes. `grace` seconds before the limit, which counts from now,
    every run is asked to stop (exit code 130), and ends with a checkpoint; one that does not is killed."""
    ends = time.monotonic() + 60 * minutes
    runs.mkdir(parents=True, exist_ok=True)
    threads = str(max(1, (os.cpu_count() or 1) // max(1, len(plan))))
    started = {}
    for name, run in plan.items():
        words = command(name, run, data, runs, device)
        with (runs / f"{name}.log").open("ab") as log:
            started[name] = subprocess.Popen(
                words, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": threads}
            )
    waited_for(started.values(), ends - grace)
    for process in started.values():
        process.terminate()
    waited_for(started.values(), ends)
    for process in started.values():
        process.kill()
    return {name: process.wait() for name, process in started.items()}


def waited_for(processes: Iterable[subprocess.Popen[bytes]], until: float) -> None:
    """Wait for all of them, but not longer than until that time."""
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))


def bring_home(plan: Mapping[str, Mapping[str, Any]], runs: Path, out: Path) -> list[Path]:
    """Weights, logs and strips of all runs, as pieces of one archive."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, run in plan.items():
            strips = sorted((runs / name / "samples").glob("*.png"))[-STRIPS:]
            kept = RECORDS + (WEIGHTS if run.get("weights", True) else ())
            files = [runs / f"{name}.log", *(runs / name / file for file in kept), *strips]
            for path in filter(Path.is_file, files):
                archive.add(path, path.relative_to(runs))
    emptied(out, "home.tar.*")
    view, size, written = whole.getbuffer(), int(PIECE_MB * 2**20), []
    for number, at in enumerate(range(0, len(view), size)):
        written.append(out / f"home.tar.{number:02d}")
        written[-1].write_bytes(view[at : at + size])
    return written


def join(pieces: Path, to: Path) -> list[str]:
    """Unpack what `run` wrote; gives the names."""
    found = sorted(pieces.glob("home.tar.*"))
    if not found:
        raise SystemExit(f"There are no pieces home.tar.* in {pieces}.")
    whole = io.BytesIO(b"".join(path.read_bytes() for path in found))
    with tarfile.open(fileobj=whole) as archive:
        archive.extractall(to, filter="data")
        return archive.getnames()


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument("--data", type=Path, required=True)
    packing.add_argument("--photos", type=Path)
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--part-mb", type=float, default=36)
    unpacking = verbs.add_parser("unpack")
    unpacking.add_argument("parts", type=Path, nargs="+")
    unpacking.add_argument("--to", type=Path, required=True)
    running = verbs.add_parser("run")
    running.add_argument("plan", type=Path)
    running.add_argument("--only", action="append", default=[], help="a run of the plan; may be repeated")
    running.add_argument("--data", type=Path, required=True)
    running.add_argument("--runs", type=Path, required=True)
    running.add_argument("--minutes", type=float, default=9)
    running.add_argument("--grace", type=float, default=60, help="seconds for the last validations and checkpoints")
    running.add_argument("--device", default="auto")
    running.add_argument("--out", type=Path, required=True)
    joining = verbs.add_parser("join")
    joining.add_argument("pieces", type=Path)
    joining.add_argument("--to", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Do what the command line says."""
    told = parsed()
    if told.verb == "pack":
        for path in pack(told.data, told.photos, told.out, told.part_mb):
            print(f"{path} {path.stat().st_size / 2**20:.1f} MB")
    elif told.verb == "unpack":
        for part in told.parts:
            with tarfile.open(part) as archive:
                archive.extractall(told.to, filter="data")
    elif told.verb == "join":
        print("\n".join(join(told.pieces, told.to)))
    else:
        plan = yaml.safe_load(told.plan.read_text())
        if unknown := {*told.only} - {*plan}:
            raise SystemExit(f"The plan has no {', '.join(unknown)}. It has {', '.join(plan)}.")
        plan = {name: run for name, run in plan.items() if not told.only or name in told.only}
        codes = train(plan, told.data, told.runs, minutes=told.minutes, grace=told.grace, device=told.device)
        for path in bring_home(plan, told.runs, told.out):
            print(f"{path} {path.stat().st_size / 2**20:.1f} MB")
        print(json.dumps(codes))
        begun = {name for name in plan if (told.runs / name / "last.pt").exists()}
        raise SystemExit(any(code and (code != STOPPED or name not in begun) for name, code in codes.items()))


if __name__ == "__main__":
    main()
