"""NEID: light enhancement and detail refinement on one shared encoder, output twice the size of the input.

Jiang et al., "Bridge the Vision Gap from Field to Command: A Deep Learning Network Enhancing Illumination
and Details", 2021 (preprint). Parts: shared U-Net encoder, LE decoder (light enhancement), DR decoder
(detail refinement, training only), FF (feature fusing: channel attention on LE and DR features, steered by DR).

Where we differ from the paper, and why:

* `context` / `tile`. The paper's channel attention averages over the picture it is given, so tiles would each
  get their own brightness. Here the vectors that need the whole picture are computed once, from a thumbnail,
  and every tile gets the same ones: a tiled picture equals a whole one.
* `exposure=True` (the paper's plain input: False). The network sees the picture brought to a target brightness
  by a curve that keeps hue and never clips, and the root of the picture, and adds to the former. Dark inputs
  (mean 0.06) starve a network; this is worth five decibels. The target is the user's, or a small head's guess.
* `init=None` (paper: 0.02). N(0, 0.02) shrinks a signal threefold in each layer; Kaiming's keeps it, and a training of
  hours on two cores gets somewhere.
* `detail=True` (paper: False). At equal size the picture is halved for the network, and fine detail is lost.
  A mask that the network predicts lets the lost detail of the curve's output through where it is not noise.
* What is white already stays (with `exposure`): LE adds less and less where the curve's output nears white, and a
  picture that is bright as a whole keeps its brightness unless the user asks for another.
* The colour loss can be an angle of colours: the paper's, of hue planes, turns dark reds green (`nn.losses`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_cli.nn.brightness import ExposureHead, lift, solve_gain
from lowlight_cli.nn.losses import angle_loss, color_loss, ssim_loss
from lowlight_cli.nn.resample import double, halve
from lowlight_cli.nn.schedule import rate

if TYPE_CHECKING:
    from lowlight_cli.training.recipe import Batch, Settings

LEAK = 0.1
HEADROOM = 0.2
"""Distance of a pixel's largest channel to white below which LE may add less."""
CEILING = 0.99
"""What the curve leaves under this stays under it: no highlight is clipped that was not nearly so."""


def double_conv(channels: int, width: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with its activation: (N, channels, H, W) -> (N, width, H, W)."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.LeakyReLU(LEAK, inplace=True),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(LEAK, inplace=True),
    )


class Encoder(nn.Module):
    """U-Net's contracting path: two convolutions per level, 2x2 max pooling between levels."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            double_conv(before, width) for before, width in zip((channels, *widths), widths, strict=False)
        )

    def forward(self, planes: Tensor) -> list[Tensor]:
        """Features of all levels, finest first; level k is (N, widths[k], H / 2^k, W / 2^k)."""
        features = []
        for k, level in enumerate(self.levels):
            planes = level(F.max_pool2d(planes, 2) if k else planes)
            features.append(planes)
        return features


class Decoder(nn.Module):
    """U-Net's expansive path with skips, and a sub-pixel tail: `out` channels at twice the encoder's size."""

    def __init__(self, widths: Sequence[int], out: int, extra: int = 0) -> None:
        super().__init__()
        self.ups = nn.ModuleList(nn.Conv2d(below, width, 1) for width, below in pairwise(widths))
        self.levels = nn.ModuleList(double_conv(2 * width, width) for width in widths[:-1])
        self.tail = nn.Conv2d(widths[0], 4 * out + extra, 3, padding=1)

    def forward(self, deepest: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """(N, 4 * out + extra, H, W), before the pixel shuffle."""
        features = deepest
        for up, level, skip in reversed(list(zip(self.ups, self.levels, skips, strict=True))):
            # A 1x1 convolution commutes with nearest-neighbour upsampling and is four times cheaper before it.
            upsampled = F.interpolate(up(features), scale_factor=2.0, mode="nearest")
            features = level(torch.cat([upsampled, skip], dim=1))
        return self.tail(features)


class FeatureFusing(nn.Module):
    """FF: per-channel weights from DR features, for the weighted sum of LE and DR features."""

    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        self.excite = nn.Sequential(
            nn.Linear(width, width // reduction),
            nn.LeakyReLU(LEAK, inplace=True),
            nn.Linear(width // reduction, width),
            nn.Sigmoid(),
        )

    def forward(self, detail_features: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width) in (0, 1): the share of LE in each channel; DR has the rest."""
        return self.excite(detail_features.mean(dim=(2, 3)))

    @staticmethod
    def fuse(light: Tensor, detail: Tensor, share: Tensor) -> Tensor:
        """The weighted sum of LE and DR features."""
        share = share[:, :, None, None]
        return share * light + (1 - share) * detail


class NEID(nn.Module):
    """The network. `context` sees a thumbnail of the whole picture, `tile` any part of it.

    Vectors are (N, 2 + width): gain of the exposure curve, target brightness, FF weights.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 48, 96, 128),
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
            # The head learns from its own error alone, not through the curve.
            exposure = torch.where(exposure < 0, self.head.choose(thumbnail), exposure).detach()
            gain = solve_gain(thumbnail, exposure)
        else:
            gain = torch.ones_like(exposure)
        share = thumbnail.new_ones(len(thumbnail), self.width)
        if self.ff is not None:
            deepest = self.encoder(self.planes(thumbnail, gain)[0])[-1]
            share = self.ff(self.dr_features(deepest)).to(thumbnail.dtype)
        return torch.cat([gain[:, None], exposure[:, None], share], dim=1)

    def both(self, small: Tensor, vectors: Tensor, *, with_detail: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """LE output (N, 3, 2h, 2w), detail mask (N, 1, 2h, 2w), and DR output if asked for, else None."""
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
        room = ((1 - base.amax(dim=1, keepdim=True)) / HEADROOM).clamp(0.0, 1.0)
        light = double(base) + F.pixel_shuffle(room * out[:, :12], 2)
        refined = F.pixel_shuffle(self.dr(detail_features, skips), 2) if with_detail and self.dr is not None else None
        return light, F.interpolate(mask, scale_factor=2.0, mode="nearest"), refined

    def same_size(self, pixels: Tensor, vectors: Tensor, *, with_detail: bool = False) -> tuple[Tensor, Tensor | None]:
        """LE and DR outputs (N, 3, H, W) for pixels (N, 3, H, W); sides multiples of 16. Not clipped."""
        small = halve(pixels)
        light, mask, refined = self.both(small, vectors, with_detail=with_detail)
        if self.detail:
            gain = vectors[:, 0]
            light = light + mask * (self.planes(pixels, gain)[1] - double(self.planes(small, gain)[1]))
        return light, refined

    def tile(self, pixels: Tensor, vectors: Tensor, scale: int = 1) -> Tensor:
        """Output in [0, 1]: (N, 3, H * scale, W * scale) for pixels (N, 3, H, W) in [0, 1]; sides multiples of 16."""
        light = self.same_size(pixels, vectors)[0] if scale == 1 else self.both(pixels, vectors, with_detail=False)[0]
        if self.exposure:
            lifted = lift(pixels, vectors[:, 0])
            light = torch.minimum(light, (lifted if scale == 1 else double(lifted)).clamp(min=CEILING))
        return light.clamp(0.0, 1.0)

    def forward(self, pixels: Tensor, thumbnail: Tensor, exposure: Tensor, scale: int = 1) -> Tensor:
        """`context`, then `tile`."""
        return self.tile(pixels, self.context(thumbnail, exposure), scale)


def build(**params: object) -> NEID:
    """The network of a manifest row's `params`."""
    return NEID(**params)


DEFAULTS = {
    "lr": 1e-4,
    "batch": 8,
    "crop": 256,
    "decay": "paper",
    "loss": {"huber": 1.0, "delta": 1.0, "dr": 0.1, "color": 0.1, "angle": 0.0, "ssim": 0.0, "exposure": 1.0},
}
"""As in the paper; it gives no delta, ours is TensorFlow's default, which the authors used. `exposure` weighs
the head's error, which exists only with `exposure=True`."""

PAPER_DROPS = (0.25, 0.5)
"""Parts of the training after which the rate falls to a tenth: epochs 500 and 1000 of 2000."""


class NEIDRecipe:
    """Adam on Huber(LE) + 0.1 MSE(DR) + 0.1 colour, as in Section 2.3."""

    deploy = "network"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.network = build(**settings.params)
        self.networks = {"network": self.network}
        optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.lr)
        self.optimizers = {"network": optimizer}
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate(settings, PAPER_DROPS))
        self.extras = {"schedule": self.schedule}

    def step(self, batch: Batch, backward: Callable[[Tensor], None]) -> dict[str, Tensor]:
        """Forward, losses, backward, one step of Adam."""
        network, optimizer = self.networks["network"], self.optimizers["network"]
        terms = self.terms(network, batch)
        total = sum(self.settings.loss[name] * term for name, term in terms.items())
        optimizer.zero_grad(set_to_none=True)
        backward(total)
        if self.settings.clip:
            nn.utils.clip_grad_norm_(network.parameters(), self.settings.clip)
        optimizer.step()
        self.schedule.step()
        return {name: term.detach() for name, term in terms.items()}

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss, before their weights; without `huber` only the head is trained."""
        low, high, brightness = batch["low"], batch["high"], batch["brightness"]
        weights, terms = self.settings.loss, {}
        if network.head is not None:
            terms["exposure"] = F.mse_loss(network.head(batch["thumbnail"]), brightness)
            if not weights["huber"]:
                return terms
        vectors = network.context(batch["thumbnail"], brightness)
        light, refined = network.same_size(low, vectors, with_detail=True)
        light = light.float()
        terms["huber"] = F.huber_loss(light, high, delta=weights["delta"])
        if refined is not None:
            # DR super-resolves the low-light picture: as LE sees it, that is brightened if `exposure`.
            truth = network.planes(low, vectors[:, 0])[1] if network.exposure else low
            terms["dr"] = F.mse_loss(refined.float(), truth)
        named = {"color": color_loss, "angle": angle_loss, "ssim": ssim_loss}
        return terms | {name: loss(light, high) for name, loss in named.items() if weights.get(name)}

    @staticmethod
    def enhance(network: NEID, batch: Batch) -> Tensor:
        """What a user gets: the head decides the brightness."""
        return network(batch["low"], batch["thumbnail"], torch.full_like(batch["brightness"], -1.0))


def recipe(settings: Settings) -> NEIDRecipe:
    """The recipe of the paper, with the settings given."""
    return NEIDRecipe(settings)
