"""Hostile bytes from honest ones: blind changes, and changes that leave lengths and checksums right.

A reader refuses most blind changes at its first check. So formats are taken apart (`fuzz_pictures`, `fuzz_texts`), one
field is made absurd, and the file is put together again.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import fuzz_pictures
import fuzz_texts

INTEGERS = (
    *(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 64, 100, 127, 128, 255, 256, 257, 999, 1000, 1001, 1023, 4095),
    *(4096, 8192, 16383, 16384, 30000, 32767, 32768, 65280, 65534, 65535, 65536, 99999, 1000000, 2**24 - 1, 2**24),
    *(2**28, 2**30, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1),
)
"""Numbers at the edges of what fields hold."""

Change = Callable[[bytearray, random.Random], bytes]


def mutate(data: bytes, largest: int, seed: int) -> bytes:
    """Up to four changes of `data`, the same for the same seed; `largest` bytes at most."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        change = rng.choice(BLIND)
        if rng.random() < 0.75:
            change = fuzz_pictures.change_for(data) or fuzz_texts.change_for(data) or change
        try:
            data = bytes(change(bytearray(data), rng))
        except Exception:  # noqa: BLE001 - what was broken once may not be taken apart again
            data = bytes(rng.choice(BLIND)(bytearray(data), rng))
    return data[:largest]


def flipped(data: bytearray, rng: random.Random) -> bytes:
    """Some bits turned."""
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def overwritten(data: bytearray, rng: random.Random) -> bytes:
    """A number of one, two or four bytes replaced by one at an edge."""
    form = rng.choice(("B", "<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    if len(data) >= size:
        reach = len(data) - size + 1
        at = rng.randrange(min(reach, rng.choice((64, 256, reach))))
        struct.pack_into(form, data, at, rng.choice(INTEGERS) & (256**size - 1))
    return data


def cut(data: bytearray, rng: random.Random) -> bytes:
    """A part left out, or the end."""
    start = rng.randrange(len(data) + 1)
    end = len(data) if rng.random() < 0.3 else start + rng.randrange(1, 64)
    del data[start:end]
    return data


def repeated(data: bytearray, rng: random.Random) -> bytes:
    """A part copied to another place, once or many times."""
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((1, 4, 16, 64, 512))]
    at = rng.randrange(len(data) + 1)
    data[at:at] = part * rng.choice((1, 1, 2, 50))
    return data


def grown(data: bytearray, rng: random.Random) -> bytes:
    """Bytes put in: of one kind, or any."""
    at = rng.randrange(len(data) + 1)
    count = rng.choice((1, 4, 100, 1000))
    data[at:at] = rng.randbytes(count) if rng.random() < 0.5 else bytes([rng.choice((0, 32, 48, 91, 255))]) * count
    return data


BLIND: tuple[Change, ...] = (flipped, overwritten, overwritten, cut, repeated, grown)
