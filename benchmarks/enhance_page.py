"""The page of `enhance.py`: ratios first, the seconds behind them last."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from tables import cell, machine_lines, section

INTRO = """# Speed and memory of `lowlight enhance` on the CPU

Made by `benchmarks/enhance.py`; do not edit. Things in one table were measured in turn within one run, and ratios are
taken within each round: they carry over to other machines, seconds do not. Every cell is the median of {rounds}
rounds, with the smallest and the largest in brackets.

{machine}
- Pictures are made by the script: dark, smooth light, a few edges, noise; JPEG, quality 92
{remarks}
To make it again, on a machine with nothing else to do:

    python benchmarks/enhance.py --out benchmarks/results/enhance.json{flags}
"""


def page(result: Mapping[str, Any]) -> str:
    """The whole page as Markdown."""
    parts = [intro(result), backends(result), startup(result), rates(result), memory(result), seconds(result)]
    return "\n".join(parts)


def intro(result: Mapping[str, Any]) -> str:
    """What was measured where."""
    about, settings = result["about"], result["about"]["settings"]
    remarks = [f"- Not measured: {model}. {reason}" for model, reason in result["skipped"].items()]
    remarks += [f"- Set in the environment: {name}={value}" for name, value in settings["environment"].items()]
    if settings["huge"]:
        remarks.append("- 12000x8000 was run once per model and back end")
    if settings["quick"]:
        remarks.append("- **A quick run, to see that the script works: its numbers say little**")
    return INTRO.format(
        rounds=settings["rounds"],
        machine=machine_lines(about),
        flags="".join(f" --{name}" for name in ("quick", "huge") if settings[name]),
        remarks="".join(f"{remark}\n" for remark in remarks),
    )


def backends(result: Mapping[str, Any]) -> str:
    """ONNX Runtime against PyTorch."""
    ratios = result["ratios"]
    rows = [(name.removesuffix(" onnx / torch"), cell(ratios[name])) for name in ratios if name.endswith(" / torch")]
    return section(
        "ONNX Runtime against PyTorch",
        "Time with ONNX Runtime divided by time with PyTorch: below 1, ONNX Runtime is faster. `enhance` is the whole "
        "process with its start-up, `runner` the network alone, `call` the library's call from array to array, "
        "`folder` an open model over files, decoding and encoding included.",
        ("what", "ratio"),
        rows,
    )


def startup(result: Mapping[str, Any]) -> str:
    """Whole processes against what they cannot avoid."""
    names = [name for name in result["ratios"] if name.endswith((" / import", " / import click"))]
    return section(
        "Start-up",
        "Time of a whole process divided by that of its yardstick. For `enhance` of one 600x400 JPEG that is "
        '`python -c "import onnxruntime, numpy, cv2"`, for `lowlight --help` it is `python -c "import click"`.',
        ("process", "ratio"),
        [(name.partition(" / ")[0], cell(result["ratios"][name])) for name in names],
    )


def rates(result: Mapping[str, Any]) -> str:
    """How much of the cores' rate the networks get."""
    times = [value for values in result["products"].values() for value in values["all"]]
    product = result["about"]["product_gflop"] / (statistics.median(times) if times else 1)
    rows = []
    for name, share in result["ratios"].items():
        if name.startswith("rate "):
            _, size, model, backend = name.removesuffix(" / product").split()
            rows.append((model, size, backend, f"{result['gflop'][f'{model} {size}']:.2f}", cell(share)))
    return section(
        "Share of the cores' rate",
        "The network's GFLOP (convolutions and products) per second, divided by the rate of a float32 matrix product "
        f"in NumPy on the same cores just before ({product:.0f} GFLOP/s by the median). A small network is bound by "
        "memory; a share above 1 means a convolution by fewer operations, or a machine that was disturbed.",
        ("model", "picture", "back end", "GFLOP", "share"),
        rows,
    )


def memory(result: Mapping[str, Any]) -> str:
    """Peak resident memory."""
    rows = [(name, cell(values["peak_bytes"], 1e6, 0)) for name, values in result["processes"].items()]
    text = "Of the whole process, in MB (1e6 bytes)."
    return section("Peak resident memory", text, ("process", "MB"), rows)


def seconds(result: Mapping[str, Any]) -> str:
    """The seconds behind the ratios, and pictures per second."""
    files = result["about"]["settings"]["files"]
    rows = [(name, cell(values["seconds"], digits=3)) for name, values in result["processes"].items()]
    for name, values in result["seconds"].items():
        rate = f" ({files / values['median']:.2f} pictures/s)" if name.startswith("folder ") else ""
        rows.append((name, cell(values, digits=3) + rate))
    return section("Seconds behind the ratios", "On the machine above; no promise.", ("what", "seconds"), rows)
