"""The perceptual term of losses: a distance of deep features, and what stands in for it where VGG16 cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.nn.vgg import VGG16, find_weights

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
"""The last activation of the first four stages: the layers that Johnson, Alahi and Fei-Fei (ECCV 2016) read. They take
one for content and all four for style; we take all four, for edges as well as for shapes."""
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, for sRGB in [0, 1]: how the weights were trained."""
LARGEST = 128
"""Side of what is looked at. Training crops lie at random, so their middle does, too; the network that looks costs a
hundred times those that are trained here."""
SCALES = 3


class VGGPerceptual(nn.Module):
    """Mean absolute difference of VGG16's activations, the mean over `LAYERS`: Eq. 2 of Johnson et al., but with
    absolute differences, whose layers are of one magnitude, where squares leave the deepest one alone to speak.

    In float32 under autocast; moves to where its input is. Sides over `largest` are cut to their middle.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        super().__init__()
        self.largest = largest
        self.vgg = VGG16(LAYERS)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, output: Tensor, truth: Tensor) -> Tensor:
        """Distance () of two (N, 3, H, W) in [0, 1], sides of 8 and more; its gradient goes into the first alone."""
        if self.mean.device != output.device:
            self.to(output.device)
        with torch.autocast(output.device.type, enabled=False):
            with torch.no_grad():
                wanted = [*self.activations(truth)]
            pairs = zip(self.activations(output), wanted, strict=True)
            return sum(F.l1_loss(found, other) for found, other in pairs) / len(LAYERS)

    def activations(self, pixels: Tensor) -> Iterator[Tensor]:
        """What each of `LAYERS` makes of the middle of pictures."""
        return self.vgg((middle(pixels, self.largest).float() - self.mean) / self.spread)


def middle(pixels: Tensor, largest: int) -> Tensor:
    """(N, 3, H, W) with sides of at most `largest`, cut around the middle."""
    height, width = pixels.shape[2:]
    top, left = max(0, height - largest) // 2, max(0, width - largest) // 2
    return pixels[:, :, top : top + largest, left : left + largest]


class Substitute(nn.Module):
    """Mean absolute difference of image gradients at three scales, summed: the perceptual term without weights.

    What VGG16's shallow layers see are edges at several scales, whatever the brightness around them: so does this. A
    constant added to a picture costs nothing (other terms judge brightness), a lost or moved edge costs at all scales,
    blur most at the finest, blotches and halos at the coarsest. It knows nothing of objects, and its magnitude is not
    that of activations: the weight of the term, chosen for those, means something else here.
    """

    words = f"image gradients at {SCALES} scales"

    def forward(self, output: Tensor, truth: Tensor) -> Tensor:
        """Distance () of two (N, C, H, W), sides of 8 and more; its gradient goes into the first alone."""
        with torch.autocast(output.device.type, enabled=False):
            # Gradients and averages are linear: those of the difference are the differences of those.
            difference, total = output.float() - truth.detach().float(), 0.0
            for scale in range(SCALES):
                difference = F.avg_pool2d(difference, 2) if scale else difference
                total = total + difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
            return total


def open_perceptual(
    choice: str, *, announce: Callable[[str], None], offline: bool = False
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """The perceptual distance that a recipe trains with: VGG16's, the substitute, or None, which drops the term.

    `required`: a ModelUnavailable where VGG16 cannot be had. `auto`: `announce` is told in words what is trained with
    instead, and why. `off`: None.
    """
    if choice == "off":
        return None
    try:
        path = find_weights(offline=offline)
        perceptual = VGGPerceptual()
        perceptual.vgg.load_weights(path)
    except ModelUnavailable as error:
        if choice == "required":
            remedy = f"{error.hint} Or train with `--perceptual auto`, which takes {Substitute.words} instead."
            raise ModelUnavailable(error.message, remedy.strip()) from error
        announce(f"The perceptual term compares {Substitute.words}, not features of VGG16. {error.message}")
        return Substitute()
    return perceptual
