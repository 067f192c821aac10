"""Whether a TIFF file is one whole still picture, or camera raw; from its directories alone."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

from lowlight_cli.picture import checks, tiff

MOST_PAGES = 1000

_RAW_COLOURS = (32803, 34892)
"""Samples behind a colour filter, and linear raw."""
_RAW_PACKING = (32767, 32769, 32770, 32772, 34713, 65000, 65535)
"""Compressions of cameras: Sony, Epson, Samsung, Nikon, Kodak, Pentax."""


def check_tiff(data: bytes, limit: int) -> dict[int, tiff.Entry]:
    """The first directory, once it is known to describe one whole still picture."""
    order = tiff.byte_order(data)
    try:
        entries, following = tiff.directory(data, tiff.first(data))
        others = []
        while following and len(others) < MOST_PAGES:
            kind, following = tiff.subfile(data, following)
            others.append(kind)
    except struct.error as error:
        raise checks.damaged(f"its TIFF directory cannot be, or points outside the file ({error})") from None
    checks.check_size(tiff.number(entries, 256, order, 0), tiff.number(entries, 257, order, 0), limit)
    if 322 in entries or 323 in entries:  # sides of tiles; for one that is not told libtiff takes that of strips
        strip = tiff.number(entries, 256, order, 1), tiff.number(entries, 278, order, 1)
        checks.check_size(tiff.number(entries, 322, order, strip[0]), tiff.number(entries, 323, order, strip[1]), limit)
    if any(not kind & 1 for kind in others):  # 1: a reduced copy of another page, that is a preview
        checks.refuse_frames(1 + len(others), "a multi-page TIFF")
    refuse_cut(data, entries, (273, 279), (324, 325))
    refuse_few(data, entries)
    return entries


def refuse_few(data: bytes, entries: dict[int, tiff.Entry]) -> None:
    """The error for a TIFF file with fewer strips or tiles than its picture has, or with shorter ones: of what is
    missing decoders make pixels of whatever stands there. What other packings leave out they find themselves."""
    order = tiff.byte_order(data)
    packing, colour, planes, samples = (tiff.number(entries, tag, order, 1) for tag in (259, 262, 284, 277))
    width, height = (tiff.number(entries, tag, order, 0) for tag in (256, 257))
    across, down = width, min(tiff.number(entries, 278, order, height) or height, height)
    tags, in_tiles = (273, 279), 324 in entries
    if in_tiles:
        across, down = (tiff.number(entries, tag, order, side) or side for tag, side in ((322, across), (323, down)))
        tags = (324, 325)
    if tags[0] not in entries and packing != 6:  # old JPEG pictures stand elsewhere
        raise checks.damaged("pixel data are missing")
    if any(tag not in entries for tag in tags):
        return
    starts, lengths = (entries[tag].numbers(order).tolist() for tag in tags)
    shares = samples if planes == 2 else 1
    bits = tiff.number(entries, 258, order, 1) * samples // shares
    rows, columns = -(-height // down), -(-width // across)
    lines = rows * down if in_tiles else height  # the last strip has no more than are left
    area = shares * lines * columns * -(-across * bits // 8)
    one_piece = len(starts) == 1 and starts[0] + area <= len(data)  # whatever it says of its length
    # YCbCr (6) has fewer samples of two channels.
    short = packing == 1 and colour != 6 and sum(lengths) < area and not one_piece
    ends = [data[max(0, at + length - 64) : at + length] for at, length in zip(starts, lengths, strict=False)]
    cut = packing == 7 and not all(end.rstrip(b"\0").endswith(b"\xff\xd9") for end in ends)
    if len(starts) < rows * columns * shares or short or cut:
        raise checks.damaged("pixel data are missing")


def refuse_cut(data: bytes, entries: dict[int, tiff.Entry], *pairs: tuple[int, int]) -> None:
    """The error for a TIFF file that ends before a part of it does; `pairs` are tags of their places and lengths."""
    order = tiff.byte_order(data)
    for places, sizes in pairs:
        if places in entries and sizes in entries:
            starts, lengths = entries[places].numbers(order), entries[sizes].numbers(order)
            count = min(len(starts), len(lengths))
            if (starts[:count] + lengths[:count] > len(data)).any():
                raise checks.damaged("pixel data are missing at its end")


def is_cut(data: bytes, start: int) -> bool:
    """Whether the directory at `start`, or a value of it, is not all there."""
    order, end = tiff.byte_order(data), len(data)
    try:
        count = struct.unpack_from(f"{order}H", data, start)[0]
        table = [struct.unpack_from(f"{order}2xHII", data, start + 2 + 12 * entry) for entry in range(count)]
    except struct.error:
        return True
    sizes = ((tiff.SIZES.get(kind, 0) * number, place) for kind, number, place in table)
    return any(size > 4 and place + size > end for size, place in sizes)


def is_raw(data: bytes) -> bool:
    """Whether a TIFF file is camera raw: a DNG, one whose first page is but a preview, or one with raw samples."""
    order = tiff.byte_order(data)
    for place, (_, entries) in enumerate(directories(data)):
        if place == 0 and (50706 in entries or tiff.number(entries, 254, order, 0) & 1):
            return True
        if tiff.number(entries, 262, order, 0) in _RAW_COLOURS or tiff.number(entries, 259, order, 0) in _RAW_PACKING:
            return True
    return False


def directories(data: bytes) -> Iterator[tuple[int, dict[int, tiff.Entry]]]:
    """(start, entries) of the pages of a TIFF file, each with its sub-directories; empty where one is not there."""
    order = tiff.byte_order(data)
    waiting = [tiff.first(data)] if len(data) >= 8 else []
    for _ in range(100):  # they may form a ring
        if not waiting:
            return
        start, entries, following = waiting.pop(0), {}, 0
        with contextlib.suppress(struct.error):
            entries, following = tiff.directory(data, start)
        inner = entries[330].numbers(order)[:10].tolist() if 330 in entries else []
        waiting = [*inner, *waiting, *[following] * bool(following)]
        yield start, entries
