"""Runners: one open network or classical method on one device, behind numpy arrays. No back end knows of another.

options         how a runner is asked for           onnx            networks through ONNX Runtime
own_weights     a user's file of weights            pytorch, cuda   networks through PyTorch
driver          are there CUDA devices?             device_frames   pictures on the network's device
failures        what back ends raise, as ours       classical       classical methods
export, graphs  the ONNX form of a network          quantize, byte_graphs  the int8 form of that
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lowlight_cli.manifest import ModelSpec, WeightFile
from lowlight_cli.runners.options import RunnerOptions, settled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lowlight_cli.frames import Network
    from lowlight_cli.shadows import Relit
    from lowlight_cli.tiles import TilePlan

# ONNX Runtime would tell its makers of runs, and keep a device id in the home folder. Read when it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class Runner(Protocol):
    """An open network. The fields say what really runs."""

    spec: ModelSpec
    backend: str
    device: str
    precision: str
    provider: str
    """What computes: an execution provider of ONNX Runtime, a device of PyTorch's, or a library."""
    threads: int
    """On the CPU; 0: the back end chose."""
    deterministic: bool
    """See `RunnerOptions`."""
    weights: tuple[WeightFile, ...]
    """The files that were opened, checked; none for classical methods."""
    sha256: str | None
    """Of the file of weights, the graph of the tiles among several; None where there are none."""

    def context(self, thumbnails: NDArray[np.float32], exposure: float | None) -> NDArray[np.float32]:
        """Vectors (N, K) that steer every tile, from (N, 3, s, s) in [0, 1]; `exposure` None: the network decides.

        Networks that are not `tiling: guided` give (N, 0).
        """
        ...

    def __call__(self, batch: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, H * scale, W * scale) in [0, 1] from (N, 3, H, W) in [0, 1], H and W multiples of `spec.multiple`.

        Raises OutOfMemory if the device has not enough.
        """
        ...

    def close(self) -> None:
        """Give back memory and device."""
        ...


class Frames(Protocol):
    """Pictures (N, H, W, 3) of 8 or 16 bits, where a network takes them."""

    def thumbnails(self, side: int) -> list[NDArray[np.float32]]:
        """See `thumbnail.thumbnail`, of each."""
        ...

    def enhanced(
        self, vectors: NDArray[np.float32], plan: TilePlan, *, bits: int, relit: Relit | None, strength: float
    ) -> NDArray:
        """(N, H * scale, W * scale, 3) of 8 or 16 bits; see `tiles.run_tiled`. Raises OutOfMemory."""
        ...


@runtime_checkable
class Landing(Protocol):
    """A runner whose device takes pictures as they are, and gives back what is to be written."""

    def frames(self, pixels: NDArray) -> Frames:
        """These pictures (N, H, W, 3) there."""
        ...

    def room(self) -> int:
        """Bytes of the device that can be had."""
        ...


@runtime_checkable
class Abreast(Protocol):
    """A runner whose network may be quicker with a thread for each of several tiles than with all for one."""

    lanes: int
    """Tiles that may be run at once; 1: it is not."""

    def alone(self) -> Network:
        """The network as `Runner.__call__` is it, for several threads at once, each of which computes alone."""
        ...


def open_runner(spec: ModelSpec, options: RunnerOptions) -> Runner:
    """Find the weights and open them; every option is checked before anything is loaded."""
    spec, options = settled(spec, options)
    if spec.classical:
        from lowlight_cli.runners.classical import ClassicalRunner

        return ClassicalRunner(spec, options)
    if options.device.startswith("cuda") and options.backend == "torch":
        from lowlight_cli.runners.cuda import CudaRunner

        return CudaRunner(spec, options)
    if options.backend == "torch":
        from lowlight_cli.runners.pytorch import TorchRunner

        return TorchRunner(spec, options)
    from lowlight_cli.runners.onnx import OnnxRunner

    return OnnxRunner(spec, options)
