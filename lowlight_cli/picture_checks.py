"""What can be said of a picture file before any decoding: its kind, size, and whether all of it is there.

Decoders are lenient: Pillow accepts a PNG without an end, OpenCV a JPEG cut in half. A photo that is half grey must
be an error, so the structure is checked here, from the bytes alone.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from . import picture_tiff as tiff
from .errors import PictureError

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_METADATA = (b"iCCP", b"pHYs", b"eXIf", b"iTXt", b"tEXt", b"zTXt")
PNG_COLOURS = (b"cICP", b"sRGB", b"gAMA", b"cHRM")
"""What else a PNG may say of its colours. Pixels are taken for sRGB, and of these nothing is written."""
_SRGB = {b"gAMA": (45455,), b"cHRM": (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)}
READABLE = "JPEG, PNG, WebP, TIFF, BMP, AVIF, PPM, camera raw and HEIC are read"

_STRANGERS = {
    rb"GIF8": "a GIF",
    rb"(II\+\0|MM\0\+)": "a BigTIFF",
    rb"(\xff\x0a|\0\0\0\x0cJXL )": "a JPEG XL",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "a JPEG 2000",
    rb"8BPS": "a Photoshop",
    rb"%PDF": "a PDF",
    rb"v/1\x01": "an OpenEXR",
    rb"P[fF]\s": "a floating-point PFM",
}

_KINDS = {
    rb"\xff\xd8\xff": "jpg",
    rb"\x89PNG\r\n\x1a\n": "png",
    rb"RIFF....WEBP": "webp",
    rb"BM": "bmp",
    rb"P[1-6][\s#]": "ppm",
    rb"....ftyp(avif|avis)|....ftyp(mif1|msf1).{0,64}avif": "avif",
    rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)": "heic",
    # CR2, ORF, RW2, RAF, CR3, MRW, X3F and CRW; the others are TIFF files, see `is_raw`.
    rb"II\*\0....CR|II(RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW|....ftypcrx |\0MRM|FOVb|II\x1a\0\0\0HEAPCCDR": "raw",
}

_RAW_COLOURS = (32803, 34892)
"""Samples behind a colour filter, and linear raw."""
_RAW_PACKING = (32767, 32769, 32770, 32772, 34713, 65000, 65535)
"""Compressions of cameras: Sony, Epson, Samsung, Nikon, Kodak, Pentax."""

# Without the fill bytes before it (`\xff+`): a million of these would be searched a million times.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)


MOST_SCANS, MOST_SEGMENTS, MOST_PAGES = 100, 5000, 1000
"""Scans and other parts of a JPEG, of which encoders write up to fourteen and a few hundred; pages of a TIFF."""
LONGEST_GAP = 1 << 16
"""Bytes between two parts of a JPEG, before its pixels."""
MOST_CHUNKS, SMALLEST_CHUNK, MOST_PROFILES = 10_000, 256, 16
"""Parts of a PNG beside one for each 256 bytes of the file; profiles among them: each is unpacked."""


class PngHeader(NamedTuple):
    """The IHDR chunk, the tRNS chunk where there is one, and the chunks that are kept, as they stand."""

    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool
    transparent: bytes = b""
    metadata: bytes = b""
    strange: str = ""
    """The chunk that says that the colours are not those of sRGB, if one does."""


def damaged(what: str) -> PictureError:
    """The error for a file that is not whole."""
    return PictureError(f"The file is damaged: {what}.", "Copy it again from its source.")


def sniff(data: bytes) -> str:
    """The format name by content: the suffix of a file proves nothing."""
    if not data:
        raise PictureError("The file is empty (0 bytes).", "Copy it again from its source.")
    for pattern, kind in _KINDS.items():
        if re.match(pattern, data[:96], re.DOTALL):
            return kind
    for pattern, name in _STRANGERS.items():
        if re.match(pattern, data[:96], re.DOTALL):
            raise PictureError(f"This is {name} file, which is not supported.", f"Convert it first; {READABLE}.")
    if tiff.byte_order(data):
        return "raw" if is_raw(data) else "tiff"
    raise PictureError(f"This is not a picture: it begins with {bytes(data[:12])!r}.", f"{READABLE}.")


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


def check_size(width: int, height: int, limit: int) -> None:
    """Refuse pictures without pixels, and those whose header promises more than `limit` of them."""
    if width < 1 or height < 1:
        raise damaged(f"its header says {width} x {height} pixels")
    if width * height > limit:
        raise PictureError(
            f"The picture has {width} x {height} = {width * height:,} pixels, more than the limit of {limit:,}.",
            f"If you trust the file, allow it with --max-pixels {width * height}.",
        )


def refuse_frames(count: int | str, what: str) -> None:
    """The error for files with several pictures: the first alone would be a silent loss."""
    raise PictureError(f"The file is {what} of {count} pictures; only still pictures are processed.", "Split it first.")


def check_png(data: bytes, limit: int) -> PngHeader:
    """Walk all chunks with their checksums up to IEND, and inflate the pixel data to see that none is missing."""
    header, animated, transparent, kept, colours, counts = None, False, b"", [], {}, Counter[bytes]()
    inflater, inflated = zlib.decompressobj(), 0
    for kind, body in _png_chunks(data):
        counts[kind] += 1
        if header is None:
            if kind != b"IHDR" or len(body) != 13:
                raise damaged("it does not begin with a PNG header")
            width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            check_size(width, height, limit)
            header = PngHeader(width, height, bits, colour, bool(interlace))
            expected = _png_bytes(header)
        elif kind == b"tRNS":
            transparent = bytes(body)
        elif kind == b"acTL" and bytes(body[:4]) > b"\0\0\0\1":
            animated = True
        elif kind == b"IDAT":
            inflated += _inflated(inflater, body, expected - inflated)
        elif kind in PNG_METADATA:
            kept.append(png_chunk(kind, body))
        elif kind in PNG_COLOURS:
            colours[kind] = bytes(body)
    if header is None or inflated < expected:
        raise damaged("pixel data are missing at its end")
    if animated:
        refuse_frames("several", "an animation (APNG)")
    if counts.total() > MOST_CHUNKS + len(data) // SMALLEST_CHUNK or counts[b"iCCP"] > MOST_PROFILES:
        raise damaged(f"it has {counts.total()} parts, {counts[b'iCCP']} of them colour profiles")
    strange = _strange(colours, profile=counts[b"iCCP"] > 0)
    return header._replace(transparent=transparent, metadata=b"".join(kept), strange=strange)


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


def png_chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    """One chunk of a PNG file, with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """(kind, body) of each chunk before IEND; an error where the chain breaks or a checksum is wrong."""
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise damaged(f"the checksum of its {kind.decode('latin-1')!r} part is wrong")
        if kind == b"IEND":
            return
        yield kind, view[at + 8 : end - 4]
        at = end
    raise damaged("it ends too early")


def _inflated(inflater: Any, body: bytes | memoryview, wanted: int) -> int:
    """How many bytes `body` inflates to, in pieces, and no more than are `wanted`: the rest may be a bomb."""
    count = 0
    try:
        while body and count < wanted:
            count += len(inflater.decompress(body, min(2**20, wanted - count)))
            body = inflater.unconsumed_tail
    except zlib.error as error:
        raise damaged(f"its pixel data cannot be unpacked ({error})") from error
    return count


def _png_bytes(header: PngHeader) -> int:
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


def check_jpeg(data: bytes) -> None:
    """Follow the markers to the end-of-image marker of the main picture; the thumbnail's own is inside a segment.

    Every scan is a pass over all pixels, however few bytes it has, and Pillow copies what stands beside the pixels
    once for each part of it: a small file with many of them would take minutes.
    """
    at, parts, scans = 2, 0, 0
    while found := _JPEG_MARKER.search(data, at):
        if found[1] == b"\xd9":
            return
        if not scans and found.start() - at > LONGEST_GAP:  # Pillow looks at each byte in Python
            raise damaged(f"{found.start() - at} bytes stand between its parts")
        parts, scans = parts + 1, scans + (found[1] == b"\xda")
        if parts > MOST_SEGMENTS or scans > MOST_SCANS:
            raise damaged(f"it has more than {MOST_SCANS} scans, or {MOST_SEGMENTS} other parts")
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    raise damaged("it ends before the end of the JPEG picture")


def check_webp(data: bytes, limit: int) -> None:
    """The sizes in the header against the file and the limit, before libwebp allocates a canvas."""
    if len(data) < 30 or int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise damaged("it ends before the end of the WebP picture")
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & 2:
            refuse_frames("several", "an animation (WebP)")
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    check_size(width, height, limit)


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
        raise damaged(f"its TIFF directory cannot be, or points outside the file ({error})") from None
    check_size(tiff.number(entries, 256, order, 0), tiff.number(entries, 257, order, 0), limit)
    check_size(tiff.number(entries, 322, order, 1), tiff.number(entries, 323, order, 1), limit)  # of its tiles
    if any(not kind & 1 for kind in others):  # 1: a reduced copy of another page, that is a preview
        refuse_frames(1 + len(others), "a multi-page TIFF")
    refuse_cut(data, entries, (273, 279), (324, 325))
    return entries


def refuse_cut(data: bytes, entries: dict[int, tiff.Entry], *pairs: tuple[int, int]) -> None:
    """The error for a TIFF file that ends before a part of it does; `pairs` are tags of their places and lengths."""
    order = tiff.byte_order(data)
    for places, sizes in pairs:
        if places in entries and sizes in entries:
            starts, lengths = entries[places].numbers(order), entries[sizes].numbers(order)
            count = min(len(starts), len(lengths))
            if (starts[:count] + lengths[:count] > len(data)).any():
                raise damaged("pixel data are missing at its end")
