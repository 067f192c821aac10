"""Camera raw files, developed by LibRaw into what the sensor measured and nothing else (the `raw` extra).

Linear: black level off, white balance as shot, demosaicing, camera colours to sRGB primaries, and at the end the sRGB
encoding that every Picture has. LibRaw's automatics are all off. Three of them are easily missed: it takes the
brightest sample for white where that is not far below the white level, guesses the white balance where the file tells
none, and brightens until 1% of the pixels are white.
"""

from __future__ import annotations

import functools
import io
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.color import to_srgb
from lowlight_cli.errors import PictureError
from lowlight_cli.picture import checks, metadata, tiff, tiff_checks
from lowlight_cli.picture.extras import reader
from lowlight_cli.picture.model import Picture, bands, to_integers

if TYPE_CHECKING:
    from rawpy import RawPy

XMP_LEFT = "The XMP of the raw file was left behind: it may tell a program to develop the picture once more."

_DNG_VERSION, _MAKER_NOTE, _XMP = 50706, 37500, 700
# Maker notes and interoperability count from the start of the raw file; the sizes are those of a preview.
_NOT_KEPT = (_MAKER_NOTE, metadata.INTEROPERABILITY, 40962, 40963)
_RAF_JPEG = 84


def decode(data: bytes, _: str, max_pixels: int) -> Picture:
    """The developed picture, upright, 16 bits. A file that is not whole, as far as can be told, is a PictureError."""
    rawpy = _rawpy()
    _check_dng(data)
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            for width, height in _sizes(raw):
                checks.check_size(width, height, max_pixels)
            pixels, development = _developed(raw)
    except rawpy.LibRawFileUnsupportedError as error:
        raise PictureError(
            f"This looks like a camera raw file, but LibRaw {_version()} does not know the kind.",
            "Develop it first, to a 16-bit TIFF, with the camera's own program.",
        ) from error
    except rawpy.LibRawUnsufficientMemoryError as error:
        raise PictureError(
            f"LibRaw {_version()} finds no memory for this picture: it is damaged, or too large for this machine.",
            "Get a whole copy of the file, or use a machine with more memory.",
        ) from error
    except rawpy.LibRawError as error:
        raise checks.damaged(f"LibRaw {_version()} says {_text(error)!r}") from error
    exif, notices = _exif(data)
    gray = pixels.shape[2] == 1
    pixels = np.repeat(pixels, 3, axis=2) if gray else pixels
    return Picture(pixels=pixels, gray=gray, format="raw", exif=exif, notices=notices, development=development)


def pixel_count(path: Path) -> int:
    """Pixels as the header tells."""
    with _rawpy().imread(str(path)) as raw:
        return max(width * height for width, height in _sizes(raw))


def _rawpy() -> Any:
    return reader("raw", "a camera raw file")  # 0.1 s, and few pictures are raw


def _version() -> str:
    return ".".join(map(str, _rawpy().libraw_version))


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def _sizes(raw: RawPy) -> tuple[tuple[int, int], ...]:
    """Width and height of the sensor, and of the picture, which is larger where the sensor's rows stand askew."""
    sizes = raw.sizes
    return (sizes.raw_width, sizes.raw_height), (sizes.iwidth, sizes.iheight)


def _developed(raw: RawPy) -> tuple[NDArray, str]:
    """(H, W, 3 or 1) uint16, sRGB-encoded, and what was done."""
    rawpy = _rawpy()
    balance, name = _balance(raw)
    pixels = raw.postprocess(
        demosaic_algorithm=rawpy.DemosaicAlgorithm.AHD,
        output_color=rawpy.ColorSpace.sRGB,
        output_bps=16,
        gamma=(1, 1),
        no_auto_bright=True,
        adjust_maximum_thr=0.0,  # white is the white level, not the brightest sample
        **balance,
    )
    encoding = _encoding()
    for rows in bands(*pixels.shape[:2]):
        pixels[rows] = encoding[pixels[rows]]
    red, green, blue, _ = raw.auto_whitebalance  # those that were used, whatever their source
    known = raw.color_matrix.any() or raw.rgb_xyz_matrix.any()
    return pixels, (
        f"Developed from raw to linear light by LibRaw {_version()}: black level {_level(raw)}, white level "
        f"{raw.white_level}, {name} white balance (R {red:.4f}, G {green:.4f}, B {blue:.4f}), {_demosaicing(raw)}, "
        f"{'camera matrix to' if known or raw.num_colors == 1 else 'no camera matrix known, sensor colours taken for'} "
        "sRGB primaries, sRGB encoding, 16 bit. No brightening, tone curve, denoising or sharpening."
    )


def _balance(raw: RawPy) -> tuple[dict[str, Any], str]:
    """The option for the white balance, never LibRaw's guess from the picture, and its name."""
    red, _, blue, _ = raw.camera_whitebalance
    if raw.num_colors == 1:
        return {"user_wb": [1.0] * 4}, "no"
    if min(red, blue) > 1e-5:
        return {"use_camera_wb": True}, "as-shot"
    return {}, "daylight (the file tells none)"


def _level(raw: RawPy) -> str:
    levels = raw.black_level_per_channel
    return str(levels[0]) if len({*levels}) == 1 else "/".join(map(str, levels))


def _demosaicing(raw: RawPy) -> str:
    """What LibRaw makes of the request for AHD."""
    pattern = raw.raw_pattern
    if pattern is None or pattern.size == 1:
        return "no demosaicing"
    if pattern.shape == (6, 6):
        return "X-Trans demosaicing of 3 passes"
    return f"{'AHD' if raw.num_colors == 3 else 'VNG'} demosaicing"


@functools.cache
def _encoding() -> NDArray[np.uint16]:
    """The sRGB-encoded value of each linear one."""
    return to_integers(to_srgb(np.arange(65536) / 65535), 16)


def _check_dng(data: bytes) -> None:
    """Refuse a DNG of which a part is missing. LibRaw overlooks a missing last byte, and a missing colour matrix.

    Other raw files are left to LibRaw: some cameras write wrong sizes into theirs.
    """
    order = tiff.byte_order(data)
    if not order or _DNG_VERSION not in tiff.directory(data, tiff.first(data))[0]:
        return
    for start, entries in tiff_checks.directories(data):
        if tiff_checks.is_cut(data, start):
            raise checks.damaged("its directories are not whole")
        tiff_checks.refuse_cut(data, entries, (273, 279), (324, 325), (513, 514))


def _exif(data: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """An EXIF block with what the raw file tells of the photo, and what to tell of that."""
    try:
        order, first, *inner = _directories(data)
    except (struct.error, IndexError, ValueError):
        return None, (metadata.EXIF_DAMAGED,)
    return metadata.exif_of(order, first, *inner, left_out=_NOT_KEPT), (XMP_LEFT,) * (_XMP in first)


def _directories(data: bytes) -> tuple[str, *tuple[metadata.Entries, ...]]:
    """See `metadata.directories`, wherever this kind of raw has them."""
    if data[4:8] == b"ftyp":  # CR3: each directory is the first one of a block of its own
        blocks = [_block(data, name) for name in (b"CMT1", b"CMT2", b"CMT4")]
        found = (tiff.directory(block, tiff.first(block))[0] if block else {} for block in blocks)
        return tiff.byte_order(blocks[0]), *found
    if data.startswith(b"FUJIFILM"):  # RAF: in its JPEG
        start = data.index(b"Exif\0\0", struct.unpack_from(">I", data, _RAF_JPEG)[0]) + 6
        data = data[start : start + 65535]
    elif not tiff.byte_order(data):  # ORF and RW2 are TIFF but for the number behind the byte order
        data = data[:2] + (b"*\0" if data.startswith(b"II") else b"\0*") + data[4:]
    return metadata.directories(data)


def _block(data: bytes, name: bytes) -> bytes:
    """The TIFF block in the first box called `name`; empty where there is none."""
    found = re.search(rb"(.{4})" + name + rb"(?=II\*\0|MM\0\*)", data[: 2**20], re.DOTALL)
    return data[found.end() : found.start() + int.from_bytes(found[1])] if found else b""
