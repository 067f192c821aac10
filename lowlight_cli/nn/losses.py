"""Losses shared by networks: pure functions of (N, 3, H, W) tensors, in float32."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from lowlight_cli.errors import OptionError


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The sum () of the terms of a loss, each times its weight."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def check_weights(
    weights: Mapping[str, float], known: Collection[str], terms: Collection[str], positive: Collection[str] = ()
) -> None:
    """Refuse a loss that names what a recipe does not know, that gives none of its terms a weight, or that has 0 for
    what must be `positive`."""
    if strange := sorted({*weights} - {*known}):
        raise OptionError(f"This recipe's loss has no {', '.join(strange)}.", f"It knows {', '.join(sorted(known))}.")
    for name in positive:
        if weights.get(name) == 0:
            raise OptionError(f"0 is not valid for loss.{name}.", "It takes a number above 0.")
    if not any(weights.get(name) for name in terms):
        raise OptionError("No term of the loss has a weight.", f"Give one to {', '.join(sorted(terms))}.")


def hue_saturation(pixels: Tensor, guard: float = 0.02) -> tuple[Tensor, Tensor]:
    """HSV hue and saturation planes (N, H, W), both in [0, 1].

    `guard` keeps the gradient of hue bounded where a pixel is nearly grey and its hue means nothing.
    """
    pixels = pixels.clamp(0, 1)
    r, g, b = pixels.unbind(dim=1)
    value, _ = pixels.max(dim=1)
    chroma = value - pixels.min(dim=1).values
    safe = chroma + guard
    sector = torch.where(
        value == r, (g - b) / safe % 6.0, torch.where(value == g, (b - r) / safe + 2.0, (r - g) / safe + 4.0)
    )
    return sector / 6.0, chroma / (value + guard)


def color_loss(output: Tensor, truth: Tensor) -> Tensor:
    """(1 - cos of hue planes) + (1 - cos of saturation planes), each plane one vector: NEID, Eq. 4 to 6."""
    planes = zip(hue_saturation(output), hue_saturation(truth), strict=True)
    return sum((1 - F.cosine_similarity(p.flatten(1), t.flatten(1), dim=1, eps=1e-4)).mean() for p, t in planes)


def angle_loss(output: Tensor, truth: Tensor, cell: int = 4, guard: float = 1e-4) -> Tensor:
    """Mean of 1 - cosine of the angle between the colours of two pictures, as vectors of RGB averaged over cells.

    Blind to brightness, and so as strict in shadows as in lights. Unlike a distance of hue planes it has no seam at
    red: where a hue is uncertain, its mean over red's two ends, 0 and 1, is green.
    """
    means = (F.avg_pool2d(picture.float(), cell) + guard for picture in (output, truth))
    return (1 - F.cosine_similarity(*means, dim=1)).mean()


def gaussian(size: int = 11, sigma: float = 1.5) -> Tensor:
    """Normalised taps (size,)."""
    taps = torch.exp(-((torch.arange(size, dtype=torch.float32) - size // 2) ** 2) / (2 * sigma**2))
    return taps / taps.sum()


def ssim_loss(output: Tensor, truth: Tensor) -> Tensor:
    """1 - SSIM (Wang et al., 2004): Gaussian 11x11, sigma 1.5, per channel, interior only, data range 1."""
    taps = gaussian().to(output.device)
    # A variance is a small difference of large numbers: not for bfloat16.
    with torch.autocast(output.device.type, enabled=False):
        return 1 - similarity(output.float(), truth.float(), taps)


def similarity(output: Tensor, truth: Tensor, taps: Tensor) -> Tensor:
    """Mean SSIM."""

    def blur(planes: Tensor) -> Tensor:
        planes = F.conv2d(planes, taps.view(1, 1, 1, -1).expand(3, 1, 1, -1), groups=3)
        return F.conv2d(planes, taps.view(1, 1, -1, 1).expand(3, 1, -1, 1), groups=3)

    mean_o, mean_t = blur(output), blur(truth)
    var_o, var_t = blur(output**2) - mean_o**2, blur(truth**2) - mean_t**2
    covariance = blur(output * truth) - mean_o * mean_t
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_o * mean_t + c1) * (2 * covariance + c2)
    return (alike / ((mean_o**2 + mean_t**2 + c1) * (var_o + var_t + c2))).mean()
