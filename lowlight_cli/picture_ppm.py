"""Portable grey and colour maps with up to 16 bits, which Pillow makes 8 of."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from . import picture_checks as checks
from .picture_model import Picture, bands, dtype

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PPM = re.compile(rb"P([2356])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})\s")


def decode(data: bytes, max_pixels: int) -> Picture:
    """The picture in a P2, P3, P5 or P6 file; a maximum other than 255 and 65535 is scaled to one of these."""
    head = _PPM.match(data)
    if head is None:
        raise checks.damaged("its PPM header is incomplete")
    shape, (width, height, top) = int(head[1]), map(int, head.groups()[1:])
    checks.check_size(width, height, max_pixels)
    if not 0 < top < 65536:
        raise checks.damaged(f"its PPM header says a maximum of {top}")
    channels = 3 if shape in (3, 6) else 1
    read = _text if shape < 5 else _binary
    values = read(data, head.end(), width * height * channels, top).reshape(height, width, channels)
    full = 255 if top < 256 else 65535
    pixels = np.empty((height, width, 3), dtype(8 if top < 256 else 16))
    for rows in bands(height, width):
        part = np.minimum(values[rows], top)
        pixels[rows] = part if top == full else (part.astype(np.uint32) * full + top // 2) // top
    return Picture(pixels=pixels, gray=channels == 1, format="ppm")


def _binary(data: bytes, start: int, count: int, top: int) -> NDArray:
    wide = 1 if top < 256 else 2
    end = start + count * wide
    if end > len(data):
        raise checks.damaged("pixel data are missing at its end")
    if re.match(rb"\s*P[1-6]\s", data[end : end + 16]):
        checks.refuse_frames("several", "a sequence (PPM)")
    return np.frombuffer(data, "u1" if wide == 1 else ">u2", count, start)


def _text(data: bytes, start: int, count: int, top: int) -> NDArray:
    words = re.sub(rb"#[^\r\n]*", b"", data[start:]).split(maxsplit=count)[:count]
    if len(words) < count:
        raise checks.damaged("pixel data are missing at its end")
    return np.array([min(int(word), top) for word in words], dtype=np.uint16)
