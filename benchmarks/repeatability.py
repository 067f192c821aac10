"""Do bits depend on the number of threads, or on what runs in the same batch? With and without --deterministic.

    python benchmarks/repeatability.py --out benchmarks/results/repeatability.json

For each network and back end a process per number of threads enhances two noisy pictures of each size, alone and as one
batch, to 16 bits; what is counted is how many different results there were.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from machine import about

from lowlight_cli import manifest, open_model, picture

SIZES = (40, 64), (128, 128), (400, 600)
THREADS = 1, 2, 3, 4, 7


def main() -> None:
    """Measure, and write a JSON document; or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", nargs=4, metavar=("MODEL", "BACKEND", "THREADS", "DETERMINISTIC"))
    args = parser.parse_args()
    if args.worker:
        model, backend, threads, deterministic = args.worker
        print(json.dumps(digests(model, backend, int(threads), deterministic == "True")))
        return
    rows = [row for model in networks() for backend in ("onnx", "torch") for row in measured(model, backend)]
    document = {"about": about({"threads": THREADS, "sizes": SIZES}), "rows": rows}
    if args.out:
        args.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def networks() -> list[str]:
    """One set of weights for each network."""
    return sorted({row.arch: name for name, row in manifest.models().items() if row.files}.values())


def measured(model: str, backend: str) -> list[dict[str, object]]:
    """The most different results of a picture over all sizes: by threads, and alone against in a batch."""
    rows = []
    for deterministic in (False, True):
        found = [worker(model, backend, threads, deterministic) for threads in THREADS]
        by_threads = max(len({run[size]["alone"] for run in found}) for size in found[0])
        batches = sum(run[size]["alone"] != run[size]["together"] for run in found for size in run)
        row = {"model": model, "backend": backend, "deterministic": deterministic}
        rows.append(row | {"results_by_threads": by_threads, "batches_that_differ": batches})
        print(rows[-1], flush=True)
    return rows


def worker(model: str, backend: str, threads: int, deterministic: bool) -> dict[str, dict[str, str]]:
    """What a process of its own gives: settings of threads are those of a process."""
    words = [sys.executable, __file__, "--worker", model, backend, str(threads), str(deterministic)]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def digests(model: str, backend: str, threads: int, deterministic: bool) -> dict[str, dict[str, str]]:
    """By size, of the pixels of both pictures, each alone and together."""
    enhancer = open_model(model, backend=backend, threads=threads, deterministic=deterministic, depth=16, tile=0)
    found, rng = {}, np.random.default_rng(0)
    for height, width in SIZES:
        pictures = [picture.from_array(rng.integers(0, 70, (height, width, 3)).astype(np.uint8)) for _ in range(2)]
        alone = [enhancer.enhance([one])[0] for one in pictures]
        both = {"alone": alone, "together": enhancer.enhance(pictures)}
        found[f"{width}x{height}"] = {
            name: hashlib.sha256(b"".join(p.pixels.tobytes() for p in made)).hexdigest()[:16]
            for name, made in both.items()
        }
    return found


if __name__ == "__main__":
    main()
