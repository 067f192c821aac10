"""The guided filter (He, Sun and Tang, "Guided Image Filtering", ECCV 2010)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


def coefficients(values: Plane, guide: Plane, radius: int, epsilon: float) -> tuple[Plane, Plane]:
    """Slope and offset (H, W): slope * guide + offset is `values` (H, W), smoothed, with the edges of the guide.

    `radius` is that of the box in pixels; a variance of the guide over `epsilon` is an edge.
    """

    def mean(plane: Plane) -> Plane:
        return cv2.blur(plane, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    middle, wanted = mean(guide), mean(values)
    slope = (mean(guide * values) - middle * wanted) / (mean(guide * guide) - middle * middle + np.float32(epsilon))
    return mean(slope), mean(wanted - slope * middle)
