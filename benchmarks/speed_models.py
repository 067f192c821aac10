"""Parts of `speed.py` that keep models open: the pipeline, the roofline, scale, batches, int8."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interleave import PAUSE, Worker, child, ratios, rounds, say, summary
from speed_bars import bar, best_batch, spread
from speed_processes import MODELS, WORKER
from speed_roofline import place, total

PRODUCT = 3000
"""Side of the square matrices of the product that stands for what the cores can do."""
PRODUCT_FLOP = 2 * PRODUCT**3
COPY_BYTES = 128 << 20
"""Bytes of an array of each core that is copied: far larger than the caches."""
SIZES = {1: (1224, 816), 4: (2448, 1632), 12: (4240, 2832), 24: (6000, 4000), 48: (8480, 5656), 96: (12000, 8000)}
"""Pictures by their megapixels."""
BATCHES = (1, 2, 4, 8)
BATCHED = {(200, 150): 32, (600, 400): 8, (1200, 800): 8}
"""How many pictures of each size are run in batches."""
SAMPLE = 4
"""Of the folder of the pipeline, neid takes each n-th file."""


def pipeline(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A folder of mixed JPEGs, start-up left out, against its decoding and encoding, and its inference, alone."""
    files = 12 if options.quick else 200
    child([str(WORKER), "mixed", str(folder / "mixed"), str(files), options.data or ""])
    seconds, told, bars = {}, {}, []
    for model in MODELS:
        with Worker(WORKER, "model", model) as worker:
            every = SAMPLE if model == "neid" else 1
            count, megapixels = worker.ask("prepare", str(folder / "mixed"), str(folder / f"out {model}"), every)
            told[model] = {"files": count, "megapixels": megapixels}
            parts = ("pipeline", "codec", "inference")
            work = {f"{part} {model}": lambda part=part, worker=worker: worker.ask(part) for part in parts}
            series = rounds(work, 2 if options.quick else 5, options.seconds / len(MODELS))
        alone = [max(pair) for pair in zip(series[f"codec {model}"], series[f"inference {model}"], strict=True)]
        bars.append(
            bar(f"folder by the larger half, {model}", ratios(series[f"pipeline {model}"], alone), "at most", 1.15)
        )
        seconds |= {name: summary(values) for name, values in series.items()}
    return {"seconds": seconds, "folders": told, "bars": bars}


def roofline(_: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Rates of the networks against those of a matrix product and of a copy."""
    size = (600, 400) if options.quick else (1920, 1080)
    networks = {}
    with Worker(WORKER, "rates") as rates, workers() as models:
        for name, worker in models.items():
            say(f"profile: {name}")
            kinds = worker.ask("profile", *size, 3 if options.quick else 6)
            networks[name] = {"kinds": kinds} | {f"{form} total": total(kinds[form]) for form in kinds}
        work = {name: lambda worker=worker: beside(rates, worker, size) for name, worker in models.items()}
        for measure in work.values():
            measure()
        series = rounds(work, 2 if options.quick else 9, options.seconds)
    for name, triples in series.items():
        networks[name] |= placed(networks[name], triples)
    bars = [
        bar("neid by the product's rate", networks["neid"]["logical"]["of_product"], "at least", 0.65),
        bar("aux-retinex by the copy's rate", networks["aux-retinex"]["logical"]["of_copy"], "at least", 0.60),
    ]
    return {"picture": size, "networks": networks, "bars": bars}


def beside(rates: Worker, worker: Worker, size: tuple[int, int]) -> tuple[float, float, float]:
    """Seconds of a network alone; FLOP per second of a product and bytes per second of a copy just before."""
    product = PRODUCT_FLOP / rates.ask("product", PRODUCT)
    time.sleep(PAUSE)
    copy = rates.ask("copy", COPY_BYTES)
    time.sleep(PAUSE)
    return worker.ask("runner", *size), product, copy


def placed(network: dict[str, Any], triples: list[tuple[float, float, float]]) -> dict[str, Any]:
    """Summaries of where the rounds lie under their roofs, with logical sizes and as the network runs."""
    found: dict[str, Any] = {}
    for form in ("run", "logical"):
        places = [place(network[f"{form} total"], *triple) for triple in triples]
        found[form] = {name: summary(one[name] for one in places) for name in places[0]}
    for index, name in enumerate(("seconds", "product_flop_per_s", "copy_bytes_per_s")):
        found[name] = summary(triple[index] for triple in triples)
    return found


def scale(_: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Time per megapixel from small to large pictures, and what a second thread gives."""
    sizes = {size: SIZES[size] for size in ((1, 4) if options.quick else SIZES)}
    per_mp, bars = {}, []
    for model in MODELS:
        with Worker(WORKER, "model", model) as worker:
            worker.ask("megapixels", *sizes[4])  # the first calls allocate
            work = {str(mp): lambda s=s, w=worker: w.ask("megapixels", *s) for mp, s in sizes.items()}
            series = rounds(work, 2 if options.quick else 5, 0.35 * options.seconds)
        table = {mp: [1e3 * 1e6 * t / (sizes[int(mp)][0] * sizes[int(mp)][1]) for t in series[mp]] for mp in series}
        per_mp[model] = {mp: summary(values) for mp, values in table.items()}
        spreads = summary(spread(values) for values in zip(*table.values(), strict=True))
        bars.append(bar(f"slowest by fastest megapixel, {model}", spreads, "at most", 1.15))
    gains = threads(options)
    bars += [bar(f"2 threads by 1, {model}", gains["gains"][model], "at least", 1.8) for model in MODELS]
    return {"ms_per_megapixel": per_mp, **gains, "bars": bars}


def threads(options: argparse.Namespace) -> dict[str, Any]:
    """Throughput with two threads by that with one, of the library's call and of a matrix product."""
    size = (600, 400) if options.quick else (1920, 1080)
    with contextlib.ExitStack() as stack:
        work = {}
        for count in (1, 2):
            variables = {f"{name}_NUM_THREADS": str(count) for name in ("OMP", "OPENBLAS", "MKL")}
            rates = stack.enter_context(Worker(WORKER, "rates", environment=variables))
            work[f"product {count}"] = lambda rates=rates: rates.ask("product", PRODUCT)
            for model in MODELS:
                worker = stack.enter_context(Worker(WORKER, "model", model, f'{{"threads": {count}}}'))
                work[f"{model} {count}"] = lambda worker=worker: worker.ask("call", *size)
        for measure in work.values():
            measure()
        series = rounds(work, 2 if options.quick else 7, 0.3 * options.seconds)
    gains = {name: ratios(series[f"{name} 1"], series[f"{name} 2"]) for name in ("product", *MODELS)}
    return {"picture": size, "gains": gains, "seconds": {name: summary(values) for name, values in series.items()}}


def batch(_: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Pictures of one size in batches against one by one; whether `batch_limit` takes the fastest."""
    sizes = dict(list(BATCHED.items())[:2] if options.quick else BATCHED)
    quotients, limits = {}, {}
    with workers() as models:
        work = {
            f"{model} {width}x{height} {size}": lambda w=worker, r=(width, height, count, size): w.ask("batch", *r)
            for (width, height), count in sizes.items()
            for model, worker in models.items()
            for size in BATCHES
        }
        for model, worker in models.items():
            for width, height in sizes:
                limits[f"{model} {width}x{height}"] = worker.ask("batch_limit", width, height)
        for name, measure in work.items():
            if name.endswith(" 8"):  # the largest first: its memory serves the others
                measure()
        series = rounds(work, 2 if options.quick else 7, options.seconds)
    for name, limit in limits.items():
        by_size = {size: ratios(series[f"{name} {size}"], series[f"{name} 1"]) for size in BATCHES}
        quotients[name] = {"sizes": by_size, **best_batch({n: s["median"] for n, s in by_size.items()}, limit)}
    return {"batches": quotients, "bars": []}


def int8(_: Path, options: argparse.Namespace) -> dict[str, Any]:
    """neid in int8 against float32, the network alone."""
    with Worker(WORKER, "rates") as asked:
        if reason := asked.ask("refusal", "neid", "int8"):
            return {"skipped": reason}
    sizes = ((600, 400),) if options.quick else ((600, 400), (1920, 1080))
    with (
        Worker(WORKER, "model", "neid", '{"precision": "fp32"}') as whole,
        Worker(WORKER, "model", "neid", '{"precision": "int8"}') as quantised,
    ):
        work = {
            f"{width}x{height} {name}": lambda w=worker, size=(width, height): w.ask("runner", *size)
            for width, height in sizes
            for name, worker in (("fp32", whole), ("int8", quantised))
        }
        for measure in work.values():
            measure()
        series = rounds(work, 2 if options.quick else 9, options.seconds)
    gains = {f"{w}x{h}": ratios(series[f"{w}x{h} fp32"], series[f"{w}x{h} int8"]) for w, h in sizes}
    able = vnni()
    bars = [bar(f"float32 by int8, {size}", gain, "at least", 1.8) for size, gain in gains.items() if able is not False]
    return {"seconds": {name: summary(values) for name, values in series.items()}, "vnni": able, "bars": bars}


def vnni() -> bool | None:
    """Whether the processor has instructions for products of 8-bit integers; None where the system does not tell."""
    with contextlib.suppress(OSError):
        return "_vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return None


@contextlib.contextmanager
def workers() -> Iterator[dict[str, Worker]]:
    """An open worker of each model."""
    with contextlib.ExitStack() as stack:
        yield {model: stack.enter_context(Worker(WORKER, "model", model)) for model in MODELS}
