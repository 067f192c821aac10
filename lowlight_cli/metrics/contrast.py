"""Quality of a changed contrast: PCQI (Wang, Ma, Yeganeh, Wang, Lin, IEEE Signal Processing Letters 2015)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import grey
from lowlight_cli.metrics.fidelity import check, check_window, windowed


def pcqi(image: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Mean of intensity, contrast and structure terms over patches; 1 for equal pictures, more for a better contrast.

    The authors' code: grey values, a Gaussian window 11x11 of sigma 1.5, C = 3, L = 256, the interior.
    """
    check(image, reference)
    check_window(image, "PCQI")
    x, y = grey(reference), grey(image)
    mean_x, mean_y = windowed(x), windowed(y)
    var_x, var_y = (np.maximum(windowed(v * v) - mean**2, 0) for v, mean in ((x, mean_x), (y, mean_y)))
    shared = windowed(x * y) - mean_x * mean_y + 3
    contrast = 4 / np.pi * np.arctan(shared / (var_x + 3))
    structure = shared / (np.sqrt(var_x * var_y) + 3)
    return float(np.mean(contrast * structure * np.exp(-np.abs(mean_x - mean_y) / 256)))
