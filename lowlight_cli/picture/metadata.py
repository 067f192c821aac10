"""What travels beside the pixels: EXIF, XMP, ICC, resolution. Cleaned of what is no longer true."""

from __future__ import annotations

import contextlib
import math
import re
import struct
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from PIL import Image

from lowlight_cli.picture import tiff
from lowlight_cli.picture.model import Texts
from lowlight_cli.picture.xmp import clean_xmp

ICC_UNFIT = "The colour profile does not fit the channels of the picture and was dropped."

EXIF_DAMAGED = "The EXIF data are damaged and were dropped."

ORIENTATION, THUMBNAIL_AT, THUMBNAIL_SIZE = 274, 513, 514
IPTC = 1028
"""Photoshop's resource that holds IPTC-IIM records."""
COMMENT = "Comment"
"""The keyword of a text that is a comment; a JPEG has no other texts."""
_ELSEWHERE = ("XML:com.adobe.xmp", *(f"Raw profile type {what}" for what in ("exif", "APP1", "xmp", "icc", "icm")))
"""Keywords of texts that are read as what they are."""
INTEROPERABILITY = 40965
"""A directory of which the place would point nowhere."""
_SIZE_TAGS = ((256, 257), (40962, 40963))

_SEGMENTS: dict[str, tuple[bytes, ...]] = {
    **{f"APP{number}": () for number in range(1, 16)},
    "APP1": (b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0"),
    "APP2": (b"ICC_PROFILE\0", b"MPF\0"),
    "APP12": (b"Ducky",),  # the quality that Photoshop wrote it with
    "APP13": (b"Photoshop 3.0\0",),
    "APP14": (b"Adobe",),
}
"""How segments of a JPEG begin that are read, or tell of that file alone."""

Entries = dict[int, tiff.Entry]


class Given(NamedTuple):
    """What a file says beside its pixels: fields of a Picture, its profile, and how to turn the pixels upright."""

    fields: dict[str, Any]
    icc: bytes | None
    turn: int
    notices: tuple[str, ...]


def clean_exif(raw: bytes | None) -> tuple[bytes | None, int | None]:
    """EXIF that is true of the upright picture, and the orientation it gave before (None: it gave none).

    Orientation becomes 1, the size tags are swapped where the picture is turned by 90 degrees, and the thumbnail
    goes, because it shows the dark picture. Changed in place: all other bytes, maker notes too, stay where they are.
    Damaged EXIF gives None, and the orientation if that could be read.
    """
    orientation = 0
    block = bytearray(re.sub(rb"^(Exif\0\0)+", b"", raw or b""))
    if not tiff.byte_order(block):
        return None, None
    try:
        start = tiff.first(block)
        entries, following = tiff.directory(block, start)
        orientation = _upright(block, entries)
        if orientation in (5, 6, 7, 8):
            _swap_sizes(block, entries)
        if following:
            _drop_thumbnail(block, start, following)
        cleaned = bytes(block)
    except (struct.error, IndexError):
        cleaned = None
    return cleaned, orientation or None


def _upright(block: bytearray, entries: Entries) -> int:
    """Write into a TIFF block that the picture is upright, in as many bytes as before; what it said, 0 for nonsense."""
    order, entry = tiff.byte_order(block), entries.get(ORIENTATION)
    if entry is None or not entry.numbers(order).size:
        return 0
    one = (1).to_bytes(tiff.SIZES[entry.kind], "little" if order == "<" else "big")
    block[entry.at : entry.at + len(one)] = one
    said = int(entry.numbers(order)[0])
    return said if 1 <= said <= 8 else 0


def _swap_sizes(block: bytearray, entries: dict[int, tiff.Entry]) -> None:
    """Exchange the width and height tags of the first and of the EXIF directory."""
    order = tiff.byte_order(block)
    if pointer := tiff.number(entries, tiff.EXIF_IFD, order, 0):
        entries = entries | tiff.directory(block, pointer)[0]
    for wide, high in _SIZE_TAGS:
        if wide in entries and high in entries and entries[wide].kind == entries[high].kind:
            for place, value in ((entries[wide].at, entries[high].value), (entries[high].at, entries[wide].value)):
                block[place : place + len(value)] = value


def resized(exif: bytes | None, width: int, height: int) -> bytes | None:
    """EXIF whose size tags, if it has them, tell these sides; changed in place."""
    block = bytearray(exif or b"")
    with contextlib.suppress(struct.error, IndexError):
        order = tiff.byte_order(block)
        first, _ = tiff.directory(block, tiff.first(block))
        _write_sizes(block, first, width, height)
        if pointer := tiff.number(first, tiff.EXIF_IFD, order, 0):
            _write_sizes(block, tiff.directory(block, pointer)[0], width, height)
    return bytes(block) or None


def _write_sizes(block: bytearray, entries: Entries, width: int, height: int) -> None:
    """Put sides into the size tags that a directory of a TIFF block has."""
    order = tiff.byte_order(block)
    for tags in _SIZE_TAGS:
        for tag, side in zip(tags, (width, height), strict=True):
            entry = entries.get(tag)
            if entry and entry.count == 1 and entry.kind in (tiff.SHORT, tiff.LONG):
                # The type, the count and the value stand in a row; four bytes hold either.
                struct.pack_into(f"{order}HII", block, entry.at - 6, tiff.LONG, 1, side)


def _drop_thumbnail(block: bytearray, start: int, following: int) -> None:
    """Unlink the second directory, and remove or blank the small picture it points to."""
    order = tiff.byte_order(block)
    count = struct.unpack_from(f"{order}H", block, start)[0]
    struct.pack_into(f"{order}I", block, start + 2 + 12 * count, 0)
    entries, _ = tiff.directory(block, following)
    place = tiff.number(entries, THUMBNAIL_AT, order, 0)
    size = tiff.number(entries, THUMBNAIL_SIZE, order, 0)
    if place <= following:  # a thumbnail stands behind its directory; anything else would blank what is still needed
        return
    if place + size >= len(block):
        del block[place:]
    else:
        block[place : place + size] = bytes(size)


def exif_of_tiff(data: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """An EXIF block with what the first directory of a TIFF file tells of the photo, None where it tells nothing, and
    what to tell of that."""
    try:
        return exif_of(*directories(data), left_out=(INTEROPERABILITY,)), ()
    except struct.error:
        return None, (EXIF_DAMAGED,)


def directories(data: bytes) -> tuple[str, Entries, Entries, Entries]:
    """Byte order, and the first, the EXIF and the GPS directory of a TIFF block; empty where there is none."""
    order = tiff.byte_order(data)
    first, _ = tiff.directory(data, tiff.first(data))
    exif, gps = (tiff.number(first, pointer, order, 0) for pointer in (tiff.EXIF_IFD, tiff.GPS_IFD))
    return order, first, *(tiff.directory(data, place)[0] if place else {} for place in (exif, gps))


def exif_of(order: str, first: Entries, *inner: Entries, left_out: Collection[int]) -> bytes | None:
    """An EXIF block with what `first` tells of the photo, and with the EXIF and GPS directories."""
    kept = {tag: entry for tag, entry in first.items() if tag in tiff.DESCRIPTIVE}
    block = bytearray(8)
    for pointer, entries in zip((tiff.EXIF_IFD, tiff.GPS_IFD), inner, strict=True):
        kept.pop(pointer, None)
        if wanted := [entry for tag, entry in entries.items() if tag not in left_out]:
            kept[pointer] = tiff.integers(pointer, tiff.LONG, (len(block),), order)
            block += tiff.build(wanted, order, len(block))
    place = len(block)
    block += tiff.build(kept.values(), order, place)
    block[:8] = tiff.header(order, place)
    return bytes(block) if kept else None


def unturned(data: bytes, entries: dict[int, tiff.Entry]) -> tuple[int, bytes]:
    """The orientation in a TIFF file (0: none), and the file as if it said 1."""
    turn = tiff.number(entries, ORIENTATION, tiff.byte_order(data), 0)
    if turn == 1 or ORIENTATION not in entries:
        return turn, data
    changed = bytearray(data)
    return _upright(changed, entries), bytes(changed)


def icc_fits(profile: bytes | None, *, gray: bool) -> bool:
    """Whether `profile` is an ICC profile for one grey channel (`gray`) or for RGB."""
    return profile is not None and profile[36:40] == b"acsp" and profile[16:20] == (b"GRAY" if gray else b"RGB ")


def given(info: Mapping[Any, Any], kind: str, *told: str, texts: Texts = ()) -> Given:
    """What Pillow's `info` of a file of format `kind` says beside the pixels, cleaned; `told` are notices besides, and
    `texts` what only those know who read the file."""
    raw = _raw(info, "exif")
    exif, orientation = clean_exif(raw)
    xmp, orientation_in_xmp = clean_xmp(_raw(info, "xmp"))
    notices = (EXIF_DAMAGED,) if raw and exif is None else ()
    fields = {"exif": exif, "xmp": xmp, "iptc": _iptc(info), "dpi": _resolution(info.get("dpi")), "format": kind}
    fields["texts"] = tuple((key, text) for key, text in texts if key not in _ELSEWHERE)
    return Given(fields, info.get("icc_profile"), orientation or orientation_in_xmp or 1, (*notices, *told))


def profile(found: Given, gray: bool, *notices: str, converted: bool = False) -> dict[str, Any]:
    """The fields icc, gray and notices of a Picture: the colour profile only where it fits the channels.

    `converted`: the pixels have left the colour space of the profile, and `notices` says so.
    """
    fits = icc_fits(found.icc, gray=gray) and not converted
    unfit = (ICC_UNFIT,) if found.icc and not fits and not converted else ()
    return {"icc": found.icc if fits else None, "gray": gray, "notices": (*found.notices, *notices, *unfit)}


def _iptc(info: Mapping[Any, Any]) -> bytes | None:
    """The IPTC-IIM records among Photoshop's resources of a JPEG."""
    resources = info.get("photoshop")
    found = resources.get(IPTC) if isinstance(resources, Mapping) else None
    return found if isinstance(found, bytes) and found else None


def comment(text: str) -> bytes:
    """The JPEG segment of a comment; empty where it is too long for one."""
    body = text.encode(errors="surrogateescape")
    return struct.pack(">HH", 0xFFFE, 2 + len(body)) + body if len(body) <= 65533 else b""


def app13(iptc: bytes | None) -> bytes:
    """The JPEG segment of IPTC-IIM records, as Photoshop writes it; empty for none."""
    if iptc is None:
        return b""
    body = b"Photoshop 3.0\0" + struct.pack(">4sHxxI", b"8BIM", IPTC, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    return struct.pack(">HH", 0xFFED, 2 + len(body)) + body


def _resolution(value: Any) -> tuple[float, float] | None:
    """A resolution in dots per inch as two sane floats, or None: files say 0, NaN and 1/0 too, and Pillow 1 for TIFFs
    that say nothing."""
    try:
        across, down = (float(number) for number in value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    sane = all(math.isfinite(number) and 0 < number <= 65535 for number in (across, down))
    return (across, down) if sane and (across, down) != (1, 1) else None


def _raw(info: Mapping[Any, Any], what: str) -> bytes | None:
    """The EXIF or XMP in what Pillow calls `info`; ImageMagick hides them in a PNG text as hexadecimal digits."""
    if isinstance(found := info.get(what), bytes | str) and found:
        return found.encode() if isinstance(found, str) else found
    try:
        return bytes.fromhex("".join(str(info[f"Raw profile type {what}"]).split("\n")[3:]))
    except (KeyError, ValueError):
        return None


def strangers(image: Image.Image) -> list[str]:
    """The segments of a JPEG opened by Pillow that are read by nobody here, by their numbers and how they begin."""
    found = []
    for kind, part in image.applist:
        if kind in _SEGMENTS and not part.startswith(_SEGMENTS[kind]):
            begin = re.match(rb"[!-~]*", part[:40])[0].decode()
            found.append(f"{kind} {begin!r}" if begin else kind)
    return found


def comments(image: Image.Image) -> Texts:
    """The texts of an image of Pillow's: those of a PNG, and the comments of a JPEG."""
    found = [(key, str(text)) for key, text in getattr(image, "text", {}).items()]
    parts = [part for kind, part in getattr(image, "applist", ()) if kind == "COM"]
    return (*found, *((COMMENT, part.decode(errors="surrogateescape")) for part in parts))
