"""The half of `speed.py` that computes: makes pictures, or stays open and measures when asked, as `enhance_worker`."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import enhance_worker
import numpy as np
import speed_pictures
import speed_roofline
from enhance_worker import dark_picture, serve, timed
from numpy.typing import NDArray

from lowlight_cli import picture
from lowlight_cli.errors import LowlightError
from lowlight_cli.machine import cores
from lowlight_cli.tile_choice import batch_limit


class Model(enhance_worker.Worker):
    """One open model on ONNX Runtime."""

    def __init__(self, model: str, options: str = "{}") -> None:
        super().__init__(model, "onnx", **json.loads(options))
        self.paths: list[Path] = []
        self.out = Path()
        self.batches: dict[tuple[int, int], list[picture.Picture]] = {}

    def prepare(self, folder: str, out: str, every: int) -> list[float]:
        """Choose each n-th file; enhance the largest once. How many files, how many megapixels."""
        self.paths, self.out = sorted(Path(folder).glob("*.jpg"))[every - 1 :: every], Path(out)
        pixels = {path: picture.pixel_count(path) for path in self.paths}
        self.enhancer.enhance([picture.load(max(self.paths, key=pixels.__getitem__))])
        return [len(self.paths), sum(pixels.values()) / 1e6]

    def pipeline(self) -> float:
        """Seconds of the command's pipeline for the chosen files."""
        return timed(lambda: self.files([str(path) for path in self.paths], self.out))

    def codec(self) -> float:
        """Seconds to decode the chosen files and to encode what the pipeline made of them, nothing else."""
        results = [(path, picture.load(self.out / path.name)) for path in self.paths]
        return timed(lambda: self.coded(results))

    def coded(self, results: Sequence[tuple[Path, picture.Picture]]) -> None:
        """Decode and encode on the threads that the pipeline has."""
        threads = max(2, min(8, cores()))
        with ThreadPoolExecutor(threads) as decoders, ThreadPoolExecutor(threads) as encoders:
            work = [decoders.submit(decoded, path) for path, _ in results]
            work += [encoders.submit(picture.save, result, self.out / path.name) for path, result in results]
        for one in work:
            one.result()

    def inference(self) -> float:
        """Seconds to enhance the chosen pictures, decoded before, one at a time."""
        pictures = [picture.load(path) for path in self.paths]
        return timed(lambda: [None for one in pictures if not self.enhancer.enhance([one])])

    def megapixels(self, width: int, height: int) -> float:
        """Seconds of the library's call on a picture of any size."""
        pixels = speed_pictures.repeated(width, height)
        return timed(lambda: self.enhancer(pixels))

    def batch(self, width: int, height: int, pictures: int, size: int) -> float:
        """Seconds for some pictures of one size in batches of `size`."""
        if (width, height) not in self.batches:
            made = (dark_picture(width, height, seed) for seed in range(pictures))
            self.batches[width, height] = [picture.from_array(pixels) for pixels in made]
        chosen = self.batches[width, height]
        return timed(lambda: [self.enhancer.enhance(chosen[i : i + size]) for i in range(0, pictures, size)])

    def batch_limit(self, width: int, height: int) -> int:
        """How many pictures of a size the pipeline takes at once."""
        return batch_limit(self.enhancer.runner.device, height, width)

    def resident(self, folder: str, out: str) -> list[int]:
        """Resident bytes at every result of a folder."""
        found: list[int] = []
        self.files([folder], Path(out), lambda: found.append(resident_bytes()))
        return found

    def profile(self, width: int, height: int, runs: int) -> dict[str, Any]:
        """Per kind of operator what the network does: as it runs (`run`), and without blocked layout (`logical`)."""
        own = self.enhancer.runner.tile
        try:
            found = {"run": self.profiled(width, height, runs, []), "logical": None}
            found["logical"] = self.profiled(width, height, runs, ["NchwcTransformer"])
        finally:
            self.enhancer.runner.tile = own
        return found

    def profiled(self, width: int, height: int, runs: int, without: list[str]) -> dict[str, dict[str, float]]:
        """Per kind of operator what a session like the runner's own does, some optimizers left out."""
        import onnxruntime

        runner = self.enhancer.runner
        settings = runner.tile.get_session_options()
        with tempfile.TemporaryDirectory() as folder:
            settings.enable_profiling, settings.profile_file_prefix = True, str(Path(folder) / "profile")
            path = str(runner.find("x1"))
            runner.tile = onnxruntime.InferenceSession(
                path, settings, providers=["CPUExecutionProvider"], disabled_optimizers=without
            )
            for _ in range(runs):
                self.runner(width, height)
            events = json.loads(Path(runner.tile.end_profiling()).read_text(encoding="utf-8"))
        return speed_roofline.by_kind(speed_roofline.nodes(events, runs))


class Rates(enhance_worker.Product):
    """A worker without a model: what the cores and the memory can do, and what can be opened."""

    def __init__(self) -> None:
        self.arrays: list[tuple[NDArray, NDArray]] = []

    def copy(self, size: int) -> float:
        """Bytes per second, read and written, of a copy of `size` bytes on every core at once."""
        count = cores()
        if not self.arrays:
            self.arrays = [(np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)) for _ in range(count)]
        with ThreadPoolExecutor(count) as pool:
            seconds = timed(lambda: list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), self.arrays * 4)))
        return 2 * 4 * count * size / seconds

    def refusal(self, model: str, precision: str) -> str:
        """Why a model cannot be opened in a precision on ONNX Runtime; empty where it can."""
        import lowlight_cli as lowlight

        try:
            lowlight.open_model(model, backend="onnx", device="cpu", offline=True, precision=precision).close()
        except LowlightError as error:
            return error.message
        return ""


def decoded(path: Path) -> None:
    """Decode a file, and forget it."""
    picture.load(path)


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    pictures = "`mixed` (FOLDER FILES DATA), `small` (FOLDER FILES), `one` (FILE WIDTH HEIGHT)"
    kind, *words = enhance_worker.asked(__doc__, f"{pictures}, `rates`, or a model (OPTIONS)")
    if kind == "mixed":
        speed_pictures.make_mixed(Path(words[0]), int(words[1]), words[2])
    elif kind == "small":
        speed_pictures.make_small(Path(words[0]), int(words[1]))
    elif kind == "one":
        speed_pictures.make_one(Path(words[0]), int(words[1]), int(words[2]))
    else:
        serve(Rates() if kind == "rates" else Model(*words))
