"""Changes to picture files by their parts: chunks of PNG, segments of JPEG; see `fuzz_containers` for the others."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable

from fuzz_containers import bmp, boxes, ppm, tiff, webp
from fuzz_parts import BOMB, WORDS, damage, exif, shuffled, side


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
        damage(rng.choice(parts)[1], rng)
    else:
        parts.insert(rng.randrange(1, len(parts) + 1), [*_png_extra(rng)])
    return bytes(data[:8]) + b"".join(_png_chunk(*part) for part in parts)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_rows(parts: list, rng: random.Random) -> None:
    """The packed rows changed: filters, too many, too few, none; packed anew in some parts."""
    rows = bytearray(
        zlib.decompressobj().decompress(b"".join(body for kind, body in parts if kind == b"IDAT"), 1 << 22)
    )
    damage(rows, rng)
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
            *(
                (kind, bytearray(junk))
                for kind in (b"PLTE", b"tRNS", b"pHYs", b"cHRM", b"gAMA", b"sBIT", b"fdAT", b"bKGD")
            ),
        )
    )


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
        frames[0][rng.choice((1, 4, *range(9, len(frames[0]))))] = rng.choice(
            (0, 1, 2, 3, 4, 8, 12, 0x11, 0x22, 0x41, 0x44, 0xC0, 0xC2, 0xC3, 0xC9, 0xFF)
        )
    elif choice == 2:
        shuffled(parts, rng)
    elif choice == 3:
        part = rng.choice(parts)
        tail = part[2:]
        damage(tail, rng)
        part[2:] = tail
    else:
        parts.insert(0, bytearray(_jpeg_extra(rng)))
    return b"\xff\xd8" + b"".join(parts) + bytes(data[at:])


def _jpeg_extra(rng: random.Random) -> bytes:
    kind, body = rng.choice(
        (
            (0xE1, b"Exif\0\0" + exif(rng)),
            (
                0xE1,
                b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'
                + b"<xmp:Thumbnails>" * rng.choice((1, 3000)),
            ),
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
