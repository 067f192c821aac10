"""HEIC: the main picture, upright, with all its bits and all that is stored beside it; never half of one."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from click.testing import CliRunner
from picture_files import PHOTO, SRGB, XMP, exif, noise, refusal, turned
from PIL import Image

from lowlight_cli import jobs, picture
from lowlight_cli.cli import console as console_module
from lowlight_cli.cli import group
from lowlight_cli.errors import DONE
from lowlight_cli.jobs import Layout
from lowlight_cli.picture import heif
from lowlight_cli.picture.metadata import EXIF_DAMAGED, ICC_UNFIT

EXACT = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
"""Lossless: no colour conversion, no subsampling."""


def heic(array: np.ndarray, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    size = (array.shape[1], array.shape[0])
    pillow_heif.encode(mode, size, np.ascontiguousarray(array).tobytes(), file, **{**EXACT, **options})
    return file.getvalue()


def saved(*images: Image.Image, **options: object) -> bytes:
    container = pillow_heif.HeifFile()
    for image in images:
        container.add_from_pillow(image)
    file = io.BytesIO()
    container.save(file, **{**EXACT, **options})
    return file.getvalue()


def test_eight_bits_come_back_as_they_were() -> None:
    read = picture.load(heic(PHOTO))
    assert np.array_equal(read.pixels, PHOTO)
    assert (read.bits, read.gray, read.alpha, read.notices) == (8, False, None, ())


@pytest.mark.parametrize("bits", [10, 12])
def test_more_bits_become_16_of_which_none_is_lost_and_white_is_white(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    top = 2**bits - 1
    values = np.linspace(0, top, 48 * 72 * 3).round().astype(np.uint16).reshape(48, 72, 3)
    read = picture.load(heic(values << (16 - bits), "RGB;16"))
    assert read.bits == 16
    assert np.array_equal(read.pixels, np.rint(values / top * 65535))


def test_grey_stays_grey() -> None:
    read = picture.load(heic(PHOTO[..., 1], "L"))
    assert read.gray
    assert np.array_equal(read.pixels[..., 0], PHOTO[..., 1])


def test_alpha_is_kept() -> None:
    read = picture.load(heic(np.dstack([PHOTO, PHOTO[..., 0]]), "RGBA"))
    assert np.array_equal(read.alpha, PHOTO[..., 0])
    assert np.array_equal(read.pixels, PHOTO)


def test_colours_that_were_multiplied_by_alpha_are_divided_by_it() -> None:
    alpha = np.full((48, 72, 1), 128, np.uint8)
    multiplied = (PHOTO.astype(int) * 128 // 255).astype(np.uint8)
    read = picture.load(heic(np.dstack([multiplied, alpha]), "RGBa"))
    assert np.abs(read.pixels.astype(int) - PHOTO).max() <= 2
    assert (read.alpha == 128).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_upright_and_its_exif_agrees(orientation: int) -> None:
    stored = pillow_heif.from_pillow(Image.fromarray(PHOTO))
    stored.info["exif"] = exif(orientation).tobytes()
    file = io.BytesIO()
    stored.save(file, **EXACT)  # as pillow-heif does it: turned by the boxes irot and imir too
    assert (b"irot" in file.getvalue() or b"imir" in file.getvalue()) == (orientation > 1)
    read = picture.load(file.getvalue())
    assert np.array_equal(read.pixels, turned(PHOTO, orientation))
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + read.exif)
    assert kept[271] == "Camera"
    assert kept.get(274, 1) == 1


def test_profile_and_xmp_are_kept() -> None:
    stored = Image.fromarray(PHOTO)
    stored.info |= {"icc_profile": SRGB, "xmp": XMP.replace(b'"6"', b'"1"')}
    read = picture.load(saved(stored))
    assert read.icc == SRGB
    assert b"night" in read.xmp
    assert not {ICC_UNFIT, EXIF_DAMAGED} & {*read.notices}


def test_of_several_pictures_the_main_one_is_read_with_a_notice() -> None:
    others = [Image.fromarray(noise(16, 16, 3)) for _ in range(2)]
    read = picture.load(saved(others[0], Image.fromarray(PHOTO), others[1], primary_index=1))
    assert np.array_equal(read.pixels, PHOTO)
    assert read.notices == ("The HEIC holds 3 pictures; only the main one was read.",)


def test_a_gain_map_is_left_behind_with_a_notice() -> None:
    data = heic(np.dstack([PHOTO, PHOTO[..., 0]]), "RGBA")
    kind = b"urn:mpeg:hevc:2015:auxid:"
    assert data.count(kind + b"1") == 1
    read = picture.load(data.replace(kind + b"1", kind + b"7"))  # no longer an alpha
    assert read.notices == (heif.AUXILIARY,)
    assert read.alpha is None
    assert np.array_equal(read.pixels, PHOTO)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_values_are_refused(transfer: int, name: str) -> None:
    error = refusal(heic(PHOTO, transfer_characteristics=transfer, transfer_characteristic=transfer))
    assert f"HDR values ({name}" in error.message


def test_colours_of_another_space_without_a_profile_are_told() -> None:
    assert "Display P3" in picture.load(heic(PHOTO, color_primaries=12)).notices[0]


def test_no_part_of_a_cut_file_is_taken_for_a_picture() -> None:
    whole = heic(PHOTO)
    for size in {*range(1, len(whole), 97), *range(len(whole) - 20, len(whole))}:
        refusal(whole[:size])


def test_a_file_cut_behind_the_picture_is_damaged_too() -> None:
    tail = b"\0\0\1\0free" + bytes(248)
    assert picture.load(heic(PHOTO) + tail).width == 72
    assert "damaged" in refusal(heic(PHOTO) + tail[:-1]).message


def test_the_limit_of_pixels_is_checked_before_decoding() -> None:
    assert "--max-pixels 3456" in refusal(heic(PHOTO), max_pixels=3455).hint


def test_planning_knows_the_size_of_a_heic(tmp_path: Path) -> None:
    path = tmp_path / "night.heic"
    path.write_bytes(heic(PHOTO))
    assert picture.pixel_count(path) == 48 * 72


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Callable[..., Path]) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console_module, "progress_bar", None)
    photo(tmp_path / "in" / "IMG_2.JPG", 48, 72)
    (tmp_path / "in" / "IMG_2.HEIC").write_bytes(heic(PHOTO))
    return tmp_path


@pytest.mark.usefixtures("fakes", "folder")
def test_heics_in_a_folder_are_enhanced_and_written_as_png() -> None:
    done = CliRunner().invoke(group, ["enhance", "in", "--out", "out"])
    assert done.exit_code == DONE, done.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == ["IMG_2.HEIC.png", "IMG_2.JPG"]


@pytest.mark.usefixtures("fakes", "folder")
def test_a_heic_through_a_pipe_comes_out_as_png() -> None:
    done = CliRunner().invoke(group, ["enhance", "-", "--out", "-"], input=heic(PHOTO))
    assert done.exit_code == DONE, done.stderr
    assert picture.load(done.stdout_bytes).format == "png"


@pytest.mark.usefixtures("folder")
def test_without_pillow_heif_they_are_passed_over_and_one_that_is_named_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert [job.source.name for job in jobs.plan(["in"], Layout(out=Path("out")))] == ["IMG_2.JPG"]
    error = refusal(heic(PHOTO))
    assert "pillow-heif" in error.message
    assert 'pip install -e ".[heif]" -c constraints.txt' in error.hint
