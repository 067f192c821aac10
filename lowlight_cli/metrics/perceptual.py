"""LPIPS v0.1 with VGG16 (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018): distance between deep features.

The arithmetic is that of torchmetrics, whose wheel also carries the authors' trained heads. Its own class wants
torchvision for the VGG16 and lets it download the weights unchecked; ours is `nn.vgg`, from a pinned file.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowlight_cli import weights
from lowlight_cli.errors import ModelUnavailable, PictureError
from lowlight_cli.metrics.fidelity import check
from lowlight_cli.nn.vgg import STAGES, VGG16, find_weights
from lowlight_cli.packages import install_extras

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
"""Each stage's end."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and spread of the net's training pictures, in [-1, 1]."""
LEAST_SIDE = 16

HEADS = Path("functional", "image", "lpips_models", "vgg.pth")
"""In torchmetrics' folder."""
HEADS_SHA256 = "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"


class Lpips(nn.Module):
    """The distance, with random weights until they are loaded. `files`: name -> sha256 of what was loaded."""

    def __init__(self, files: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__()
        self.files = files
        self.vgg = VGG16(LAYERS)
        self.heads = nn.ParameterList([torch.rand(stage[-1]) for stage in STAGES])
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(N,) of two (N, 3, H, W) in [-1, 1]; 0 for equal pictures."""
        total = first.new_zeros(len(first))
        both = (torch.cat([first, second]) - self.shift) / self.scale
        for head, found in zip(self.heads, self.vgg(both), strict=True):
            unit = found / torch.sqrt(1e-8 + found.square().sum(dim=1, keepdim=True))
            a, b = unit.chunk(2)
            total += torch.einsum("nchw,c->nhw", (a - b).square(), head).mean(dim=(1, 2))
        return total

    def score(self, image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
        """LPIPS of two (H, W, 3) uint8 RGB pictures at their own size."""
        check(image, truth)
        if min(image.shape[:2]) < LEAST_SIDE:
            raise PictureError(f"The picture is {image.shape[1]}x{image.shape[0]}; LPIPS needs 16x16.", "")
        with torch.inference_mode():
            first, second = (torch.tensor(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (image, truth))
            return float(self(first, second))


def open_lpips(*, offline: bool = False) -> Lpips:
    """LPIPS with its trained weights; a ModelUnavailable says what is missing, and nothing unpinned is fetched."""
    heads = read_heads()
    path = find_weights(offline=offline)
    files = {"vgg16.tv_in1k": weights.sha256_of(path), "lpips v0.1 vgg": HEADS_SHA256}
    net = Lpips(files)
    net.vgg.load_weights(path)
    net.heads.load_state_dict(heads)
    return net


def read_heads() -> dict[str, Tensor]:
    """The weight of each channel, by stage, from the installed torchmetrics."""
    spec = importlib.util.find_spec("torchmetrics")
    if spec is None or spec.origin is None:
        raise ModelUnavailable(
            "torchmetrics, which carries the heads of LPIPS, is not installed.",
            f"In your clone of lowlight: {install_extras('benchmark')}",
        )
    path = Path(spec.origin).parent / HEADS
    found = weights.sha256_of(path) if path.is_file() else "no such file"
    if found != HEADS_SHA256:
        raise ModelUnavailable(
            f"{path} is not the heads of LPIPS v0.1: {found}; expected sha256 {HEADS_SHA256}.",
            'python -m pip install --force-reinstall --no-deps "torchmetrics>=1.9,<2"',
        )
    table = torch.load(path, map_location="cpu", weights_only=True)
    return {str(i): table[f"lin{i}.model.1.weight"].flatten() for i in range(len(STAGES))}
