"""Pictures survive reading and writing: pixels, depth, alpha and grey; what cannot be written is refused."""

from __future__ import annotations

import errno
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_files import PHOTO, SRGB, exif, noise, pillow, png16, reopened
from PIL import Image

from lowlight_cli import picture
from lowlight_cli.cli.enhance import command
from lowlight_cli.errors import OptionError, PictureError

LOSSLESS = ("png", "tiff", "bmp", "ppm")


@pytest.mark.parametrize("format", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_what_a_lossless_format_holds_comes_back_exactly(format: str, channels: int, kind: type) -> None:
    before = picture.from_array(noise(17, 23, channels, kind=kind))
    after = picture.load(picture.encode(before, format))
    lost = picture.losses(before, format)
    assert after.bits == (8 if "16 bit" in lost else before.bits)
    assert after.gray == (channels == 1)
    assert (after.alpha is None) == (before.alpha is None or "alpha" in lost)
    if "16 bit" not in lost:
        assert np.array_equal(after.pixels, before.pixels)
        assert after.alpha is None or np.array_equal(after.alpha, before.alpha)


@pytest.mark.parametrize(("format", "floor"), [("jpg", 38), ("webp", 34), ("avif", 38)])
def test_lossy_formats_stay_close(format: str, floor: float) -> None:
    after = picture.load(picture.encode(picture.from_array(PHOTO), format))
    error = np.mean((after.pixels.astype(float) - PHOTO) ** 2)
    assert 10 * np.log10(255**2 / error) > floor
    assert after.format == format


@pytest.mark.parametrize(("format", "quality"), [("jpg", 95), ("webp", 95), ("avif", 90)])
def test_without_a_quality_it_is_the_one_that_the_help_states(format: str, quality: int) -> None:
    before = picture.from_array(PHOTO)
    plain, same, less = (picture.encode(before, format, quality=q) for q in (None, quality, quality - 3))
    assert plain == same != less
    (option,) = (option for option in command.params if option.name == "quality")
    assert option.help == "Quality of JPEG, WebP and AVIF.  [default: 95, 95, 90]"


def test_webp_at_quality_100_is_lossless_with_alpha() -> None:
    before = picture.from_array(noise(9, 11, 4))
    after = picture.load(picture.encode(before, "webp", quality=100))
    assert np.array_equal(after.pixels, before.pixels)
    assert np.array_equal(after.alpha, before.alpha)


@pytest.mark.parametrize("quality", [90, 89])
def test_jpeg_colour_is_subsampled_only_below_quality_90(quality: int) -> None:
    encoded = picture.encode(picture.from_array(PHOTO), "jpg", quality=quality)
    sampling = reopened(encoded).layer[0][1:3]
    assert sampling == ((1, 1) if quality == 90 else (2, 2))


def test_a_dark_16_bit_png_keeps_every_level() -> None:
    levels = np.resize(np.arange(200, dtype=np.uint16), (20, 30, 3))
    levels = levels + np.uint16([0, 1, 2])
    encoded = png16(levels)
    assert reopened(encoded).getextrema()[0][1] == 0, "the trap: Pillow gives a black picture"
    found = picture.load(encoded)
    assert found.bits == 16
    assert np.array_equal(found.pixels, levels)
    assert np.array_equal(picture.load(picture.encode(found, "png")).pixels, levels)
    assert np.array_equal(picture.load(picture.encode(found, "tiff")).pixels, levels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_opencv_reads_the_16_bit_pngs_written_here(channels: int) -> None:
    array = noise(31, 29, channels, kind=np.uint16)
    colours = np.repeat(array[..., :1], 3, axis=2) if channels < 3 else array[..., :3].copy()
    alpha = array[..., -1].copy() if channels in (2, 4) else None
    made = picture.Picture(pixels=colours, alpha=alpha, gray=channels < 3)
    read = cv2.imdecode(np.frombuffer(picture.encode(made, "png"), np.uint8), cv2.IMREAD_UNCHANGED)
    read = read[..., None] if read.ndim == 2 else read
    assert np.array_equal(read[..., :3][..., ::-1] if channels > 1 else np.repeat(read, 3, axis=2), colours)
    assert alpha is None or np.array_equal(read[..., 3], alpha)
    back = picture.load(picture.encode(made, "png"))
    assert back.gray == (channels < 3)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiffs_of_others_are_read_exactly(compression: int, channels: int) -> None:
    array = noise(40, 50, channels, kind=np.uint16)
    stored = np.ascontiguousarray(array[..., [2, 1, 0, 3][:channels]] if channels > 1 else array)
    encoded = cv2.imencode(".tif", stored, [cv2.IMWRITE_TIFF_COMPRESSION, compression])[1].tobytes()
    found = picture.load(encoded)
    assert np.array_equal(found.pixels[..., :channels], array[..., :3])
    assert (found.gray, found.bits) == (channels == 1, 16)
    assert channels < 4 or np.array_equal(found.alpha, array[..., 3])


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pillow_and_opencv_read_the_tiffs_written_here(kind: type, alpha: bool) -> None:
    array = noise(33, 27, 4 if alpha else 3, kind=kind)
    encoded = picture.encode(picture.from_array(array), "tiff")
    if kind == np.uint16 or not alpha:  # OpenCV multiplies 8-bit colours with their alpha
        read = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(read[..., [2, 1, 0, 3][: array.shape[2]]], array)
    assert np.array_equal(np.asarray(reopened(encoded)), array >> 8 if kind == np.uint16 else array)


def test_a_gray_jpeg_stays_gray_and_writes_the_luma() -> None:
    found = picture.load(pillow(PHOTO[..., 1].copy(), "JPEG", quality=100))
    assert found.gray
    for format in ("jpg", "png", "tiff", "bmp", "avif", "ppm"):
        assert picture.load(picture.encode(found, format)).gray, format
    assert np.array_equal(picture.load(picture.encode(found, "png")).pixels, found.pixels)
    tinted = picture.Picture(pixels=np.full((2, 2, 3), (10, 20, 250), np.uint8), gray=True)
    assert (picture.load(picture.encode(tinted, "png")).pixels == 43).all()


def test_cmyk_becomes_rgb_with_a_notice() -> None:
    encoded = pillow(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", quality=95)
    found = picture.load(encoded)
    assert np.array_equal(found.pixels, np.asarray(reopened(encoded).convert("RGB")))
    assert "CMYK" in found.notices[0]
    assert picture.load(pillow(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", icc_profile=b"x" * 200)).icc is None


@pytest.mark.parametrize(
    ("mode", "gray", "alpha"),
    [("1", True, False), ("L", True, False), ("LA", True, True), ("P", False, False), ("RGBA", False, True)],
)
def test_unusual_modes_are_converted_rightly(mode: str, gray: bool, alpha: bool) -> None:
    image = Image.fromarray(PHOTO).convert(mode)
    found = picture.load(pillow(image, "PNG"))
    assert (found.gray, found.alpha is not None) == (gray, alpha)
    assert np.array_equal(found.pixels, np.asarray(image.convert("RGB")))


def test_transparency_by_colour_becomes_alpha() -> None:
    palette = Image.fromarray(PHOTO).quantize(16)
    palette.info["transparency"] = bytes(range(0, 160, 10))
    expected = np.asarray(palette.convert("RGBA"))[..., 3]
    assert np.array_equal(picture.load(pillow(palette, "PNG")).alpha, expected)
    gray = Image.fromarray(np.array([[0, 85, 170, 255]], np.uint8))
    assert picture.load(pillow(gray, "PNG", transparency=2, bits=2)).alpha.tolist() == [[255, 255, 0, 255]]
    for channels in (1, 3):
        array = noise(3, 5, channels, kind=np.uint16)
        found = picture.load(png16(array, (b"tRNS", array[1, 2].astype(">u2").tobytes())))
        assert found.alpha[1, 2] == 0
        assert (found.alpha == 65535).sum() == 14
        assert np.array_equal(found.pixels, np.broadcast_to(array, (3, 5, 3)))


def test_odd_maxima_and_plain_text_of_ppm_are_scaled() -> None:
    assert picture.load(b"P5 # four bits\n3 1\n15\n\x00\x07\x0f").pixels[0, :, 0].tolist() == [0, 119, 255]
    assert picture.load(b"P3\n1 1\n1000\n0 500 1000\n").pixels.tolist() == [[[0, 32768, 65535]]]
    assert picture.load(b"P1\n2 1\n1 0\n").pixels[0, :, 0].tolist() == [0, 255]


def test_16_bit_min_is_white_tiffs_are_inverted() -> None:
    array = noise(5, 7, kind=np.uint16)
    encoded = cv2.imencode(".tif", array, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()
    start = int.from_bytes(encoded[4:8], "little")
    black = encoded[:start] + encoded[start:].replace(
        struct.pack("<HHIH", 262, 3, 1, 1), struct.pack("<HHIH", 262, 3, 1, 0)
    )
    assert black != encoded
    assert np.array_equal(picture.load(black).pixels[..., 0], 65535 - array)


def test_the_depth_asked_for_is_written() -> None:
    eight = picture.from_array(noise(5, 7, 3))
    deep = picture.load(picture.encode(eight, "png", depth=16))
    assert np.array_equal(deep.pixels, eight.pixels.astype(np.uint16) * 257)
    assert np.array_equal(picture.load(picture.encode(deep, "tiff", depth=8)).pixels, eight.pixels)
    assert np.array_equal(picture.load(picture.encode(deep, "bmp")).pixels, eight.pixels)
    with pytest.raises(OptionError, match="png, tiff, ppm"):
        picture.encode(eight, "jpg", depth=16)


def test_losses_name_what_a_format_cannot_hold() -> None:
    full = picture.load(png16(noise(2, 2, 4, kind=np.uint16), (b"eXIf", exif().tobytes()[6:])))
    assert picture.losses(full, "png") == picture.losses(full, "tiff") == ()
    assert picture.losses(full, "jpg") == ("alpha", "16 bit")
    assert picture.losses(full, "ppm") == ("alpha", "EXIF")
    assert picture.losses(full, "webp", 8) == ()
    huge = picture.Picture(pixels=full.pixels, exif=full.exif + bytes(70_000))
    assert picture.losses(huge, "jpg", 8) == ("EXIF",)
    assert picture.load(picture.encode(huge, "jpg")).exif is None


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "tiff", "avif", "bmp", "ppm"])
def test_the_same_picture_gives_the_same_bytes(format: str) -> None:
    made = picture.load(pillow(PHOTO, "JPEG", exif=exif(3), icc_profile=SRGB))
    assert picture.encode(made, format) == picture.encode(made, format)


def test_floats_and_integers_meet_exactly() -> None:
    for kind, bits in ((np.uint8, 8), (np.uint16, 16)):
        every = np.arange(2**bits).astype(kind)
        assert picture.to_float(every).dtype == np.float32
        assert picture.to_float(every)[[0, -1]].tolist() == [0, 1]
        assert np.array_equal(picture.to_integers(picture.to_float(every), bits), every)
    assert picture.to_integers(np.float32([-1, 2, 0.5]), 8).tolist() == [0, 255, 128]


def test_rounding_to_8_bits_is_that_of_the_definition():
    """Halves go to the even level, in single precision; what lies outside, however far, to the nearest end."""
    halves = ((np.arange(255) + 0.5) / 255).astype(np.float32)
    values = [
        halves,
        *(np.nextafter(halves, np.float32(end)) for end in (-1, 2)),
        np.float32([-3e38, -1e-40, 1e9, 3e38]),
    ]
    values = np.concatenate([*values, np.random.default_rng(0).normal(0.5, 0.5, 9000).astype(np.float32)])
    clipped = np.clip(values, 0, 1)
    assert np.array_equal(picture.to_integers(values, 8), np.rint(clipped * np.float32(255)).astype(np.uint8))
    assert picture.to_integers(values[:30].reshape(2, 5, 3), 8).shape == (2, 5, 3)
    assert picture.to_integers(np.zeros((0, 4), np.float32), 8).shape == (0, 4)


def test_many_threads_load_side_by_side() -> None:
    files = [pillow(np.roll(PHOTO, shift, axis=0), name) for shift in range(4) for name in ("PNG", "TIFF", "BMP")]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(picture.load, files * 3))
    assert all(np.array_equal(one.pixels, np.roll(PHOTO, i % 12 // 3, axis=0)) for i, one in enumerate(found))


def test_pillow_images_and_arrays_become_pictures() -> None:
    image = reopened(pillow(PHOTO, "PNG", exif=exif(6)))
    assert np.array_equal(picture.from_pil(image).pixels, np.rot90(PHOTO, -1))
    assert np.array_equal(
        picture.from_pil(reopened(pillow(PHOTO, "TIFF", tiffinfo={274: 6}))).pixels, np.rot90(PHOTO, -1)
    )
    assert picture.from_array(np.float64([[0, 0.5, 1]])).pixels[0, :, 0].tolist() == [0, 32768, 65535]
    for wrong in (np.zeros((2, 2, 5), np.uint8), np.zeros((2, 2), np.int32), np.full((2, 2), np.nan), np.zeros((0, 2))):
        with pytest.raises(PictureError):
            picture.from_array(wrong)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_a_quality_out_of_range_is_an_option_error(quality: int) -> None:
    with pytest.raises(OptionError, match="between 1 and 100"):
        picture.encode(picture.from_array(PHOTO), "jpg", quality=quality)


def test_unknown_formats_and_suffixes_are_option_errors(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="gif"):
        picture.save(picture.from_array(PHOTO), tmp_path / "a.gif")
    with pytest.raises(OptionError, match="There are jpg, png"):
        picture.encode(picture.from_array(PHOTO), "jpeg2000")


def test_a_picture_too_long_for_a_format_is_refused() -> None:
    with pytest.raises(PictureError, match="16383"):
        picture.encode(picture.from_array(np.zeros((1, 16384), np.uint8)), "webp")


def test_any_name_can_be_saved_and_loaded(tmp_path: Path) -> None:
    for name in ("Nacht Straße.PNG", "夜.jpg", "🌙.tif"):
        picture.save(picture.from_array(PHOTO), tmp_path / name)
        assert picture.load(tmp_path / name).width == 72
    picture.save(picture.from_array(PHOTO), tmp_path / "no suffix", format="webp")
    assert picture.load(tmp_path / "no suffix").format == "webp"


def test_a_failed_write_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = picture.from_array(PHOTO)
    (tmp_path / "folder.png").mkdir()
    for name, reason in (("x" * 300 + ".png", "too long"), ("gone/a.png", "No such file"), ("folder.png", "directory")):
        with pytest.raises(PictureError, match=reason) as caught:
            picture.save(made, tmp_path / name)
        assert caught.value.hint
    (tmp_path / "old.png").write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PictureError, match="No space left") as caught:
        picture.save(made, tmp_path / "old.png")
    assert "Free some space" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"


@pytest.mark.parametrize("format", ["jpg", "webp", "bmp"])
def test_without_files_in_memory_the_bytes_are_the_same(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = picture.from_array(np.random.default_rng(5).integers(0, 256, (40, 60, 3), np.uint8))
    usual = picture.encode(shown, format)
    monkeypatch.delattr("os.memfd_create", raising=False)
    assert picture.encode(shown, format) == usual
