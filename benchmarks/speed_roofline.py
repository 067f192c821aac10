"""Arithmetic of the roofline: what ONNX Runtime's profile of a run says of bytes, operations and time.

A node is read as the profiler tells it: bytes are the sizes of its inputs, parameters and outputs, each counted once.
ONNX Runtime's blocked layout (NCHWc) fills channels up to a block, and the profile tells the filled shapes: a profile
without that layout gives the logical ones. Standard library only.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TIMED = "_kernel_time"
NAMES = {"FusedConv": "Conv", "Upsample": "Resize"}
"""Names that ONNX Runtime gives to one kind of operator in different layouts."""
VIEWS = {"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Shape"}
"""Kinds that move nothing: their output is their input's memory."""
PARTS = {"Slice", "Gather"}
"""Kinds that read only what they write."""

Shape = Sequence[int]


def nodes(events: Iterable[Mapping[str, Any]], runs: int) -> list[dict[str, Any]]:
    """Kind, milliseconds (median of its runs but the first), bytes and FLOP of each node of a profile."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(TIMED):
            found.setdefault(f"{event['args']['node_index']} {event['name']}", []).append(event)
    return [node(name, done, runs) for name, done in found.items()]


def node(name: str, events: Sequence[Mapping[str, Any]], runs: int) -> dict[str, Any]:
    """One node from its events, one of each run."""
    if len(events) != runs:
        raise ValueError(f"The profile of {runs} runs tells of {name} {len(events)} times.")
    told = events[0]["args"]
    kind = NAMES.get(told["op_name"], told["op_name"])
    inputs, outputs = (shapes(told[name]) for name in ("input_type_shape", "output_type_shape"))
    milliseconds = statistics.median(event["dur"] / 1e3 for event in events[1:] or events)
    return {"kind": kind, "ms": milliseconds, "bytes": moved(kind, told), "flop": flop(kind, inputs, outputs)}


def shapes(told: Iterable[Mapping[str, Shape]]) -> list[Shape]:
    """Shapes as the profiler tells them, each beside the name of its type."""
    return [shape for entry in told for shape in entry.values()]


def moved(kind: str, told: Mapping[str, str]) -> int:
    """Bytes that a node reads and writes."""
    read, parameters, written = (int(told[f"{name}_size"]) for name in ("activation", "parameter", "output"))
    if kind in VIEWS:
        return 0
    return min(read, written) + written if kind in PARTS else read + parameters + written


def flop(kind: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Multiplications and additions of a convolution or product; other kinds count as none, transposed convolutions
    too: in these graphs they are pixel shuffles, by ones and zeros."""
    if kind == "Conv":
        return 2 * math.prod(outputs[0]) * math.prod(inputs[1][1:])
    if kind in ("MatMul", "FusedMatMul"):
        return 2 * math.prod(outputs[0]) * inputs[0][-1]
    if kind == "Gemm":  # (M, K) by (K, N), either of them transposed
        return 2 * math.prod(inputs[0]) * outputs[0][-1]
    return 0


def by_kind(found: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Number, milliseconds, bytes and FLOP of the nodes of each kind, the slowest first."""
    kinds: dict[str, dict[str, float]] = {}
    for one in found:
        total = kinds.setdefault(one["kind"], {"nodes": 0, "ms": 0.0, "bytes": 0, "flop": 0})
        total["nodes"] += 1
        for name in ("ms", "bytes", "flop"):
            total[name] += one[name]
    return dict(sorted(kinds.items(), key=lambda item: -item[1]["ms"]))


def total(kinds: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Sums over all kinds."""
    return {name: sum(kind[name] for kind in kinds.values()) for name in ("nodes", "ms", "bytes", "flop")}


def place(work: Mapping[str, float], seconds: float, product: float, copy: float) -> dict[str, float]:
    """Where a run lies under its roof: rates, shares of those of a product (FLOP/s) and of a copy (bytes/s)."""
    rate, stream, intensity = work["flop"] / seconds, work["bytes"] / seconds, work["flop"] / work["bytes"]
    roof = min(product, intensity * copy)
    return {
        "flop_per_s": rate,
        "bytes_per_s": stream,
        "intensity": intensity,
        "roof": roof,
        "of_product": rate / product,
        "of_copy": stream / copy,
        "of_roof": rate / roof,
    }
