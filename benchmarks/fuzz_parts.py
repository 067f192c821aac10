"""Numbers, metadata and damage that picture files of all kinds are given."""

from __future__ import annotations

import random
import struct
import zlib

SIDES = (
    0,
    1,
    2,
    3,
    7,
    8,
    9,
    16,
    31,
    64,
    255,
    256,
    500,
    999,
    1000,
    1001,
    4096,
    16383,
    16384,
    65535,
    2**24,
    2**31,
    2**32 - 1,
)
BOMB = zlib.compress(bytes(8 << 20), 9)
"""8 MiB of zeros in 8 kB."""
EXIF_TAGS = (
    256,
    257,
    258,
    259,
    262,
    270,
    273,
    274,
    277,
    278,
    279,
    282,
    283,
    284,
    296,
    305,
    317,
    320,
    322,
    323,
    324,
    325,
    330,
)
EXIF_TAGS += (
    33421,
    33422,
    50713,
    50714,
    50717,
    50721,
    50829,
    332,
    338,
    339,
    347,
    512,
    513,
    514,
    529,
    530,
    531,
    532,
    700,
    33723,
    34377,
    34665,
    34675,
    34853,
    37500,
    40965,
    50706,
)
WORDS = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    16,
    32,
    64,
    255,
    256,
    1000,
    32773,
    32946,
    34661,
    34712,
    34887,
    34925,
    50000,
    50001,
    50002,
    65535,
)


def side(rng: random.Random) -> int:
    """A width or height, mostly one that a limit of a million pixels lets pass."""
    return rng.choice(SIDES) if rng.random() < 0.5 else rng.randrange(1, 1001)


def shuffled(parts: list, rng: random.Random, first: int = 0) -> None:
    """A part behind `first` left out, doubled, moved, or many times there."""
    if len(parts) <= first:
        return
    at = rng.randrange(first, len(parts))
    part = parts.pop(at)
    parts[at:at] = [part] * rng.choice((0, 2, 2, 200))
    if rng.random() < 0.4:
        parts.insert(rng.randrange(first, len(parts) + 1), part)


def damage(body: bytearray, rng: random.Random) -> None:
    """A few bytes of a part changed, or its length."""
    for _ in range(rng.choice((1, 2, 8)) if body else 0):
        body[rng.randrange(len(body))] = rng.choice((0, 1, 2, 4, 5, 127, 128, 255, rng.randrange(256)))
    if rng.random() < 0.3:
        del body[rng.randrange(len(body) + 1) :]


def exif(rng: random.Random) -> bytes:
    """A small TIFF block whose tags say anything."""
    order = rng.choice("<>")
    rows = b""
    count = rng.randrange(1, 12)
    for _ in range(count):
        value = rng.choice((*WORDS, 8, 10, 14, 2**31, 2**32 - 1))
        rows += struct.pack(
            f"{order}HHII",
            rng.choice(EXIF_TAGS),
            rng.randrange(14),
            rng.choice((0, 1, 1, 1, 2, 2**28, 2**32 - 1)),
            value,
        )
    tail = struct.pack(f"{order}I", rng.choice((0, 8, 8, 14, 2**31)))
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", rng.choice((8, 8, 8, 0, 4, 2**31)))
    return start + struct.pack(f"{order}H", rng.choice((count, count, 0, 65535))) + rows + tail + rng.randbytes(16)
