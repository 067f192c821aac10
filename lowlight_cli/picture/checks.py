"""What can be said of a picture file before any decoding: its size, and whether all of it is there.

Decoders are lenient: Pillow accepts a PNG without an end, OpenCV a JPEG cut in half. A photo that is half grey must
be an error, so the structure is checked here, from the bytes alone.
"""

from __future__ import annotations

import re
import struct

from lowlight_cli.errors import PictureError

FOREIGN_PRIMARIES = "The colours of the {kind} are {name} and have no ICC profile; they were taken for sRGB."
_TRANSFERS = {8: "linear light", 16: "PQ, ITU-R BT.2100", 18: "HLG, ITU-R BT.2100"}
_PRIMARIES = {9: "ITU-R BT.2020", 11: "DCI-P3", 12: "Display P3"}

# Without the fill bytes before it (`\xff+`): a million of these would be searched a million times.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)


MOST_SCANS, MOST_SEGMENTS = 100, 5000
"""Scans and other parts of a JPEG, of which encoders write up to fourteen and a few hundred."""
LONGEST_GAP = 1 << 16
"""Bytes between two parts of a JPEG, before its pixels."""


def damaged(what: str) -> PictureError:
    """The error for a file that is not whole."""
    return PictureError(f"The file is damaged: {what}.", "Copy it again from its source.")


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
