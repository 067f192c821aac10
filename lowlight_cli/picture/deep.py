"""16-bit PNG and TIFF, decoded by OpenCV: Pillow keeps 8 of the 16 bits of a colour, so a dark photo turns black."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.picture import checks, metadata, tiff
from lowlight_cli.picture.model import Picture, bands, blank, unmultiplied


def from_tiff(data: bytes, entries: dict[int, tiff.Entry], given: metadata.Given) -> Picture:
    """A 16-bit unsigned grey or RGB TIFF, whose Orientation says 1."""
    order = tiff.byte_order(data)
    raw = opencv(data, (tiff.number(entries, 257, order, 0), tiff.number(entries, 256, order, 0)))
    inverted = tiff.number(entries, 262, order, -1) == 0
    extra = tiff.number(entries, 338, order, -1)
    colours = 3 if tiff.number(entries, 262, order, -1) == 2 else 1
    samples = tiff.number(entries, 277, order, 1)
    picture = from_samples(raw, colours, samples > colours and extra != 0, None, given)
    if inverted:
        np.subtract(65535, picture.pixels, out=picture.pixels)
    if extra == 1 and picture.alpha is not None:
        for rows in bands(*picture.alpha.shape):
            picture.pixels[rows] = unmultiplied(picture.pixels[rows], picture.alpha[rows])
    return picture


def opencv(data: bytes, size: tuple[int, int]) -> NDArray:
    """(H, W, C) uint16 as OpenCV decodes it: B, G, R, as stored."""
    import cv2  # 0.2 s, and most pictures have 8 bits

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint16 or raw.shape[:2] != size:
        found = "nothing" if raw is None else f"{raw.dtype} {raw.shape}"
        raise checks.damaged(f"16 bits of {size[1]} x {size[0]} pixels were expected, the decoder gave {found}")
    return raw.reshape(*size, -1)


def from_samples(raw: NDArray, colours: int, has_alpha: bool, key: NDArray | None, given: metadata.Given) -> Picture:
    """16-bit samples of OpenCV -> Picture; `key` is the one colour that is transparent (PNG tRNS)."""
    height, width = raw.shape[:2]
    order = [2, 1, 0] if colours == 3 else [0, 0, 0]
    pixels, stored = blank((height, width, 3), raw.dtype, given.turn)
    transparent = has_alpha or key is not None
    alpha, alpha_stored = blank((height, width), raw.dtype, given.turn) if transparent else (None, None)
    for rows in bands(height, width):
        stored[rows] = raw[rows][..., order]
        if key is not None:
            alpha_stored[rows] = np.where((stored[rows][..., :colours] == key).all(axis=-1), 0, 65535)
        elif has_alpha:
            alpha_stored[rows] = raw[rows][..., -1]
    return Picture(pixels=pixels, alpha=alpha, **metadata.profile(given, colours == 1), **given.fields)
