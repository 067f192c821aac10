"""A narrower `neid` out of a trained one: the channels that change its pictures least are left out.

    python benchmarks/narrow.py --weights neid.safetensors --widths 32 32 64 64 --out narrow.safetensors \
        --pictures DICM:9 --pictures LIME:3 --pictures LOL/our485/low:60

Each channel is set to zero in turn; what that changes of the output on one crop of each picture (DIR:N, every N-th of a
folder) decides. Channels that later layers take together are judged together. What is lost comes back by training on:
`lowlight train --model neid --init narrow.safetensors`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lowlight_cli import weights_metadata
from lowlight_cli.data.pairs import eight_bit, pictures_in
from lowlight_cli.models import neid
from lowlight_cli.nn.state import load_weights, save_weights
from lowlight_cli.thumbnail import thumbnail
from lowlight_cli.weights_metadata import Origin, texts

CROP = 160
STREAMS = ("le", "dr")


class Looks:
    """A network, what it makes of some crops, and what it makes of them without a channel."""

    def __init__(self, network: neid.NEID, pictures: Sequence[Path]) -> None:
        rng, crops, thumbnails = np.random.default_rng(0), [], []
        for path in pictures:
            pixels = eight_bit(path)
            top, left = (int(rng.integers(side - CROP)) for side in pixels.shape[:2])
            crops.append(tensor(pixels[top : top + CROP, left : left + CROP]).div(255))
            thumbnails.append(tensor(thumbnail(pixels, neid.THUMBNAIL)))
        self.network, self.layers = network.eval(), dict(network.named_modules())
        self.crops, asked = torch.stack(crops), torch.full((len(crops),), -1.0)
        self.vectors = network.context(torch.stack(thumbnails), asked)
        self.whole = network.tile(self.crops, self.vectors)

    def without(self, names: Sequence[str], channel: int) -> float:
        """Mean square that the output changes by when these layers give zero in this channel."""
        hooks = [
            self.layers[name].register_forward_hook(lambda _, __, out: out.index_fill(1, torch.tensor([channel]), 0))
            for name in names
        ]
        changed = (self.network.tile(self.crops, self.vectors) - self.whole).square().mean()
        for hook in hooks:
            hook.remove()
        return float(changed)

    def kept(self, names: Sequence[str], count: int) -> Tensor:
        """The numbers of the `count` channels of these layers that matter most, in order."""
        before = self.layers[names[0]].out_channels
        if before == count:
            return torch.arange(count)
        changes = np.array([self.without(names, channel) for channel in range(before)])
        order = np.argsort(-changes)
        print(
            f"{', '.join(names)}: {count} of {before}, without {255 * changes[order[count:]].sum() ** 0.5:.2f} of 255"
        )
        return torch.from_numpy(np.sort(order[:count]))


def tensor(pixels: np.ndarray) -> Tensor:
    """(3, H, W) float32 of (H, W, 3)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32))


def narrowed(network: neid.NEID, looks: Looks, widths: Sequence[int]) -> dict[str, Tensor]:
    """The weights of a network of these widths. DR's decoder, which makes no pictures, follows LE's."""
    before, deepest = [level[0].out_channels for level in network.encoder.levels], widths[-1]
    levels, inner = range(len(widths)), range(len(widths) - 1)
    first = [looks.kept([f"encoder.levels.{k}.0"], widths[k]) for k in levels]
    skips = [looks.kept([f"encoder.levels.{k}.2"], widths[k]) for k in levels]
    hidden = {stream: looks.kept([f"{stream}_features.0"], deepest) for stream in STREAMS}
    fused = looks.kept([f"{stream}_features.2" for stream in STREAMS], deepest)
    ups = [looks.kept([f"le.ups.{k}"], widths[k]) for k in inner]
    middle = [looks.kept([f"le.levels.{k}.0"], widths[k]) for k in inner]
    features = [*(looks.kept([f"le.levels.{k}.2"], widths[k]) for k in inner), fused]
    ends = {}
    for k in levels:
        ends[f"encoder.levels.{k}.0"] = (first[k], skips[k - 1] if k else None)
        ends[f"encoder.levels.{k}.2"] = (skips[k], first[k])
    for stream in STREAMS:
        ends[f"{stream}_features.0"] = (hidden[stream], skips[-1])
        ends[f"{stream}_features.2"] = (fused, hidden[stream])
        for k in inner:
            ends[f"{stream}.ups.{k}"] = (ups[k], features[k + 1])
            ends[f"{stream}.levels.{k}.0"] = (middle[k], torch.cat([ups[k], before[k] + skips[k]]))
            ends[f"{stream}.levels.{k}.2"] = (features[k], middle[k])
        ends[f"{stream}.tail"] = (None, features[0])
    into, out = network.ff.excite[0].weight, network.ff.excite[2].weight
    squeezed = (into.norm(dim=1) * out.norm(dim=0)).argsort(descending=True)[: deepest // 4].sort().values
    ends |= {"ff.excite.0": (squeezed, fused), "ff.excite.2": (fused, squeezed)}
    made = {name: values for name, values in network.state_dict().items() if name.startswith("head.")}
    for name, (outputs, inputs) in ends.items():
        made |= cut(name, looks.layers[name], outputs, inputs)
    return made


def cut(name: str, layer: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> dict[str, Tensor]:
    """Weight and bias of a layer with these channels alone; None: all."""
    weight, bias = layer.weight, layer.bias
    weight = weight if inputs is None else weight[:, inputs]
    if outputs is not None:
        weight, bias = weight[outputs], bias[outputs]
    return {f"{name}.weight": weight.contiguous(), f"{name}.bias": bias.contiguous()}


def chosen(text: str) -> list[Path]:
    """The pictures that DIR:N names."""
    folder, _, step = text.rpartition(":")
    return pictures_in(Path(folder))[:: int(step)]


@torch.inference_mode()
def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--widths", type=int, nargs="+", required=True)
    parser.add_argument("--pictures", action="append", required=True, metavar="DIR:N")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    origin = weights_metadata.read(options.weights)
    network = neid.build(**origin.params)
    network.load_state_dict(load_weights(options.weights))
    looks = Looks(network, [path for text in options.pictures for path in chosen(text)])
    params = {**origin.params, "widths": options.widths}
    narrow = neid.build(**params)
    narrow.load_state_dict(narrowed(network, looks, options.widths))
    save_weights(options.out, narrow, texts(Origin(origin.arch, params, neid.geometry(**params))))
    print(f"{sum(values.numel() for values in narrow.parameters()):,} parameters in {options.out}")


if __name__ == "__main__":
    main()
