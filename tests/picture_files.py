"""What the picture tests share: small pictures, files made by other means than the code under test, and refusals."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from skimage import data

from lowlight_cli import picture
from lowlight_cli.errors import PictureError

RNG = np.random.default_rng(0)
PHOTO = data.astronaut()[100:148, 180:252]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="night"/></x:xmpmeta>'


def noise(*shape: int, kind: type = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(kind).max, shape, endpoint=True, dtype=kind)


def exif(orientation: int | None = None) -> Image.Exif:
    block = Image.Exif()
    block[271], block[306] = "Camera", "2026:11:20 19:00:00"
    block.get_ifd(34665).update({36867: "2026:11:20 18:59:59", 37500: b"maker note", 40962: 72, 40963: 48})
    block.get_ifd(34853).update({1: "N", 2: (52.0, 31.0, 12.5)})
    if orientation:
        block[274] = orientation
    return block


def pillow(image: Image.Image | np.ndarray, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, name, **options)
    return file.getvalue()


def reopened(encoded: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(encoded))
    image.load()
    return image


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """The array as it is seen upright."""
    stored = Image.fromarray(array)
    stored.getexif()[274] = orientation
    return np.asarray(ImageOps.exif_transpose(stored))


def refusal(source: bytes | Path, **options: int) -> PictureError:
    with pytest.raises(PictureError) as caught:
        picture.load(source, **options)
    assert caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 1
    return caught.value


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png16(array: np.ndarray, *chunks: tuple[bytes, bytes], colour: int | None = None) -> bytes:
    """A 16-bit PNG without filters, made here: an encoder of ours must not be its own witness."""
    height, width, channels = array.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if colour is None else colour
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
