"""Single-scale Retinex.

Jobson, Rahman, Woodell, Properties and performance of a center/surround retinex, IEEE Transactions on Image
Processing, 1997. Each of R, G and B on its own: ln(I) - ln(F * I), F a Gaussian of 80 pixels, their compromise between
detail and tone.

Where we differ: the paper's gain and offset for display are fixed and unstated. Each channel is spread until 1 % of its
pixels are black and 1 % white (the simplest colour balance), as Petro, Sbert, Morel (IPOL 2014) do for all retinexes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.classical.msr import enhance as multi_scale


def enhance(pixels: NDArray[np.float32], sigma: float = 80.0) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; `sigma` in pixels. A picture of one colour stays."""
    return multi_scale(pixels, (sigma,))
