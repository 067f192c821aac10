"""Bytes of a file -> Picture. Pillow for 8 bits and metadata; `deep` and `ppm` for the rest."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowlight_cli.errors import PictureError, ran_out_of_memory
from lowlight_cli.picture import avif, checks, deep, heif, kinds, metadata, png, ppm, tiff, tiff_checks
from lowlight_cli.picture import raw as camera_raw
from lowlight_cli.picture.model import Picture, bands, blank, dtype

CMYK_BY_PROFILE = "CMYK was converted to RGB through its colour profile; the profile was dropped."
CMYK_PLAIN = "CMYK was converted to RGB without a colour profile: colours are approximate."
AVIF_DEEP = "The AVIF has more than 8 bits per channel; 8 of them were read."
PNG_STRANGE = (
    "The {} chunk of the PNG says that its colours are not sRGB; they were taken for sRGB, and it was dropped."
)
UNSTATED = "The TIFF has a channel of unstated meaning beside its colours; it was dropped."
CREDENTIALS = "The content credentials (C2PA) hold for the source alone and were left out."
STRANGERS = "The JPEG holds data that are not known here and were left out: {}."
BEHIND = "Behind the end of the JPEG stand {} bytes (a film or another picture, perhaps); they were left out."
SECOND_PICTURE = "The JPEG holds further pictures or a gain map (MPO); only the main picture was read."

_PLUGINS = {"jpg": "Jpeg", "png": "Png", "webp": "WebP", "tiff": "Tiff", "bmp": "Bmp", "avif": "Avif", "ppm": "Ppm"}

# Mode of a Pillow image -> the mode its bands are converted to. Modes not named here cannot be shown rightly
# in 8 bits (F, I) or without a profile (LAB).
_TARGETS = {
    **dict.fromkeys(("1", "L"), "L"),
    **dict.fromkeys(("LA", "La"), "LA"),
    **dict.fromkeys(("P", "RGB", "RGBX", "CMYK", "YCbCr"), "RGB"),
    **dict.fromkeys(("PA", "RGBA", "RGBa"), "RGBA"),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), "I;16"),
}
_TRANSPARENT = {"L": "LA", "RGB": "RGBA"}

# The configuration box of an AVIF: the third byte tells, among others, whether it has more than 8 bits.
_AVIF_DEEP = re.compile(rb"av1C\x81.[\x40-\x7f\xc0-\xff]", re.DOTALL)

JUMBF = "APP11 'JP'"
"""The segments of a JPEG that hold, among others, content credentials; see `metadata.strangers`."""
_C2PA = bytes.fromhex("63327061 0011 0010 8000 00aa00389b71")
"""What a store of content credentials begins with, in whatever kind of file. It is bound to every byte of it."""

_LOCK = threading.Lock()


def decode(data: bytes, max_pixels: int) -> Picture:
    """The picture in `data`. Whatever a decoder raises for bad bytes comes out as a PictureError."""
    try:
        kind = kinds.sniff(data)
        found = _DECODERS[kind](data, kind, max_pixels)
        return replace(found, notices=(*found.notices, CREDENTIALS)) if _C2PA in data else found
    except PictureError:
        raise
    # Pillow lets through whatever its parsers stumble over: OSError, SyntaxError, struct.error, TypeError and more.
    except Exception as error:
        if ran_out_of_memory(error):
            raise PictureError("The picture does not fit into memory.", "Use a machine with more memory.") from error
        reason = str(error).split("\n")[0] or type(error).__name__
        raise checks.damaged(f"it cannot be decoded, or is of an unusual kind ({reason})") from error


def from_image(image: Image.Image, given: metadata.Given) -> Picture:
    """The picture in a Pillow image, which is loaded if it is not; `given` is what goes beside its pixels."""
    # Pillow reads TIFF tags, and checks the size again, only here. Other formats are decoded side by side.
    with quiet_pillow() if image.format == "TIFF" else contextlib.nullcontext():
        image.load()
    pixels, alpha, gray, told = _spread(image, given.turn)
    fields = metadata.profile(given, gray, *told, converted=image.mode == "CMYK")
    return Picture(pixels=pixels, alpha=alpha, **fields, **given.fields)


def _spread(image: Image.Image, orientation: int) -> tuple[NDArray, NDArray | None, bool, tuple[str, ...]]:
    """(pixels, alpha, gray, notices) of a loaded image, copied band by band: a whole second copy would cost much."""
    target = _TARGETS.get(image.mode)
    if target is None:
        what = {"F": "floating-point values", "I": "32-bit integers"}.get(image.mode, f"{image.mode} colours")
        raise PictureError(f"The picture holds {what}, which are not supported.", "Convert it to 8 or 16 bits, RGB.")
    if image.has_transparency_data:
        target = _TRANSPARENT.get(target, target)
    convert, notices = _converter(image, target)
    width, height = image.size
    kind = dtype(16 if target == "I;16" else 8)
    pixels, stored = blank((height, width, 3), kind, orientation)
    alpha, alpha_stored = blank((height, width), kind, orientation) if target in ("LA", "RGBA") else (None, None)
    for rows in bands(height, width):
        part = np.asarray(convert(image.crop((0, rows.start, width, rows.stop))))
        part = part.reshape(rows.stop - rows.start, width, -1)
        stored[rows] = part[..., :3] if target.startswith("RGB") else part[..., :1]
        if alpha_stored is not None:
            alpha_stored[rows] = part[..., -1]
    return pixels, alpha, not target.startswith("RGB"), notices


def _converter(image: Image.Image, target: str) -> tuple[Callable[[Image.Image], Image.Image], tuple[str, ...]]:
    """What turns a band of `image` into `target`, and what to tell of it."""
    if target == "I;16":
        return (lambda band: band), ()
    if image.mode != "CMYK":
        return (lambda band: band if band.mode == target else band.convert(target)), ()
    from PIL import ImageCms  # 7 ms, and hardly a picture is CMYK

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "CMYK", "RGB")
    except (KeyError, OSError, TypeError, ImageCms.PyCMSError):
        return (lambda band: band.convert("RGB")), (CMYK_PLAIN,)
    return transform.apply, (CMYK_BY_PROFILE,)


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """No warnings from Pillow of odd tags, and no limit of pixels but ours, which says more and can be changed.

    Both are global to the process, so only one thread at a time changes them.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def plugin(kind: str) -> tuple[Callable[..., Image.Image], Callable[[bytes], bool | str]]:
    """What opens a file of that kind, and what knows one by its first bytes.

    Not by `Image.open`: for bytes it first imports the plugins of five formats (10 ms).
    """
    module = importlib.import_module(f"PIL.{_PLUGINS[kind]}ImagePlugin")
    if kind == "png":
        module.MAX_TEXT_CHUNK = png.LARGEST_TEXT
    return Image.OPEN[_PLUGINS[kind].upper()]


def _opened(data: bytes, kind: str, max_pixels: int) -> Image.Image:
    """A Pillow image whose header is read and checked, and nothing more."""
    factory, accept = plugin(kind)
    with quiet_pillow():
        try:
            if accept(data[:16]) is not True:  # a text says that this Pillow was built without the format
                raise SyntaxError
            image = factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # those by which `Image.open` knows a stranger
            raise checks.damaged(f"its {kind} header cannot be read, or is of a rare kind") from None
    checks.check_size(*image.size, max_pixels)
    return image


def _bmp(data: bytes, kind: str, max_pixels: int) -> Picture:
    image = _opened(data, kind, max_pixels)
    if profile := checks.bmp_profile(data):
        image.info["icc_profile"] = profile
    return from_image(image, metadata.given(image.info, kind))


def _webp(data: bytes, kind: str, max_pixels: int) -> Picture:
    checks.check_webp(data, max_pixels)
    image = _still(data, kind, max_pixels)
    return from_image(image, metadata.given(image.info, kind))


def _avif(data: bytes, kind: str, max_pixels: int) -> Picture:
    avif.check(data, max_pixels)
    image = _still(data, kind, max_pixels)
    told = () if "icc_profile" in image.info else checks.foreign_colours("AVIF", *avif.colours(data))
    return from_image(image, metadata.given(image.info, kind, *[AVIF_DEEP] * bool(_AVIF_DEEP.search(data)), *told))


def _still(data: bytes, kind: str, max_pixels: int) -> Image.Image:
    """The same as `_opened`; an animation is an error."""
    image = _opened(data, kind, max_pixels)
    if (count := getattr(image, "n_frames", 1)) > 1:
        checks.refuse_frames(count, "an animation")
    return image


def _jpeg(data: bytes, kind: str, max_pixels: int) -> Picture:
    end = checks.check_jpeg(data)
    image = _opened(data, kind, max_pixels)
    more = image.format == "MPO" or "mp" in image.info
    strangers = {*metadata.strangers(image)}
    if JUMBF in strangers and _C2PA in data:  # `decode` tells
        strangers.remove(JUMBF)
    behind = len(data) - end if not more and data[end:].strip(b"\0\xff \t\r\n") else 0
    told = (
        *[SECOND_PICTURE] * more,
        *[BEHIND.format(behind)] * bool(behind),
        *[STRANGERS.format(", ".join(sorted(strangers)))] * bool(strangers),
    )
    return from_image(image, metadata.given(image.info, kind, *told, texts=metadata.comments(image)))


def _png(data: bytes, kind: str, max_pixels: int) -> Picture:
    head = png.check(data, max_pixels)
    told = (PNG_STRANGE.format(head.strange),) * bool(head.strange)
    if head.bits != 16:
        image = _opened(data, kind, max_pixels)
        if head.colour == 0 and head.bits in (2, 4) and isinstance(key := image.info.get("transparency"), int):
            image.info["transparency"] = key * 255 // (2**head.bits - 1)  # Pillow scales the pixels, not the key
        image.load()  # metadata may stand behind the pixels
        return from_image(image, metadata.given(image.info, kind, *told, texts=png.texts(head)))
    colours = 3 if head.colour in (2, 6) else 1
    # Pillow knows how PNG stores metadata; it need not decode all pixels, wrongly, to tell. First, as it has limits of
    # what texts are unpacked to, and OpenCV has none.
    info = _opened(png.shell(head), kind, max_pixels).info
    raw = deep.opencv(data, (head.height, head.width))
    key = np.frombuffer(head.transparent, ">u2")[:colours] if head.transparent and head.colour in (0, 2) else None
    given = metadata.given(info, kind, *told, texts=png.texts(head))
    return deep.from_samples(raw, colours, head.colour >= 4, key, given)


def _tiff(data: bytes, kind: str, max_pixels: int) -> Picture:
    entries = tiff_checks.check_tiff(data, max_pixels)
    order = tiff.byte_order(data)
    bits = entries[258].numbers(order).max(initial=1) if 258 in entries else 1
    samples, colour, planes = (tiff.number(entries, tag, order, 1) for tag in (339, 262, 284))
    channels, extras = tiff.number(entries, 277, order, 1), entries.get(338)
    # Pillow does not put together planes of grey and alpha, nor of colours that were multiplied by alpha, and OpenCV
    # mixes up the channels of 16-bit pictures stored plane by plane.
    apart = planes != 1 and extras and (channels == 2 or 1 in extras.numbers(order))
    if samples != 1 or apart or (bits > 8 and (bits != 16 or colour > 2 or planes != 1)):
        raise PictureError(
            f"The TIFF has {bits} bits per channel (sample format {samples}, colour kind {colour}, planes {planes}).",
            "Read are unsigned numbers, above 8 bits 16-bit grey and RGB with interleaved channels alone: convert it.",
        )
    # Pillow and some versions of OpenCV turn a TIFF as its tag says, others do not. Told that there is nothing to
    # turn, none does, and it is done here as for every other format.
    turn, data = metadata.unturned(data, entries)
    try:
        image = _opened(data, kind, max_pixels)
    except PictureError as error:
        count, packing = (tiff.number(entries, tag, order, 1) for tag in (277, 259))
        told = f"{count} channels of {bits} bits, colour kind {colour}, compression {packing}"
        raise PictureError(f"This kind of TIFF is not read ({told}).", "Convert it, to PNG for example.") from error
    exif, told = metadata.exif_of_tiff(data)
    told += (UNSTATED,) * (338 in entries and 0 in entries[338].numbers(order))
    given = metadata.given(image.info | {"exif": exif}, kind, *told)
    given = given._replace(turn=turn or given.turn)
    image.info.pop("xmp", None)
    return from_image(image, given) if bits <= 8 else deep.from_tiff(data, entries, given)


def _ppm(data: bytes, kind: str, max_pixels: int) -> Picture:
    # Bitmaps (P1, P4) are left to Pillow, which makes 8 bits of all others and is slow for maxima other than 255.
    if data[1:2] not in b"14":
        return ppm.decode(data, max_pixels)
    image = _opened(data, kind, max_pixels)
    return from_image(image, metadata.given(image.info, kind))


_DECODERS = {
    "jpg": _jpeg,
    "png": _png,
    "webp": _webp,
    "tiff": _tiff,
    "bmp": _bmp,
    "avif": _avif,
    "ppm": _ppm,
    "raw": camera_raw.decode,
    "heic": heif.decode,
}

COUNTERS = {"raw": camera_raw.pixel_count, "heic": heif.pixel_count}
"""Pixels of a file by its header, of the kinds that Pillow does not read."""
