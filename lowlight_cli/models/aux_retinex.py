"""Auxiliary-block Retinex: a cascade that is trained in stages and deployed as its first stage, 1.3 K parameters.

Jin, Chen and Liang, "A lightweight low-light image enhancement network", ICAROB 2023, after SCI (Ma et al., CVPR
2022). A picture is reflectance times illumination, S = R * L (Eq. 1). Shallow features, then shared-weight stages:
H_theta estimates what to add to the illumination (Eq. 2), the auxiliary block K_xi turns R = S / L into a correction
of the next stage's input, V = S + E (Eq. 3), so that all stages agree. Inference is the first stage: S / L.

Where the paper is silent or we differ, and why:

* `exposure=True` (the paper: False). A network that sees 7 pixels around each cannot tell a dark picture from a bright
  one, and blows the latter out. One factor on u for the whole picture brings its mean to a target.
* Illumination is one plane, the largest channel plus u, as in Retinex-Net and LIME: dividing by it keeps hue.
* u = (1 - L) * sigmoid(H), bounded from below: L stays in [S, 1], so that nothing is clipped and a white pixel stays
  white.
* The loss of the paper has its minimum at L = S, a white picture. An exposure term after Zero-DCE (Guo et al., CVPR
  2020) says how bright S / L and S / V should be, on the mean of a batch: asked of each picture or patch, it makes all
  shades equal. It must be asked of V, too: from the second stage on, L - V is u, so that fidelity teaches u to vanish
  and K nothing. A K that nobody teaches dies, V becomes S, and fidelity the mean of u squared; the cheapest u for a
  given brightness is then large in lights and small in shadows: it flattens the picture, the more the longer it lasts.
* E = (1 - S) * sigmoid(K), for u's reason: V stays in [S, 1], without a clamp that ends gradients. SCI's K ends with a
  sigmoid as well. Both networks start with a small share of what is missing, not with half of it: on their way down
  from there they overshoot, and a saturated sigmoid learns no more.
* E^0, which Eq. 5 needs for the first stage, is K of R^0 = S / L^0 = 1: one colour for the whole picture. So the first
  stage learns a share of what a pixel lacks to white that is the same everywhere, and S / L is a curve that keeps
  contrast; smoothness (Eq. 6) makes it a little steeper.
* `reduction=1` (the paper). With 4 the share is made from means of 4x4 pixels and enlarged between them; the largest
  channel, u and the division stay at full size, so that no detail is lost. The share is smooth anyway, and the thin
  convolutions are nearly all of the time: an eighth of it is left.
* L is one plane: fidelity and the perceptual term compare it with the largest channel of V.
* Eq. 6 has the root of a product that may be negative; we take its absolute value, plus a small constant. All sums over
  pixels are means.
* Batch and crop size, which the paper does not state. The three stages are those of SCI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_cli.brightness import ENOUGH
from lowlight_cli.nn.brightness import luma_mean
from lowlight_cli.nn.cells import whole_cells
from lowlight_cli.nn.losses import check_weights, weighted
from lowlight_cli.nn.optimizer import optimizer
from lowlight_cli.nn.schedule import schedules

if TYPE_CHECKING:
    from lowlight_cli.training.recipe import Batch, Descend, Perceptual
    from lowlight_cli.training.settings import Settings

RATES = (1, 2, 3, 4)
THUMBNAIL = 112
START = -3.0
"""Bias of the last convolutions before training: a share of 0.05 of what is missing."""
DARKEST = 0.004
"""Least illumination: the largest gain is 250."""
LEAST = 0.02
"""Least u / (1 - L): with a large factor every pixel reaches L = 1, and a bright picture stays as it is."""
LOG_FACTOR = (-8.0, 8.0)
STEPS = 14
"""Range of log2 of the factor on u, and halvings of it."""


class ShallowFeatures(nn.Module):
    """InceptionV2 without its pooling branch: four dilated 3x3 convolutions side by side."""

    def __init__(self, width: int, border: str = "zeros") -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(3, width, 3, padding=rate, dilation=rate, padding_mode=border) for rate in RATES
        )

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> (N, width, H, W) of each; whoever takes them concatenates them with more, once."""
        return [torch.relu(branch(pixels)) for branch in self.branches]


def three_convs(channels: int, widths: tuple[int, int], out: int, border: str = "zeros") -> nn.Sequential:
    """Three 3x3 convolutions with ReLU between them, whose sigmoid is small at first."""
    first, second = widths
    layers = nn.Sequential(
        nn.Conv2d(channels, first, 3, padding=1, padding_mode=border),
        nn.ReLU(inplace=True),
        nn.Conv2d(first, second, 3, padding=1, padding_mode=border),
        nn.ReLU(inplace=True),
        nn.Conv2d(second, out, 3, padding=1, padding_mode=border),
    )
    nn.init.constant_(layers[-1].bias, START)
    return layers


class AuxRetinex(nn.Module):
    """The deployed first stage. Sides of any size; a pixel sees 7 pixels around it.

    `context` sees a thumbnail of the whole picture, `tile` any part of it. Vectors are (N, 1): a factor on u.
    """

    def __init__(
        self, width: int = 3, hidden: tuple[int, int] = (6, 3), *, exposure: bool = True, reduction: int = 1
    ) -> None:
        super().__init__()
        if reduction < 1 or THUMBNAIL % reduction:
            raise ValueError(f"reduction is {reduction}; it can be what divides {THUMBNAIL}: 1, 2, 4 and so on.")
        self.exposure, self.reduction = exposure, reduction
        border = "zeros" if reduction == 1 else "replicate"  # a dark seam of 7 means is seen, one of 7 pixels is not
        self.features = ShallowFeatures(width, border)
        self.theta = three_convs(4 * width + 3, tuple(hidden), 1, border)

    def shallow(self, pixels: Tensor) -> list[Tensor]:
        """Shallow features of (N, 3, H, W), whose sides are multiples of `reduction`: (N, width, h, w) each."""
        return self.features(self.reduced(pixels))

    def reduced(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w): means of squares of `reduction` pixels a side."""
        return pixels if self.reduction == 1 else F.avg_pool2d(pixels, self.reduction)

    def enlarged(self, plane: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, H, W), bilinear."""
        if self.reduction == 1:
            return plane
        return F.interpolate(plane, scale_factor=float(self.reduction), mode="bilinear", align_corners=False)

    def share(self, pixels: Tensor, shallow: list[Tensor], factor: Tensor | None = None) -> Tensor:
        """H_theta (N, 1, H, W): how much of what a stage's input lacks to white is added as illumination; `factor`
        (N, 1) times as much."""
        share = torch.sigmoid(self.theta(torch.cat([self.reduced(pixels), *shallow], dim=1)))
        share = LEAST + (1 - LEAST) * share
        if factor is not None:
            share = share * factor[:, :, None, None]
        return self.enlarged(share)

    def illumination(self, pixels: Tensor, shallow: list[Tensor], factor: Tensor | None = None) -> Tensor:
        """Eq. 2: L (N, 1, H, W) in [max channel, 1] of a stage's input (N, 3, H, W); `factor` (N, 1) on u."""
        largest = value(pixels)
        return add(largest, (1 - largest) * self.share(pixels, shallow, factor))

    def context(self, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """The factor on u (N, 1) that brings a thumbnail (N, 3, h, w) to a mean luma of `exposure` (N,).

        Negative: `ENOUGH`, or the picture's own where that is brighter. No factor darkens a picture.
        """
        if not self.exposure:
            return torch.ones_like(exposure)[:, None]
        wanted = torch.where(exposure < 0, luma_mean(thumbnail).clamp(min=ENOUGH), exposure)
        largest = value(thumbnail)
        missing = (1 - largest) * self.share(thumbnail, self.shallow(thumbnail))
        low, high = torch.full_like(wanted, LOG_FACTOR[0]), torch.full_like(wanted, LOG_FACTOR[1])
        for _ in range(STEPS):
            middle = (low + high) / 2
            output = thumbnail / add(largest, missing * torch.exp2(middle)[:, None, None, None])
            too_bright = luma_mean(output) > wanted
            low, high = torch.where(too_bright, middle, low), torch.where(too_bright, high, middle)
        return torch.exp2((low + high) / 2)[:, None]

    def divisor(self, pixels: Tensor, vectors: Tensor | None) -> Tensor:
        """L (N, 1, H, W) that a picture is divided by."""
        return self.illumination(pixels, self.shallow(pixels), vectors)

    def tile(self, pixels: Tensor, vectors: Tensor | None = None, scale: int = 1) -> Tensor:  # noqa: ARG002
        """S / L (N, 3, H, W) in [0, 1]; without vectors the factor on u is 1."""
        return pixels / self.divisor(pixels, vectors)

    def maps(self, pixels: Tensor, vectors: Tensor | None = None) -> dict[str, Tensor]:
        """`illumination` (N, 1, H, W): the L that divides."""
        return {"illumination": self.divisor(pixels, vectors)}

    def forward(self, pixels: Tensor, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """`context`, then `tile`."""
        return self.tile(pixels, self.context(thumbnail, exposure))


def value(pixels: Tensor) -> Tensor:
    """The largest channel, (N, 1, H, W) of (N, 3, H, W)."""
    red, green, blue = pixels.split(1, dim=1)  # ONNX Runtime takes thrice the time for a maximum along an axis
    return torch.maximum(torch.maximum(red, green), blue)


def add(largest: Tensor, missing: Tensor) -> Tensor:
    """Illumination from the largest channel and what it lacks, at most 1."""
    return (largest + missing).clamp(DARKEST, 1.0)


def build(**params: object) -> AuxRetinex:
    """The network of a manifest row's `params`."""
    return AuxRetinex(**params)


def geometry(*, exposure: bool = True, reduction: int = 1, **_: object) -> dict[str, object]:
    """The facts of a manifest row that follow from `params`."""
    # The shallow features, three 3x3, and a neighbour to enlarge; tiles begin and end with a mean.
    halo = reduction * (max(RATES) + 3 + (reduction > 1))
    facts = {"multiple": reduction, "halo": halo, "scales": [1], "exposure": exposure, "smallest": 1}
    return facts | ({"tiling": "guided", "thumbnail": THUMBNAIL} if exposure else {"tiling": "exact", "thumbnail": 0})


TERMS = {"fidelity": 0.8, "smoothness": 0.65, "perceptual": 0.5, "exposure": 10.0}
DEFAULTS = {
    "steps": 800 * 1589 // 8,
    "lr": 1e-4,
    "betas": (0.9, 0.999),
    "batch": 8,
    "crop": 128,
    "decay": "none",
    "loss": {**TERMS, "target": 0.45},
}
"""800 epochs of LOL-v2's 1589 pictures, and the weights of Eq. 4. `target` is the mean luma asked for by `exposure`.

The pictures are those of both parts, real and made, and `--data` takes one part at a time: for these epochs, put the
dark pictures of both into one folder by hand."""

CROPS_ARE_CUT = True  # to multiples of `reduction`: a crop must hold one
STAGES = 3


def smoothness(plane: Tensor) -> Tensor:
    """Eq. 6, as a mean over pixels."""
    down = plane[..., :-1, :-1] - plane[..., 1:, :-1]
    right = plane[..., :-1, :-1] - plane[..., :-1, 1:]
    return torch.sqrt((down * right).abs() + 1e-6).mean()


def underexposure(output: Tensor, low: Tensor, target: float) -> Tensor:
    """Squared distance of a batch's mean luma to the target; pictures brighter than that count with their own."""
    wanted = luma_mean(low).clamp(min=target).mean()
    return F.mse_loss(luma_mean(output).mean(), wanted)


class AuxRetinexRecipe:
    """Adam on fidelity, smoothness and exposure over all stages, and the perceptual term; no truth is used."""

    data = "low"
    deploy = "network"

    def __init__(self, settings: Settings, perceptual: Perceptual | None = None) -> None:
        check_weights(settings.loss, DEFAULTS["loss"], TERMS.keys() - (set() if perceptual else {"perceptual"}))
        self.weights, self.perceptual = settings.loss, perceptual
        self.networks: dict[str, nn.Module] = {
            "network": build(**settings.params),
            "auxiliary": three_convs(3, (8, 8), 3),
        }
        self.optimizers: dict[str, torch.optim.Optimizer] = {"all": optimizer(settings, *self.networks.values())}
        self.schedules = schedules(settings, self.optimizers)
        self.extras: dict[str, Any] = {}

    def step(self, batch: Batch, descend: Descend) -> dict[str, Tensor]:
        """All stages forward, and one descent of the sum of the terms that have a weight."""
        low = whole_cells(batch["low"], self.networks["network"].reduction)
        terms = {name: term for name, term in self.terms(low).items() if self.weights.get(name)}
        total = weighted(terms, self.weights)
        descend(total, "all")
        return {"total": total.detach()} | {name: term.detach() for name, term in terms.items()}

    def stages(self, low: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """L^1 ... L^T (N, 1, H, W) of Eq. 2, and V^0 ... V^T (N, 3, H, W) of Eq. 3.

        The first stage sees S itself, as it does when it is deployed; V^0 = S + E^0 is only its target.
        """
        network = self.networks["network"]
        shallow, stage_input = network.shallow(low), low
        lights, corrected = [], [self.corrected(low, torch.ones_like(low))]
        for _ in range(STAGES):
            lights.append(network.illumination(stage_input, shallow).float())
            stage_input = self.corrected(low, low / lights[-1])
            corrected.append(stage_input)
        return lights, corrected

    def corrected(self, low: Tensor, reflectance: Tensor) -> Tensor:
        """Eq. 3: V = S + E in [S, 1], (N, 3, H, W) in float32."""
        return low + (1 - low) * torch.sigmoid(self.networks["auxiliary"](reflectance).float())

    def terms(self, low: Tensor) -> dict[str, Tensor]:
        """The terms of the loss, before their weights, summed over the stages."""
        target = self.weights.get("target", DEFAULTS["loss"]["target"])
        lights, corrected = self.stages(low)
        *wanted, last = (plane(each) for each in corrected)
        terms = {
            "fidelity": sum(F.mse_loss(*pair) for pair in zip(lights, wanted, strict=True)),
            "smoothness": sum(smoothness(light) for light in lights),
            "exposure": sum(underexposure(low / divisor, low, target) for divisor in (*lights, *wanted)),
        }
        if self.perceptual is not None and self.weights.get("perceptual"):
            # Eq. 7. VGG16 looks at three channels.
            terms["perceptual"] = self.perceptual(*(each.expand(-1, 3, -1, -1) for each in (lights[-1], last)))
        return terms


def plane(corrected: Tensor) -> Tensor:
    """V (N, 3, H, W) as one plane of illumination (N, 1, H, W)."""
    return corrected.amax(dim=1, keepdim=True).clamp(min=DARKEST)


def recipe(settings: Settings, perceptual: Perceptual | None = None) -> AuxRetinexRecipe:
    """The recipe of the paper, with the settings given."""
    return AuxRetinexRecipe(settings, perceptual)
