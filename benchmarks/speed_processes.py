"""Parts of `speed.py` that start whole processes: the start of the command, and memory."""

from __future__ import annotations

import argparse
import compileall
from pathlib import Path
from typing import Any

from interleave import Worker, child, ratios, rounds, say, summary
from speed_bars import bar, flat

from lowlight_cli import manifest

WORKER = Path(__file__).resolve().parent / "speed_worker.py"
MODELS = ("aux-retinex", "neid")
IMPORTS = "import onnxruntime, numpy, cv2"
PEAKS = {(6000, 4000): 1.5e9, (12000, 8000): 3e9}
"""Most bytes of resident memory by the size of the picture."""
GROWTH = 1.05
"""How much more than the first results the last may hold and still count as flat: allocators keep some slack."""


def start(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """`lowlight enhance` of one small JPEG against the imports that it cannot avoid."""
    source = folder / "one.jpg"
    child([str(WORKER), "one", str(source), "600", "400"])
    commands = {IMPORTS: ["-c", IMPORTS], **{model: enhance(source, folder / "out", model) for model in MODELS}}
    compileall.compile_dir(manifest.PACKAGE, quiet=1)  # as the first start does, unless PYTHONDONTWRITEBYTECODE is set
    for words in commands.values():  # the first start reads from the disk
        child(words)
    work = {name: lambda words=words: child(words)[0] for name, words in commands.items()}
    series = rounds(work, 2 if options.quick else 11, options.seconds)
    bars = [
        bar(f"command by imports, {model}", ratios(series[model], series[IMPORTS]), "at most", 2.0) for model in MODELS
    ]
    return {"seconds": {name: summary(values) for name, values in series.items()}, "bars": bars}


def enhance(source: Path, out: Path, model: str) -> list[str]:
    """Arguments of Python for one `lowlight enhance`."""
    flags = ["--model", model, "--device", "cpu", "--offline", "--overwrite", "-q"]
    return ["-m", "lowlight_cli", "enhance", str(source), "--out", str(out / f"{model}.jpg"), *flags]


def memory(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Peak resident memory of the command on large pictures, and that of a process over a folder of small ones."""
    sizes = {(2400, 1600): PEAKS[6000, 4000]} if options.quick else PEAKS
    work, limits = {}, {}
    for (width, height), limit in sizes.items():
        source = folder / f"{width}x{height}.jpg"
        child([str(WORKER), "one", str(source), str(width), str(height)])
        for model in MODELS:
            name = f"{width * height / 1e6:.0f} MP, {model}"
            words = enhance(source, folder / "out", model)
            work[name], limits[name] = (lambda words=words: child(words)[1] / 1e9), limit / 1e9
    series = rounds(work, 1 if options.quick else 2, 0.6 * options.seconds)
    bars = [bar(f"peak, {name}", summary(series[name]), "at most", limits[name], "GB") for name in series]
    return {"bars": bars, "folder": {}} if not Path("/proc/self/statm").exists() else folder_part(folder, options, bars)


def folder_part(folder: Path, options: argparse.Namespace, bars: list[dict[str, Any]]) -> dict[str, Any]:
    """The bars, and those of flatness, with what they come from."""
    files, ends = (24, 6) if options.quick else (500, 50)
    child([str(WORKER), "small", str(folder / "small"), str(files)])
    found = {}
    for model in MODELS:
        say(f"folder of {files}: {model}")
        with Worker(WORKER, "model", model) as worker:
            resident = worker.ask("resident", str(folder / "small"), str(folder / "out"))
        found[model] = flat(resident, ends) | {"files": files, "ends": ends}
        for name, since in (("growth", f"first {ends}"), ("late", f"{ends} before the middle")):
            what = f"last {ends} of {files} by {since}, {model}"
            bars.append(bar(what, summary([found[model][name]]), "at most", GROWTH))
    return {"bars": bars, "folder": found}
