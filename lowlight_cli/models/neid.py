"""NEID: light enhancement and detail refinement on one shared encoder, output twice the size of the input.

Jiang et al., "Bridge the Vision Gap from Field to Command: A Deep Learning Network Enhancing Illumination
and Details", 2021 (preprint). Parts: shared U-Net encoder, LE decoder (light enhancement), DR decoder
(detail refinement, training only), FF (feature fusing: channel attention on LE and DR features, steered by DR).

Where we differ from the paper, and why:

* `context` / `tile`. The paper's channel attention averages over the picture it is given, so tiles would each get their
  own brightness. Here FF's vectors always come from a thumbnail, once, and every tile gets the same ones: a tiled
  picture equals a whole one. The paper's form, on the statistics of the crop itself, cannot be configured.
* The expansive path has a 1x1 convolution before nearest upsampling (`nn.unet`), the paper's a 2x2 one after it. The
  ablation's first row, a plain U-Net at full size, cannot be built.
* `exposure=True` (the paper's plain input: False). The network sees the picture brought to a target brightness by a
  curve that keeps hue and never clips, and the root of the picture, and adds to the former. Dark inputs (mean 0.06)
  starve a network; this is worth five decibels. The target is the user's, or a small head's guess.
* `init=None` (paper: 0.02). N(0, 0.02) shrinks a signal threefold in each layer; with Kaiming's, hours get somewhere.
* `detail=True` (paper: False). At equal size the picture is halved for the network, and fine detail is lost.
  A mask that the network predicts lets the lost detail of the curve's output through where it is not noise.
* What is white already stays (with `exposure`): LE adds less and less where the curve's output nears white, and a
  picture that is bright as a whole keeps its brightness unless the user asks for another.
* Colours can be compared by angle: the paper's hue planes turn dark reds green (`nn.losses`). `perceptual` is ours.
* `double` (paper: 0). At twice the size the network sees noise that halving has not averaged, and would take it for
  detail if it never met it in training.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_cli.nn.brightness import ExposureHead, headroom, lift, solve_gain
from lowlight_cli.nn.cells import whole_cells
from lowlight_cli.nn.fusing import FeatureFusing
from lowlight_cli.nn.losses import angle_loss, check_weights, color_loss, ssim_loss, weighted
from lowlight_cli.nn.optimizer import optimizer
from lowlight_cli.nn.resample import double, halve, quarters
from lowlight_cli.nn.schedule import schedules
from lowlight_cli.nn.unet import LEAK, Decoder, Encoder, double_conv

if TYPE_CHECKING:
    from lowlight_cli.training.recipe import Batch, Descend, Perceptual
    from lowlight_cli.training.settings import Settings

WIDTHS = (32, 48, 96, 128)
"""Channels of the levels, finest first; the paper gives none. The rows that ship have 32, 32, 64 and 64."""
THUMBNAIL = 112
CEILING = 0.99
"""What the curve leaves under this stays under it: no highlight is clipped that was not nearly so."""


class NEID(nn.Module):
    """The network. `context` sees a thumbnail of the whole picture, `tile` any part of it.

    Vectors are (N, 2 + width): gain of the exposure curve, target brightness, FF weights.
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        *,
        dr: bool = True,
        ff: bool = True,
        exposure: bool = True,
        detail: bool = True,
        init: float | None = None,
    ) -> None:
        super().__init__()
        if ff and not dr:
            raise ValueError("FF needs the features of DR: dr=False asks for ff=False.")
        self.exposure, self.detail, self.width = exposure, detail, widths[-1]
        self.encoder = Encoder(6 if exposure else 3, widths)
        self.le_features = double_conv(widths[-1], widths[-1])
        self.le = Decoder(widths, 3, extra=1 if detail else 0)
        self.dr_features = double_conv(widths[-1], widths[-1]) if dr else None
        self.dr = Decoder(widths, 3) if dr else None
        self.ff = FeatureFusing(widths[-1]) if ff else None
        self.head = ExposureHead() if exposure else None
        self.initialise(init)

    def initialise(self, spread: float | None) -> None:
        """Weights from N(0, spread), zero bias; None: Kaiming's spread for each layer, the tails' a tenth of it."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                if spread is None:
                    nn.init.kaiming_normal_(module.weight, LEAK, nonlinearity="leaky_relu")
                else:
                    nn.init.normal_(module.weight, 0.0, spread)
                nn.init.zeros_(module.bias)
        if spread is None:
            for decoder in (self.le, self.dr):
                if decoder is not None:
                    nn.init.kaiming_normal_(decoder.tail.weight, 5.0, nonlinearity="leaky_relu")

    def planes(self, pixels: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """What the encoder sees, and what LE adds to: zero for the paper's plain input."""
        if not self.exposure:
            return pixels, torch.zeros_like(pixels)
        lifted = lift(pixels, gain)
        return torch.cat([lifted, pixels.clamp(min=0.0).sqrt()], dim=1), lifted

    def context(self, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """Vectors (N, 2 + width) from a thumbnail (N, 3, h, w), sides multiples of 8.

        `exposure` (N,) is the target brightness: mean luma of the output in [0, 1]; negative: the head decides.
        """
        if self.head is not None:
            exposure = self.head.target(thumbnail, exposure)
            gain = solve_gain(thumbnail, exposure)
        else:
            gain = torch.ones_like(exposure)
        share = thumbnail.new_ones(thumbnail.shape[0], self.width)
        if self.ff is not None:
            deepest = self.encoder(self.planes(thumbnail, gain)[0])[-1]
            share = self.ff(self.dr_features(deepest)).to(thumbnail.dtype)
        return torch.cat([gain[:, None], exposure[:, None], share], dim=1)

    def both(
        self, small: Tensor, vectors: Tensor, *, with_detail: bool, lifted: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """LE output (N, 3, 2h, 2w), detail mask (N, 1, 2h, 2w), and DR output if asked for, else None.

        Where the mask says so, detail of `lifted` (N, 3, 2h, 2w) takes the place of what `small` has left of it.
        """
        planes, base = self.planes(small, vectors[:, 0])
        *skips, deepest = self.encoder(planes)
        fused = self.le_features(deepest)
        detail_features = None
        if self.dr_features is not None and (self.ff is not None or with_detail):
            detail_features = self.dr_features(deepest)
        if self.ff is not None:
            fused = FeatureFusing.fuse(fused, detail_features, vectors[:, 2:])
        out = self.le(fused, skips)
        mask = torch.sigmoid(out[:, 12:]) if self.detail else torch.zeros_like(out[:, :1])
        doubled = F.interpolate(mask, scale_factor=2.0, mode="nearest")
        base, change = quarters(base), headroom(base) * out[:, :12]
        # One pixel shuffle for both: it costs a CPU as much as a convolution.
        light = F.pixel_shuffle((base if lifted is None else (1 - mask) * base) + change, 2)
        if lifted is not None:
            light = light + doubled * lifted
        refined = F.pixel_shuffle(self.dr(detail_features, skips), 2) if with_detail and self.dr is not None else None
        return light, doubled, refined

    def same_size(
        self, pixels: Tensor, vectors: Tensor, *, with_detail: bool = False, lifted: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """LE and DR outputs (N, 3, H, W) for pixels (N, 3, H, W); sides multiples of 16. Not clipped.

        `lifted`, what the curve makes of the pixels, may be given by who has it.
        """
        if self.detail and lifted is None:
            lifted = self.planes(pixels, vectors[:, 0])[1]
        detail = lifted if self.detail else None
        light, _, refined = self.both(halve(pixels), vectors, with_detail=with_detail, lifted=detail)
        return light, refined

    def tile(self, pixels: Tensor, vectors: Tensor, scale: int = 1) -> Tensor:
        """Output in [0, 1]: (N, 3, H * scale, W * scale) for pixels (N, 3, H, W) in [0, 1]; sides multiples of 16."""
        lifted = lift(pixels, vectors[:, 0]) if self.exposure else None
        if scale == 1:
            light = self.same_size(pixels, vectors, lifted=lifted)[0]
        else:
            light = self.both(pixels, vectors, with_detail=False)[0]
        if lifted is not None:
            light = torch.minimum(light, (lifted if scale == 1 else double(lifted)).clamp(min=CEILING))
        return light.clamp(0.0, 1.0)

    def forward(self, pixels: Tensor, thumbnail: Tensor, exposure: Tensor, scale: int = 1) -> Tensor:
        """`context`, then `tile`; sides of any length."""
        height, width = pixels.shape[2:]
        multiple = 2 ** len(self.encoder.levels)
        more = (0, -width % multiple, 0, -height % multiple)
        padded = F.pad(pixels, more, mode="replicate") if any(more) else pixels
        output = self.tile(padded, self.context(thumbnail, exposure), scale)
        return output[:, :, : height * scale, : width * scale]

    def maps(self, pixels: Tensor, vectors: Tensor) -> dict[str, Tensor]:
        """`lifted` (N, 3, H, W), what the curve makes of the picture; `detail` (N, 1, H, W), where fine detail of it
        is let through. Sides multiples of 16."""
        found = {"lifted": lift(pixels, vectors[:, 0])} if self.exposure else {}
        if self.detail:
            found["detail"] = self.both(halve(pixels), vectors, with_detail=False)[1]
        return found


def build(**params: object) -> NEID:
    """The network of a manifest row's `params`."""
    return NEID(**params)


def geometry(widths: Sequence[int] = WIDTHS, *, exposure: bool = True, **_: object) -> dict[str, object]:
    """The facts of a manifest row that follow from `params`."""
    # In cells of each level, whose finest are pixels of half the size; a tile's core begins with a cell of the deepest.
    # Up to the output: the tail and the finest level's two 3x3, then half as many cells of the level below and its two.
    levels, reach = len(widths) - 1, 3
    for _ in range(levels):
        reach = -(-reach // 2) + 2
    # The deepest level has two 3x3 in the encoder besides; each level of that sees twice as many cells and two more.
    reach += 2
    for _ in range(levels):
        reach = 2 * reach + 2
    multiple = 2 ** (levels + 1)
    halo = -(-(2 * reach + 3) // multiple) * multiple  # halving sees 3 pixels more
    facts = {"multiple": multiple, "halo": halo, "tiling": "guided", "thumbnail": THUMBNAIL, "scales": [1, 2]}
    return {**facts, "exposure": exposure, "smallest": 1}


CROPS_ARE_CUT = True  # to multiples of the coarsest cell: a crop must hold one
TERMS = {
    "huber": 1.0,
    "dr": 0.1,
    "color": 0.1,
    "angle": 0.0,
    "ssim": 0.0,
    "perceptual": 0.0,
    "double": 0.0,
    "exposure": 1.0,
}
DEFAULTS = {
    "steps": 2000 * 485 // 8,
    "lr": 1e-4,
    "batch": 8,
    "crop": 256,
    "decay": "paper",
    "loss": {**TERMS, "delta": 1.0},
}
"""As in the paper: 2000 epochs of LOL's 485 pairs. It gives no delta of Huber's, ours is TensorFlow's default, which
the authors used. `exposure` weighs the head's error, which exists only with `exposure=True`."""
DROPS = (0.25, 0.5)
"""Parts of the training after which the rate falls to a tenth: epochs 500 and 1000 of 2000."""


class NEIDRecipe:
    """Adam on Huber(LE) + 0.1 MSE(DR) + 0.1 colour, as in Section 2.3."""

    data = "paired"
    deploy = "network"

    def __init__(self, network: NEID, settings: Settings, perceptual: Perceptual | None) -> None:
        parts = {"dr": network.dr, "exposure": network.head, "perceptual": perceptual}
        able = TERMS.keys() - {name for name, part in parts.items() if part is None}
        check_weights(settings.loss, DEFAULTS["loss"], able - {"double"}, positive=("delta",))
        self.weights, self.perceptual = settings.loss, perceptual
        self.networks: dict[str, nn.Module] = {"network": network}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"network": optimizer(settings, network)}
        self.schedules = schedules(settings, self.optimizers, DROPS)
        self.extras: dict[str, Any] = {}

    def step(self, batch: Batch, descend: Descend) -> dict[str, Tensor]:
        """The terms that have a weight, and one descent of their sum."""
        terms = dict(self.terms(self.networks["network"], batch))
        total = weighted(terms, self.weights)
        descend(total, "network")
        return {"total": total.detach()} | {name: term.detach() for name, term in terms.items()}

    def terms(self, network: NEID, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Terms of the loss by name, before their weights; if only `exposure` has one, the head alone is run."""
        asked = {name for name in TERMS if self.weights.get(name)}
        if network.head is not None and "exposure" in asked:
            yield "exposure", F.mse_loss(network.head(batch["low_thumbnail"]).float(), batch["brightness"])
        if asked <= {"exposure"}:
            return
        low, high = (whole_cells(batch[name], 2 ** len(network.encoder.levels)) for name in ("low", "high"))
        vectors = network.context(batch["low_thumbnail"], batch["brightness"])
        light, refined = network.same_size(low, vectors, with_detail="dr" in asked)
        yield from self.distances(light.float(), high)
        if refined is not None:
            # DR super-resolves the low-light picture: as LE sees it, that is brightened if `exposure`.
            truth = network.planes(low, vectors[:, 0])[1] if network.exposure else low
            yield "dr", F.mse_loss(refined.float(), truth)
        if "double" in asked:
            low, high, vectors = low[::2], high[::2], vectors[::2]
            corner = (..., *(slice(max(16, side // 2)) for side in low.shape[2:]))  # 16: SSIM has a window
            twice = network.both(low[corner], vectors, with_detail=False)[0]
            yield "double", weighted(dict(self.distances(halve(twice.float()), high[corner])), self.weights)

    def distances(self, light: Tensor, high: Tensor) -> Iterator[tuple[str, Tensor]]:
        """What is asked for of the terms that compare LE's output and the truth, both (N, 3, H, W), by name."""
        delta = self.weights.get("delta", DEFAULTS["loss"]["delta"])
        named = {
            "huber": functools.partial(F.huber_loss, delta=delta),
            "color": color_loss,
            "angle": angle_loss,
            "ssim": ssim_loss,
        }
        yield from ((name, loss(light, high)) for name, loss in named.items() if self.weights.get(name))
        if self.perceptual is not None and self.weights.get("perceptual"):
            yield "perceptual", self.perceptual(light.clamp(0.0, 1.0), high)


def recipe(settings: Settings, perceptual: Perceptual | None = None) -> NEIDRecipe:
    """The recipe of the paper, with the settings given."""
    return NEIDRecipe(build(**settings.params), settings, perceptual)
