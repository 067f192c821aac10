"""Camera raw: light comes back as it was, nothing is brightened or guessed, and half a file is no picture."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rawpy
from click.testing import CliRunner
from numpy.typing import NDArray
from picture_files import refusal, turned
from PIL import Image

from lowlight_cli import jobs, picture
from lowlight_cli.cli import console as console_module
from lowlight_cli.cli import group
from lowlight_cli.color import to_linear
from lowlight_cli.errors import ALL_FAILED, DONE, NoInput
from lowlight_cli.jobs import Layout
from lowlight_cli.picture import raw as camera_raw
from lowlight_cli.picture import tiff
from lowlight_cli.picture.metadata import EXIF_DAMAGED

BLACK, WHITE = 512, 16383
NEUTRAL = (0.5, 1.0, 0.6)
"""What the camera's red, green and blue say of white light."""
XYZ_OF_SRGB = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))

COLOURS = np.array([(0.2, 0.1, 0.05), (0.4, 0.4, 0.4), (0.02, 0.05, 0.3), (0.85, 0.9, 0.8)])
PATCHES = np.repeat(np.repeat(COLOURS[None], 48, axis=0), 24, axis=1)
"""(48, 96, 3) linear light in sRGB primaries, a colour every 24 columns."""


def rationals(tag: int, values: Iterable[float], kind: int = tiff.RATIONAL) -> tiff.Entry:
    packed = [struct.pack("<ii", round(value * 10000), 10000) for value in values]
    return tiff.Entry(tag, kind, len(packed), b"".join(packed))


def text(tag: int, words: str) -> tiff.Entry:
    return tiff.Entry(tag, 2, len(words) + 1, words.encode() + b"\0")


def exposed(light: NDArray) -> NDArray:
    """(H, W) uint16 that a sensor behind a filter R G / G B, with sRGB's primaries, makes of linear light."""
    seen = light * NEUTRAL
    sites = seen[..., 1].copy()
    sites[::2, ::2], sites[1::2, 1::2] = seen[::2, ::2, 0], seen[1::2, 1::2, 2]
    return np.rint(BLACK + sites * (WHITE - BLACK)).astype("<u2")


def dng(samples: NDArray, *more: tiff.Entry, without: tuple[int, ...] = (), pixels_first: bool = False) -> bytes:
    """An uncompressed DNG of one camera; `more` replaces entries."""
    height, width = samples.shape
    data = samples.astype("<u2").tobytes()
    matrix = np.diag(NEUTRAL) @ np.linalg.inv(np.array(XYZ_OF_SRGB))
    shorts = {258: (16,), 259: (1,), 262: (32803,), 274: (1,), 277: (1,), 284: (1,), 33421: (2, 2), 50713: (1, 1)}
    shorts |= {50714: (BLACK,), 50717: (WHITE,), 50778: (21,)}
    longs = {254: (0,), 256: (width,), 257: (height,), 273: (8,), 278: (height,), 279: (len(data),)}
    entries = {tag: tiff.integers(tag, tiff.SHORT, values, "<") for tag, values in shorts.items()}
    entries |= {tag: tiff.integers(tag, tiff.LONG, values, "<") for tag, values in longs.items()}
    given = [text(271, "Maker"), text(272, "Maker One"), text(306, "2026:11:20 19:00:00"), text(50708, "Maker One")]
    given += [tiff.Entry(33422, 1, 4, bytes([0, 1, 1, 2])), tiff.Entry(50706, 1, 4, bytes([1, 4, 0, 0]))]
    given += [rationals(50721, matrix.ravel(), 10), rationals(50728, NEUTRAL), *more]
    entries |= {entry.tag: entry for entry in given}
    entries = {tag: entry for tag, entry in entries.items() if tag not in without}
    if pixels_first:
        at = 8 + len(data)
        return tiff.header("<", at) + data + tiff.build(entries.values(), "<", at)
    at = 8 + len(tiff.build(entries.values(), "<", 8))
    entries[273] = tiff.integers(273, tiff.LONG, (at,), "<")
    return tiff.header("<", 8) + tiff.build(entries.values(), "<", 8) + data


def light(developed: picture.Picture) -> NDArray:
    """Linear light at the middle of each patch."""
    return to_linear(developed.pixels[24, 12::24] / 65535)


def notice(data: bytes) -> str:
    return picture.load(data).development


def test_the_light_of_a_scene_comes_back_in_16_bits() -> None:
    developed = picture.load(dng(exposed(PATCHES)))
    assert (developed.pixels.shape, developed.bits, developed.gray) == ((48, 96, 3), 16, False)
    np.testing.assert_allclose(light(developed), COLOURS, atol=4e-4)


@pytest.mark.parametrize("stops", [1, 4, 8])
def test_half_the_exposure_gives_half_the_light(stops: int) -> None:
    darker = picture.load(dng(exposed(PATCHES / 2**stops)))
    np.testing.assert_allclose(light(darker), COLOURS / 2**stops, atol=2e-4)


def test_white_is_the_white_level_even_where_the_brightest_sample_is_a_little_darker() -> None:
    gray = np.full((48, 96, 3), 0.9)
    np.testing.assert_allclose(light(picture.load(dng(exposed(gray)))), 0.9, atol=2e-4)


def test_more_light_than_the_white_level_is_white_and_nothing_is_made_up() -> None:
    samples = np.full((48, 96), WHITE + 1000)
    assert (picture.load(dng(samples)).pixels == 65535).all()


def test_a_white_balance_that_the_file_does_not_tell_is_that_of_daylight_and_not_guessed_from_the_picture() -> None:
    red = np.full((48, 96, 3), (0.3, 0.1, 0.1))
    data = dng(exposed(red), without=(50728,))
    np.testing.assert_allclose(light(picture.load(data)), [(0.3, 0.1, 0.1)] * 4, atol=1e-3)
    assert "daylight (the file tells none) white balance" in notice(data)


def test_the_notice_tells_all_that_was_done() -> None:
    version = ".".join(map(str, rawpy.libraw_version))
    assert notice(dng(exposed(PATCHES))) == (
        f"Developed from raw to linear light by LibRaw {version}: black level 512, white level 16383, as-shot white "
        "balance (R 2.0000, G 1.0000, B 1.6667), AHD demosaicing, camera matrix to sRGB primaries, sRGB encoding, "
        "16 bit. No brightening, tone curve, denoising or sharpening."
    )


def test_a_raw_that_libraw_finds_no_memory_for_may_be_damaged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so of small files whose header asks for absurd tables, too."""

    def starved(raw: object, *_: object, **__: object) -> None:
        raise rawpy.LibRawUnsufficientMemoryError(b"Unsufficient memory")

    monkeypatch.setattr(camera_raw, "_developed", starved)
    error = refusal(dng(exposed(PATCHES)))
    assert "finds no memory" in error.message
    assert "whole copy" in error.hint


def test_a_camera_without_a_matrix_is_told() -> None:
    assert "no camera matrix known, sensor colours taken for sRGB" in notice(dng(exposed(PATCHES), without=(50721,)))


def test_a_sensor_without_colours_gives_a_grey_picture() -> None:
    samples = np.full((48, 96), BLACK + (WHITE - BLACK) // 5)
    data = dng(samples, tiff.integers(262, tiff.SHORT, (34892,), "<"), without=(33421, 33422, 50721, 50728))
    developed = picture.load(data)
    assert developed.gray
    np.testing.assert_allclose(light(developed), 0.2, atol=2e-4)
    assert "no white balance" in developed.development
    assert "no demosaicing" in developed.development


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_upright(orientation: int) -> None:
    corner = np.zeros((64, 96, 3))
    corner[:32, :48] = 0.5
    developed = picture.load(dng(exposed(corner), tiff.integers(274, tiff.SHORT, (orientation,), "<")))
    marker = np.zeros((64, 96), np.uint8)
    marker[:32, :48] = 1
    expected = turned(marker, orientation)
    assert developed.pixels.shape[:2] == expected.shape
    assert ((developed.pixels[..., 1] > 30000) == expected).mean() > 0.97


@pytest.mark.parametrize("pixels_first", [False, True])
def test_no_part_of_a_cut_file_is_taken_for_a_picture(pixels_first: bool) -> None:
    whole = dng(exposed(PATCHES), pixels_first=pixels_first)
    assert picture.load(whole).width == 96
    for size in {*range(1, len(whole), 211), *range(len(whole) - 200, len(whole), 7), len(whole) - 1}:
        refusal(whole[:size])


def test_samples_missing_in_the_middle_of_a_raw_that_is_no_dng_are_found_by_libraw() -> None:
    data = dng(exposed(PATCHES), without=(50706,))
    with rawpy.imread(io.BytesIO(data)) as raw:
        assert raw.sizes.width == 96
    assert "LibRaw" in refusal(data[:-2000]).message


def test_the_limit_of_pixels_is_checked_before_development() -> None:
    assert "--max-pixels 4608" in refusal(dng(exposed(PATCHES)), max_pixels=4607).hint
    huge = [tiff.integers(tag, tiff.LONG, (30000,), "<") for tag in (256, 257)]
    assert "900,000,000" in refusal(dng(exposed(PATCHES), *huge)).message


def test_a_raw_that_libraw_does_not_know_is_to_be_developed_first() -> None:
    error = refusal(b"II*\0\x10\0\0\0CR\x02\0" + bytes(400))
    assert "LibRaw" in error.message
    assert "TIFF" in error.hint


def test_threads_develop_side_by_side_and_alike() -> None:
    noise = np.random.default_rng(0).random((96, 128, 3)) * 0.2
    data = dng(exposed(noise))
    alone = picture.load(data).pixels
    with ThreadPoolExecutor(4) as pool:
        together = [*pool.map(lambda _: picture.load(data).pixels, range(8))]
    assert all(np.array_equal(alone, other) for other in together)


def test_the_exif_of_the_photo_is_kept_and_what_points_into_the_raw_file_is_not() -> None:
    bare = dng(exposed(PATCHES))
    inner = [text(36867, "2026:11:20 18:59:59"), tiff.Entry(37500, 7, 6, b"secret"), rationals(33434, (0.5,))]
    exif_at = len(bare) + 256
    data = dng(
        exposed(PATCHES),
        tiff.integers(tiff.EXIF_IFD, tiff.LONG, (exif_at,), "<"),
        tiff.Entry(700, 1, 12, b"<x:xmpmeta/>"),
        tiff.integers(274, tiff.SHORT, (6,), "<"),
    )
    data = data.ljust(exif_at, b"\0") + tiff.build(inner, "<", exif_at)
    developed = picture.load(data)
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + developed.exif)
    assert {exif[271], exif[306]} == {"Maker", "2026:11:20 19:00:00"}
    assert dict(exif.get_ifd(tiff.EXIF_IFD)) == {36867: "2026:11:20 18:59:59", 33434: 0.5}
    assert exif.get(274, 1) == 1
    assert developed.xmp is None
    assert camera_raw.XMP_LEFT in developed.notices
    assert b"secret" not in picture.encode(developed, "png")


def block(*entries: tiff.Entry) -> bytes:
    return tiff.header("<", 8) + tiff.build(entries, "<", 8)


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


TIMES = block(text(271, "Maker"), tiff.integers(tiff.EXIF_IFD, tiff.LONG, (64,), "<")).ljust(64, b"\0")
TIMES += tiff.build([text(36867, "2026:11:20 18:59:59")], "<", 64)
BOXES = box(b"CMT1", block(text(271, "Maker"))) + box(b"CMT2", block(text(36867, "2026:11:20 18:59:59")))


@pytest.mark.parametrize(
    "data",
    [
        b"IIRO" + TIMES[4:],
        b"IIU\0" + TIMES[4:],
        b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">I", 92) + b"\0\0\xff\xe1\0\0Exif\0\0" + TIMES,
        box(b"ftyp", b"crx isom") + box(b"moov", box(b"uuid", bytes(16) + BOXES)),
    ],
    ids=["ORF", "RW2", "RAF", "CR3"],
)
def test_exif_is_found_wherever_a_camera_puts_it(data: bytes) -> None:
    found, notices = camera_raw._exif(data)
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + found)
    assert exif[271] == "Maker"
    assert exif.get_ifd(tiff.EXIF_IFD)[36867] == "2026:11:20 18:59:59"
    assert not notices
    assert camera_raw._exif(data[:100])[1] in ((), (EXIF_DAMAGED,))


def test_planning_knows_the_size_of_a_raw(tmp_path: Path) -> None:
    path = tmp_path / "night.dng"
    path.write_bytes(dng(exposed(PATCHES)))
    assert picture.pixel_count(path) == 48 * 96


@pytest.fixture
def no_rawpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)


@pytest.mark.usefixtures("no_rawpy")
def test_without_rawpy_the_error_names_what_to_install() -> None:
    error = refusal(dng(exposed(PATCHES)))
    assert "rawpy" in error.message
    assert 'pip install -e ".[raw]" -c constraints.txt' in error.hint


@pytest.fixture
def shot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Callable[..., Path]) -> Path:
    """A folder with a raw file and the JPEG that the camera wrote beside it."""
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "in" / "IMG_1.JPG", 48, 96)
    (tmp_path / "in" / "IMG_1.NEF").write_bytes(dng(exposed(PATCHES / 8)))
    return tmp_path


def enhance(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(group, ["enhance", *words])
    return done.exit_code, done.stderr


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "progress_bar", None)


@pytest.mark.usefixtures("fakes", "shot")
def test_a_raw_and_the_jpeg_of_the_same_shot_are_both_enhanced() -> None:
    code, told = enhance("in", "--out", "out", "--verbose")
    assert code == DONE, told
    assert sorted(path.name for path in Path("out").iterdir()) == ["IMG_1.JPG", "IMG_1.NEF.png"]
    assert picture.load(Path("out/IMG_1.NEF.png")).bits == 16
    assert "note in/IMG_1.NEF: Developed from raw" in told


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"format": "png"}, ["IMG_1.NEF.png", "IMG_1.png"]),
        ({"format": "jpg"}, ["IMG_1.JPG", "IMG_1.NEF.jpg"]),
        ({"format": "lossless"}, ["IMG_1.JPG.png", "IMG_1.NEF.png"]),
        ({"suffix": "_bright"}, ["IMG_1.NEF_bright.png", "IMG_1_bright.JPG"]),
    ],
)
@pytest.mark.usefixtures("shot")
def test_they_never_share_a_target(options: dict[str, str], names: list[str]) -> None:
    planned = jobs.plan(["in"], Layout(out=Path("out"), **options))
    assert sorted(job.target.name for job in planned) == names


@pytest.mark.usefixtures("fakes", "no_rawpy", "shot")
def test_without_rawpy_raws_in_a_folder_are_passed_over_and_one_that_is_named_fails() -> None:
    code, told = enhance("in", "--out", "out")
    assert code == DONE
    assert "passed over, as these kinds are not read: 1 .nef. Install what reads it" in told
    assert [path.name for path in Path("out").iterdir()] == ["IMG_1.JPG"]
    code, told = enhance("in/IMG_1.NEF", "--out", "one")
    assert code == ALL_FAILED
    assert '".[raw]"' in told


@pytest.mark.usefixtures("no_rawpy", "shot")
def test_a_folder_of_raws_alone_is_no_input_and_the_hint_tells_why() -> None:
    Path("in/IMG_1.JPG").unlink()
    with pytest.raises(NoInput) as caught:
        jobs.plan(["in"], Layout(out=Path("out")))
    assert '".[raw]"' in caught.value.hint


def test_other_pictures_import_neither_rawpy_nor_pillow_heif(photo: Callable[..., Path], tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    code = "import sys, pathlib; from lowlight_cli import jobs, picture; picture.load(pathlib.Path(sys.argv[1]))\n"
    code += "jobs.plan([sys.argv[1]], jobs.Layout(out=pathlib.Path('out')))\n"
    code += "print([name for name in ('rawpy', 'pillow_heif') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
