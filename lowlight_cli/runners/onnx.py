"""Networks through ONNX Runtime. Imports no torch, unless ONNX files must be exported first."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lowlight_cli import weights
from lowlight_cli.brightness import AUTO
from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.frames import Network
from lowlight_cli.machine import cores
from lowlight_cli.manifest import ModelSpec, WeightFile
from lowlight_cli.runners import RunnerOptions
from lowlight_cli.runners.failures import no_device, unless_memory


def flushing() -> onnxruntime.SessionOptions:
    """Options of a session that takes denormals for zeros. The first session of a process decides for its main thread:
    every one must have them."""
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Threads that wait by computing are 5 % quicker on an idle machine, and cost up to a third where others have work:
    # our own decoders and encoders.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return settings


def cpu_session(graph: Path | bytes) -> onnxruntime.InferenceSession:
    """A session of a graph on the CPU, for whoever makes or checks one."""
    source = str(graph) if isinstance(graph, Path) else graph
    return onnxruntime.InferenceSession(source, flushing(), providers=["CPUExecutionProvider"])


SMALLER, LARGE = 4, 3_000_000
"""Where batches are so many times smaller than one before them that had so many numbers (a megapixel), memory that they
need no more goes back. Among small pictures that would cost more memory than it frees."""
PATIENCE = 8
"""So many of them in a row: memory that the next picture asks for again costs it up to half of its time."""


def releasing() -> onnxruntime.RunOptions:
    """Options of a run after which memory of the CPU that is free goes back to the system."""
    settings = onnxruntime.RunOptions()
    settings.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return settings


class OnnxRunner:
    """One session per graph: `context` for guided networks, `x1` or `x2` for tiles; those, but not `context`, may be
    int8."""

    backend = "onnx"

    def __init__(self, spec: ModelSpec, options: RunnerOptions) -> None:
        """`options` as they are settled: their device is the one to run on."""
        self.spec, self.device, self.options = spec, options.device, options
        self.precision = options.precision.replace("auto", "fp32")
        graphs = [f"x{options.scale}" + ("-int8" if self.precision == "int8" else "")]
        graphs += ["context"] * (spec.tiling == "guided")
        paths = [self.find(graph) for graph in graphs]
        self.weights = tuple(self.file(*pair) for pair in zip(graphs, paths, strict=True))
        self.sha256 = self.weights[0].sha256
        self.threads, self.deterministic = options.threads, options.deterministic
        if self.deterministic and not self.threads:
            self.threads = cores()
        self.tile = self.open(paths[0], self.threads)
        # What has too few channels for blocks of them waits for memory, and its work hardly splits.
        thin = not spec.channel_blocks and self.device == "cpu" and not self.deterministic
        self.lanes = self.threads or cores() if thin else 1
        self.lane: onnxruntime.InferenceSession | None = None
        self.path = paths[0]
        # A thumbnail is too little for two threads.
        self.steer = self.open(paths[1], 1) if len(paths) > 1 else None
        self.provider = self.tile.get_providers()[0]
        self.held = 0
        """Numbers of the largest batch whose memory is still held."""
        self.small = 0
        """Batches in a row that need much less."""

    def find(self, graph: str) -> Path:
        """The file of a graph; exported into the cache if the row has only PyTorch weights."""

        def export(folder: Path) -> None:
            from lowlight_cli.runners.export import export_onnx

            export_onnx(self.spec, weights.find(self.spec, "torch", offline=self.options.offline), folder)

        options = self.options
        return weights.find_or_export(
            self.spec, f"onnx-{graph}", export, offline=options.offline, progress=options.progress
        )

    def file(self, graph: str, path: Path) -> WeightFile:
        """The file of a graph as the row tells it; one that was exported here is in no row."""
        role = f"onnx-{graph}"
        if file := self.spec.file(role):
            return file
        return WeightFile(role=role, path=str(path), bytes=path.stat().st_size, sha256=weights.sha256_of(path))

    def open(self, path: Path, threads: int) -> onnxruntime.InferenceSession:
        """A session on the device asked for, or an error; 0 threads: it chooses."""
        settings = flushing()
        settings.intra_op_num_threads = threads
        settings.use_deterministic_compute = self.deterministic
        settings.enable_mem_pattern = False  # it keeps a plan for every size of picture ever seen
        if not self.spec.channel_blocks:
            settings.add_session_config_entry("optimization.disable_specified_optimizers", "NchwcTransformer")
        settings.log_severity_level = 4
        provider = self.wanted_provider()
        try:
            session = onnxruntime.InferenceSession(str(path), settings, providers=[provider])
        except Exception as error:
            if provider[0] != "CPUExecutionProvider":
                raise no_device(self.device, str(error)) from error
            raise ModelUnavailable(f"{path} cannot be opened: {error}", "Run `lowlight models verify`.") from error
        if session.get_providers()[0] != provider[0]:
            raise no_device(self.device, f"{provider[0]} did not load, ONNX Runtime fell back")
        return session

    def wanted_provider(self) -> tuple[str, dict[str, str]]:
        """ONNX Runtime's name and options for the device."""
        if self.device == "cpu":
            return "CPUExecutionProvider", {}
        kind, _, number = self.device.partition(":")
        name = {"cuda": "CUDAExecutionProvider"}.get(kind)
        if name not in onnxruntime.get_available_providers():
            raise no_device(self.device, f"this ONNX Runtime has only {', '.join(providers())}")
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it misses, and stdout is for pictures and JSON
            onnxruntime.preload_dlls()
        # TF32 would round products to ten bits; an exhaustive search would tune anew for every size of picture.
        return name, {"device_id": number or "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

    def context(self, thumbnails: NDArray[np.float32], exposure: float | None) -> NDArray[np.float32]:
        """See `Runner`."""
        if self.steer is None:
            return np.zeros((len(thumbnails), 0), np.float32)
        target = np.full(len(thumbnails), AUTO if exposure is None else exposure, np.float32)
        return self.run(self.steer, {"thumbnail": thumbnails, "exposure": target})

    def __call__(self, batch: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Runner`."""
        much_less = self.device == "cpu" and max(batch.size * SMALLER, LARGE) <= self.held
        self.small = self.small + 1 if much_less else 0
        release = self.small == PATIENCE
        self.held = batch.size if release else max(self.held, batch.size)
        return self.run(self.tile, self.inputs(batch, vectors), releasing() if release else None)

    def alone(self) -> Network:
        """See `Abreast`."""
        session = self.lane = self.lane or self.open(self.path, 1)
        return lambda batch, vectors: self.run(session, self.inputs(batch, vectors))

    def inputs(self, batch: NDArray[np.float32], vectors: NDArray[np.float32]) -> dict[str, NDArray]:
        """Of the graph for tiles, by name."""
        return {"pixels": batch} | ({"vectors": vectors} if self.steer else {})

    def run(
        self,
        session: onnxruntime.InferenceSession,
        inputs: dict[str, NDArray],
        settings: onnxruntime.RunOptions | None = None,
    ) -> NDArray[np.float32]:
        """One output."""
        try:
            return session.run(None, inputs, settings)[0]
        except Exception as error:
            raise unless_memory(error, self.spec) from error

    def close(self) -> None:
        """See `Runner`."""
        self.tile = self.steer = self.lane = None


def providers() -> list[str]:
    """What this ONNX Runtime was built with, in its order."""
    return [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
