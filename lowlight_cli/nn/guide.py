"""What a network must know of the whole picture, taken from a thumbnail once and given to every tile.

Instance norm, global pooling and the like look at all that they are given: a tile alone would get other numbers than
the whole picture, and tiles would differ in brightness. A layer that needs such numbers asks a `Guide` for them. A new
guide computes and keeps them (the pass over the thumbnail); a guide with `vectors` hands them out again, in the same
order (the pass over a tile).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


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
        return ((features - means) * torch.rsqrt(variances + self.eps)).to(features.dtype)


class GuidedNetwork(nn.Module):
    """A network all of whose layers take a guide: the thumbnail's pass gives vectors (N, K), tiles' passes take them.

    Without `guided`, the papers' plain form, every call takes its own numbers, and vectors are (N, 0).
    """

    def __init__(self, *, guided: bool) -> None:
        super().__init__()
        self.guided = guided

    def picture(self, pixels: Tensor, guide: Guide) -> Tensor:
        """Output (N, 3, H, W) in [0, 1] for pixels (N, 3, H, W) in [0, 1]."""
        raise NotImplementedError

    def ask(self, thumbnail: Tensor, guide: Guide) -> None:
        """Let all layers ask for their numbers; a network may leave out what asks for none."""
        self.picture(thumbnail, guide)

    def whole(self, thumbnail: Tensor) -> tuple[Tensor, Tensor]:
        """Output (N, 3, h, w) on a thumbnail (N, 3, h, w), and the vectors (N, K) for any part of its picture."""
        guide = Guide()
        output = self.picture(thumbnail, guide)
        return output, guide.vectors() if self.guided else nothing(thumbnail)

    def context(self, thumbnail: Tensor, exposure: Tensor) -> Tensor:  # noqa: ARG002 - as every network's
        """Vectors (N, K) from a thumbnail (N, 3, h, w); there is no control of brightness."""
        if not self.guided:
            return nothing(thumbnail)
        guide = Guide()
        self.ask(thumbnail, guide)
        return guide.vectors()

    def tile(self, pixels: Tensor, vectors: Tensor | None = None, scale: int = 1) -> Tensor:  # noqa: ARG002
        """Output (N, 3, H, W) in [0, 1]; `vectors` may be left out without `guided` only."""
        if self.guided and vectors is None:
            raise ValueError("A guided network needs the vectors of the whole picture.")
        return self.picture(pixels, Guide(vectors if self.guided else None))

    def forward(self, pixels: Tensor, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """`context`, then `tile`."""
        return self.tile(pixels, self.context(thumbnail, exposure))


def nothing(thumbnail: Tensor) -> Tensor:
    """Vectors (N, 0)."""
    return thumbnail.new_zeros(thumbnail.shape[0], 0)
