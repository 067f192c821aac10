"""The ways of `accelerator.py` to get a picture to a device, through a network, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def floats(pixels: Tensor) -> Tensor:
    """(1, 3, H, W) in [0, 1], channels last, of (H, W, 3) bytes, where they are."""
    return pixels.permute(2, 0, 1)[None].float().div(255)


def whole_bytes(output: Tensor) -> Tensor:
    """(H, W, 3) bytes of (1, 3, H, W) in [0, 1], where it is."""
    return output[0].permute(1, 2, 0).mul(255).round().clamp(0, 255).to(torch.uint8).contiguous()


def as_floats(pixels: np.ndarray, device: str, enhance: Callable[[Tensor], Tensor]) -> np.ndarray:
    """As the runner does it: converted by numpy, float32 both ways."""
    batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / 255
    output = enhance(torch.from_numpy(batch).to(device).contiguous(memory_format=torch.channels_last)).cpu().numpy()
    return (255 * output[0].transpose(1, 2, 0) + 0.5).astype(np.uint8)


def as_bytes(pixels: np.ndarray, device: str, enhance: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Bytes both ways, converted on the device."""
    return whole_bytes(enhance(floats(torch.from_numpy(pixels).to(device)))).cpu().numpy()


def pinned(pixels: np.ndarray, device: str, enhance: Callable[[Tensor], Tensor]) -> np.ndarray:
    """The same through pinned memory, which is kept by PyTorch's allocator."""
    there = torch.from_numpy(pixels)
    if device.startswith("cuda"):
        there = there.pin_memory()
    output = whole_bytes(enhance(floats(there.to(device, non_blocking=True))))
    back = torch.empty(output.shape, dtype=torch.uint8, pin_memory=device.startswith("cuda"))
    back.copy_(output)
    return back.numpy()


def ahead(pictures: Sequence[np.ndarray], device: str, enhance: Callable[[Tensor], Tensor]) -> list[np.ndarray]:
    """Pinned bytes; while one picture is computed the next one comes and the one before goes."""
    if not device.startswith("cuda"):
        return [as_bytes(pixels, device, enhance) for pixels in pictures]
    up, down, here = torch.cuda.Stream(), torch.cuda.Stream(), torch.cuda.current_stream()
    backs, waiting = [], None

    def sent(pixels: np.ndarray) -> Tensor:
        with torch.cuda.stream(up):
            return torch.from_numpy(pixels).pin_memory().to(device, non_blocking=True)

    for number in range(len(pictures)):
        pixels = waiting if waiting is not None else sent(pictures[number])
        here.wait_stream(up)
        pixels.record_stream(here)
        output = whole_bytes(enhance(floats(pixels)))
        waiting = sent(pictures[number + 1]) if number + 1 < len(pictures) else None
        down.wait_stream(here)
        with torch.cuda.stream(down):
            back = torch.empty(output.shape, dtype=torch.uint8, pin_memory=True)
            back.copy_(output, non_blocking=True)
            output.record_stream(down)
        backs.append(back)
    torch.cuda.synchronize()
    return [back.numpy() for back in backs]


MOVES: dict[str, Any] = {"floats": as_floats, "bytes": as_bytes, "pinned": pinned, "ahead": ahead}
