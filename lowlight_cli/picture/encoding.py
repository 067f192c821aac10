"""Picture -> bytes of a file. Pillow for 8 bits; PNG (`png`), TIFF and PPM by hand.

By hand, because neither Pillow nor OpenCV writes 16-bit colour together with EXIF, XMP and a colour profile.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowlight_cli.errors import OptionError, PictureError
from lowlight_cli.picture import metadata, png, tiff
from lowlight_cli.picture.model import Depth, Picture, Texts, at_depth, bands, dtype, luma

DEEP = ("png", "tiff", "ppm")
"""Formats that hold 16 bits per channel."""

QUALITY: Mapping[str, int] = MappingProxyType({"jpg": 95, "webp": 95, "avif": 90})
"""The quality each lossy format is written with unless another is asked for."""

_ALPHA = ("png", "tiff", "webp", "avif")
_NO_METADATA = ("bmp", "ppm")
_LONGEST_SIDE = {"jpg": 65500, "webp": 16383, "avif": 65535}
# One JPEG segment holds 65533 bytes, less the name it begins with.
_JPEG_EXIF, _JPEG_XMP, _JPEG_IPTC = 65533 - 6, 65533 - 29, 65533 - 27
_TIFF_STRIP = 2**18


def losses(picture: Picture, format: str, depth: Depth = "keep") -> tuple[str, ...]:
    """What `picture` has and a file of `format` cannot hold: of "alpha", "16 bit", "colour profile", "EXIF", "XMP",
    "IPTC" and "texts", all or in part; a resolution alone is not counted.
    """
    lost = []
    if picture.alpha is not None and format not in _ALPHA:
        lost.append("alpha")
    if picture.bits == 16 and depth != 8 and format not in DEEP:
        lost.append("16 bit")
    held = _held(picture, format, picture.bits if depth == "keep" else depth)
    cut = {name for name in held if getattr(picture, name) is not None and held[name] is None}
    if "icc" in cut:
        lost.append("colour profile")
    lost += [name.upper() for name in ("exif", "xmp", "iptc") if name in cut]
    if _texts(picture, format) != picture.texts:
        lost.append("texts")
    return tuple(lost)


def encode(picture: Picture, format: str, *, quality: int | None = None, depth: Depth = "keep") -> bytes:
    """The bytes of a file of `format`. The same picture and options give the same bytes.

    `quality` 1 to 100 goes for jpg, webp (100: lossless) and avif; others have none and ignore it.
    `depth` "keep" writes the bits of the picture, or 8 where the format holds no more.
    """
    bits = _bits(picture, format, depth)
    if quality is not None and not 1 <= quality <= 100:
        raise OptionError(f"The quality {quality} is not between 1 and 100.", "The default is 95 (avif: 90).")
    longest = _LONGEST_SIDE.get(format, 2**31 - 1)
    if max(picture.height, picture.width) > longest:
        raise PictureError(
            f"A {format} picture has at most {longest} pixels on a side, this one is "
            f"{picture.width} x {picture.height}.",
            "Write png or tiff.",
        )
    try:
        return _ENCODERS[format](picture, bits, quality or QUALITY.get(format, 0))
    except MemoryError as error:
        raise PictureError("There is not enough memory to write the picture.", "Write fewer at a time.") from error
    # A TIFF of over 4 GB is a struct.error; Pillow says of metadata that it does not understand what it likes.
    except (OSError, ValueError, RuntimeError, SyntaxError, struct.error) as error:
        raise PictureError(f"The picture cannot be written as {format}: {error}", "Try another format.") from error


def _bits(picture: Picture, format: str, depth: Depth) -> int:
    """The bits per channel to write, once `format` and `depth` are known to make sense."""
    if format not in _ENCODERS:
        raise OptionError(f"{format!r} is no format that is written.", f"There are {', '.join(_ENCODERS)}.")
    if depth not in ("keep", 8, 16):
        raise OptionError(f"The depth {depth!r} is none of keep, 8 and 16.")
    if depth == 16 and format not in DEEP:
        raise OptionError(
            f"{format} holds 8 bits per channel, not 16.", f"16 bits can be written as {', '.join(DEEP)}."
        )
    if format not in DEEP:
        return 8
    return picture.bits if depth == "keep" else depth


def stored(picture: Picture, format: str, bits: int) -> Picture:
    """The picture with the channels that are written."""
    if _gray(picture, format, bits) == picture.gray:
        return picture
    return replace(picture, pixels=np.repeat(luma(picture.pixels)[..., None], 3, axis=2), gray=False)


def _gray(picture: Picture, format: str, bits: int) -> bool:
    """Whether it is written as grey: WebP has none, AVIF none with alpha, and few programs read 16-bit grey with alpha
    from a TIFF."""
    unread = picture.alpha is not None and (format == "avif" or (format == "tiff" and bits == 16))
    return picture.gray and format != "webp" and not unread


def _held(picture: Picture, format: str, bits: int = 8) -> dict[str, bytes | None]:
    """EXIF, XMP, IPTC and colour profile as far as `format` holds them."""
    none, jpeg = format in _NO_METADATA, format == "jpg"
    fits = metadata.icc_fits(picture.icc, gray=_gray(picture, format, bits))
    return {
        "exif": None if none or (jpeg and len(picture.exif or b"") > _JPEG_EXIF) else picture.exif,
        "xmp": None if none or (jpeg and len(picture.xmp or b"") > _JPEG_XMP) else picture.xmp,
        "iptc": picture.iptc if format in ("jpg", "tiff") and len(picture.iptc or b"") <= _JPEG_IPTC else None,
        "icc": None if none or not fits else picture.icc,
    }


def _texts(picture: Picture, format: str) -> Texts:
    """Texts as far as `format` holds them: JPEG only comments, PNG none with zero bytes but at their end."""
    if format == "jpg":
        return tuple((key, text) for key, text in picture.texts if key == metadata.COMMENT and metadata.comment(text))
    return tuple((key, text) for key, text in picture.texts if format == "png" and "\0" not in text.rstrip("\0"))


def samples(picture: Picture, bits: int, *, alpha: bool) -> NDArray:
    """(H, W) or (H, W, C) in the order of a file: luma or R, G, B, then alpha if there is one and it is wanted.

    A copy only where something changes.
    """
    extra = picture.alpha if alpha else None
    if not picture.gray and extra is None and bits == picture.bits:
        return np.ascontiguousarray(picture.pixels)
    colours = 1 if picture.gray else 3
    shape = (picture.height, picture.width, colours + (extra is not None))
    out = np.empty(shape, dtype(bits))
    for rows in bands(picture.height, picture.width):
        part = picture.pixels[rows]
        out[rows, :, :colours] = at_depth(luma(part)[..., None] if picture.gray else part, bits)
        if extra is not None:
            out[rows, :, -1] = at_depth(extra[rows], bits)
    return out[..., 0] if shape[2] == 1 else out


def _pillow(picture: Picture, format: str, *, alpha: bool = False, **options: Any) -> bytes:
    """What Pillow writes of the 8-bit samples; options that are None are left out."""
    given = {option: value for option, value in options.items() if value is not None}
    with _file() as file:
        file.name = f"picture.{format}"  # for its suffix Pillow imports one plugin, for a format's name five (10 ms)
        Image.fromarray(samples(picture, 8, alpha=alpha)).save(file, **given)
        file.seek(0)
        return file.read()


def _file() -> io.FileIO | io.BytesIO:
    """A real file in memory where the system has them: for others Pillow holds up all threads while it packs."""
    try:
        return io.FileIO(os.memfd_create("picture"), "w+")
    except (AttributeError, OSError):
        return io.BytesIO()


def _jpeg(picture: Picture, _: int, quality: int) -> bytes:
    held = _held(picture, "jpg")
    exif = b"Exif\0\0" + held["exif"] if held["exif"] else None
    finest = "4:4:4" if quality >= 90 else "4:2:0"
    options = {"quality": quality, "subsampling": finest, "dpi": picture.dpi}
    comments = (metadata.comment(text) for _, text in _texts(picture, "jpg"))
    options["extra"] = b"".join((metadata.app13(held["iptc"]), *comments))
    return _pillow(picture, "jpg", **options, exif=exif, xmp=held["xmp"], icc_profile=held["icc"])


def _webp(picture: Picture, _: int, quality: int) -> bytes:
    held = _held(picture, "webp")
    options = {"quality": quality, "lossless": quality == 100, "exact": True}  # exact: colours under alpha 0 stay
    return _pillow(picture, "webp", alpha=True, **options, exif=held["exif"], xmp=held["xmp"], icc_profile=held["icc"])


def _avif(picture: Picture, _: int, quality: int) -> bytes:
    held = _held(picture, "avif")
    sampling = "4:0:0" if _gray(picture, "avif", 8) else "4:4:4" if quality >= 90 else "4:2:0"
    options = {"quality": quality, "subsampling": sampling, "speed": 8}
    return _pillow(picture, "avif", alpha=True, **options, exif=held["exif"], xmp=held["xmp"], icc_profile=held["icc"])


def _bmp(picture: Picture, _: int, __: int) -> bytes:
    return _pillow(picture, "bmp", dpi=picture.dpi)


def _png(picture: Picture, bits: int, _: int) -> bytes:
    held, texts = _held(picture, "png", bits), _texts(picture, "png")
    beside = png.metadata(icc=held["icc"], exif=held["exif"], xmp=held["xmp"], dpi=picture.dpi, texts=texts)
    return png.encode(samples(picture, bits, alpha=True), beside)


def _ppm(picture: Picture, bits: int, _: int) -> bytes:
    array = samples(picture, bits, alpha=False)
    head = f"P{5 if picture.gray else 6}\n{picture.width} {picture.height}\n{2**bits - 1}\n".encode()
    return b"".join((head, memoryview(array.astype(">u2") if bits == 16 else array).cast("B")))


def _tiff(picture: Picture, bits: int, _: int) -> bytes:
    """Deflate with horizontal differences, in strips.

    The file begins with the EXIF block itself, so that every offset in it stays true; its first directory is then
    replaced by one at the end of the file, which takes over what it tells of the photo.
    """
    block = picture.exif or tiff.header("<", 0)
    order = tiff.byte_order(block)
    picture = stored(picture, "tiff", bits)
    array = samples(picture, bits, alpha=True)
    parts, places, sizes = [block + b"\0" * (len(block) % 2)], [], []
    end = len(parts[0])
    strip = max(1, _TIFF_STRIP // (array.nbytes // len(array)))
    for top in range(0, len(array), strip):
        packed = _packed(_differences(array[top : top + strip], order))
        places.append(end)
        sizes.append(len(packed))
        parts.append(packed + b"\0" * (len(packed) % 2))
        end += len(parts[-1])
    entries = _tiff_entries(picture, array, order) | {
        273: tiff.integers(273, tiff.LONG, places, order),
        278: tiff.integers(278, tiff.LONG, (strip,), order),
        279: tiff.integers(279, tiff.LONG, sizes, order),
    }
    parts.append(tiff.build(entries.values(), order, end))
    parts[0] = tiff.header(order, end) + parts[0][8:]
    return b"".join(parts)


def _packed(data: bytes) -> bytes:
    """`data` deflated. Run lengths alone (Z_RLE) are two to three times as fast on photos, and no larger."""
    packer = zlib.compressobj(4, strategy=zlib.Z_RLE)
    return packer.compress(data) + packer.flush()


def _differences(rows: NDArray, order: str) -> bytes:
    """Each sample less the one left of it in the same channel, modulo 2^bits (TIFF predictor 2)."""
    change = rows.copy()
    change[:, 1:] -= rows[:, :-1]
    return change.astype(change.dtype.newbyteorder(order), copy=False).tobytes()


def _tiff_entries(picture: Picture, array: NDArray, order: str) -> dict[int, tiff.Entry]:
    """What a TIFF directory says of the samples in `array`, and of the photo; all but where the strips are."""
    entries = {}
    if picture.exif:
        first, _ = tiff.directory(picture.exif, tiff.first(picture.exif))
        entries = {tag: entry for tag, entry in first.items() if tag in tiff.DESCRIPTIVE}
    channels = 1 if array.ndim == 2 else array.shape[2]
    colour = 1 if picture.gray else 2
    # Compression 8 is deflate, predictor 2 horizontal differences; kind of colour 1 grey, 2 RGB.
    shorts = {258: [8 * array.itemsize] * channels, 259: [8], 262: [colour], 277: [channels], 284: [1], 317: [2]}
    if channels in (2, 4):
        shorts[338] = [2]  # the last channel is alpha, not premultiplied
    if picture.dpi:
        shorts[296] = [2]  # per inch
        for tag, dots in zip((282, 283), picture.dpi, strict=True):
            entries[tag] = tiff.Entry(tag, tiff.RATIONAL, 1, struct.pack(f"{order}II", round(dots * 10000), 10000))
    for tag, values in shorts.items():
        entries[tag] = tiff.integers(tag, tiff.SHORT, values, order)
    for tag, side in ((256, picture.width), (257, picture.height)):
        entries[tag] = tiff.integers(tag, tiff.LONG, (side,), order)
    held = _held(picture, "tiff")
    for tag, kind, name in ((700, 1, "xmp"), (33723, tiff.UNDEFINED, "iptc"), (34675, tiff.UNDEFINED, "icc")):
        if blob := held[name]:
            entries[tag] = tiff.Entry(tag, kind, len(blob), blob)
    return entries


_ENCODERS = {"jpg": _jpeg, "png": _png, "webp": _webp, "tiff": _tiff, "bmp": _bmp, "avif": _avif, "ppm": _ppm}
