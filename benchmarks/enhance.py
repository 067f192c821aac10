"""Measure `lowlight enhance` on the CPU: start-up, latency, throughput and peak memory of both back ends.

    python benchmarks/enhance.py --out benchmarks/results/enhance.json

writes that file and a page beside it. What is compared is measured in turn within one run, A B A B, and ratios are
taken within each round, because the speed of a shared machine drifts. This process imports nothing heavy: Linux
counts the memory of the process that starts a child into the child's peak.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import enhance_page
import machine
from interleave import PAUSE, Worker, child, need_wait4, ratios, rounds, say, summary

from lowlight_cli import manifest, weights
from lowlight_cli.errors import LowlightError

HERE = Path(__file__).resolve().parent
WORKER = HERE / "enhance_worker.py"
MODELS, BACKENDS = ("neid", "aux-retinex"), ("onnx", "torch")
SIZES = ((600, 400), (1920, 1080))
YARDSTICKS = {
    "import onnxruntime, numpy, cv2": ["-c", "import onnxruntime, numpy, cv2"],
    "import click": ["-c", "import click"],
    "lowlight --help": ["-m", "lowlight_cli", "--help"],
}
PRODUCT = 3000
"""Side of the square matrices of the product that stands for what the cores can do."""

Series = dict[str, list[float]]


def main() -> None:
    """Measure, then write the JSON and the page."""
    need_wait4()
    options = parse()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found, skipped = available()
    settings = {name: getattr(options, name) for name in ("rounds", "quick", "huge", "files", "sizes")}
    result = {"about": machine.about(settings) | {"product_gflop": 2 * PRODUCT**3 / 1e9}, "skipped": skipped}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("pictures")
        child([str(WORKER), "pictures", name, str(options.files), "huge" if options.huge else ""])
        result["processes"] = measure_processes(folder, found, options)
        result |= measure_workers(folder, found, options)
    result["ratios"] = quotients(result, found)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    page = options.out.with_suffix(".md")
    page.write_text(enhance_page.page(result), encoding="utf-8")
    say(f"{options.out} and {page} are written")


def parse() -> argparse.Namespace:
    """The command line, with the rounds and files that `--quick` sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "enhance.json", help="JSON file to write")
    parser.add_argument("--rounds", type=int, help="measurements of each thing (7; 2 with --quick)")
    parser.add_argument("--quick", action="store_true", help="see that it works: few rounds, few files, small pictures")
    parser.add_argument("--huge", action="store_true", help="also 12000x8000, once per model and back end")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.files = 4 if options.quick else 24
    options.sizes = SIZES[:1] if options.quick else SIZES
    return options


def available() -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Pairs of model and back end, and the models whose weights are not on this disk with the reason."""
    skipped = {}
    for model in MODELS:
        try:
            weights.find(manifest.find(model), "torch", offline=True)
        except LowlightError as error:
            skipped[model] = error.message
    return [(model, backend) for model in MODELS if model not in skipped for backend in BACKENDS], skipped


def measure_processes(folder: Path, found: Iterable[tuple[str, str]], options: argparse.Namespace) -> dict[str, Any]:
    """Wall seconds and peak memory of whole processes."""
    commands = dict(YARDSTICKS)
    inputs = {f"{width}x{height}": f"{width}x{height}.jpg" for width, height in options.sizes}
    for name, source in {**inputs, f"folder of {options.files}": "many"}.items():
        for model, backend in found:
            commands[f"enhance {name} {model} {backend}"] = enhance(folder, source, model, backend)
    seconds, memory = pairs(
        {name: lambda words=words: child(words) for name, words in commands.items()}, options.rounds
    )
    if options.huge:
        for model, backend in found:
            words = enhance(folder, "12000x8000.jpg", model, backend)
            once = {f"enhance 12000x8000 {model} {backend}": lambda words=words: child(words)}
            for series, more in zip((seconds, memory), pairs(once, 1), strict=True):
                series |= more
    return {name: {"seconds": summary(seconds[name]), "peak_bytes": summary(memory[name])} for name in seconds}


def enhance(folder: Path, source: str, model: str, backend: str) -> list[str]:
    """Arguments of Python for one `lowlight enhance`."""
    out = folder / "out" / f"{model} {backend}"
    flags = ["--model", model, "--backend", backend, "--device", "cpu", "--offline", "--overwrite", "-q"]
    return ["-m", "lowlight_cli", "enhance", str(folder / source), "--out", str(out), *flags]


def pairs(work: Mapping[str, Callable[[], tuple[float, float]]], count: int) -> tuple[Series, Series]:
    """Do everything once per round, in turn; two values of each."""
    series = rounds(work, count)
    first, second = ({name: [pair[i] for pair in values] for name, values in series.items()} for i in (0, 1))
    return first, second


def measure_workers(folder: Path, found: list[tuple[str, str]], options: argparse.Namespace) -> dict[str, Any]:
    """Latency and throughput of open models; just before each run of a network alone, a matrix product."""
    workers = {f"{model} {backend}": Worker(WORKER, "model", model, backend) for model, backend in found}
    product = Worker(WORKER, "product")
    try:
        asked: dict[str, tuple[Worker, tuple[object, ...]]] = {}
        for what in ("runner", "call"):
            for size in options.sizes:
                for name, worker in workers.items():
                    asked[f"{what} {size[0]}x{size[1]} {name}"] = worker, (what, *size)
        for name, worker in workers.items():
            asked[f"folder {name}"] = worker, ("folder", str(folder / "many"))
        for worker, request in asked.values():  # first calls allocate and choose algorithms
            worker.ask(*request)
        work = {name: lambda a=a: beside(product, *a) for name, a in asked.items()}
        seconds, products = pairs(work, options.rounds)
        gflop = {
            f"{model} {width}x{height}": workers[f"{model} torch"].ask("gflop", width, height)
            for model in dict(found)
            for width, height in options.sizes
        }
    finally:
        for worker in (*workers.values(), product):
            worker.close()
    products = {name: summary(values) for name, values in products.items() if any(values)}
    return {
        "seconds": {name: summary(values) for name, values in seconds.items()},
        "products": products,
        "gflop": gflop,
    }


def beside(product: Worker, worker: Worker, request: tuple[object, ...]) -> tuple[float, float]:
    """Seconds of a request and, for a network alone, of the product just before it; else 0."""
    yardstick = 0.0
    if request[0] == "runner":
        yardstick = product.ask("product", PRODUCT)
        time.sleep(PAUSE)
    return worker.ask(*request), yardstick


def quotients(result: Mapping[str, Any], found: list[tuple[str, str]]) -> dict[str, Any]:
    """Quotients within each round: back ends, start-up by its yardstick, achieved rate by the product's."""
    processes = {name: values["seconds"] for name, values in result["processes"].items()}
    seconds = result["seconds"]
    compared = {"lowlight --help / import click": (processes["lowlight --help"], processes["import click"])}
    for model, backend in found:
        start = processes[f"enhance 600x400 {model} {backend}"]
        compared[f"enhance 600x400 {model} {backend} / import"] = start, processes["import onnxruntime, numpy, cv2"]
    for table in (processes, seconds):
        for name, values in table.items():
            if name.endswith(" onnx"):
                compared[f"{name} / torch"] = values, table[name.removesuffix("onnx") + "torch"]
    quotient = {name: ratios(a["all"], b["all"]) for name, (a, b) in compared.items()}
    for key, gflop in result["gflop"].items():
        model, size = key.split()
        for backend in BACKENDS:
            name = f"runner {size} {model} {backend}"
            times = zip(seconds[name]["all"], result["products"][name]["all"], strict=True)
            share = [gflop / own / (result["about"]["product_gflop"] / product) for own, product in times]
            quotient[f"rate {size} {model} {backend} / product"] = summary(share)
    return quotient


if __name__ == "__main__":
    main()
