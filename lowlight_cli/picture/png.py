"""PNG: its chunks, checked before anything decodes them, and written around pixels of 8 or 16 bits.

Pillow accepts a PNG without an end, and writes neither 16-bit colour nor, without stopping all threads, 8 bits.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.picture import checks
from lowlight_cli.picture.model import Texts, bands

MAGIC = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"iTXt", b"tEXt", b"zTXt")
METADATA = (b"iCCP", b"pHYs", b"eXIf", *TEXTS)
COLOURS = (b"cICP", b"sRGB", b"gAMA", b"cHRM")
"""What else a PNG may say of its colours. Pixels are taken for sRGB, and of these nothing is written."""
_SRGB = {b"gAMA": (45455,), b"cHRM": (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)}

MOST_CHUNKS, SMALLEST_CHUNK, MOST_PROFILES = 10_000, 256, 16
"""Parts of a PNG beside one for each 256 bytes of the file; profiles among them: each is unpacked."""

LARGEST_TEXT, LARGEST_TEXTS = 8 << 20, 64 << 20
"""Bytes that a text or colour profile, and all texts, may unpack to: profiles with tables are over Pillow's 1 MB."""


class Header(NamedTuple):
    """The IHDR chunk, the tRNS chunk where there is one, and (kind, body) of the chunks that are kept."""

    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool
    transparent: bytes = b""
    metadata: tuple[tuple[bytes, bytes], ...] = ()
    strange: str = ""
    """The chunk that says that the colours are not those of sRGB, if one does."""


def check(data: bytes, limit: int) -> Header:
    """Walk all chunks with their checksums up to IEND, and inflate the pixel data to see that none is missing."""
    header, animated, transparent, kept, colours, counts = None, False, b"", [], {}, Counter[bytes]()
    inflater, inflated = zlib.decompressobj(), 0
    for kind, body in _chunks(data):
        counts[kind] += 1
        if header is None:
            if kind != b"IHDR" or len(body) != 13:
                raise checks.damaged("it does not begin with a PNG header")
            width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            checks.check_size(width, height, limit)
            header = Header(width, height, bits, colour, bool(interlace))
            expected = _row_bytes(header)
        elif kind == b"tRNS":
            transparent = bytes(body)
        elif kind == b"acTL" and bytes(body[:4]) > b"\0\0\0\1":
            animated = True
        elif kind == b"IDAT":
            inflated += _inflated(inflater, body, expected - inflated)
        elif kind in METADATA:
            kept.append((kind, bytes(body)))
        elif kind in COLOURS:
            colours[kind] = bytes(body)
    if header is None or inflated < expected:
        raise checks.damaged("pixel data are missing at its end")
    if animated:
        checks.refuse_frames("several", "an animation (APNG)")
    if counts.total() > MOST_CHUNKS + len(data) // SMALLEST_CHUNK or counts[b"iCCP"] > MOST_PROFILES:
        raise checks.damaged(f"it has {counts.total()} parts, {counts[b'iCCP']} of them colour profiles")
    strange = _strange(colours, profile=counts[b"iCCP"] > 0)
    return header._replace(transparent=transparent, metadata=tuple(kept), strange=strange)


def _strange(colours: Mapping[bytes, bytes], *, profile: bool) -> str:
    """The chunk that says that colours are not those of sRGB; cICP goes before a profile, that before the others."""
    if b"cICP" in colours:
        return "cICP" if colours[b"cICP"] != b"\x01\x0d\0\x01" else ""
    for kind, right in _SRGB.items() if not profile and b"sRGB" not in colours else ():
        body = colours.get(kind, b"")
        values = struct.unpack(f">{len(right)}I", body) if len(body) == 4 * len(right) else right
        if any(abs(value - other) > other // 50 for value, other in zip(values, right, strict=True)):
            return kind.decode()
    return ""


def chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    """One chunk of a PNG file, with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """(kind, body) of each chunk before IEND; an error where the chain breaks or a checksum is wrong."""
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise checks.damaged(f"the checksum of its {kind.decode('latin-1')!r} part is wrong")
        if kind == b"IEND":
            return
        yield kind, view[at + 8 : end - 4]
        at = end
    raise checks.damaged("it ends too early")


def _inflated(inflater: Any, body: bytes | memoryview, wanted: int) -> int:
    """How many bytes `body` inflates to, in pieces, and no more than are `wanted`: the rest may be a bomb."""
    count = 0
    try:
        while body and count < wanted:
            count += len(inflater.decompress(body, min(2**20, wanted - count)))
            body = inflater.unconsumed_tail
    except zlib.error as error:
        raise checks.damaged(f"its pixel data cannot be unpacked ({error})") from error
    return count


def _row_bytes(header: Header) -> int:
    """The bytes of all rows, each with its filter byte; seven small pictures where it is interlaced."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(header.colour, 0)
    passes = [(0, 0, 1, 1)]
    if header.interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    total = 0
    for left, top, across, down in passes:
        columns = max(0, -(-(header.width - left) // across))
        rows = max(0, -(-(header.height - top) // down)) if columns else 0
        total += rows * (1 + -(-columns * channels * header.bits // 8))
    return total


def texts(header: Header) -> Texts:
    """All texts, but for those that cannot be unpacked."""
    found, left = [], LARGEST_TEXTS
    for kind, body in header.metadata:
        keyword, _, rest = body.partition(b"\0")
        if kind in TEXTS:
            with contextlib.suppress(zlib.error):
                text = _text_of(kind, rest, max(0, min(left, LARGEST_TEXT)))
                found.append((keyword.decode("latin-1"), text))
                left -= len(text)
    return tuple(found)


def _text_of(kind: bytes, rest: bytes, most: int) -> str:
    """The text in what follows the keyword; one that is packed becomes `most` bytes at most."""
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        return _unpacked(rest[1:], most).decode("latin-1")
    text = rest[2:].split(b"\0", 2)[-1]  # behind a language and the keyword in it
    return (_unpacked(text, most) if rest[:1] == b"\1" else text).decode(errors="replace")


def _unpacked(data: bytes, most: int) -> bytes:
    """What a text unpacks to. Pillow has limits of its own, for the texts that it reads."""
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(data, most + 1)
    if len(found) > most:
        raise checks.damaged(f"a text in it unpacks to more than {most} bytes")
    if not unpacker.eof:
        raise zlib.error("it is cut off")
    return found


def shell(header: Header) -> bytes:
    """A grey PNG of one pixel with the chunks that are kept, for whoever is to read them alone."""
    head, pixel = (b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0"), (b"IDAT", zlib.compress(b"\0\0"))
    return MAGIC + b"".join(chunk(*part) for part in (head, *header.metadata, pixel, (b"IEND", b"")))


def encode(array: NDArray, metadata: bytes) -> bytes:
    """(H, W) or (H, W, 2 to 4) uint8 or uint16, alpha last, with the chunks of `metadata`.

    Strip by strip. Of 8 bits each byte less the mean of those left of it and above it (filter 3), of 16 less the one
    to its left (filter 1). Run lengths alone are packed, which on photos is quick and no larger. Pillow tries all
    filters on each line: 0.95 of the size in 1.6 times the time, in which it holds up all threads.
    """
    (height, width), bits = array.shape[:2], 8 * array.itemsize
    channels = 1 if array.ndim == 2 else array.shape[2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = [MAGIC, chunk(b"IHDR", head), metadata]
    packer = zlib.compressobj(4, strategy=zlib.Z_RLE)
    above = np.zeros((1, array[0].nbytes), np.uint8)
    for rows in bands(height, width):
        part = (array[rows] if bits == 8 else array[rows].astype(">u2")).view(np.uint8).reshape(-1, above.size)
        guess = np.zeros_like(part)
        guess[:, channels * bits // 8 :] = part[:, : -channels * bits // 8]
        if bits == 8:
            up = np.concatenate((above, part[:-1]))
            guess = (guess & up) + ((guess ^ up) >> 1)  # the mean, rounded down, within a byte
            above = part[-1:]
        filtered = np.empty((len(part), 1 + above.size), np.uint8)
        filtered[:, 0] = 3 if bits == 8 else 1
        np.subtract(part, guess, out=filtered[:, 1:])
        chunks.append(chunk(b"IDAT", packer.compress(filtered)))
    return b"".join((*chunks, chunk(b"IDAT", packer.flush()), chunk(b"IEND", b"")))


def metadata(
    *,
    icc: bytes | None,
    dpi: tuple[float, float] | None,
    exif: bytes | None,
    xmp: bytes | None,
    texts: Texts,
) -> bytes:
    """The chunks of what stands beside the pixels."""
    chunks = [_text(keyword, text) for keyword, text in texts]
    if icc:
        chunks.append(chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)))
    if dpi:
        chunks.append(chunk(b"pHYs", struct.pack(">IIB", *(round(dots / 0.0254) for dots in dpi), 1)))
    if exif:
        chunks.append(chunk(b"eXIf", exif))
    if xmp:
        chunks.append(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    return b"".join(chunks)


def _text(keyword: str, text: str) -> bytes:
    """The chunk of a text, in Latin-1 if that has all its letters; bytes of unknown meaning are taken for Latin-1."""
    key, text = keyword.encode("latin-1") + b"\0", text.rstrip("\0")
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        text = text.encode(errors="surrogateescape").decode("latin-1")
    try:
        return chunk(b"tEXt", key + text.encode("latin-1"))
    except UnicodeEncodeError:
        return chunk(b"iTXt", key + b"\0\0\0\0" + text.encode())
