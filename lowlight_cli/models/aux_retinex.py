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
  2020) says how bright it should be, on the mean of a batch: asked of each picture or patch, it makes all shades equal.
* E^0, which Eq. 5 needs for the first stage, is K of R^0 = S / L^0 = 1: one colour for the whole picture. So the first
  stage learns L = S + c, whose S / L is a curve that keeps contrast.
* Eq. 6 has the root of a product that may be negative; we take its absolute value, plus a small constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_cli.nn.brightness import luma_mean
from lowlight_cli.nn.schedule import rate

if TYPE_CHECKING:
    from lowlight_cli.training.recipe import Batch, Settings

RATES = (1, 2, 3, 4)
DARKEST = 0.004
"""Least illumination: the largest gain is 250."""
LEAST = 0.02
"""Least u / (1 - L): with a large factor every pixel reaches L = 1, and a bright picture stays as it is."""
ENOUGH = 0.4
"""Mean luma that dark pictures are brought to when nobody says; brighter ones stay as they are."""
LOG_FACTOR = (-8.0, 8.0)
STEPS = 14
"""Range of log2 of the factor on u, and halvings of it."""


class ShallowFeatures(nn.Module):
    """InceptionV2 without its pooling branch: four dilated 3x3 convolutions side by side, concatenated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(3, width, 3, padding=rate, dilation=rate) for rate in RATES)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 4 * width, H, W)."""
        return torch.relu(torch.cat([branch(pixels) for branch in self.branches], dim=1))


def three_convs(channels: int, widths: tuple[int, int], out: int) -> nn.Sequential:
    """Three 3x3 convolutions with ReLU between them."""
    first, second = widths
    return nn.Sequential(
        nn.Conv2d(channels, first, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(second, out, 3, padding=1),
    )


class AuxRetinex(nn.Module):
    """The deployed first stage. Sides of any size; a pixel sees 7 pixels around it.

    `context` sees a thumbnail of the whole picture, `tile` any part of it. Vectors are (N, 1): a factor on u.
    """

    def __init__(self, width: int = 3, hidden: tuple[int, int] = (6, 3), *, exposure: bool = True) -> None:
        super().__init__()
        self.exposure = exposure
        self.features = ShallowFeatures(width)
        self.theta = three_convs(4 * width + 3, tuple(hidden), 1)

    def missing(self, pixels: Tensor, shallow: Tensor) -> Tensor:
        """Eq. 2: u (N, 1, H, W), what the largest channel of a stage's input lacks as illumination."""
        value = pixels.amax(dim=1, keepdim=True)
        share = torch.sigmoid(self.theta(torch.cat([pixels, shallow], dim=1)))
        return (1 - value) * (LEAST + (1 - LEAST) * share)

    def illumination(self, pixels: Tensor, shallow: Tensor) -> Tensor:
        """Eq. 2: L (N, 1, H, W) in [max channel, 1] of a stage's input (N, 3, H, W)."""
        return add(pixels, self.missing(pixels, shallow))

    def context(self, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """The factor on u (N, 1) that brings a thumbnail (N, 3, h, w) to a mean luma of `exposure` (N,).

        Negative: `ENOUGH`, or the picture's own where that is brighter. No factor darkens a picture.
        """
        if not self.exposure:
            return torch.ones_like(exposure)[:, None]
        wanted = torch.where(exposure < 0, luma_mean(thumbnail).clamp(min=ENOUGH), exposure)
        missing = self.missing(thumbnail, self.features(thumbnail))
        low, high = torch.full_like(wanted, LOG_FACTOR[0]), torch.full_like(wanted, LOG_FACTOR[1])
        for _ in range(STEPS):
            middle = (low + high) / 2
            output = thumbnail / add(thumbnail, missing * torch.exp2(middle)[:, None, None, None])
            too_bright = luma_mean(output) > wanted
            low, high = torch.where(too_bright, middle, low), torch.where(too_bright, high, middle)
        return torch.exp2((low + high) / 2)[:, None]

    def tile(self, pixels: Tensor, vectors: Tensor, scale: int = 1) -> Tensor:  # noqa: ARG002 - as every network's
        """S / L (N, 3, H, W) in [0, 1]."""
        missing = self.missing(pixels, self.features(pixels)) * vectors[:, :, None, None]
        return (pixels / add(pixels, missing)).clamp(0.0, 1.0)

    def forward(self, pixels: Tensor, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """`context`, then `tile`."""
        return self.tile(pixels, self.context(thumbnail, exposure))


def add(pixels: Tensor, missing: Tensor) -> Tensor:
    """Illumination from what is there and what is missing, at most 1."""
    return (pixels.amax(dim=1, keepdim=True) + missing).clamp(DARKEST, 1.0)


def build(**params: object) -> AuxRetinex:
    """The network of a manifest row's `params`."""
    return AuxRetinex(**params)


DEFAULTS = {
    "lr": 1e-4,
    "batch": 8,
    "crop": 256,
    "decay": "cosine",
    "loss": {"fidelity": 0.8, "smoothness": 0.65, "exposure": 10.0, "target": 0.45},
}
"""Weights of Eq. 4; the perceptual term (0.5) needs VGG16 weights and is left out here."""

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
    """Adam on fidelity + smoothness + exposure over all stages; no normal-light picture is used."""

    deploy = "network"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.networks = {"network": build(**settings.params), "auxiliary": three_convs(3, (8, 8), 3)}
        parameters = [p for network in self.networks.values() for p in network.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=settings.lr, betas=(0.9, 0.999))
        self.optimizers = {"all": optimizer}
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate(settings, ()))
        self.extras = {"schedule": self.schedule}

    def step(self, batch: Batch, backward: Callable[[Tensor], None]) -> dict[str, Tensor]:
        """All stages forward, their losses, one step of Adam."""
        terms = self.terms(batch["low"])
        total = sum(self.settings.loss[name] * term for name, term in terms.items())
        self.optimizers["all"].zero_grad(set_to_none=True)
        backward(total)
        self.optimizers["all"].step()
        self.schedule.step()
        return {name: term.detach() for name, term in terms.items()}

    def terms(self, low: Tensor) -> dict[str, Tensor]:
        """The terms of the loss, before their weights, summed over the stages."""
        network, auxiliary = self.networks["network"], self.networks["auxiliary"]
        shallow = network.features(low)
        terms = {name: low.new_zeros(()) for name in ("fidelity", "smoothness", "exposure")}
        stage_input, correction = low, auxiliary(torch.ones_like(low)).float()
        for _ in range(STAGES):
            light = network.illumination(stage_input, shallow).float()
            reflectance = low / light
            wanted = (low + correction).amax(dim=1, keepdim=True).clamp(DARKEST, 1.0)
            terms["fidelity"] = terms["fidelity"] + F.mse_loss(light, wanted)
            terms["smoothness"] = terms["smoothness"] + smoothness(light)
            terms["exposure"] = terms["exposure"] + underexposure(reflectance, low, self.settings.loss["target"])
            correction = auxiliary(reflectance).float()
            stage_input = (low + correction).clamp(0.0, 1.0)
        return terms

    @staticmethod
    def enhance(network: AuxRetinex, batch: Batch) -> Tensor:
        """What a user gets."""
        return network(batch["low"], batch["thumbnail"], torch.full_like(batch["brightness"], -1.0))


def recipe(settings: Settings) -> AuxRetinexRecipe:
    """The recipe of the paper, with the settings given."""
    return AuxRetinexRecipe(settings)
