"""Measure ways to run the networks on an accelerator, in one short run: precisions, CUDA graphs, compilation, copies.

    python benchmarks/accelerator.py --out benchmarks/results/accelerator.json --minutes 8

writes that file, after each measurement anew, and a page beside it. Nothing is started after `--minutes`; what fails,
for want of memory or of a compiler, is told in its place. `--device cpu` shows that it works, and measures the CPU.

* network: milliseconds of one picture that lies on the device already, and how far the output is from that of the CPU
  in float32, in levels of 255;
* moves: milliseconds of a picture from an array to an array, by how it is copied, with `cast` fp16 between; `ahead`
  copies the next picture up and the one before down meanwhile;
* batches: milliseconds of a picture of the library's way where several of one size are enhanced together;
* whole: milliseconds of the library's `enhance`, from an array to an array, as users run it; `recorded` as CUDA graphs
  where pictures are small, as it does by itself, `launched` without; and how far outputs are from those of the CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from accelerator_moves import MOVES, ahead, floats
from accelerator_page import page
from enhance_worker import dark_picture
from interleave import say, summary
from torch import Tensor, nn

import lowlight_cli as lowlight
from lowlight_cli import manifest, models, picture, weights
from lowlight_cli.runners.cuda import cast
from lowlight_cli.thumbnail import thumbnail

HERE = Path(__file__).resolve().parent
MODELS, SIZES = ("neid", "aux-retinex"), ("1920x1080", "6000x4000")
FASTER = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions, and what autocast takes of each."""
ON_CUDA = (
    ("fp16", "eager"), ("fp16", "cast"), ("fp16", "graph"), ("bf16", "eager"), ("tf32", "eager"), ("fp32", "eager"),
    ("bf16", "cast"), ("bf16", "graph"), ("fp16", "compiled"),
)  # fmt: skip
"""Precisions and ways, the likeliest first: time may run out."""
WHOLE = (("auto", "recorded"), ("auto", "launched"), ("bf16", "recorded"), ("fp32", "recorded"))
BATCHES = (("600x400", 1), ("600x400", 4), ("600x400", 8), ("1920x1080", 1), ("1920x1080", 4))
"""Sizes, and how many pictures together."""
ON_CPU = (("fp32", "eager"), ("bf16", "eager"), ("bf16", "cast"))
WARMING, PICTURES = 3, 8
"""Runs that do not count; pictures of one measurement of `ahead`."""

Network = Callable[[], Tensor]


class Measured:
    """The document so far: written after each measurement, so that a killed run keeps what it has."""

    def __init__(self, path: Path, about: Mapping[str, Any], minutes: float) -> None:
        self.path, self.end = path, time.monotonic() + 60 * minutes
        self.document: dict[str, Any] = {"about": dict(about), "whole": [], "batches": [], "network": [], "moves": []}

    def add(self, kind: str, told: Mapping[str, str], measure: Callable[[], Mapping[str, Any]]) -> None:
        """One measurement; what fails is told, what would begin too late is left out."""
        name = " ".join([f"{kind}:", *told.values()])
        if time.monotonic() > self.end:
            say(f"no time left for {name}")
            return
        say(name)
        try:
            found = measure()
        except (RuntimeError, NotImplementedError, AssertionError, lowlight.LowlightError) as error:
            found = {"failed": (str(error).splitlines() or [type(error).__name__])[0][:200]}
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self.document[kind].append({**told, **found})
        self.path.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
        self.path.with_suffix(".md").write_text(page(self.document, __doc__), encoding="utf-8")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "accelerator.json", help="JSON file to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", action="append", help=f"instead of {', '.join(MODELS)}")
    parser.add_argument("--size", action="append", help=f"WIDTHxHEIGHT, instead of {', '.join(SIZES)}")
    parser.add_argument("--minutes", type=float, default=8.0, help="nothing is started after these (8)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement (1.5)")
    options = parser.parse_args()
    options.model, options.size = options.model or MODELS, options.size or SIZES
    return options


def main() -> None:
    """Measure, the first model and size first, and write after each."""
    options = parse()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else options.device
    settings = {"seconds": options.seconds, "minutes": options.minutes}
    measured = Measured(options.out, machine.about(settings) | {"device": name}, options.minutes)
    for size in options.size:
        for model in options.model:
            for precision, way in WHOLE if options.device.startswith("cuda") else WHOLE[1:2]:
                told = {"model": model, "size": size, "precision": precision, "way": way}
                measured.add("whole", told, partial(whole, told, options))
    for model in options.model:
        for size, count in BATCHES if options.device.startswith("cuda") else BATCHES[:1]:
            told = {"model": model, "size": size, "pictures": str(count)}
            measured.add("batches", told, partial(together, told, options))
    for size in options.size:
        for model in options.model:
            told = {"model": model, "size": size}
            case = Case(model, pictured(size), options.device)
            for precision, way in ways(options.device):
                alone = partial(case.network_alone, precision, way, options.seconds)
                measured.add("network", {**told, "precision": precision, "way": way}, alone)
            for move in MOVES:
                measured.add("moves", {**told, "move": move}, partial(case.moved, move, options.seconds))
    say(f"{options.out} and {options.out.with_suffix('.md')} are written")


def ways(device: str) -> tuple[tuple[str, str], ...]:
    """(precision, way) to measure."""
    return ON_CUDA if device.startswith("cuda") else ON_CPU


class Case:
    """One model on one picture, padded to the size that it takes."""

    def __init__(self, model: str, pixels: np.ndarray, device: str) -> None:
        self.spec, self.device = manifest.find(model), device
        up, left = (-side % self.spec.multiple for side in pixels.shape[:2])
        self.bytes = np.ascontiguousarray(np.pad(pixels, ((0, up), (0, left), (0, 0)), mode="edge"))
        small = thumbnail(pixels, self.spec.thumbnail).transpose(2, 0, 1)[None].copy()
        self.plain = self.opened()
        with torch.inference_mode():
            self.vectors = self.plain.context(torch.from_numpy(small), torch.tensor([-1.0]))
        self.truth: Tensor | None = None

    def opened(self) -> nn.Module:
        """The network, on the CPU in float32."""
        network = models.load(self.spec, weights.find(self.spec, "torch", offline=True))
        return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def network_alone(self, precision: str, way: str, seconds: float) -> dict[str, Any]:
        """Milliseconds, and levels of 255 from the CPU's output in float32."""
        network, dtype = self.opened().to(self.device), FASTER[precision]
        if way != "eager":
            cast(network, dtype)
        pixels, vectors = floats(torch.from_numpy(self.bytes).to(self.device)), self.vectors.to(self.device)
        with running(self.device, precision):
            run = prepared(lambda: network.tile(pixels, vectors), way)
            begun = time.perf_counter()
            output = run().float().cpu()
            first = time.perf_counter() - begun
            return {"ms": timed(run, self.device, seconds), "first_ms": 1e3 * first} | self.distance(output)

    def distance(self, output: Tensor) -> dict[str, float]:
        """Mean and largest, in levels of 255."""
        if self.truth is None:
            with torch.inference_mode():
                self.truth = self.plain.tile(floats(torch.from_numpy(self.bytes)), self.vectors)
        apart = 255 * (output - self.truth).abs()
        return {"mean_levels": float(apart.mean()), "largest_levels": float(apart.max())}

    def moved(self, move: str, seconds: float) -> dict[str, Any]:
        """Milliseconds of a picture, from an array to an array."""
        network, vectors = self.opened().to(self.device), self.vectors.to(self.device)
        half = "fp16" if self.device.startswith("cuda") else "bf16"
        cast(network, FASTER[half])

        def enhance(pixels: Tensor) -> Tensor:
            return network.tile(pixels, vectors).float()

        with running(self.device, half):
            if move != "ahead":
                return {"ms": timed(lambda: MOVES[move](self.bytes, self.device, enhance), self.device, seconds)}
            ms = timed(lambda: ahead([self.bytes] * PICTURES, self.device, enhance), self.device, seconds)
            return {"ms": summary(value / PICTURES for value in ms["all"])}


@contextlib.contextmanager
def running(device: str, precision: str) -> Iterator[None]:
    """Inference in a precision."""
    dtype = FASTER[precision]
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    kind = device.partition(":")[0]
    with torch.inference_mode(), torch.autocast(kind, dtype or torch.bfloat16, enabled=dtype is not None):
        yield


def prepared(run: Network, way: str) -> Network:
    """The same, compiled or as a CUDA graph."""
    if way == "compiled":
        return torch.compile(run, dynamic=False)
    if way != "graph":
        return run
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARMING):
            run()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


def timed(run: Callable[[], object], device: str, seconds: float) -> dict[str, Any]:
    """Milliseconds of single runs, for as long as asked and three times at least."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    for _ in range(WARMING):
        run()
    wait()
    values, end = [], time.perf_counter() + seconds
    while len(values) < 3 or time.perf_counter() < end:
        begun = time.perf_counter()
        run()
        wait()
        values.append(1e3 * (time.perf_counter() - begun))
    return summary(values)


def opened(model: str, device: str, precision: str) -> lowlight.Enhancer:
    """The open model, through PyTorch."""
    return lowlight.open_model(model, backend="torch", device=device, precision=precision, offline=True)


@functools.cache
def pictured(size: str) -> np.ndarray:
    """The picture of that size."""
    return dark_picture(*map(int, size.split("x")))


@functools.cache
def truth(model: str, size: str) -> np.ndarray:
    """What the CPU makes of the picture of that size in float32."""
    return opened(model, "cpu", "fp32")(pictured(size))


def whole(told: Mapping[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of the library's own way, what the plan of tiles was, and levels of 255 from the CPU's output."""
    enhancer, pixels = opened(told["model"], options.device, told["precision"]), pictured(told["size"])
    try:
        if told["way"] == "launched" and options.device.startswith("cuda"):
            enhancer.runner.record(False)
        ms = timed(lambda: enhancer(pixels), options.device, options.seconds)
        apart = np.abs(enhancer(pixels).astype(np.int16) - truth(told["model"], told["size"]))
        found = {"ms": ms, "precision": enhancer.runner.precision, "tiles": len(enhancer.tile_choice.plan)}
        return found | {"mean_levels": float(apart.mean()), "largest_levels": float(apart.max())}
    finally:
        enhancer.close()


def together(told: Mapping[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a picture among several."""
    enhancer, count = opened(told["model"], options.device, "auto"), int(told["pictures"])
    pictures = [picture.from_array(pictured(told["size"]))] * count
    try:
        ms = timed(lambda: enhancer.enhance(pictures), options.device, options.seconds)
        return {"ms": summary(value / count for value in ms["all"])}
    finally:
        enhancer.close()


if __name__ == "__main__":
    main()
