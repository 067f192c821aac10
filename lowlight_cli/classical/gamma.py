"""Power law: `out = in ** gamma` on encoded values.

Gonzalez, Woods, Digital Image Processing, 4th edition, 2018, section 3.2. The exponent is fixed, 0.45 (about 1 / 2.2)
as in most tables of the field: the method knows nothing of the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def enhance(pixels: NDArray[np.float32], gamma: float = 0.45) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB-encoded, to the same; `gamma` below 1 brightens."""
    return np.power(pixels, np.float32(gamma))
