"""Fixed bicubic resampling by two, the same in torch and in ONNX.

Written as convolutions, because the resize operators of the two differ in their kernels and their rounding.
The cubic is Keys' (a = -0.5), widened for the reduction (antialiased), edges replicated: Pillow's
BICUBIC, but for the border, where Pillow leaves out what it does not have.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def keys(distance: float) -> float:
    """Keys' cubic with a = -0.5 at a distance in pixels."""
    d = abs(distance)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def normalised(taps: list[float]) -> list[float]:
    """The taps, scaled to a sum of one."""
    return [tap / sum(taps) for tap in taps]


HALVE = tuple(normalised([keys((k - 3.5) / 2) for k in range(8)]))
"""Taps for pixels 2i - 3 ... 2i + 4, whose middle is the new pixel's."""

DOUBLE = (
    (*normalised([keys(k - 1.75) for k in range(4)]), 0.0),
    (0.0, *normalised([keys(k - 1.25) for k in range(4)])),
)
"""Taps for pixels i - 2 ... i + 2: the new pixel a quarter before the middle of i, and a quarter after it."""


def halve(pixels: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> (N, 3, H/2, W/2) in [0, 1], bicubic with antialiasing; H and W even.

    Clipped: beside lights the cubic falls below black, where `nn.brightness.lift` has a pole.
    """
    taps = constant(HALVE, pixels)
    with full_precision(pixels):
        padded = F.pad(pixels, (3, 3, 3, 3), mode="replicate")
        rows = F.conv2d(padded, each_channel(taps.view(1, 1, 8)), stride=(1, 2))
        return F.conv2d(rows, each_channel(taps.view(1, 8, 1)), stride=(2, 1)).clamp(0.0, 1.0)


def double(pixels: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 3, 2H, 2W), bicubic."""
    return F.pixel_shuffle(quarters(pixels), 2)


def quarters(pixels: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 12, H, W): `double` before its pixel shuffle."""
    taps = constant(DOUBLE, pixels)
    kernels = (taps[:, None, :, None] * taps[None, :, None, :]).reshape(4, 5, 5)
    with full_precision(pixels):
        padded = F.pad(pixels, (2, 2, 2, 2), mode="replicate")
        return F.conv2d(padded, each_channel(kernels))


Values = tuple[float, ...] | tuple[tuple[float, ...], ...]


def constant(values: Values, like: Tensor) -> Tensor:
    """Numbers as a tensor beside `like`. On CUDA it is kept: a copy from the host waits for all work before it, and
    cannot be part of a CUDA graph."""
    return kept(values, like.device, like.dtype) if like.is_cuda else like.new_tensor(values)


@functools.cache
def kept(values: Values, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The same tensor each time, one that training may use though inference asked first."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=dtype)


def each_channel(kernels: Tensor) -> Tensor:
    """(K, h, w) -> (3K, 3, h, w): the same kernels for each of three channels, zero across channels.

    A dense convolution: grouped ones with so few channels run on slow paths of CPU libraries.
    """
    across = torch.eye(3, dtype=kernels.dtype, device=kernels.device)
    count, height, width = kernels.shape
    return (across[:, None, :, None, None] * kernels[None, :, None]).reshape(3 * count, 3, height, width)


def full_precision(pixels: Tensor) -> torch.autocast:
    """Pictures are not features: bfloat16 would leave them eight bits."""
    return torch.autocast(pixels.device.type, enabled=False)
