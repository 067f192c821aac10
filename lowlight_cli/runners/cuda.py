"""Networks through PyTorch on CUDA: pictures lie on the device, convolutions in the precision asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowlight_cli.manifest import ModelSpec
from lowlight_cli.models import unguided
from lowlight_cli.runners import RunnerOptions
from lowlight_cli.runners.device_frames import DeviceFrames
from lowlight_cli.runners.pytorch import TYPES, TorchRunner
from lowlight_cli.shadows import Relit
from lowlight_cli.tiles import TilePlan

OFTEN = 3
"""Batches of one shape in a row after which it is recorded: recording costs as much as a few of them."""
RECORDED_PIXELS = 5_000_000
"""Most of a batch that is recorded: larger ones keep the device busy without, and would hold gigabytes of it."""
WARMING = 3


class CudaRunner(TorchRunner):
    """As `TorchRunner`, and a `Landing`. Vectors of whole pictures are computed in float32 always: the guess of the
    brightness would be off by half a percent."""

    def __init__(self, spec: ModelSpec, options: RunnerOptions) -> None:
        super().__init__(spec, options)
        # Autocast would cast weights that need no gradient anew each time.
        quick = cast(copy.deepcopy(self.network), TYPES.get(self.precision))
        self.tile = Recorder(lambda *given: quick.tile(*given, scale=self.scale))
        self.steer = Recorder(self.network.context) if spec.tiling == "guided" else None
        self.record(self.device.startswith("cuda") and not self.deterministic)

    def record(self, wanted: bool) -> None:
        """Whether batches of a shape that comes often are recorded as CUDA graphs."""
        for recorder in (self.tile, self.steer):
            if recorder is not None:
                recorder.wanted = wanted

    def vectors(self, thumbnails: Tensor, target: Tensor) -> Tensor:
        """See `TorchRunner`."""
        with self.exactly():
            return self.steer(thumbnails, target)

    def exactly(self) -> torch.autocast:
        """Float32, whatever the precision."""
        return torch.autocast(self.device.partition(":")[0], enabled=False)

    def frames(self, pixels: NDArray) -> CudaFrames:
        """See `Landing`."""
        with self.running():
            return CudaFrames(pixels, self)

    def room(self) -> int:
        """See `Landing`: what is free, and what PyTorch keeps for itself and does not use."""
        free, kept = torch.cuda.mem_get_info(self.device)[0], torch.cuda.memory_reserved(self.device)
        return free + kept - torch.cuda.memory_allocated(self.device)

    def close(self) -> None:
        """See `Runner`."""
        self.tile = self.steer = None
        super().close()


class CudaFrames:
    """Pictures on the device of a runner, for its network: see `runners.Frames`."""

    def __init__(self, pixels: NDArray, runner: CudaRunner) -> None:
        self.frames, self.runner = DeviceFrames(pixels, runner.device), runner

    def thumbnails(self, side: int) -> list[NDArray[np.float32]]:
        """See `runners.Frames`."""
        with self.runner.running(), self.runner.exactly():
            return self.frames.thumbnails(side)

    def enhanced(
        self, vectors: NDArray[np.float32], plan: TilePlan, *, bits: int, relit: Relit | None, strength: float
    ) -> NDArray:
        """See `runners.Frames`."""
        runner = self.runner
        with runner.running():
            steer = runner.tensor(vectors) if runner.spec.tiling == "guided" else None
            return self.frames.run(
                lambda pixels: runner.tile(pixels, steer if steer is not None else unguided(runner.spec, pixels)),
                plan,
                bits=bits,
                padded=runner.spec.padded,
                scale=runner.scale,
                relit=relit,
                strength=strength,
            )


class Recorder:
    """Runs a function of tensors; a shape that comes several times in a row is recorded. The next call may overwrite
    what it gives."""

    def __init__(self, run: Callable[..., Tensor]) -> None:
        self.run, self.wanted = run, True
        self.shape: torch.Size | None = None
        self.count = 0
        """How often this shape came in a row."""
        self.recording: Recording | None = None

    def __call__(self, *given: Tensor | None) -> Tensor:
        """What the function gives for these, of which the first has the shape that counts."""
        shape = given[0].shape
        self.count, self.shape = self.count + 1 if shape == self.shape else 1, shape
        if not self.wanted or self.count < OFTEN or given[0][:, 0].numel() > RECORDED_PIXELS:
            return self.run(*given)
        if self.recording is None or self.recording.shape != shape:
            self.recording = None  # its memory first
            self.recording = Recording(self.run, *given)
        return self.recording(*given)


class Recording:
    """A CUDA graph of a function for one shape: the processor no longer launches each of its kernels."""

    def __init__(self, run: Callable[..., Tensor], *given: Tensor | None) -> None:
        self.shape = given[0].shape
        self.inputs = [None if one is None else one.clone() for one in given]
        # Streams are of the current device, which need not be the one that pictures are on.
        with torch.cuda.device(self.inputs[0].device):
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(WARMING):
                    run(*self.inputs)
            torch.cuda.current_stream().wait_stream(beside)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=beside):
                self.output = run(*self.inputs)

    def __call__(self, *given: Tensor | None) -> Tensor:
        """The output for other values; the next call overwrites it."""
        for mine, theirs in zip(self.inputs, given, strict=True):
            if mine is not None:
                mine.copy_(theirs)
        self.graph.replay()
        return self.output


def cast(network: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """The network with its convolutions in that type for good."""
    for module in network.modules():
        if dtype is not None and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(dtype)
    return network
