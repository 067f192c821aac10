"""The page of `speed.py`: all bars first, then what is behind each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from speed_bars import met
from tables import cell, commit, machine_lines, section, table

INTRO = """# Bars of speed

Made by `benchmarks/speed.py`; do not edit. Things in one table were measured in turn within one run, in processes of
their own, and ratios are taken within each round: they carry over to other machines, seconds do not. A cell is the
median of the rounds, with the smallest and the largest in brackets; the median decides about a bar.

{machine}
- Pictures are made by the script: dark, textured, noisy; JPEG, quality 92
{remarks}
To make it again, on a machine with nothing else to do; `--only PART` measures one part and keeps the others:

    python benchmarks/speed.py --out benchmarks/results/speed.json
"""

Part = Mapping[str, Any]

QUIET = 0.2
"""Cores that may work on something else without a remark."""


def page(result: Mapping[str, Part]) -> str:
    """The whole page as Markdown."""
    newest = max(result.values(), key=lambda part: part["about"]["date"])["about"]
    head = INTRO.format(machine=machine_lines(newest), remarks=remarks(result, newest))
    texts = [head, overview(result)]
    for name, part in result.items():
        texts.append(SECTIONS[name](part) if "skipped" not in part else "")
    return "\n".join(text for text in texts if text)


def remarks(result: Mapping[str, Part], newest: Mapping[str, Any]) -> str:
    """What differs between parts, and what makes their figures worth less, as items of a list."""
    lines = []
    for name, part in result.items():
        about, settings = part["about"], part["about"]["settings"]
        told = [commit(about)] if about["commit"] != newest["commit"] else []
        told += [f"on {about['cpu']}"] if about["cpu"] != newest["cpu"] else []
        told += ["**a quick run, to see that the script works: its numbers say little**"] if settings["quick"] else []
        told += [f"other work kept {about['busy']:.1f} cores busy before it"] if (about["busy"] or 0) > QUIET else []
        told += [f"{name}={value} in the environment" for name, value in settings["environment"].items()]
        told += ["photos instead of made pictures"] if settings["photos"] and name == "pipeline" else []
        lines += [f"- {name}: {'; '.join(told)}\n"] if told else []
    return "".join(lines)


def overview(result: Mapping[str, Part]) -> str:
    """Every bar, what was measured, and whether it is reached."""
    rows = []
    for name, part in result.items():
        if "skipped" in part:
            rows.append((name, "", "", "", "", f"not measured: {part['skipped']}"))
        for one in part.get("bars", ()):
            measured, limit = one["measured"], f"{one['sense']} {one['limit']:g} {one['unit']}"
            verdict = "met" if met(one) else "**missed**"
            rows.append((name, one["what"], limit, cell(measured), str(len(measured["all"])), verdict))
    text = "Ratios but for peaks, which are in GB (1e9 bytes)."
    return section("Bars", text, ("part", "what", "bar", "measured", "rounds", ""), rows)


def start(part: Part) -> str:
    """Seconds of the processes."""
    rows = [(name, cell(values, digits=3)) for name, values in part["seconds"].items()]
    text = (
        "Wall seconds of whole processes: `lowlight enhance` of one 600x400 JPEG with each model, and "
        '`python -c "import onnxruntime, numpy, cv2"`, which it cannot avoid.'
    )
    return section("Start", text, ("process", "seconds"), rows)


def pipeline(part: Part) -> str:
    """Seconds of the whole and of its halves."""
    rows = []
    for name, values in part["seconds"].items():
        kind, model = name.split()
        folder = part["folders"][model]
        rows.append((model, f"{folder['files']} files, {folder['megapixels']:.0f} MP", kind, cell(values)))
    text = (
        "Seconds, start-up left out. `pipeline` is what the command does with the files. `codec` decodes them and "
        "encodes their results on as many threads, without a network; `inference` enhances the decoded pictures one "
        "at a time. The bar compares the pipeline with the larger of the two."
    )
    return section("Pipeline", text, ("model", "folder", "what", "seconds"), rows)


def roofline(part: Part) -> str:
    """Where the networks lie under their roofs, and what their operators do."""
    width, height = part["picture"]
    text = (
        f"The network alone at {width}x{height}, padded to its multiple, timed without a profiler beside a float32 "
        "matrix product and a copy of arrays larger than the caches on all cores (bytes read and written). Bytes are "
        "the sizes of each operator's inputs, parameters and outputs, GFLOP those of convolutions and products, both "
        "from ONNX Runtime's profile: `logical` of the network's own channels, `as run` with those that fill up the "
        "blocks of its layout and with the changes of layout. The roof is the product's rate or intensity times the "
        "copy's rate, whichever is less; below the product's rate it is memory that bounds. Bars go by logical sizes. "
        "Bytes that stay in a cache are counted as well, so that a share may pass 1."
    )
    headings = ("model", "sizes", "GB", "GFLOP", "FLOP per byte", "GFLOP/s", "of product", "GB/s", "of copy")
    places = table((*headings, "roof, GFLOP/s", "of roof"), under_roof(part))
    kinds = "".join(f"\n{operators(name, network)}" for name, network in part["networks"].items())
    rates = [
        (name, *(cell(network[key], unit, digits) for key, unit, digits in YARDSTICKS))
        for name, network in part["networks"].items()
    ]
    heading = ("model", "network, ms", "product, GFLOP/s", "copy, GB/s")
    return section("Roofline", text, heading, rates) + f"\n{places}{kinds}"


YARDSTICKS = (("seconds", 1e-3, 1), ("product_flop_per_s", 1e9, 0), ("copy_bytes_per_s", 1e9, 1))


def under_roof(part: Part) -> list[tuple[str, ...]]:
    """A row for each network and way to count."""
    rows = []
    for model, network in part["networks"].items():
        for form, name in (("logical", "logical"), ("run", "as run")):
            work, place = network[f"{form} total"], network[form]
            done = (f"{work['bytes'] / 1e9:.2f}", f"{work['flop'] / 1e9:.1f}", f"{place['intensity']['median']:.1f}")
            rates = (cell(place["flop_per_s"], 1e9, 0), cell(place["of_product"]))
            streams = (cell(place["bytes_per_s"], 1e9, 1), cell(place["of_copy"]))
            rows.append((model, name, *done, *rates, *streams, cell(place["roof"], 1e9, 0), cell(place["of_roof"])))
    return rows


def operators(model: str, network: Mapping[str, Any]) -> str:
    """What each kind of operator does; kinds that take less than 1 % of the time are left out."""
    run, logical = network["kinds"]["run"], network["kinds"]["logical"]
    whole = network["run total"]["ms"]
    rows = []
    for kind in sorted({**run, **logical}, key=lambda kind: -run.get(kind, NOTHING)["ms"]):
        own, plain = run.get(kind, NOTHING), logical.get(kind, NOTHING)
        if own["ms"] < 0.01 * whole and plain["ms"] < 0.01 * whole:
            continue
        seconds = own["ms"] / 1e3 or float("inf")
        rates = (f"{own['bytes'] / 1e9 / seconds:.1f}", f"{own['flop'] / 1e9 / seconds:.0f}" if own["flop"] else "")
        sizes = (f"{one[name] / scale:.{digits}f}" for one in (own, plain) for name, scale, digits in SIZES)
        rows.append((kind, str(own["nodes"]), f"{own['ms']:.1f}", f"{own['ms'] / whole:.0%}", *sizes, *rates))
        rows[-1] = (*rows[-1], f"{plain['ms']:.1f}")
    headings = ("operator", "nodes", "ms", "share", "MB as run", "GFLOP as run", "MB logical", "GFLOP logical")
    told = f"{model} by kind of operator, under the profiler; the last column without the blocked layout:\n\n"
    return told + table((*headings, "GB/s as run", "GFLOP/s as run", "ms without"), rows)


NOTHING = {"nodes": 0, "ms": 0.0, "bytes": 0, "flop": 0}
SIZES = (("bytes", 1e6, 1), ("flop", 1e9, 2))


def memory(part: Part) -> str:
    """What flatness comes from; peaks are among the bars."""
    rows = [
        (name, str(found["files"]), *(f"{found[at] / 1e6:.1f}" for at in ("first", "middle", "last")))
        for name, found in part["folder"].items()
    ]
    text = (
        "Peaks of the whole command on one JPEG are among the bars above. Below, the resident memory of a process "
        "that enhances a folder of small pictures, read at every result: means of "
        f"{next((found['ends'] for found in part['folder'].values()), 'few')} results in MB, at the start, before the "
        "middle and at the end. Queues and allocators fill up with the first 150 or so; more than 5 % more counts as "
        "growth."
    )
    return section("Memory", text, ("model", "files", "first", "middle", "last"), rows)


def scale(part: Part) -> str:
    """Milliseconds per megapixel, and gains of a second thread."""
    rows = [
        (model, *(cell(values, digits=0) for values in sizes.values()))
        for model, sizes in part["ms_per_megapixel"].items()
    ]
    sizes = [f"{mp} MP" for mp in next(iter(part["ms_per_megapixel"].values()))]
    text = (
        "Milliseconds per megapixel of the picture, of the library's call on an open model: array in, array out, with "
        "thumbnail, padding, tiles and their halos, conversions; no file is read or written. The bar is the slowest by "
        "the fastest size within a round."
    )
    width, height = part["picture"]
    gains = [(name, cell(gain)) for name, gain in part["gains"].items()]
    more = f"Throughput with 2 threads by that with 1, of the call at {width}x{height} and of a matrix product:\n\n"
    return f"{section('Scale', text, ('model', *sizes), rows)}\n{more}{table(('what', 'gain'), gains)}"


def batch(part: Part) -> str:
    """Batches against one by one."""
    rows = []
    for name, found in part["batches"].items():
        verdict = "as fast as the fastest" if found["right"] else f"**slower than {found['best']}**"
        rows.append((*name.split(), *(cell(found["sizes"][n]) for n in found["sizes"]), str(found["limit"]), verdict))
    sizes = [f"{n} at once" for n in next(iter(part["batches"].values()))["sizes"]]
    text = (
        "Time for pictures of one size in batches, divided by that one by one: below 1, a batch is faster. `limit` is "
        "how many the pipeline takes at once; it is as fast as the fastest if its ratio is at most 0.03 more."
    )
    return section("Batches", text, ("model", "picture", *sizes, "limit", ""), rows)


def int8(part: Part) -> str:
    """Seconds of both precisions."""
    has = {True: "has", False: "has not", None: "may have"}[part["vnni"]]
    text = (
        f"Seconds of neid alone. The processor {has} instructions for products of 8-bit integers (VNNI): without them "
        "there is no bar."
    )
    rows = [(name, cell(values, digits=3)) for name, values in part["seconds"].items()]
    return section("int8", text, ("what", "seconds"), rows)


SECTIONS: Mapping[str, Callable[[Part], str]] = {
    "start": start,
    "pipeline": pipeline,
    "roofline": roofline,
    "memory": memory,
    "scale": scale,
    "batch": batch,
    "int8": int8,
}
