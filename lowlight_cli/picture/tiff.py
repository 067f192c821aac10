"""TIFF directories (IFDs): read, changed in place, built. EXIF is one too. Classic TIFF only, no BigTIFF.

Pillow can do this through `Image.Exif`, but it writes every value anew: types change, and camera maker
notes, whose offsets count from the start of the block, break. Here values are moved as raw bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHORT, LONG, RATIONAL, UNDEFINED, IFD = 3, 4, 5, 7, 13
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Type number -> bytes of one value."""

MOST_ENTRIES = 4096
"""Of a directory; cameras write some two hundred."""

EXIF_IFD, GPS_IFD = 34665, 34853

DESCRIPTIVE = frozenset(
    {269, 270, 271, 272, 285, 305, 306, 315, 316, 33432, 33723, 18246, 18249, 50341, EXIF_IFD, GPS_IFD}.union(
        range(40091, 40096)
    )
)
"""Tags of a first directory that tell of the photo (camera, date, author, rating), not of how the file is laid out."""


class Entry(NamedTuple):
    """One tag: type, count and its values as raw bytes; `at` is where these stand in the block."""

    tag: int
    kind: int
    count: int
    value: bytes
    at: int = 0

    def numbers(self, order: str) -> NDArray[np.uint64]:
        """The values of a BYTE, SHORT, LONG or IFD tag, which may be many; empty for other types."""
        size = {1: 1, SHORT: 2, LONG: 4, IFD: 4}.get(self.kind)
        return np.frombuffer(self.value if size else b"", f"{order}u{size or 1}").astype(np.uint64)


def byte_order(block: bytes) -> str:
    """`<` or `>` as `struct` writes it, or an empty string where `block` is no classic TIFF block."""
    return {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]), "")


def first(block: bytes) -> int:
    """Where the first directory stands."""
    return struct.unpack_from(f"{byte_order(block)}I", block, 4)[0]


def directory(block: bytes, start: int) -> tuple[dict[int, Entry], int]:
    """The directory at `start` and where the next one stands (0: none).

    Entries that point outside `block` are left out, and those that would make values longer than the whole block: a
    thousand tags may point to one place. Raises struct.error where the directory itself is outside.
    """
    order = byte_order(block)
    count = _count(block, start, order)
    entries, left = {}, len(block)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", block, at)
        size = SIZES.get(kind, 0) * number
        place = at + 8 if size <= 4 else struct.unpack_from(f"{order}I", block, at + 8)[0]
        if 0 < size <= left and place + size <= len(block):
            left -= size
            entries[tag] = Entry(tag, kind, number, bytes(block[place : place + size]), place)
    return entries, struct.unpack_from(f"{order}I", block, start + 2 + 12 * count)[0]


def _count(block: bytes, start: int, order: str) -> int:
    """How many entries a directory has."""
    count = struct.unpack_from(f"{order}H", block, start)[0]
    if count > MOST_ENTRIES:
        raise struct.error(f"a directory of {count} entries")
    return count


def subfile(block: bytes, start: int) -> tuple[int, int]:
    """What kind of page the directory at `start` describes (tag 254; 1: a preview), and where the next one stands.

    Its other values are not looked at: a file may hold thousands of pages that all point to the same ones.
    """
    order = byte_order(block)
    end = start + 2 + 12 * _count(block, start, order)
    kinds = (value for tag, _, _, value in struct.iter_unpack(f"{order}HHII", block[start + 2 : end]) if tag == 254)
    return next(kinds, 0), struct.unpack_from(f"{order}I", block, end)[0]


def number(entries: dict[int, Entry], tag: int, order: str, default: int) -> int:
    """The first value of `tag`, or `default` where it is missing."""
    values = entries[tag].numbers(order)[:1].tolist() if tag in entries else ()
    return values[0] if values else default


def integers(tag: int, kind: int, values: Iterable[int], order: str) -> Entry:
    """An entry of SHORTs or LONGs to build a directory with."""
    values = tuple(values)
    return Entry(tag, kind, len(values), struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'I'}", *values))


def build(entries: Iterable[Entry], order: str, start: int) -> bytes:
    """The bytes of one directory that will stand at `start` (even), with its longer values behind it."""
    ordered = sorted(entries)
    table = struct.pack(f"{order}H", len(ordered))
    values = b""
    behind = start + 2 + 12 * len(ordered) + 4
    for entry in ordered:
        table += struct.pack(f"{order}HHI", entry.tag, entry.kind, entry.count)
        if len(entry.value) <= 4:
            table += entry.value.ljust(4, b"\0")
        else:
            table += struct.pack(f"{order}I", behind + len(values))
            values += entry.value + b"\0" * (len(entry.value) % 2)
    return table + struct.pack(f"{order}I", 0) + values


def header(order: str, start: int) -> bytes:
    """The eight bytes a TIFF block begins with; its first directory stands at `start`."""
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
