"""Quality of a changed contrast: PCQI (Wang, Ma, Yeganeh, Wang, Lin, IEEE Signal Processing Letters 2015)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import grey
from lowlight_cli.errors import PictureError
from lowlight_cli.metrics.fidelity import check


def pcqi(image: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Mean of intensity, contrast and structure terms over patches; 1 for equal pictures, more for a better contrast.

    The authors' code: grey values, a Gaussian window 11x11 of sigma 1.5, C = 3, L = 256, the interior.
    """
    check(image, reference)
    if min(image.shape[:2]) < 11:
        raise PictureError(f"The picture is {image.shape[1]}x{image.shape[0]}; PCQI needs 11x11.", "")
    x, y = grey(reference), grey(image)
    taps = cv2.getGaussianKernel(11, 1.5, cv2.CV_64F)

    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.sepFilter2D(values, cv2.CV_64F, taps, taps)[5:-5, 5:-5]

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = (np.maximum(blur(v * v) - mean**2, 0) for v, mean in ((x, mean_x), (y, mean_y)))
    shared = blur(x * y) - mean_x * mean_y + 3
    contrast = 4 / np.pi * np.arctan(shared / (var_x + 3))
    structure = shared / (np.sqrt(var_x * var_y) + 3)
    return float(np.mean(contrast * structure * np.exp(-np.abs(mean_x - mean_y) / 256)))
