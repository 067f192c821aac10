"""The half of `enhance.py` that computes: makes pictures, or stays open with one model and measures when asked.

A worker reads one JSON request per line on stdin and answers with one on stdout, so that the workers of two back
ends can be measured in turn, A B A B, without sharing a process or its threads.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def dark_picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A dark scene, (H, W, 3) uint8: smooth light, a few edges, noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(width, height)
    light = 0.10 + 0.08 * np.sin(7 * x + seed) * np.cos(5 * y) + 0.05 * ((8 * x + 3 * np.sin(4 * y)) % 1 > 0.5)
    picture = light[..., None] * np.array([1.0, 0.8, 0.6], np.float32)
    picture += random.normal(0, 0.015, picture.shape).astype(np.float32)
    return (255 * picture.clip(0, 1) + 0.5).astype(np.uint8)


def make_pictures(folder: Path, files: int, huge: bool) -> None:
    """600x400.jpg, 1920x1080.jpg, many/ and, if asked for, 12000x8000.jpg."""
    from PIL import Image

    (folder / "many").mkdir()
    for index in range(files):
        Image.fromarray(dark_picture(600, 400, index)).save(folder / "many" / f"{index:02}.jpg", quality=92)
    for width, height in ((600, 400), (1920, 1080)):
        Image.fromarray(dark_picture(width, height)).save(folder / f"{width}x{height}.jpg", quality=92)
    if huge:
        repeated = np.tile(dark_picture(1200, 800), (10, 10, 1))
        Image.fromarray(repeated).save(folder / "12000x8000.jpg", quality=92)


class Worker:
    """One open model on one back end; `options` are those of `open_model`."""

    def __init__(self, model: str, backend: str, **options: Any) -> None:
        import lowlight_cli as lowlight

        self.model, self.backend = model, backend
        self.enhancer = lowlight.open_model(model, backend=backend, device="cpu", offline=True, **options)

    def runner(self, width: int, height: int) -> float:
        """Seconds of the network alone on a whole picture, padded to the size it takes."""
        runner = self.enhancer.runner
        spec = runner.spec
        sides = [spec.multiple * math.ceil(side / spec.multiple) for side in (width, height)]
        batch = np.ascontiguousarray(dark_picture(*sides).transpose(2, 0, 1)[None], np.float32) / 255
        vectors = runner.context(np.full((1, 3, spec.thumbnail, spec.thumbnail), 0.1, np.float32), None)
        return timed(lambda: runner(batch, vectors))

    def call(self, width: int, height: int) -> float:
        """Seconds of the library's call: array in, array out, context and tiles included."""
        picture = dark_picture(width, height)
        return timed(lambda: self.enhancer(picture))

    def folder(self, path: str) -> float:
        """Seconds for a folder of files, start-up left out."""
        with tempfile.TemporaryDirectory() as out:
            return timed(lambda: self.files([path], Path(out)))

    def files(self, inputs: Sequence[str], out: Path, after: Callable[[], Any] = lambda: None) -> None:
        """Enhance files as the command does; `after` is called at every result."""
        from lowlight_cli.jobs import Layout
        from lowlight_cli.tasks.enhance import EnhanceOptions, plan_run

        layout = Layout(out=out, existing="overwrite")
        options, statuses = EnhanceOptions(inputs=tuple(inputs), layout=layout, model=self.model), set()
        for result in plan_run(options).results(self.enhancer):
            statuses.add(result.status)
            after()
        if statuses != {"done"}:
            raise RuntimeError(f"The files' results are {statuses}, not all done.")

    def gflop(self, width: int, height: int) -> float:
        """Work of the network on a picture, in 1e9 multiplications and additions; convolutions and products only."""
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        runner = self.enhancer.runner
        side = runner.spec.thumbnail
        guided = runner.spec.tiling == "guided"
        sides = [runner.spec.multiple * math.ceil(s / runner.spec.multiple) for s in (height, width)]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            steer = [runner.network.context(torch.full((1, 3, side, side), 0.1), torch.tensor([0.4]))] if guided else []
            runner.network.tile(torch.full((1, 3, *sides), 0.1), *steer, scale=1)
        return counter.get_total_flops() / 1e9


class Product:
    """A worker without a model: the rate of a float32 matrix product on the same cores."""

    def product(self, side: int) -> float:
        """Seconds of one product of square matrices."""
        left = np.random.default_rng(0).random((side, side), np.float32)
        return timed(lambda: left @ left)


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def serve(worker: object) -> None:
    """Answer requests [method, argument, ...] until stdin ends."""
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(worker, method)(*arguments)), flush=True)


def asked(description: str, kind: str) -> list[str]:
    """The words of the command line: what to do, or a model, and what that takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", help=kind)
    parser.add_argument("words", nargs="*", help="what that takes")
    args = parser.parse_args()
    return [args.kind, *args.words]


if __name__ == "__main__":
    kind, *words = asked(__doc__, "`pictures` (FOLDER FILES huge|small), `product`, or a model (BACKEND)")
    if kind == "pictures":
        make_pictures(Path(words[0]), int(words[1]), words[2] == "huge")
    else:
        serve(Product() if kind == "product" else Worker(*words))
