"""Picture files in and out. This is the only place of the package that reads or writes them.

Pillow alone turns dark 16-bit colour black, OpenCV alone decodes half a JPEG without a word, and both lose what is
stored beside the pixels; `load` and `save` do none of that. Messages do not name the file that was read: the caller
knows it.

picture_model     Picture and its integers      picture_decode    bytes -> Picture
picture_checks    is the file whole?            picture_deep      16-bit PNG and TIFF
picture_metadata  EXIF, XMP, ICC, resolution    picture_ppm       PPM and PGM
picture_tiff      TIFF directories, EXIF too    picture_encode    Picture -> bytes
picture_raw       camera raw, by LibRaw         picture_heif      HEIC, by libheif
picture_avif      AVIF, a check of its own      picture_png       PNG, checked and written
picture_xmp       XMP, cleaned
picture_file      a file -> its bytes, or why not
picture_extras    what camera raw and HEIC need installed
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import atomic, picture_decode, picture_file, picture_metadata
from .errors import FULL, OptionError, OutputExists, PictureError
from .picture_encode import DEEP, QUALITY, encode, losses, samples, stored
from .picture_metadata import resized
from .picture_model import MAX_PIXELS, SUFFIXES, Depth, Picture, to_float, to_integers

__all__ = [
    "DEEP",
    "MAX_PIXELS",
    "QUALITY",
    "SUFFIXES",
    "Depth",
    "Picture",
    "encode",
    "from_array",
    "from_pil",
    "load",
    "losses",
    "pixel_count",
    "read",
    "resized",
    "samples",
    "save",
    "stored",
    "to_float",
    "to_integers",
    "write",
]

_REMEDIES = {
    errno.ENOENT: "Check the path: the file, or the folder it lies in, is not there.",
    errno.EACCES: "Check the permissions of the file and of its folder.",
    errno.EPERM: "Check the permissions of the file and of its folder.",
    errno.EROFS: "Choose a folder that is not read-only.",
    **dict.fromkeys(FULL, "Free some space, or choose a folder on another disk."),
    errno.EFBIG: "Choose a folder on a disk that takes larger files.",
    errno.EIO: "Check the disk or the network share, and run again with --skip-existing.",
    errno.ESTALE: "Check the disk or the network share, and run again with --skip-existing.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EISDIR: "Choose the name of a file, not of a folder.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: check it.",
}


def load(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The one still picture in a file, upright, with all its bits; `bytes` are the content of one.

    Raises PictureError for whatever cannot be read whole: no file, no picture, a part missing, an animation, a kind
    that is not supported, more than `max_pixels` pixels (found out before decoding).
    """
    return picture_decode.decode(source if isinstance(source, bytes) else read(source), max_pixels)


def read(path: Path) -> bytes:
    """The bytes of a picture file, for `load`. PictureError for a folder, a pipe, what changes while it is read, what
    does not answer for `picture_file.STALL` seconds, and what the system will not give."""
    try:
        return picture_file.content(path)
    except (OSError, ValueError) as error:
        raise PictureError(f"The file cannot be read: {_reason(error)}.", _remedy(error)) from error


def save(
    picture: Picture,
    path: Path,
    *,
    format: str | None = None,
    quality: int | None = None,
    depth: Depth = "keep",
    overwrite: bool = True,
) -> None:
    """Write `picture` to `path`, which appears whole or not at all; `format` None goes by the suffix.

    Options as for `encode`. What the format cannot hold is left out: ask `losses` before, and tell the user.
    """
    write(encode(picture, format or _format_of(path), quality=quality, depth=depth), path, overwrite=overwrite)


def write(data: bytes, path: Path, *, overwrite: bool = True, check: Callable[[], None] = atomic.allow) -> None:
    """Write an encoded picture, whole or not at all; without `overwrite`, OutputExists where a file is there already.

    `check` is called last, see `atomic.replacing`.
    """
    try:
        atomic.write(path, data, overwrite=overwrite, check=check)
    except FileExistsError as error:
        raise OutputExists(f"{path} exists already.", "It was left alone; use --overwrite.") from error
    except (OSError, ValueError) as error:
        raise PictureError(f"Cannot write {path}: {_reason(error)}.", _remedy(error)) from error


def _format_of(path: Path) -> str:
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise OptionError(
            f"The suffix {path.suffix!r} of {path.name} names no format that is written.",
            f"There are {', '.join(SUFFIXES)}.",
        ) from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _remedy(error: OSError | ValueError) -> str:
    return _REMEDIES.get(getattr(error, "errno", None) or 0, "Check the path and the disk.")


def from_pil(image: Image.Image) -> Picture:
    """A Pillow image as a Picture, turned as its EXIF says. `image` is loaded but not changed.

    Give paths to `load` instead: Pillow has already made 8 bits of 16-bit colour when it opened the file.
    """
    kind = {"JPEG": "jpg", "MPO": "jpg", "DIB": "bmp"}.get(image.format or "PNG", (image.format or "PNG").lower())
    try:
        image.load()
        known = kind if kind in SUFFIXES.values() else "png"
        given = picture_metadata.given(image.info, known, texts=picture_metadata.comments(image))
        # Pillow has turned a TIFF by itself when it loaded it.
        return picture_decode.from_image(image, given._replace(turn=1) if kind == "tiff" else given)
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"The image cannot be decoded: {error}", "Give the path of the file to load.") from error


BEYOND = 0.25
"""What floats may be below 0 or above 1, by resampling or noise; it is clipped."""


def from_array(array: NDArray) -> Picture:
    """(H, W) or (H, W, 1 to 4) uint8, uint16 or float in [0, 1] as a Picture; RGB, alpha last.

    Floats become 16 bits. One channel means grey, two grey with alpha.
    """
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


def pixel_count(path: Path) -> int:
    """Pixels of a picture file from its header, for planning; 0 where they cannot be told: `load` says why."""
    with contextlib.suppress(Exception):
        return picture_file.header_pixels(path)
    return 0
