"""Portable grey and colour maps with up to 16 bits, which Pillow makes 8 of."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.picture import checks
from lowlight_cli.picture.model import Picture, bands, dtype, rescaled

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PPM = re.compile(rb"P([2356])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})\s")
_SPACE = re.compile(rb"\s")

LONGEST_HEADER = 1 << 16
"""Bytes, comments included."""
PIECE = 1 << 18
"""Bytes of numbers in words that are read at a time."""
LONGEST_NUMBER = 18
"""Digits that 64 bits hold."""


def decode(data: bytes, max_pixels: int) -> Picture:
    """The picture in a P2, P3, P5 or P6 file; a maximum other than 255 and 65535 is scaled to one of these."""
    head = _PPM.match(data, 0, LONGEST_HEADER)
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
        pixels[rows] = rescaled(values[rows], top, full)
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
    # Piece by piece: all of them at once would take many times the memory of the file.
    text, values, filled = re.sub(rb"#[^\r\n]*", b"", data[start:]), np.empty(count, np.uint16), 0
    at = 0
    while at < len(text) and filled < count:
        gap = _SPACE.search(text, at + PIECE)
        end = gap.start() if gap else len(text)
        numbers = _numbers(text[at:end])[: count - filled]
        values[filled : filled + len(numbers)] = np.minimum(numbers, top)
        filled, at = filled + len(numbers), end
    if filled < count:
        raise checks.damaged("pixel data are missing at its end")
    return values


def _numbers(text: bytes) -> NDArray[np.int64]:
    """The decimal numbers in a text that holds nothing else."""
    letters = np.frombuffer(text, np.uint8)
    digit = (letters >= ord("0")) & (letters <= ord("9"))
    if not np.isin(letters[~digit], np.frombuffer(b" \t\n\r\v\f", np.uint8)).all():
        raise checks.damaged("among its numbers stand other characters")
    edges = np.flatnonzero(np.diff(digit, prepend=False, append=False))
    begins, lengths = edges[::2], edges[1::2] - edges[::2]
    if lengths.max(initial=0) > LONGEST_NUMBER:
        raise checks.damaged(f"it holds a number of {lengths.max()} digits")
    values = np.zeros(len(begins), np.int64)
    for place in range(lengths.max(initial=0)):
        more = lengths > place
        values[more] = values[more] * 10 + (letters[begins[more] + place] - ord("0"))
    return values
