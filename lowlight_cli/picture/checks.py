"""What can be said of a picture file before any decoding: its kind, size, and whether all of it is there.

Decoders are lenient: Pillow accepts a PNG without an end, OpenCV a JPEG cut in half. A photo that is half grey must
be an error, so the structure is checked here, from the bytes alone.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator

from lowlight_cli.errors import PictureError
from lowlight_cli.picture import tiff

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

FOREIGN_PRIMARIES = "The colours of the {kind} are {name} and have no ICC profile; they were taken for sRGB."
_TRANSFERS = {8: "linear light", 16: "PQ, ITU-R BT.2100", 18: "HLG, ITU-R BT.2100"}
_PRIMARIES = {9: "ITU-R BT.2020", 11: "DCI-P3", 12: "Display P3"}

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


def foreign_colours(kind: str, primaries: int | None, transfer: int | None) -> tuple[str, ...]:
    """What to tell of colours that a file of `kind` describes by numbers of ITU-T H.273 and by no ICC profile. Values
    that no curve near sRGB's encodes are a PictureError."""
    if hdr := _TRANSFERS.get(transfer):
        raise PictureError(
            f"The {kind} holds HDR values ({hdr}), which are not supported.", "Export it as JPEG or TIFF first."
        )
    name = _PRIMARIES.get(primaries)
    return (FOREIGN_PRIMARIES.format(kind=kind, name=name),) if name else ()


def refuse_frames(count: int | str, what: str) -> None:
    """The error for files with several pictures: the first alone would be a silent loss."""
    raise PictureError(f"The file is {what} of {count} pictures; only still pictures are processed.", "Split it first.")


def check_jpeg(data: bytes) -> int:
    """Follow the markers to the end-of-image marker of the main picture, and give the place behind it; the thumbnail's
    own is inside a segment.

    Every scan is a pass over all pixels, however few bytes it has, and Pillow copies what stands beside the pixels
    once for each part of it: a small file with many of them would take minutes.
    """
    at, parts, scans = 2, 0, 0
    while found := _JPEG_MARKER.search(data, at):
        if found[1] == b"\xd9":
            return found.end()
        if not scans and found.start() - at > LONGEST_GAP:  # Pillow looks at each byte in Python
            raise damaged(f"{found.start() - at} bytes stand between its parts")
        parts, scans = parts + 1, scans + (found[1] == b"\xda")
        if parts > MOST_SEGMENTS or scans > MOST_SCANS:
            raise damaged(f"it has more than {MOST_SCANS} scans, or {MOST_SEGMENTS} other parts")
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    raise damaged("it ends before the end of the JPEG picture")


def bmp_profile(data: bytes) -> bytes | None:
    """The ICC profile that the fifth version of a BMP header may point to."""
    if len(data) < 138 or int.from_bytes(data[14:18], "little") < 124 or data[70:74] != b"DEBM":
        return None
    place, size = struct.unpack_from("<II", data, 14 + 112)
    profile = data[14 + place : 14 + place + size]
    return profile if profile and len(profile) == size == int.from_bytes(profile[:4]) else None


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
    if 322 in entries or 323 in entries:  # sides of tiles; for one that is not told libtiff takes that of strips
        strip = tiff.number(entries, 256, order, 1), tiff.number(entries, 278, order, 1)
        check_size(tiff.number(entries, 322, order, strip[0]), tiff.number(entries, 323, order, strip[1]), limit)
    if any(not kind & 1 for kind in others):  # 1: a reduced copy of another page, that is a preview
        refuse_frames(1 + len(others), "a multi-page TIFF")
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
        raise damaged("pixel data are missing")
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
        raise damaged("pixel data are missing")


def refuse_cut(data: bytes, entries: dict[int, tiff.Entry], *pairs: tuple[int, int]) -> None:
    """The error for a TIFF file that ends before a part of it does; `pairs` are tags of their places and lengths."""
    order = tiff.byte_order(data)
    for places, sizes in pairs:
        if places in entries and sizes in entries:
            starts, lengths = entries[places].numbers(order), entries[sizes].numbers(order)
            count = min(len(starts), len(lengths))
            if (starts[:count] + lengths[:count] > len(data)).any():
                raise damaged("pixel data are missing at its end")
