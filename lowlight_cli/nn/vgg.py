"""VGG16's convolutions (Simonyan and Zisserman, ICLR 2015), for LPIPS and the perceptual loss.

Weights are those of one pinned file, an asset of the manifest; nothing else is ever loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import safetensors
from safetensors import SafetensorError
from torch import Tensor, nn

from lowlight_cli import assets
from lowlight_cli.errors import ModelUnavailable

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions; a 2x2 maximum stands between two stages."""
ASSET = "vgg16"


class VGG16(nn.Module):
    """What the named activations hold, such as `relu3_3`: the third of the third stage.

    Nothing above the last of them is built. Keys are those of torchvision and timm, `features.N`. Frozen, with random
    weights until `load_weights`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        layers, places, depth = [], {}, 3
        for number, stage in enumerate(STAGES, start=1):
            if number > 1:
                layers.append(nn.MaxPool2d(2))
            for place, width in enumerate(stage, start=1):
                layers += [nn.Conv2d(depth, width, 3, padding=1), nn.ReLU(inplace=True)]
                places[f"relu{number}_{place}"], depth = len(layers) - 1, width
        self.ends = [places[name] for name in names]
        self.features = nn.Sequential(*layers[: max(self.ends) + 1])
        self.requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Iterator[Tensor]:
        """The named activations of (N, 3, H, W) as the caller normalises it, from the lowest, one held at a time."""
        for index, layer in enumerate(self.features):
            pixels = layer(pixels)
            if index in self.ends:
                yield pixels

    def load_weights(self, path: Path) -> None:
        """Fill in what is built from a file; the rest of it, nine tenths, stays on the disk.

        A file that lacks a tensor, or has one of another shape, is a ModelUnavailable.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                held = {*file.keys()}
                state = {name: file.get_tensor(name) for name in self.state_dict() if name in held}
            self.load_state_dict(state)
        except (SafetensorError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise ModelUnavailable(f"{path} does not hold the weights of VGG16: {reason}", "Delete it.") from error


def find_weights(*, offline: bool = False) -> Path:
    """The pinned file, fetched if it must be; a ModelUnavailable says why it cannot be had, and the way out."""
    return assets.find(ASSET, offline=offline)
