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
from lowlight_cli.runners import frames as device_frames
from lowlight_cli.runners.pytorch import TYPES, TorchRunner
from lowlight_cli.shadows import Relit
from lowlight_cli.tiles import TilePlan

OFTEN = 3
"""Batches of one shape in a row after which it is recorded: recording costs as much as a few of them."""
RECORDED_PIXELS = 5_000_000
"""Most of a batch that is recorded: larger ones keep the device busy without, and their memory would not be freed."""
WARMING = 3


class CudaRunner(TorchRunner):
    """As `TorchRunner`, and a `Landing`. Vectors of whole pictures are computed in float32 always: the guess of the
    brightness would be off by half a percent."""

    def __init__(self, spec: ModelSpec, options: RunnerOptions) -> None:
        super().__init__(spec, options)
        # Autocast would cast weights that need no gradient anew each time.
        self.quick = cast(copy.deepcopy(self.network), TYPES.get(self.precision))
        self.record = self.device.startswith("cuda") and not options.deterministic
        self.seen: tuple[torch.Size, int] | None = None
        """Shape of the batch before, and how often it came in a row."""
        self.recorded: Recording | None = None

    def context(self, thumbnails: NDArray[np.float32], exposure: float | None) -> NDArray[np.float32]:
        """See `Runner`."""
        precision, self.precision = self.precision, "fp32"
        try:
            return super().context(thumbnails, exposure)
        finally:
            self.precision = precision

    def frames(self, pixels: NDArray) -> CudaFrames:
        """See `Landing`."""
        with self.running():
            return CudaFrames(pixels, self)

    def tile(self, pixels: Tensor, vectors: Tensor | None) -> Tensor:
        """The network's output for a batch; the next call may overwrite it."""
        before, count = self.seen or (None, 0)
        self.seen = (pixels.shape, count + 1 if before == pixels.shape else 1)
        if self.recorded and self.recorded.shape == pixels.shape:
            return self.recorded(pixels, vectors)
        if not self.record or self.seen[1] < OFTEN or pixels[:, 0].numel() > RECORDED_PIXELS:
            return self.quick.tile(pixels, vectors, scale=self.scale)
        self.recorded = None  # its memory first
        self.recorded = Recording(lambda *given: self.quick.tile(*given, scale=self.scale), pixels, vectors)
        return self.recorded(pixels, vectors)

    def close(self) -> None:
        """See `Runner`."""
        self.quick = self.recorded = None
        super().close()


class CudaFrames(device_frames.Frames):
    """Pictures on the device of a runner."""

    def __init__(self, pixels: NDArray, runner: CudaRunner) -> None:
        super().__init__(pixels, runner.device)
        self.runner = runner

    def thumbnails(self, side: int) -> list[NDArray[np.float32]]:
        """See `Frames`."""
        with torch.inference_mode():
            return super().thumbnails(side)

    def enhanced(
        self, vectors: NDArray[np.float32], plan: TilePlan, *, bits: int, relit: Relit | None, strength: float
    ) -> NDArray:
        """See `Frames`."""
        runner = self.runner
        with runner.running():
            steer = runner.tensor(vectors) if runner.spec.tiling == "guided" else None
            return super().enhanced(
                lambda pixels: runner.tile(pixels, steer if steer is not None else unguided(runner.spec, pixels)),
                plan,
                bits=bits,
                multiple=runner.spec.multiple,
                scale=runner.scale,
                relit=relit,
                strength=strength,
            )


class Recording:
    """A CUDA graph of a network for one shape of batch: the processor no longer launches each of its kernels."""

    def __init__(self, run: Callable[..., Tensor], pixels: Tensor, vectors: Tensor | None) -> None:
        self.shape = pixels.shape
        self.inputs = [None if given is None else given.clone() for given in (pixels, vectors)]
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARMING):
                run(*self.inputs)
        torch.cuda.current_stream().wait_stream(beside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
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
