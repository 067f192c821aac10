"""Arrays and Pillow's images as a Picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowlight_cli.errors import PictureError
from lowlight_cli.picture import decoding, metadata
from lowlight_cli.picture.model import SUFFIXES, Picture, to_integers

BEYOND = 0.25
"""What floats may be below 0 or above 1, by resampling or noise; it is clipped."""


def from_pil(image: Image.Image) -> Picture:
    """A Pillow image as a Picture, turned as its EXIF says. `image` is loaded but not changed.

    Give paths to `load` instead: Pillow has already made 8 bits of 16-bit colour when it opened the file.
    """
    kind = {"JPEG": "jpg", "MPO": "jpg", "DIB": "bmp"}.get(image.format or "PNG", (image.format or "PNG").lower())
    try:
        image.load()
        known = kind if kind in SUFFIXES.values() else "png"
        given = metadata.given(image.info, known, texts=metadata.comments(image))
        # Pillow has turned a TIFF by itself when it loaded it.
        return decoding.from_image(image, given._replace(turn=1) if kind == "tiff" else given)
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"The image cannot be decoded: {error}", "Give the path of the file to load.") from error


def from_array(array: NDArray) -> Picture:
    """(H, W) or (H, W, 1 to 4) uint8, uint16 or float in [0, 1] as a Picture; RGB, alpha last.

    Floats become 16 bits; what is a little outside, up to `BEYOND`, is clipped. One channel means grey, two grey with
    alpha. A masked array must have no masked values.
    """
    if np.ma.is_masked(array):
        told = f"The array has {np.ma.count_masked(array):,} masked values."
        raise PictureError(told, "Say what they are with `.filled()`.")
    values = np.asarray(array)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4) or 0 in values.shape:
        raise PictureError(f"The array has the shape {np.shape(array)}.", "Give (H, W) or (H, W, 1 to 4).")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise PictureError("The array holds NaN or infinite values.", "Give numbers between 0 and 1.")
        least, most = float(values.min()), float(values.max())
        if least < -BEYOND or most > 1 + BEYOND:
            told = f"The array holds numbers from {least:g} to {most:g}."
            raise PictureError(told, "Give floats between 0 and 1: divide those up to 255 by 255.")
        values = to_integers(values, 16)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"The array holds {values.dtype}.", "Give uint8, uint16 or float in [0, 1].")
    gray, alpha = values.shape[2] < 3, values[..., -1].copy() if values.shape[2] in (2, 4) else None
    colours = np.repeat(values[..., :1], 3, axis=2) if gray else values[..., :3]
    return Picture(pixels=np.ascontiguousarray(colours), alpha=alpha, gray=gray)
