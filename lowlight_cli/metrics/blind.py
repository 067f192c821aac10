"""What an enhancer did to its source, no truth needed: order of lightness, brightness, highlights, shadow colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import luma
from lowlight_cli.metrics.fidelity import check, mean_luma

SHADOW = 40
"""Source pixels of a luma below this (of 255) are its shadows."""
LEAST_SHADOW = 0.02
"""Share of shadow pixels below which a colour cast is not measured."""
LEAST_LEVEL = 0.5
"""Mean 8-bit level of a channel of the shadows below which its share of the colour is rounding, not signal."""


def loe(image: NDArray[np.uint8], source: NDArray[np.uint8]) -> float:
    """Lightness order error (Wang, Zheng, Hu, Li, TIP 2013): mean number of pixels whose order to a pixel changed.

    The authors' code: lightness is the largest channel, then its largest value within 7 pixels, of which every n-th
    row and column is taken, n = floor(shorter side / 50). It grows with the count of taken pixels: compare equal sizes.
    """
    check(image, source)
    # Pairs are counted over the 256 x 256 levels they can have: table[a, b] is how many pixels are there.
    a, b = _lightness(source).ravel(), _lightness(image).ravel()
    table = np.bincount(a.astype(np.int64) * 256 + b, minlength=1 << 16).reshape(256, 256).astype(np.float64)
    both = table[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]  # source >= a and output >= b
    one = both[:, :1] + both[:1, :] - 2 * both  # exactly one of them
    return float((table * one).sum() / a.size)


def _lightness(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Local maximum of the largest channel, sampled down to 50 to 99 pixels along the shorter side."""
    step = max(1, min(image.shape[:2]) // 50)
    return cv2.dilate(_largest(image), np.ones((15, 15), np.uint8))[step - 1 :: step, step - 1 :: step]


def _largest(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest channel (H, W)."""
    red, green, blue = cv2.split(image)
    return cv2.max(cv2.max(red, green), blue)


def brightness(image: NDArray[np.uint8], source: NDArray[np.uint8]) -> float:
    """Change of the mean luma, in [-1, 1]."""
    check(image, source)
    return (mean_luma(image) - mean_luma(source)) / 255


def clipped(image: NDArray[np.uint8], source: NDArray[np.uint8]) -> float:
    """Change of the share of pixels with a channel at 254 or 255, in [-1, 1]."""
    check(image, source)
    new, old = (np.mean(_largest(picture) >= 254) for picture in (image, source))
    return float(new - old)


def cast(image: NDArray[np.uint8], source: NDArray[np.uint8]) -> float:
    """Largest |log ratio| of the channels' shares of the light in the source's shadows, output to source; 0: no cast.

    NaN where it cannot be measured: under 2 % of shadow pixels, or a channel of them that is all but black.
    """
    check(image, source)
    shadows = luma(source.astype(np.float32)) < SHADOW
    if shadows.mean() < LEAST_SHADOW:
        return float("nan")
    new, old = (picture[shadows].mean(axis=0) for picture in (image, source))
    if old.min() < LEAST_LEVEL:
        return float("nan")
    new = np.maximum(new, LEAST_LEVEL)
    return float(np.abs(np.log(new / new.mean()) - np.log(old / old.mean())).max())
