"""Networks through PyTorch, on CPU, CUDA or MPS."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import torch
from numpy.typing import NDArray

from lowlight_cli import weights
from lowlight_cli.brightness import AUTO
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.models import load, unguided
from lowlight_cli.runners import RunnerOptions
from lowlight_cli.runners.failures import no_device, unless_memory

TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def compute_deterministically() -> None:
    """Have PyTorch give the same bits every time, for the rest of this process; what cannot is an error."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA is first used
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def quickest(spec: ModelSpec, options: RunnerOptions) -> str:
    """The precision that `auto` stands for."""
    if not options.device.startswith("cuda") or options.deterministic:
        return "fp32"
    # fp16 rounds eight times finer than bf16, and ends at 65504: nobody looked how far a user's own weights go.
    wanted = ("bf16",) if options.weights else ("fp16", "bf16")
    return next((name for name in wanted if name in spec.precisions), "fp32")


class TorchRunner:
    """The network of a row, in evaluation mode, channels last."""

    backend = "torch"

    def __init__(self, spec: ModelSpec, options: RunnerOptions) -> None:
        """`options` as they are settled: their device is the one to run on."""
        self.spec, self.device, self.scale = spec, options.device, options.scale
        self.check_device()
        self.deterministic = options.deterministic
        self.precision = quickest(spec, options) if options.precision == "auto" else options.precision
        # oneDNN shares out the sums of some convolutions among threads: with another number other bits come out.
        exact = self.deterministic and self.device == "cpu"
        self.threads = 1 if exact else options.threads or torch.get_num_threads()
        name = torch.cuda.get_device_name(self.device) if self.device.startswith("cuda") else self.device
        self.provider = f"PyTorch on {name}"
        torch.set_flush_denormal(True)
        if self.deterministic:
            compute_deterministically()
        path = weights.find(spec, "torch", offline=options.offline, progress=options.progress)
        self.weights = (spec.file("torch"),)
        self.sha256 = self.weights[0].sha256
        network = load(spec, path).eval().requires_grad_(False)
        self.network = network.to(self.device, memory_format=torch.channels_last)

    def check_device(self) -> None:
        """Only what is there."""
        kind, _, number = self.device.partition(":")
        if kind == "cuda":
            if not torch.cuda.is_available():
                raise no_device(self.device, "this PyTorch sees no CUDA device")
            if number and int(number) >= torch.cuda.device_count():
                raise no_device(self.device, f"there are {torch.cuda.device_count()} CUDA devices")
        elif kind == "mps" and not torch.backends.mps.is_available():
            raise no_device(self.device, "this PyTorch has no MPS")

    @contextlib.contextmanager
    def running(self):
        """Inference mode in the right precision, on our number of threads; foreign errors translated."""
        kind = self.device.partition(":")[0]
        dtype, before = TYPES.get(self.precision), torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode(), torch.autocast(kind, dtype or torch.bfloat16, enabled=dtype is not None):
                yield
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            raise unless_memory(error, self.spec) from error
        finally:
            torch.set_num_threads(before)

    def tensor(self, values: NDArray[np.float32]) -> torch.Tensor:
        """On the device."""
        return torch.from_numpy(values).to(self.device)

    def context(self, thumbnails: NDArray[np.float32], exposure: float | None) -> NDArray[np.float32]:
        """See `Runner`."""
        if self.spec.tiling != "guided":
            return np.zeros((len(thumbnails), 0), np.float32)
        target = torch.full((len(thumbnails),), AUTO if exposure is None else exposure, device=self.device)
        with self.running():
            return self.vectors(self.tensor(thumbnails), target).float().cpu().numpy()

    def vectors(self, thumbnails: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(N, K) of thumbnails (N, 3, s, s) and exposures (N,)."""
        return self.network.context(thumbnails, target)

    def __call__(self, batch: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Runner`."""
        with self.running():
            output = self.network.tile(*self.inputs(batch, vectors), scale=self.scale)
            return output.float().cpu().numpy()

    def maps(self, batch: NDArray[np.float32], vectors: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The network's maps by name, (N, 1 or 3, H, W) in [0, 1], for what `__call__` takes at scale 1."""
        with self.running():
            found = self.network.maps(*self.inputs(batch, vectors))
            return {name: values.float().cpu().numpy() for name, values in found.items()}

    def inputs(
        self, batch: NDArray[np.float32], vectors: NDArray[np.float32]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pixels, channels last, and vectors, as the network takes them."""
        pixels = self.tensor(batch).contiguous(memory_format=torch.channels_last)
        return pixels, self.tensor(vectors) if self.spec.tiling == "guided" else unguided(self.spec, pixels)

    def close(self) -> None:
        """See `Runner`."""
        self.network = None
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
