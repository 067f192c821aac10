"""Damaged, hostile and unsupported files end in a PictureError with a remedy."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_files import chunk, pillow, refusal
from PIL import Image
from skimage import data

from lowlight_cli import picture
from lowlight_cli.errors import PictureError
from lowlight_cli.picture import tiff

PHOTO = data.chelsea()[100:164, 100:196]
DEEP = PHOTO.astype(np.uint16) * 100 + np.arange(96, dtype=np.uint16)[:, None]


WHOLE = {
    "jpg": pillow(PHOTO, "JPEG"),
    "progressive": pillow(PHOTO, "JPEG", progressive=True),
    "png": pillow(PHOTO, "PNG"),
    "png16": picture.encode(picture.from_array(DEEP), "png"),
    "webp": pillow(PHOTO, "WEBP"),
    "lossless webp": pillow(PHOTO, "WEBP", lossless=True),
    "tiff": pillow(PHOTO, "TIFF"),
    "tiff lzw": pillow(PHOTO, "TIFF", compression="tiff_lzw"),
    "tiff16": picture.encode(picture.from_array(DEEP), "tiff"),
    "tiff16 lzw": cv2.imencode(".tif", DEEP)[1].tobytes(),
    "bmp": pillow(PHOTO, "BMP"),
    "avif": pillow(PHOTO, "AVIF"),
    "ppm": pillow(PHOTO, "PPM"),
    "ppm16": picture.encode(picture.from_array(DEEP), "ppm"),
}


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9, 0.99, -1])
@pytest.mark.parametrize("name", WHOLE)
def test_a_truncated_file_is_an_error_never_a_gray_half(name: str, kept: float, capfd: pytest.CaptureFixture) -> None:
    whole = WHOLE[name]
    picture.load(whole)
    cut = whole[: int(len(whole) * kept)] if kept > 0 else whole[:-1]
    refusal(cut)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("filler", [b"\0", b"\xff"])
@pytest.mark.parametrize("name", ["jpg", "progressive"])
def test_half_a_jpeg_filled_up_to_its_size_is_an_error(name: str, filler: bytes) -> None:
    whole = WHOLE[name]
    half = whole[: len(whole) // 2]
    assert "end of the JPEG" in refusal(half + filler * (len(whole) - len(half))).message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiff", "missing at its end"),
        ("ppm16", "missing at its end"),
        ("webp", "end of the WebP"),
        ("png", "too early"),
    ],
)
def test_the_message_says_what_is_missing(name: str, words: str) -> None:
    assert words in refusal(WHOLE[name][: len(WHOLE[name]) * 9 // 10]).message


def png(width: int, height: int, bits: int, colour: int, rows: bytes, interlace: int = 0, extra: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_with_too_few_rows_is_an_error_though_its_chunks_are_whole(bits: int) -> None:
    row = b"\0" + bytes(10 * 3 * bits // 8)
    assert picture.load(png(10, 8, bits, 2, row * 8)).height == 8
    assert "missing" in refusal(png(10, 8, bits, 2, row * 7)).message


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (8, 8), (13, 9)])
def test_interlaced_16_bit_pngs_are_read(width: int, height: int) -> None:
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    array = np.arange(width * height * 3, dtype=np.uint16).reshape(height, width, 3) * 11
    parts = [array[top::down, left::across] for left, top, across, down in passes]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts if part.size for row in part)
    assert np.array_equal(picture.load(png(width, height, 16, 2, rows, interlace=1)).pixels, array)
    refusal(png(width, height, 16, 2, rows[:-2], interlace=1))


def test_a_wrong_checksum_in_a_png_is_an_error() -> None:
    for name in ("png", "png16"):
        broken = bytearray(WHOLE[name])
        broken[len(broken) // 2] ^= 1
        assert "checksum" in refusal(bytes(broken)).message


def bombs() -> dict[str, bytes]:
    jpeg = WHOLE["jpg"]
    at = jpeg.index(b"\xff\xc0")
    tiff = pillow(PHOTO, "TIFF")
    start = int.from_bytes(tiff[4:8], "little")
    table = tiff[start:]
    for tag, size in ((256, 96), (257, 64)):
        assert table.count(struct.pack("<HHII", tag, 4, 1, size)) == 1
        table = table.replace(struct.pack("<HHII", tag, 4, 1, size), struct.pack("<HHII", tag, 4, 1, 30000))
    big = (30000 - 1).to_bytes(3, "little")
    return {
        "jpg": jpeg[: at + 5] + struct.pack(">HH", 30000, 30000) + jpeg[at + 9 :],
        "png": png(30000, 30000, 8, 2, b""),
        "png16": png(30000, 30000, 16, 2, b""),
        "webp": b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + big + big + bytes(80),
        "tiff": tiff[:start] + table,
        "bmp": WHOLE["bmp"][:18] + struct.pack("<ii", 30000, 30000) + WHOLE["bmp"][26:],
        "ppm": b"P6 30000 30000 255\n",
        "bitmap": b"P4 30000 30000\n",
    }


@pytest.mark.parametrize("name", bombs())
def test_a_header_bomb_is_refused_before_decoding(name: str) -> None:
    error = refusal(bombs()[name])
    assert "30000 x 30000" in error.message
    assert "200,000,000" in error.message
    assert "--max-pixels 900000000" in error.hint


@pytest.mark.parametrize("name", WHOLE)
def test_the_limit_of_pixels_is_the_callers(name: str) -> None:
    assert picture.load(WHOLE[name], max_pixels=96 * 64).width == 96
    assert "96 x 64" in refusal(WHOLE[name], max_pixels=96 * 64 - 1).message


def test_pillows_own_limit_neither_warns_nor_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("jpg", "png", "webp", "tiff", "tiff lzw", "bmp", "avif"):
            assert picture.load(WHOLE[name]).width == 96
    assert Image.MAX_IMAGE_PIXELS == 10


def test_files_that_are_no_whole_still_picture_are_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("hello, this is no picture")
    assert "not a picture" in refusal(text).message
    assert "folder" in refusal(tmp_path).message
    assert "No such file" in refusal(tmp_path / "missing.png").message
    assert "empty" in refusal(b"").message
    assert "GIF" in refusal(pillow(PHOTO[..., 0].copy(), "GIF")).message
    assert "damaged" in refusal(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").message
    assert "BigTIFF" in refusal(b"II+\0" + bytes(60)).message
    assert "0 x 5" in refusal(png(0, 5, 8, 2, b"")).message
    assert "0 x 1" in refusal(b"P5 0 1 255\n").message


@pytest.mark.parametrize("name", ["PNG", "WEBP", "AVIF", "TIFF"])
def test_animations_and_pages_are_refused(name: str) -> None:
    frames = [Image.fromarray(np.roll(PHOTO, shift, axis=0)) for shift in (0, 9)]
    file = io.BytesIO()
    frames[0].save(file, name, save_all=True, append_images=frames[1:])
    assert "pictures" in refusal(file.getvalue()).message


def test_the_main_picture_of_an_mpo_is_read_with_a_notice() -> None:
    file = io.BytesIO()
    second = Image.fromarray(PHOTO[::2, ::2].copy())
    Image.fromarray(PHOTO).save(file, "MPO", save_all=True, append_images=[second])
    found = picture.load(file.getvalue())
    assert (found.width, found.height, found.format) == (96, 64, "jpg")
    assert "main picture" in found.notices[0]


@pytest.mark.parametrize("packed", [b"a\0\1\1\0\0", b"a\0\1\0\0\0"], ids=["Pillow skips it", "Pillow unpacks it"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_text_that_unpacks_to_too_much_is_refused_wherever_it_stands(deep: bool, packed: bytes) -> None:
    bomb = chunk(b"iTXt", packed + zlib.compress(bytes(9 << 20)))
    encoded = picture.encode(picture.from_array(np.zeros((2, 3, 3), np.uint16 if deep else np.uint8)), "png")
    refusal(encoded[:33] + bomb + encoded[33:])
    # Pillow reads nothing behind a part that it takes for no PNG's, and OpenCV nothing of such a file.
    message = refusal(encoded[:-12] + chunk(b"a\0b\1", b"") + bomb + encoded[-12:]).message
    assert deep or "a text in it unpacks to more" in message


def test_a_text_that_is_cut_off_is_left_out() -> None:
    cut = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"some text of a night")[:-6])
    encoded = picture.encode(picture.from_array(np.zeros((2, 3, 3), np.uint8)), "png")
    assert picture.load(encoded[:-12] + chunk(b"a\0b\1", b"") + cut + encoded[-12:]).texts == ()


def strips(compression: str | None, keep: slice, share: int) -> bytes:
    """A TIFF of strips of eight lines that says it has only some of them, each with a share of its bytes."""
    encoded = pillow(PHOTO, "TIFF", compression=compression, strip_size=8 * PHOTO[0].nbytes)
    entries, _ = tiff.directory(encoded, tiff.first(encoded))
    for tag, divisor in ((273, 1), (279, share)):
        numbers = entries[tag].numbers("<")[keep] // np.uint64(divisor)
        entries[tag] = tiff.integers(tag, tiff.LONG, numbers.tolist(), "<")
    start = len(encoded) + len(encoded) % 2
    encoded = encoded[:4] + struct.pack("<I", start) + encoded[8:].ljust(start - 8, b"\0")
    return encoded + tiff.build(entries.values(), "<", start)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_tiff_with_fewer_or_shorter_strips_than_it_has_lines_is_refused(compression: str | None) -> None:
    whole = picture.load(strips(compression, slice(None), 1)).pixels
    assert np.array_equal(whole, PHOTO) or (compression == "jpeg" and abs(whole - PHOTO.astype(int)).mean() < 9)
    assert "damaged" in refusal(strips(compression, slice(-1), 1)).message
    if compression is None:  # one strip, and all of it is there
        assert np.array_equal(picture.load(strips(compression, slice(None), 2)).pixels, PHOTO)
    else:
        assert "damaged" in refusal(strips(compression, slice(None), 2)).message


@pytest.mark.parametrize("order", "<>")
def test_signed_tiffs_are_refused_and_kinds_that_are_not_read_are_not_called_damaged(order: str) -> None:
    def made(bits: int, *more: tuple[int, int, int, int], count: int = 1) -> bytes:
        pixels = bytes(4 * 4 * count * bits // 8)
        rows = [(256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
        rows += [(277, 3, 1, count), (278, 3, 1, 4), (279, 4, 1, len(pixels)), *more]
        entries = [tiff.integers(tag, kind, [value], order) for tag, kind, _, value in rows]
        start = 8 + len(pixels)
        return tiff.header(order, start) + pixels + tiff.build(entries, order, start)

    assert not picture.load(made(8)).pixels.any()
    assert "sample format 2" in refusal(made(8, (339, 3, 1, 2))).message
    error = refusal(made(16, (338, 3, 1, 2), count=2))
    assert "This kind of TIFF is not read (2 channels of 16 bits" in error.message
    assert "Convert it" in error.hint


@pytest.mark.parametrize("array", [np.ones((4, 4), np.float32), np.ones((4, 4), np.int32)])
def test_float_and_32_bit_tiffs_are_refused(array: np.ndarray) -> None:
    assert "32 bits" in refusal(pillow(array, "TIFF")).message


@pytest.mark.parametrize("planes", [1, 2])
def test_16_bit_tiffs_in_tiles_are_read_and_in_planes_refused(planes: int) -> None:
    parts = [DEEP[top : top + 32, left : left + 32] for top in (0, 32) for left in (0, 32, 64)]
    if planes == 2:
        parts = [part[..., channel] for channel in range(3) for part in parts]
    count, size = len(parts), parts[0].nbytes
    pixels = b"".join(part.astype("<u2").tobytes() for part in parts)
    behind = 8 + len(pixels)
    places = struct.pack(f"<{2 * count}I3HH", *(8 + size * i for i in range(count)), *[size] * count, 16, 16, 16, 0)
    bits, sizes = behind + 8 * count, behind + 4 * count
    rows = [(256, 4, 1, 96), (257, 4, 1, 64), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2), (277, 3, 1, 3)]
    rows += [(284, 3, 1, planes), (322, 4, 1, 32), (323, 4, 1, 32), (324, 4, count, behind), (325, 4, count, sizes)]
    table = struct.pack("<H", 11) + b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)
    encoded = b"II*\0" + struct.pack("<I", behind + len(places)) + pixels + places + table
    if planes == 1:
        assert np.array_equal(picture.load(encoded).pixels, DEEP)
    else:
        assert "planes 2" in refusal(encoded).message


def test_damaged_exif_costs_the_exif_not_the_picture() -> None:
    found = picture.load(pillow(PHOTO, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x00rubbish"))
    assert found.exif is None
    assert "EXIF" in found.notices[0]


def test_pixels_are_counted_from_the_header(tmp_path: Path) -> None:
    for name, whole in {**WHOLE, **bombs(), "text": b"text", "empty": b""}.items():
        (tmp_path / name).write_bytes(whole)
    assert picture.pixel_count(tmp_path / "jpg") == 30000 * 30000
    assert picture.pixel_count(tmp_path / "tiff16") == picture.pixel_count(tmp_path / "avif") == 96 * 64
    assert [picture.pixel_count(tmp_path / name) for name in ("text", "empty", "gone", ".")] == [0, 0, 0, 0]


QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def load_or_refuse(broken: bytes) -> None:
    with contextlib.suppress(PictureError):
        found = picture.load(broken, max_pixels=10**6)
        assert found.pixels.shape == (found.height, found.width, 3)


@pytest.mark.parametrize("name", WHOLE)
@QUIET
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, allow_subnormal=False), st.integers(1, 255)), min_size=1, max_size=6),
    early=st.booleans(),
)
def test_flipped_bytes_raise_nothing_but_picture_errors(name: str, flips: list[tuple[float, int]], early: bool) -> None:
    broken = bytearray(WHOLE[name])
    reach = min(200, len(broken) - 1) if early else len(broken) - 1
    for place, change in flips:
        broken[int(place * reach)] ^= change
    load_or_refuse(bytes(broken))


@pytest.mark.parametrize("name", WHOLE)
@QUIET
@given(cut=st.floats(0, 1, allow_subnormal=False), tail=st.binary(max_size=40))
def test_any_cut_and_any_tail_raise_nothing_but_picture_errors(name: str, cut: float, tail: bytes) -> None:
    load_or_refuse(WHOLE[name][: int(cut * len(WHOLE[name]))] + tail)


STARTS = (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"II*\0", b"MM\0*", b"BM", b"P6 ", b"P3\n")


@QUIET
@given(start=st.sampled_from(STARTS), body=st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_picture_errors(start: bytes, body: bytes) -> None:
    load_or_refuse(start + body)


def test_texts_of_a_deep_png_that_unpack_to_too_much_are_refused_before_its_pixels(monkeypatch) -> None:
    """OpenCV unpacks them all, however many there are."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("its pixels were decoded"))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8_000_000)))
    encoded = picture.encode(picture.from_array(np.zeros((2, 3, 3), np.uint16)), "png")
    assert "Too much memory used in text chunks" in refusal(encoded[:33] + 20 * text + encoded[33:]).message
