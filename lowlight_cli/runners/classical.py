"""Classical methods, through numpy and OpenCV. Imports neither torch nor onnxruntime."""

from __future__ import annotations

import importlib

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners import RunnerOptions
from lowlight_cli.runners.failures import unless_memory


class ClassicalRunner:
    """The `enhance` of a row's module, picture by picture; `params` of the row are its keywords."""

    backend, device, precision, sha256 = "classical", "cpu", "fp32", None
    provider, weights = "NumPy and OpenCV", ()

    def __init__(self, spec: ModelSpec, options: RunnerOptions) -> None:
        self.spec = spec
        self.method = importlib.import_module(f"lowlight_cli.{spec.arch}").enhance
        self.threads, self.deterministic = options.threads, options.deterministic
        if options.threads:
            cv2.setNumThreads(options.threads)

    def context(self, thumbnails: NDArray[np.float32], exposure: float | None) -> NDArray[np.float32]:  # noqa: ARG002
        """Nothing to steer: there are no tiles."""
        return np.zeros((len(thumbnails), 0), np.float32)

    def __call__(self, batch: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: ARG002
        """See `Runner`."""
        try:
            pictures = [self.method(np.ascontiguousarray(p.transpose(1, 2, 0)), **self.spec.params) for p in batch]
            # One picture, which may be large, is not copied.
            return (pictures[0][None] if len(pictures) == 1 else np.stack(pictures)).transpose(0, 3, 1, 2)
        except Exception as error:
            raise unless_memory(error, self.spec) from error

    def close(self) -> None:
        """Nothing to give back."""
