"""Feeds hostile bytes to everything that lowlight reads, and keeps count of what was tried and found.

    python benchmarks/fuzz.py picture --seconds 2400 --corpus ../fuzz
    python benchmarks/fuzz.py all --seconds 3600 --corpus ../fuzz

Targets: picture, manifest, safetensors, config, log, archive. Needs `pip install atheris`, which may be in an
environment of its own, and runs without it too: seeds are then mutated by their structure alone, without coverage.
CORPUS (outside the checkout) holds for each target `inputs`, `findings` and `findings.jsonl`; it is gone on with.

A child process runs the target under a limit of address space. Findings are: an exception that is not a LowlightError,
the end of the process, an input that takes more than 10 s, more memory than the target promises (for pictures:
`--max-pixels` times 32 bytes, 4 times the file, 96 MiB), a write outside the folder given, a promise broken. Counts are
added to benchmarks/results/fuzz.json. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fuzz_seeds import SEEDS
from fuzz_targets import TARGETS
from fuzz_worker import Findings, State
from machine import about

from lowlight_cli import packages

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "fuzz.json"
PATIENCE = 10.0
"""Seconds that one input may take."""
SHARES = {"picture": 0.66, "safetensors": 0.1, "config": 0.08, "log": 0.08, "manifest": 0.04, "archive": 0.04}
"""Of the time, for `all`."""
LIBRARIES = (
    "pillow",
    "opencv-python-headless",
    "numpy",
    "torch",
    "safetensors",
    "pyyaml",
    "atheris",
    "pillow-heif",
    "rawpy",
)
"""What reads the bytes."""


def main() -> None:
    """Fuzz one target, or all in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, required=True, help="folder for inputs and findings")
    parser.add_argument("--engine", choices=("auto", "atheris", "plain"), default="auto")
    parser.add_argument("--again", action="store_true", help="then try all findings once more: which are fixed?")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    engine = args.engine
    if engine == "auto":
        engine = "atheris" if importlib.util.find_spec("atheris") else "plain"
    shares = SHARES if args.target == "all" else {args.target: 1.0}
    for target, share in shares.items():
        folder = args.corpus.resolve() / target
        sow(target, folder / "inputs")
        done = fuzzed(target, folder, args.seconds * share, engine)
        found = Findings(folder).entries()
        merge(args.out, target, done, engine, found, again(target, folder) if args.again else [])
        print(f"{target}: {done['executions']} inputs in {done['seconds']:.0f} s, {len(found)} findings in {folder}")


def sow(target: str, inputs: Path) -> None:
    """Put the seeds where they are not yet."""
    inputs.mkdir(parents=True, exist_ok=True)
    for data in SEEDS[target]().values():
        path = inputs / hashlib.sha1(data).hexdigest()
        if not path.exists():
            path.write_bytes(data)


def fuzzed(target: str, folder: Path, seconds: float, engine: str) -> dict[str, Any]:
    """Run children until the time is up; each that ends before it leaves a finding."""
    state, findings = State(folder / "state"), Findings(folder)
    state.map[:8] = bytes(8)
    begun, largest = time.monotonic(), 0
    while (left := seconds - (time.monotonic() - begun)) > 1:
        state.end()
        with (folder / "log").open("w") as log:
            child = subprocess.Popen(
                command(target, folder, int(left), engine), stdout=log, stderr=log, env=environment(folder)
            )
            kind = watched(child, state, begun + seconds)
        tried = state.read()[2]
        text = (folder / "log").read_text(errors="replace")
        if kind == "hang" and slow(target, folder, tried):
            findings.add("hang", tried[:12].hex(), tried, "more than 10 s")
        elif kind == "crash":
            findings.add("crash", f"{child.returncode} {tried[:4].hex()}", tried, text)
        largest = max(
            [largest, *(json.loads(line[8:])["bytes"] for line in text.splitlines() if line.startswith("largest "))]
        )
    return {"executions": state.read()[0], "seconds": time.monotonic() - begun, "largest_growth": largest}


def slow(target: str, folder: Path, data: bytes) -> bool:
    """Whether an input takes more than 10 s of processor time, without the tracing of coverage; machines are shared."""
    (folder / "suspect").write_bytes(data)
    try:
        done = alone(target, folder, folder / "suspect")
    except subprocess.TimeoutExpired:
        return True
    return any(float(line[5:]) > PATIENCE for line in done.stdout.splitlines() if line.startswith("took "))


def again(target: str, folder: Path) -> list[str]:
    """Names of the files of findings that are findings no more."""
    fixed = []
    for entry in Findings(folder).entries():
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            done = alone(target, Path(fresh), folder / "findings" / entry["file"])
            if not done.returncode and not Findings(Path(fresh)).entries():
                fixed.append(entry["file"])
    return fixed


def alone(target: str, folder: Path, file: Path) -> subprocess.CompletedProcess[str]:
    """A child that tries one file, in a folder for its findings."""
    words = [*command(target, folder, 0, "plain"), "--only", str(file)]
    return subprocess.run(words, env=environment(folder), capture_output=True, text=True, timeout=300, check=False)


def command(target: str, folder: Path, seconds: int, engine: str) -> list[str]:
    """What starts a child."""
    words = [sys.executable, str(HERE / "fuzz_worker.py"), target, "--corpus", str(folder), "--seconds", str(seconds)]
    return [*words, "--engine", engine, "--seed", str(random.randrange(1, 2**31))]


def environment(folder: Path) -> dict[str, str]:
    """One thread, no bytecode written, homes of its own; large blocks of memory go back when they are freed."""
    home = str(folder / "sandbox" / "home")
    fixed = {
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "HF_HUB_OFFLINE": "1",
    }
    return {**os.environ, **fixed, "LOWLIGHT_HOME": home, "HF_HOME": home, "HOME": home}


def watched(child: subprocess.Popen, state: State, until: float) -> str:
    """How the child ended: `crash`, `hang`, or `done`."""
    while child.poll() is None:
        time.sleep(0.25)
        _, begun, _ = state.read()
        late, over = begun and time.monotonic() - begun > PATIENCE, time.monotonic() > until + 2 * PATIENCE
        if late or over:
            child.send_signal(signal.SIGKILL)
            child.wait()
            return "hang" if late else "done"
    if child.returncode and not state.read()[1]:
        raise SystemExit("The fuzzer itself failed: see `log` in its folder.")
    return "crash" if child.returncode else "done"


def merge(
    out: Path, target: str, done: dict[str, Any], engine: str, found: list[dict[str, Any]], fixed: list[str]
) -> None:
    """Add a run to the results; `fixed` are the files of findings that are mended."""
    results = json.loads(out.read_text()) if out.exists() else {"targets": {}}
    entry = results["targets"].setdefault(target, {"executions": 0, "seconds": 0, "findings": []})
    entry["executions"] += done["executions"]
    entry["seconds"] = round(entry["seconds"] + done["seconds"])
    entry["engines"] = sorted({*entry.get("engines", ()), engine})
    entry["largest_growth"] = max(entry.get("largest_growth", 0), done["largest_growth"])
    told = {one["what"]: one.get("fixed", False) for one in entry["findings"]}
    entry["findings"] = [
        {
            "what": one["what"],
            "bytes": one["bytes"],
            "file": one["file"],
            "fixed": one["file"] in fixed or told.get(one["what"], False),
        }
        for one in found
    ]
    results["total"] = {
        name: sum(one[name] for one in results["targets"].values()) for name in ("executions", "seconds")
    }
    versions = packages.versions(*LIBRARIES)
    libraries = {name: versions[name] for name in LIBRARIES if name in versions}
    results["machine"] = about({}) | {"libraries": libraries}
    out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
