"""Scores of a network on pictures that training never sees, and strips of pictures to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lowlight_cli.brightness import AUTO
from lowlight_cli.errors import Diverged
from lowlight_cli.nn.brightness import luma_mean
from lowlight_cli.nn.losses import ssim_loss
from lowlight_cli.thumbnail import thumbnail
from lowlight_cli.training.recipe import Batch, Recipe

FLAT = 2 / 255
"""A spread of an output's values below which it is one flat colour, if the input is not."""
STRIPS = 4
"""Pictures of which strips are shown."""
STRIP_SIDE = 320
"""Longest side of a picture in a strip, in pixels."""
KEPT = (
    "Lower the learning rate (--set lr=...): with --resume it goes on from the last good checkpoint; where none was "
    "written yet, start anew."
)
"""What to do where a training has diverged."""
FLAT_KEPT = (
    "Lower the learning rate (--set lr=...): with --resume it goes on from the last checkpoint. If the output stays "
    "flat, start anew."
)
"""What to do where a network has collapsed."""


class Shown(Protocol):
    """A picture held out from training, (H, W, 3) uint8."""

    name: str
    low: NDArray[np.uint8]
    high: NDArray[np.uint8] | None


class Judge:
    """Validates a network: scores on whole pictures, the losses of the recipe on crops of them, strips."""

    def __init__(
        self,
        real: Sequence[Shown],
        made: Sequence[Shown],
        *,
        multiple: int,
        smallest: int,
        thumbnail_side: int,
        device: torch.device,
        autocast: Callable[[], torch.autocast],
    ) -> None:
        self.real, self.made = real, made
        self.multiple, self.smallest, self.side = multiple, smallest, thumbnail_side
        self.device, self.autocast = device, autocast
        self.flat: str | None = None
        """A picture whose output was one flat colour when scores were last taken."""

    def scores(self, network: nn.Module) -> dict[str, float]:
        """Means over pictures: PSNR in dB after the output's mean luma is brought to the truth's, plain PSNR, SSIM and
        MAE; `made_...` on darkened photos. Empty without truths."""
        found: dict[str, list[float]] = {}
        self.flat = None
        with torch.inference_mode(), self.autocast():
            for prefix, pictures in (("", self.real), ("made_", self.made)):
                for shown in pictures:
                    output, truth = self.output(network, shown)
                    if truth is not None:
                        for name, value in fidelity(output, truth).items():
                            found.setdefault(prefix + name, []).append(value)
        return {name: sum(values) / len(values) for name, values in found.items()}

    def inputs(self) -> dict[str, float]:
        """The scores of the dark pictures themselves: what a network has to beat."""
        found: dict[str, list[float]] = {}
        for prefix, pictures in (("input_", self.real), ("input_made_", self.made)):
            for shown in pictures:
                if shown.high is not None:
                    low, high = (self.cut(pixels)[None] for pixels in (shown.low, shown.high))
                    for name, value in fidelity(low, high).items():
                        found.setdefault(prefix + name, []).append(value)
        return {name: sum(values) / len(values) for name, values in found.items()}

    def output(self, network: nn.Module, shown: Shown) -> tuple[Tensor, Tensor | None]:
        """What a user gets (1, 3, H, W), and the truth; both cut to sides that the network takes."""
        pixels, small, auto = self.given(shown)
        height, width = self.sides(shown.low)
        output = network(pixels, small, auto).float()[..., :height, :width]
        if not torch.isfinite(output).all():
            raise Diverged(f"The network's output for {shown.name} is not finite.", KEPT)
        if float(spread(output)) < FLAT < float(spread(pixels)):
            self.flat = shown.name
        return output, self.cut(shown.high)[None].to(self.device) if shown.high is not None else None

    def given(self, shown: Shown) -> tuple[Tensor, Tensor, Tensor]:
        """A network's inputs: pixels (1, 3, H, W), small ones filled up as `enhance` does, thumbnail (1, 3, s, s), and
        the exposure that lets it decide."""
        pixels = self.cut(shown.low)[None]
        below, right = (max(0, self.smallest - side) for side in pixels.shape[2:])
        pixels = functional.pad(pixels, (0, right, 0, below), mode="replicate")
        pixels = pixels.to(self.device, memory_format=torch.channels_last)
        small = torch.from_numpy(thumbnail(shown.low, self.side).transpose(2, 0, 1)[None].copy())
        return pixels, small.to(self.device), torch.full((1,), AUTO, device=self.device)

    def cut(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(3, H, W) in [0, 1] with sides that are multiples of the network's."""
        height, width = self.sides(pixels)
        return torch.from_numpy(pixels[:height, :width].transpose(2, 0, 1).astype(np.float32) / 255)

    def sides(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        """Height and width of what is scored of a picture."""
        height, width = (max(1, side // self.multiple) * self.multiple for side in pixels.shape[:2])
        return height, width

    def losses(self, recipe: Recipe, batches: Sequence[Batch]) -> dict[str, float]:
        """Means of the recipe's terms over batches of held-out pictures, as `loss_...`; the first is the total."""
        sums: dict[str, float] = {}
        with torch.no_grad(), self.autocast():
            for batch in batches:
                on_device = {name: value.to(self.device) for name, value in batch.items()}
                for name, term in recipe.step(on_device, lambda *_: None).items():
                    sums[name] = sums.get(name, 0.0) + float(term) / len(batches)
        return {f"loss_{name}": value for name, value in sums.items()}

    def strips(self, network: nn.Module) -> dict[str, NDArray[np.uint8]]:
        """By name of a picture: input, output, the network's maps and the truth, side by side."""
        pictures = [*self.real[:STRIPS], *self.made[: STRIPS // 2]]
        with torch.inference_mode(), self.autocast():
            return {
                f"{kind}-{shown.name}": side_by_side(self.panels(network, shown))
                for kind, shown in zip(self.kinds(), pictures, strict=False)
            }

    def kinds(self) -> Iterator[str]:
        """Whether a strip's picture is a real or a made one."""
        yield from ["real"] * len(self.real[:STRIPS])
        yield from ["made"] * STRIPS

    def panels(self, network: nn.Module, shown: Shown) -> list[Tensor]:
        """Pictures (C, H, W) of a strip."""
        pixels, small, auto = self.given(shown)
        output, truth = self.output(network, shown)
        maps: Mapping[str, Tensor] = {}
        if hasattr(network, "maps"):
            vectors = network.context(small, auto) if hasattr(network, "context") else None
            maps = network.maps(pixels, vectors)
        height, width = self.sides(shown.low)
        panels = [panel for panel in (pixels, output, *maps.values(), truth) if panel is not None]
        return [panel[0, :, :height, :width].float() for panel in panels]


def fidelity(output: Tensor, truth: Tensor) -> dict[str, float]:
    """PSNR in dB (data range 1) at the truth's mean luma and plain, SSIM, MAE of (1, 3, H, W)."""
    gain = luma_mean(truth) / luma_mean(output).clamp(min=1e-6)
    scores = {
        "psnr_gtmean": psnr((output * gain[:, None, None, None]).clamp(0, 1), truth),
        "psnr": psnr(output, truth),
        "mae": float((output - truth).abs().mean()),
    }
    if min(truth.shape[2:]) >= 11:
        scores["ssim"] = 1 - float(ssim_loss(output, truth))
    return scores


def spread(pixels: Tensor) -> Tensor:
    """The largest standard deviation of a channel of (1, 3, H, W): 0 for one flat colour."""
    return pixels.float().std(dim=(2, 3), unbiased=False).max()


def psnr(output: Tensor, truth: Tensor) -> float:
    """In dB, data range 1."""
    return float(-10 * torch.log10((output - truth).square().mean().clamp(min=1e-10)))


def side_by_side(panels: Sequence[Tensor]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 from pictures (1 or 3, H, W) of one size, made smaller by whole factors."""
    step = max(1, -(-max(panels[0].shape[1:]) // STRIP_SIDE))
    small = [functional.avg_pool2d(panel.expand(3, -1, -1)[None], step)[0] for panel in panels]
    return (torch.cat(small, dim=2).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
