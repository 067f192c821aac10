"""What a picture is in memory, and the small pure functions on its samples. No files here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Depth = Literal["keep", 8, 16]
"""Bits per channel to write: what the picture has (as far as the format holds it), 8, or 16."""

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "jpg"),
        ".png": "png",
        ".webp": "webp",
        **dict.fromkeys((".tif", ".tiff"), "tiff"),
        **dict.fromkeys((".bmp", ".dib"), "bmp"),
        ".avif": "avif",
        **dict.fromkeys((".ppm", ".pgm", ".pnm"), "ppm"),
    }
)
"""Lower-case suffix -> format name. The suffix chooses what is written; reading goes by the content."""

Texts = tuple[tuple[str, str], ...]
"""(keyword, text): those of a PNG, and the comments of a JPEG under "Comment", in their order. Bytes of a comment that
are no UTF-8 stand as lone surrogates (PEP 383)."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One decoded still picture: upright, sRGB-encoded, in the integers of its file."""

    pixels: NDArray
    """(H, W, 3) uint8 or uint16, RGB. Integers, so that a 96-megapixel picture fits; see `to_float`."""
    alpha: NDArray | None = None
    """(H, W), same dtype as `pixels`; not premultiplied."""
    gray: bool = False
    """The file had one colour channel; one is written again, see `luma`."""
    format: str = "png"
    icc: bytes | None = None
    """Always fits the channels: never a CMYK profile, a grey one only when `gray`."""
    exif: bytes | None = None
    """A TIFF block without the `Exif\\0\\0` prefix; Orientation is 1 and there is no thumbnail of the dark picture."""
    xmp: bytes | None = None
    iptc: bytes | None = None
    """IPTC-IIM records of a JPEG: captions, keywords, credits. Those of a TIFF are in `exif`."""
    texts: Texts = ()
    dpi: tuple[float, float] | None = None
    notices: tuple[str, ...] = ()
    """What a user must be told about the reading: a conversion, something left behind."""
    development: str | None = None
    """How a camera raw file was made a picture, for records."""

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def bits(self) -> int:
        """8 or 16, from the dtype: a dark 16-bit picture may well hold no value above 255."""
        return self.pixels.dtype.itemsize * 8


def to_float(pixels: NDArray, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """(...) uint8 or uint16 -> float32 in [0, 1], in `out` if that is given."""
    out = np.empty(pixels.shape, np.float32) if out is None else out
    np.copyto(out, pixels)  # by itself: a division that converts is three times slower
    return np.divide(out, np.float32(np.iinfo(pixels.dtype).max), out=out)


def to_integers(values: NDArray, bits: int) -> NDArray:
    """(...) float in [0, 1] -> uint8 (`bits` 8) or uint16 (16), rounded; values outside are clipped.

    NaN has no integer: test for it before (`np.isfinite`), here it would become any value.
    """
    if bits == 8 and values.size:
        # One pass in place of three, and the same value for each of the 2^32 floats.
        clipped = np.clip(values, 0, 1, dtype=np.float32).reshape(1, -1)
        return cv2.convertScaleAbs(clipped, alpha=255).reshape(values.shape)
    top = 2**bits - 1
    scaled = np.multiply(values, np.float32(top), dtype=np.float32)
    np.clip(scaled, 0, top, out=scaled)
    return np.rint(scaled, out=scaled).astype(dtype(bits))


def dtype(bits: int) -> np.dtype:
    """The unsigned integer that holds a channel of `bits`."""
    return np.dtype(np.uint16 if bits == 16 else np.uint8)


def at_depth(samples: NDArray, bits: int) -> NDArray:
    """`samples` (uint8 or uint16) with `bits` per channel: times 257 upwards, rounded downwards."""
    if samples.dtype == dtype(bits):
        return samples
    if bits == 16:
        return samples.astype(np.uint16) * np.uint16(257)
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def rescaled(samples: NDArray, top: int, full: int) -> NDArray:
    """Integers up to `top` as integers up to `full`, rounded; larger ones count as `top`."""
    samples = np.minimum(samples, top)
    return (
        samples
        if top == full
        else (samples.astype(np.uint32) * np.uint32(full) + np.uint32(top // 2)) // np.uint32(top)
    )


def unmultiplied(colours: NDArray, alpha: NDArray) -> NDArray:
    """(..., C) uint8 or uint16 that were multiplied by `alpha` (...) of the same integers, as they were before."""
    full, opaque = np.iinfo(alpha.dtype).max, np.maximum(alpha, 1)[..., None].astype(np.uint64)
    return np.minimum((colours * np.uint64(full) + opaque // 2) // opaque, full).astype(alpha.dtype)


def luma(pixels: NDArray) -> NDArray:
    """(..., 3) -> (...) Rec. 601 luma in integers, so that R = G = B gives exactly that value."""
    # The weights sum to 65536, and 65535 * 65536 + 32768 still fits 32 bits.
    red, green, blue = (pixels[..., i].astype(np.uint32) for i in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16).astype(pixels.dtype)


def bands(height: int, width: int, pixels: int = 2**20) -> Iterator[slice]:
    """Slices of rows of about so many pixels: work on one band needs little memory beside the picture."""
    step = max(1, pixels // max(1, width))
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def turned(array: NDArray, orientation: int) -> NDArray:
    """A view of `array` (H, W, ...) turned as EXIF `orientation` 1 to 8 asks. No copy."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def blank(stored: tuple[int, ...], kind: np.dtype, orientation: int) -> tuple[NDArray, NDArray]:
    """An upright array to fill, and its view in the `stored` shape and order of the file.

    Decoders fill the view band by band, so turning costs neither a copy nor time.
    """
    height, width, *rest = stored
    upright = np.empty((width, height, *rest) if orientation >= 5 else stored, kind)
    # 6 and 8 undo each other, all others undo themselves.
    return upright, turned(upright, {6: 8, 8: 6}.get(orientation, orientation))
