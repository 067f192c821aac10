"""What a network must know of the whole picture, taken from a thumbnail once and given to every tile.

Instance norm, global pooling and the like look at all that they are given: a tile alone would get other numbers than
the whole picture, and tiles would differ in brightness. A layer that needs such numbers asks a `Guide` for them. A new
guide computes and keeps them (the pass over the thumbnail); a guide with `vectors` hands them out again, in the same
order (the pass over a tile).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_cli.nn.brightness import ExposureHead, headroom, lift, solve_gain

BLACK = 1e-12
"""Of which a root is taken in place of 0, where its slope is infinite: times that of tanh, 0, that is not a number."""
LARGEST = 100.0
"""Bound of normalised features. A thumbnail may be quite black where the picture is not: a hot pixel, a star. Without a
bound its features grow three hundredfold in every norm."""


class Guide:
    """Numbers (N, K) that only the whole picture gives, in the order in which layers ask for them."""

    def __init__(self, vectors: Tensor | None = None) -> None:
        self.given, self.at = vectors, 0
        self.kept: list[Tensor] = []

    def __call__(self, width: int, compute: Callable[[], Tensor]) -> Tensor:
        """The next `width` numbers (N, width): those given, else computed from what the layer sees and kept."""
        if self.given is None:
            self.kept.append(compute())
            return self.kept[-1]
        self.at += width
        return self.given[:, self.at - width : self.at]

    def vectors(self) -> Tensor:
        """All that was computed, (N, K) in float32."""
        return torch.cat([values.float() for values in self.kept], dim=1)


class GuidedNorm(nn.Module):
    """Instance norm without learned scale (Ulyanov et al., 2016), with the mean and variance that a guide gives."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps

    def forward(self, features: Tensor, guide: Guide) -> Tensor:
        """(N, channels, H, W), normalised for each picture and channel."""
        means = guide(self.channels, lambda: features.float().mean(dim=(2, 3)))[:, :, None, None]
        variances = guide(self.channels, lambda: features.float().var(dim=(2, 3), unbiased=False))[:, :, None, None]
        normal = (features - means) * torch.rsqrt(variances + self.eps)
        return normal.clamp(-LARGEST, LARGEST).to(features.dtype)


class GuidedNetwork(nn.Module):
    """A network all of whose layers take a guide: the thumbnail's pass gives vectors (N, K), tiles' passes take them.

    Without `guided`, the papers' plain form, every call takes its own numbers, and vectors are (N, 0).

    Without `exposure`, the papers' plain input, layers see the picture and make the output. With it they see the
    picture brought to a target brightness by a curve that keeps hue, and its root. The former, blurred, is the output's
    ground: its colour and brightness, without the noise. What layers make says how far each value of the ground goes
    towards white or black, and in a fourth plane, how much of what the blur took is let through. The target is the
    user's, or a small head's guess; the gain of the curve is the first of the vectors.
    """

    def __init__(self, *, guided: bool, exposure: bool) -> None:
        super().__init__()
        if exposure and not guided:
            raise ValueError("A target brightness needs the whole picture: exposure=True asks for guided=True.")
        self.guided = guided
        self.head = ExposureHead() if exposure else None
        self.seen, self.made = (6, 4) if exposure else (3, 3)
        """Planes that layers see, and that they make."""

    def paint(self, planes: Tensor, guide: Guide) -> Tensor:
        """What layers make (N, made, H, W) of planes (N, seen, H, W), both in [-1, 1]."""
        raise NotImplementedError

    @staticmethod
    def planes(pixels: Tensor, lifted: Tensor | None) -> Tensor:
        """(N, seen, H, W) in [-1, 1] of pixels (N, 3, H, W) in [0, 1] and the same on the curve, if there is one."""
        if lifted is None:
            return 2 * pixels - 1
        return 2 * torch.cat([lifted, pixels.clamp(min=BLACK).sqrt()], dim=1) - 1

    def ask(self, planes: Tensor, guide: Guide) -> None:
        """Let all layers ask for their numbers; a network may leave out what asks for none."""
        self.paint(planes, guide)

    def picture(self, pixels: Tensor, guide: Guide, gain: Tensor | None = None) -> Tensor:
        """Output (N, 3, H, W) in [0, 1] for pixels (N, 3, H, W) in [0, 1]."""
        lifted = None if gain is None else lift(pixels, gain)
        made = self.paint(self.planes(pixels, lifted), guide)
        if lifted is None:
            return (made + 1) / 2
        ground, kept = blur(lifted), (made[:, 3:] + 1) / 2
        return (toward(ground, made[:, :3]) + kept * (lifted - ground)).clamp(0.0, 1.0)

    def steer(self, thumbnail: Tensor, exposure: Tensor | None) -> Tensor | None:
        """The gain (N,) that brings a thumbnail to `exposure` (N,), negative: the head's; None for plain input."""
        if self.head is None:
            return None
        return solve_gain(thumbnail, self.head.target(thumbnail, exposure))

    def vectors(self, thumbnail: Tensor, guide: Guide, gain: Tensor | None) -> Tensor:
        """(N, K) for any part of a thumbnail's picture, once layers have asked the guide."""
        if not self.guided:
            return nothing(thumbnail)
        return guide.vectors() if gain is None else torch.cat([gain[:, None], guide.vectors()], dim=1)

    def whole(self, thumbnail: Tensor, exposure: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Output (N, 3, h, w) on a thumbnail (N, 3, h, w), and the vectors (N, K) for any part of its picture.

        `exposure` is as in `context`, and may be left out with plain input.
        """
        guide, gain = Guide(), self.steer(thumbnail, exposure)
        output = self.picture(thumbnail, guide, gain)
        return output, self.vectors(thumbnail, guide, gain)

    def context(self, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """Vectors (N, K) from a thumbnail (N, 3, h, w) and a target brightness (N,), negative: the network's own."""
        guide, gain = Guide(), self.steer(thumbnail, exposure)
        if self.guided:
            lifted = None if gain is None else lift(thumbnail, gain)
            self.ask(self.planes(thumbnail, lifted), guide)
        return self.vectors(thumbnail, guide, gain)

    def tile(self, pixels: Tensor, vectors: Tensor | None = None, scale: int = 1) -> Tensor:  # noqa: ARG002
        """Output (N, 3, H, W) in [0, 1]; `vectors` may be left out without `guided` only."""
        if not self.guided:
            return self.picture(pixels, Guide())
        if vectors is None:
            raise ValueError("A guided network needs the vectors of the whole picture.")
        if self.head is None:
            return self.picture(pixels, Guide(vectors))
        return self.picture(pixels, Guide(vectors[:, 1:]), vectors[:, 0])

    def forward(self, pixels: Tensor, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """`context`, then `tile`."""
        return self.tile(pixels, self.context(thumbnail, exposure))


def blur(pixels: Tensor) -> Tensor:
    """(N, 3, H, W) under a pyramid of 9x9 pixels; edges replicated."""
    for _ in range(2):
        pixels = F.avg_pool2d(F.pad(pixels, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    return pixels


def toward(base: Tensor, share: Tensor) -> Tensor:
    """`base` (N, 3, H, W) in [0, 1] moved by a share in [-1, 1] of the way to white or, if negative, to black.

    What is white already stays, and so does a value that has nowhere to go, without a clamp that ends gradients.
    """
    share = share * headroom(base)
    return base + torch.where(share > 0, share * (1 - base), share * base)


def nothing(thumbnail: Tensor) -> Tensor:
    """Vectors (N, 0)."""
    return thumbnail.new_zeros(thumbnail.shape[0], 0)
