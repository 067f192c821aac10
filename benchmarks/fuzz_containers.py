"""Changes to tags of TIFF, chunks of WebP, boxes of AVIF and HEIC, headers of BMP and PPM."""

from __future__ import annotations

import random
import re
import struct

from fuzz_parts import EXIF_TAGS, SIDES, WORDS, damage, exif, shuffled, side


def tiff(data: bytearray, rng: random.Random) -> bytes:
    """Tags of the first directory changed, put in or taken out."""
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    count = struct.unpack_from(f"{order}H", data, start)[0]
    at = start + 2 + 12 * rng.randrange(count)
    tag, kind, number, value = struct.unpack_from(f"{order}HHII", data, at)
    choice = rng.randrange(6)
    if choice == 0:
        tag = rng.choice(EXIF_TAGS)
    elif choice == 1:
        kind = rng.randrange(17)
    elif choice == 2:
        number = rng.choice((0, 1, 2, 3, 4, 5, 16, 255, 1000, 2**16, 2**24, 2**30, 2**32 - 1))
    elif choice == 3:
        value = rng.choice((*SIDES, len(data), len(data) - 4, start, 8)) & 0xFFFFFFFF
    elif choice == 4 and kind == 3:
        struct.pack_into(f"{order}H", data, at + 8, rng.choice(WORDS))
        return data
    else:
        small = struct.pack(f"{order}HH", rng.choice(WORDS), rng.choice(WORDS))
        value = struct.unpack(f"{order}I", small)[0]
    struct.pack_into(f"{order}HHII", data, at, tag, kind, number, value)
    return data


def webp(data: bytearray, rng: random.Random) -> bytes:
    """Chunks changed: the canvas, the bitstream's own size, metadata, an animation; lengths made right again."""
    parts, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        parts.append([bytes(data[at : at + 4]), data[at + 8 : at + 8 + length]])
        at += 8 + length + length % 2
    choice = rng.randrange(4)
    if choice == 0:
        canvas = b"".join((max(1, side(rng)) - 1 & 0xFFFFFF).to_bytes(3, "little") for _ in range(2))
        parts = [part for part in parts if part[0] != b"VP8X"]
        parts.insert(0, [b"VP8X", bytearray(bytes([rng.choice((0, 2, 4, 8, 16, 32, 63)), 0, 0, 0]) + canvas)])
    elif choice == 1:
        shuffled(parts, rng)
    elif choice == 2:
        body = rng.choice(parts)[1]
        head = body[:16]
        damage(head, rng)
        body[: len(head)] = head
    else:
        kinds = (
            (b"EXIF", exif(rng)),
            (b"XMP ", b"<x" * 99),
            (b"ICCP", rng.randbytes(200)),
            (b"ANIM", bytes(6)),
            (b"ALPH", rng.randbytes(40)),
        )
        kind, body = rng.choice(kinds)
        parts.insert(rng.randrange(len(parts) + 1), [kind, bytearray(body)])
    inner = b"".join(kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in parts)
    return b"RIFF" + struct.pack("<I", len(inner) + 4) + b"WEBP" + inner


def boxes(data: bytearray, rng: random.Random) -> bytes:
    """One box of an ISO file changed in place: a size of the picture, a place, a count, its name, its length."""
    names = [
        b"ispe",
        b"iloc",
        b"iinf",
        b"ipco",
        b"ipma",
        b"pixi",
        b"av1C",
        b"hvcC",
        b"meta",
        b"mdat",
        b"iref",
        b"grid",
        b"irot",
        b"colr",
        b"ftyp",
        b"Exif",
        b"tkhd",
        b"stsz",
    ]
    places = [(name, found.start()) for name in names for found in re.finditer(name, bytes(data[:8192]))]
    name, at = rng.choice(places)
    if name == b"ispe" and rng.random() < 0.7:
        struct.pack_into(">II", data, at + 8, side(rng), side(rng))
    elif rng.random() < 0.2:
        struct.pack_into(">I", data, at - 4, rng.choice((0, 1, 8, 12, 2**31, 2**32 - 1)))
    elif rng.random() < 0.15:
        length = int.from_bytes(data[at - 4 : at])
        data[at - 4 : at - 4] = data[at - 4 : at - 4 + length] * rng.choice((1, 3))
    else:
        offset = at + 4 + rng.randrange(40)
        data[offset] = rng.choice((0, 1, 2, 3, 4, 8, 16, 64, 127, 128, 255))
    return data


def bmp(data: bytearray, rng: random.Random) -> bytes:
    """A field of the header: offset, header's length, sizes, planes, bits, packing, colours, masks."""
    fields = [
        (10, "<I"),
        (14, "<I"),
        (18, "<i"),
        (22, "<i"),
        (26, "<H"),
        (28, "<H"),
        (30, "<I"),
        (34, "<I"),
        (46, "<I"),
        (54, "<I"),
        (58, "<I"),
    ]
    at, form = rng.choice(fields)
    value = rng.choice((0, 1, 2, 3, 4, 8, 12, 16, 24, 32, 40, 52, 56, 64, 108, 124, 256, side(rng), side(rng)))
    struct.pack_into(
        form,
        data,
        at,
        -(value & 0x7FFF)
        if form == "<i" and rng.random() < 0.2
        else value & (0x7FFF if form[1] in "iH" else 0xFFFFFFFF),
    )
    return data


def ppm(data: bytearray, rng: random.Random) -> bytes:
    """A number of the header, a comment, another kind."""
    found = [*re.finditer(rb"\d+", data[:40])][: rng.choice((3, 4, 4, 8))]
    word = rng.choice(found)
    number = (
        str(side(rng)).encode()
        if rng.random() < 0.7
        else rng.choice((b"-1", b"0", b"9" * 30, b"1e9", b"#x\n5", b"#" * 300, b"00000001"))
    )
    return bytes(data[: word.start()]) + number + bytes(data[word.end() :])
