"""Small honest pictures of every kind that is read."""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from lowlight_cli import picture
from lowlight_cli.picture import png, tiff

HEIGHT, WIDTH = 20, 28


def pixels(channels: int = 3, kind: type = np.uint8, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A gradient with grain, (H, W, C)."""
    rng = np.random.default_rng(channels)
    top = np.iinfo(kind).max
    ramp = np.linspace(0, top / 2, width)[None, :, None] + rng.integers(0, top // 3, (height, width, channels))
    return ramp.astype(kind)


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    """A file as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def pictures() -> dict[str, bytes]:
    """Picture files by name."""
    rgb, rgba = Image.fromarray(pixels()), Image.fromarray(pixels(4), "RGBA")
    gray, large = rgb.convert("L"), Image.fromarray(pixels(height=150, width=210))
    exif = Image.Exif()
    exif[271], exif[274] = "Camera", 6
    exif.get_ifd(34665).update({37500: b"maker note", 40962: WIDTH, 40963: HEIGHT})
    exif.get_ifd(34853).update({1: "N", 2: (52.0, 31.0, 12.5)})
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    beside = {"exif": exif, "icc_profile": icc}
    found = {
        "jpg": saved(rgb, "JPEG"),
        "jpg beside": saved(rgb, "JPEG", dpi=(72, 72), comment=b"by \xe9", **beside),
        "jpg progressive": saved(large, "JPEG", progressive=True, subsampling=2),
        "jpg gray": saved(gray, "JPEG"),
        "jpg cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "jpg mpo": saved(rgb, "MPO", save_all=True, append_images=[rgb]),
        "webp": saved(rgb, "WEBP", **beside, xmp=b"<x/>"),
        "webp lossless": saved(rgb, "WEBP", lossless=True),
        "webp alpha": saved(rgba, "WEBP", quality=50),
        "webp animated": saved(rgb, "WEBP", save_all=True, append_images=[gray.convert("RGB")]),
        "avif": saved(rgb, "AVIF", **beside),
        "avif alpha": saved(rgba, "AVIF"),
        "avif large": saved(large, "AVIF"),
        "bmp": saved(rgb, "BMP"),
        "bmp gray": saved(gray, "BMP"),
        "bmp palette": saved(rgb.convert("P"), "BMP"),
        "bmp alpha": saved(rgba, "BMP"),
        "bmp bits": saved(gray.convert("1"), "BMP"),
        "bmp rle": rle_bmp(),
        "gif": saved(gray, "GIF"),
    }
    return found | pngs(rgb, rgba, beside) | tiffs(rgb, rgba, gray, beside) | maps(rgb, gray) | extras(large)


def extras(large: Image.Image) -> dict[str, bytes]:
    """What the extras `raw` and `heif` read; HEIC only where its package is there to write one."""
    found = {"dng": dng()}
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        file = io.BytesIO()
        pillow_heif.from_pillow(large.crop((0, 0, 64, 64))).save(file, quality=50)
        found["heic"] = file.getvalue()
    return found


def dng() -> bytes:
    """A camera's 32 x 24 samples, as a DNG."""
    samples = pixels(1, np.uint16, 24, 32)[..., 0].astype("<u2").tobytes()
    shorts = {258: (16,), 259: (1,), 262: (32803,), 274: (1,), 277: (1,), 284: (1,), 33421: (2, 2), 50713: (1, 1)}
    shorts |= {50714: (512,), 50717: (60000,), 50778: (21,)}
    longs = {254: (0,), 256: (32,), 257: (24,), 273: (8,), 278: (24,), 279: (len(samples),)}
    entries = [tiff.integers(tag, tiff.SHORT, values, "<") for tag, values in shorts.items()]
    entries += [tiff.integers(tag, tiff.LONG, values, "<") for tag, values in longs.items()]
    entries += [tiff.Entry(33422, 1, 4, bytes([0, 1, 1, 2])), tiff.Entry(50706, 1, 4, bytes([1, 4, 0, 0]))]
    entries += [
        tiff.Entry(
            50721, 10, 9, struct.pack("<18i", *np.eye(3, dtype=int).ravel().repeat(2).clip([0, 1] * 9).tolist())
        ),
        tiff.Entry(50708, 2, 2, b"M\0"),
    ]
    at = 8 + len(samples)
    return tiff.header("<", at) + samples + tiff.build(entries, "<", at)


def pngs(rgb: Image.Image, rgba: Image.Image, beside: Mapping[str, Any]) -> dict[str, bytes]:
    """PNG of all colour kinds and depths."""
    gray, palette = rgb.convert("L"), rgb.convert("P")
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "night" * 9, zip=True)
    texts.add_itxt("Comment", "\u591c", "ja", "\u8457\u8005", zip=True)
    found = {"png": saved(rgb, "PNG", dpi=(300, 300), pnginfo=texts, **beside), "png alpha": saved(rgba, "PNG")}
    found |= {"png gray": saved(gray, "PNG", transparency=5), "png bits": saved(gray.convert("1"), "PNG")}
    found |= {"png la": saved(gray.convert("LA"), "PNG"), "png palette": saved(palette, "PNG", transparency=b"\1\2\3")}
    found |= {"png 16": saved(Image.fromarray(pixels(1, np.uint16)[..., 0]), "PNG")}
    for channels in (3, 4):
        deep = cv2.imencode(".png", pixels(channels, np.uint16))[1].tobytes()
        found |= {f"png 16 {channels}": deep}
    found["png interlaced"] = interlaced(8, 2)
    found["png interlaced 16"] = interlaced(16, 6)
    return found


def interlaced(bits: int, colour: int) -> bytes:
    """An interlaced PNG of zeros with a filter of each kind."""
    channels = {2: 3, 6: 4}[colour]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for left, top, across, down in passes:
        columns = len(range(left, WIDTH, across))
        rows += b"".join(bytes([y % 5]) + bytes(columns * channels * bits // 8) for y in range(top, HEIGHT, down))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 1)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return png.MAGIC + b"".join(png.chunk(*part) for part in parts)


def tiffs(rgb: Image.Image, rgba: Image.Image, gray: Image.Image, beside: Mapping[str, Any]) -> dict[str, bytes]:
    """TIFF of all packings, layouts and depths."""
    found = {"tiff": saved(rgb, "TIFF", dpi=(72, 72), **beside), "tiff alpha": saved(rgba, "TIFF")}
    for packing in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "zstd", "lzma"):
        found[f"tiff {packing}"] = saved(rgb, "TIFF", compression=packing)
    for packing in ("group3", "group4", "tiff_ccitt"):
        found[f"tiff {packing}"] = saved(gray.convert("1"), "TIFF", compression=packing)
    found |= {"tiff palette": saved(rgb.convert("P"), "TIFF"), "tiff cmyk": saved(rgb.convert("CMYK"), "TIFF")}
    found["tiff lab"] = saved(Image.new("LAB", (8, 8)), "TIFF")
    for channels in (3, 4):
        deep = pixels(channels, np.uint16)
        found[f"tiff 16 {channels}"] = picture.encode(picture.from_array(deep), "tiff")
        found[f"tiff 16 lzw {channels}"] = cv2.imencode(".tif", deep)[1].tobytes()
    found["tiff 16 gray"] = saved(Image.fromarray(pixels(1, np.uint16)[..., 0]), "TIFF")
    found["tiff pages"] = saved(rgb, "TIFF", save_all=True, append_images=[gray])
    for order, planes, kind in (("<", 1, "u2"), (">", 1, "u1"), ("<", 2, "u1")):
        found[f"tiff tiles {order}{planes}{kind}"] = tiled(order, planes, kind)
    return found


def tiled(order: str, planes: int, kind: str) -> bytes:
    """A TIFF of 32 x 32 pixels in tiles of 16, channels side by side or in planes."""
    side, width = 16, int(kind[1])
    count = 4 * (3 if planes == 2 else 1)
    size = side * side * width * (1 if planes == 2 else 3)
    data = np.arange(count * size // width).astype(f"{order}{kind}").tobytes()
    behind = 8 + len(data)
    places = struct.pack(
        f"{order}{2 * count}I3HH", *(8 + size * i for i in range(count)), *[size] * count, *[8 * width] * 3, 0
    )
    rows = [
        (256, 4, 1, 32),
        (257, 4, 1, 32),
        (258, 3, 3, behind + 8 * count),
        (259, 4, 1, 1),
        (262, 4, 1, 2),
        (277, 4, 1, 3),
    ]
    rows += [
        (284, 4, 1, planes),
        (322, 4, 1, side),
        (323, 4, 1, side),
        (324, 4, count, behind),
        (325, 4, count, behind + 4 * count),
    ]
    table = struct.pack(f"{order}H", len(rows)) + b"".join(struct.pack(f"{order}HHII", *row) for row in rows) + bytes(4)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}I", behind + len(places)) + data + places + table


def rle_bmp() -> bytes:
    """A BMP of 8 x 4 pixels in runs."""
    palette, body = bytes(range(64)), b"\x08\x05\0\0" * 4 + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 8, 4, 1, 8, 1, len(body), 0, 0, 16, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(palette) + len(body), 0, 0, 54 + len(palette)) + head + palette + body


def maps(rgb: Image.Image, gray: Image.Image) -> dict[str, bytes]:
    """PPM and its kin, packed and as text."""
    found = {"ppm": saved(rgb, "PPM"), "pgm": saved(gray, "PPM"), "pbm": saved(gray.convert("1"), "PPM")}
    found["ppm 16"] = picture.encode(picture.from_array(pixels(3, np.uint16)), "ppm")
    numbers = " ".join(str(value) for value in pixels(3).ravel())
    found["ppm text"] = f"P3\n# night\n{WIDTH} {HEIGHT}\n255\n{numbers}\n".encode()
    return found | {"pgm text": b"P2 3 2 99\n1 2 3\n4 5 6\n", "pbm text": b"P1\n4 2\n1 0 1 0\n0101\n"}
