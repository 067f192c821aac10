"""Changes to picture files by their parts: chunks of PNG, segments of JPEG, tags of TIFF, boxes of AVIF and HEIC."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable

SIDES = (0, 1, 2, 3, 7, 8, 9, 16, 31, 64, 255, 256, 500, 999, 1000, 1001, 4096, 16383, 16384, 65535, 2**24, 2**31, 2**32 - 1)
BOMB = zlib.compress(bytes(8 << 20), 9)
"""8 MiB of zeros in 8 kB."""
EXIF_TAGS = (256, 257, 258, 259, 262, 270, 273, 274, 277, 278, 279, 282, 283, 284, 296, 305, 317, 320, 322, 323, 324, 325, 330)
EXIF_TAGS += (33421, 33422, 50713, 50714, 50717, 50721, 50829, 332, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33723, 34377, 34665, 34675, 34853, 37500, 40965, 50706)
WORDS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32, 64, 255, 256, 1000, 32773, 32946, 34661, 34712, 34887, 34925, 50000, 50001, 50002, 65535)


def change_for(data: bytes) -> Callable[[bytearray, random.Random], bytes] | None:
    """What changes a file of this kind; None for kinds that are not known."""
    kinds = {
        rb"\x89PNG\r\n\x1a\n": png,
        rb"\xff\xd8": jpeg,
        rb"II\*\0|MM\0\*": tiff,
        rb"RIFF....WEBP": webp,
        rb"....ftyp": boxes,
        rb"BM": bmp,
        rb"P[1-6]\s": ppm,
    }
    return next((change for start, change in kinds.items() if re.match(start, data, re.DOTALL)), None)


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


def png(data: bytearray, rng: random.Random) -> bytes:
    """Chunks changed, with their checksums made right again."""
    parts, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        parts.append([bytes(data[at + 4 : at + 8]), data[at + 8 : at + 8 + length]])
        at += 12 + length
    choice = rng.randrange(6)
    if choice == 0 and len(parts[0][1]) == 13:
        head = parts[0][1]
        field = rng.randrange(7)
        if field < 2:
            struct.pack_into(">I", head, 4 * field, side(rng))
        else:
            head[field + 6] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    elif choice == 1:
        shuffled(parts, rng, rng.randrange(2))
    elif choice == 2:
        _png_rows(parts, rng)
    elif choice == 3:
        _damage(rng.choice(parts)[1], rng)
    else:
        parts.insert(rng.randrange(1, len(parts) + 1), [*_png_extra(rng)])
    return bytes(data[:8]) + b"".join(_png_chunk(*part) for part in parts)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_rows(parts: list, rng: random.Random) -> None:
    """The packed rows changed: filters, too many, too few, none; packed anew in some parts."""
    rows = bytearray(zlib.decompressobj().decompress(b"".join(body for kind, body in parts if kind == b"IDAT"), 1 << 22))
    _damage(rows, rng)
    rows += bytes(rng.choice((0, 0, 1, 1 << 20)))
    packed = zlib.compress(bytes(rows), rng.choice((0, 1, 9)))
    at = next(i for i, part in enumerate(parts) if part[0] == b"IDAT")
    parts[:] = [part for part in parts if part[0] != b"IDAT"]
    step = rng.choice((len(packed), max(1, len(packed) // 3), 100))
    parts[at:at] = [[b"IDAT", bytearray(packed[i : i + step])] for i in range(0, len(packed), step)]


def _png_extra(rng: random.Random) -> tuple[bytes, bytearray]:
    """A chunk beside the pixels."""
    block, junk = exif(rng), rng.randbytes(rng.choice((0, 1, 4, 8, 32, 300)))
    packed = rng.choice((BOMB, zlib.compress(junk), zlib.compress(b"\nexif\n8\n" + block.hex().encode()), junk))
    xmp = b"XML:com.adobe.xmp\0"
    return rng.choice(
        (
            (b"eXIf", bytearray(block)),
            (b"zTXt", bytearray(b"Raw profile type exif\0\0" + packed)),
            (b"iTXt", bytearray(xmp + bytes([rng.randrange(3), 0, 0, 0]) + packed)),
            (b"iCCP", bytearray(b"icc\0\0" + packed)),
            (b"tEXt", bytearray(b"Raw profile type exif\0\nexif\n8\n" + block.hex().encode())),
            (b"acTL", bytearray(struct.pack(">II", rng.choice((0, 1, 2, 2**31)), 0))),
            (b"fcTL", bytearray(struct.pack(">IIIIIHHBB", 0, side(rng), side(rng), side(rng), 0, 1, 0, 0, 0))),
            *((kind, bytearray(junk)) for kind in (b"PLTE", b"tRNS", b"pHYs", b"cHRM", b"gAMA", b"sBIT", b"fdAT", b"bKGD")),
        )
    )


def _damage(body: bytearray, rng: random.Random) -> None:
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
        rows += struct.pack(f"{order}HHII", rng.choice(EXIF_TAGS), rng.randrange(14), rng.choice((0, 1, 1, 1, 2, 2**28, 2**32 - 1)), value)
    tail = struct.pack(f"{order}I", rng.choice((0, 8, 8, 14, 2**31)))
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", rng.choice((8, 8, 8, 0, 4, 2**31)))
    return start + struct.pack(f"{order}H", rng.choice((count, count, 0, 65535))) + rows + tail + rng.randbytes(16)


def jpeg(data: bytearray, rng: random.Random) -> bytes:
    """Segments changed: sizes, components, tables, scans, what is told beside the pixels."""
    parts, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] == 0xDA:  # with its packed pixels, up to the next marker
            found = re.compile(rb"\xff[\x01-\xcf\xd8-\xff]", re.DOTALL).search(data, end)
            end = found.start() if found else len(data)
        parts.append(data[at:end])
        at = end
    choice = rng.randrange(5)
    frames = [part for part in parts if part[1] in (0xC0, 0xC1, 0xC2)]
    if choice == 0 and frames:
        struct.pack_into(">HH", frames[0], 5, side(rng) & 65535, side(rng) & 65535)
    elif choice == 1 and frames:
        frames[0][rng.choice((1, 4, *range(9, len(frames[0]))))] = rng.choice((0, 1, 2, 3, 4, 8, 12, 0x11, 0x22, 0x41, 0x44, 0xC0, 0xC2, 0xC3, 0xC9, 0xFF))
    elif choice == 2:
        shuffled(parts, rng)
    elif choice == 3:
        part = rng.choice(parts)
        tail = part[2:]
        _damage(tail, rng)
        part[2:] = tail
    else:
        parts.insert(0, bytearray(_jpeg_extra(rng)))
    return b"\xff\xd8" + b"".join(parts) + bytes(data[at:])


def _jpeg_extra(rng: random.Random) -> bytes:
    kind, body = rng.choice(
        (
            (0xE1, b"Exif\0\0" + exif(rng)),
            (0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>' + b"<xmp:Thumbnails>" * rng.choice((1, 3000))),
            (0xE2, b"ICC_PROFILE\0" + bytes([rng.randrange(4), rng.randrange(4)]) + rng.randbytes(200)),
            (0xE2, b"MPF\0" + exif(rng)),
            (0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([rng.randrange(4)])),
            (0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\x10" + rng.randbytes(16)),
            (0xDD, struct.pack(">H", rng.choice(WORDS))),
            (0xE0, b"JFIF\0\1\1" + rng.randbytes(7)),
            (0xFE, rng.randbytes(30)),
        )
    )
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body


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
        _damage(head, rng)
        body[: len(head)] = head
    else:
        kinds = ((b"EXIF", exif(rng)), (b"XMP ", b"<x" * 99), (b"ICCP", rng.randbytes(200)), (b"ANIM", bytes(6)), (b"ALPH", rng.randbytes(40)))
        kind, body = rng.choice(kinds)
        parts.insert(rng.randrange(len(parts) + 1), [kind, bytearray(body)])
    inner = b"".join(kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in parts)
    return b"RIFF" + struct.pack("<I", len(inner) + 4) + b"WEBP" + inner


def boxes(data: bytearray, rng: random.Random) -> bytes:
    """One box of an ISO file changed in place: a size of the picture, a place, a count, its name, its length."""
    names = [b"ispe", b"iloc", b"iinf", b"ipco", b"ipma", b"pixi", b"av1C", b"hvcC", b"meta", b"mdat", b"iref", b"grid", b"irot", b"colr", b"ftyp", b"Exif", b"tkhd", b"stsz"]
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
    fields = [(10, "<I"), (14, "<I"), (18, "<i"), (22, "<i"), (26, "<H"), (28, "<H"), (30, "<I"), (34, "<I"), (46, "<I"), (54, "<I"), (58, "<I")]
    at, form = rng.choice(fields)
    value = rng.choice((0, 1, 2, 3, 4, 8, 12, 16, 24, 32, 40, 52, 56, 64, 108, 124, 256, side(rng), side(rng)))
    struct.pack_into(form, data, at, -(value & 0x7FFF) if form == "<i" and rng.random() < 0.2 else value & (0x7FFF if form[1] in "iH" else 0xFFFFFFFF))
    return data


def ppm(data: bytearray, rng: random.Random) -> bytes:
    """A number of the header, a comment, another kind."""
    found = [*re.finditer(rb"\d+", data[:40])][: rng.choice((3, 4, 4, 8))]
    word = rng.choice(found)
    number = str(side(rng)).encode() if rng.random() < 0.7 else rng.choice((b"-1", b"0", b"9" * 30, b"1e9", b"#x\n5", b"#" * 300, b"00000001"))
    return bytes(data[: word.start()]) + number + bytes(data[word.end() :])
