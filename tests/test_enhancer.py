"""The library: whatever a user has goes in, an array comes out, and memory decides on tiles."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import picture_files
import pytest
from fake_runner import FakeRunner
from numpy.typing import NDArray
from PIL import Image

import lowlight_cli as lowlight
from lowlight_cli import manifest, memory, picture, tiles
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import OptionError, OutOfMemory, PictureError
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.picture import decoding
from lowlight_cli.runners.options import KNOWN, RunnerOptions
from lowlight_cli.thumbnail import thumbnail
from lowlight_cli.tile_choice import BACK_OFFS, BUDGET, FRESH, SHARE, TOO_MUCH, TileChoice


def no_memory_of_opencv() -> cv2.error:
    """What OpenCV raises."""
    error = cv2.error("OpenCV(5.0.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 130032 bytes")
    error.code = -4
    return error


def enhancer(spec: ModelSpec, *, scale: int = 1, fail_above: int = 1 << 60, **settings: object) -> Enhancer:
    return Enhancer(FakeRunner(spec, scale, fail_above), Settings(**settings), scale)


def dark(*shape: int, kind: type = np.uint8) -> NDArray:
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max // 2, shape, kind, endpoint=True)


def test_a_path_an_image_and_an_array_give_the_same(
    spec: ModelSpec, photo: Callable[..., Path], tmp_path: Path
) -> None:
    path = photo(tmp_path / "Grüße 🌃.png")
    pixels = np.asarray(Image.open(path))
    model = enhancer(spec)
    for source in (path, str(path), Image.open(path), pixels):
        bright = model(source)
        assert bright.dtype == np.uint8
        np.testing.assert_array_equal(bright, 2 * pixels)


def test_the_public_functions_open_a_model_and_list_them(fakes: list[FakeRunner]) -> None:
    model = lowlight.open_model("neid", scale=2, tile=0)
    assert model(dark(3, 5, 3)).shape == (6, 10, 3)
    assert "neid" in lowlight.list_models()
    model.close()
    assert len(fakes) == 1


def test_a_model_is_closed_at_the_end_of_its_block_and_says_so(fakes: list[FakeRunner]) -> None:
    closed: list[FakeRunner] = []
    with lowlight.open_model("neid") as model:
        fakes[0].close = lambda: closed.append(fakes[0])
        assert model(dark(3, 5, 3)).shape == (3, 5, 3)
        assert repr(model) == "<Enhancer fake: fake on cpu, fp32>"
        assert not closed
    assert closed == fakes
    assert repr(model) == "<Enhancer fake: closed>"
    for use in (lambda: model(dark(3, 5, 3)), lambda: model.maps([picture.from_array(dark(3, 5, 3))]), model.__enter__):
        with pytest.raises(lowlight.LowlightError, match=r"^fake is closed\. Open it again"):
            use()
    model.close()
    assert closed == fakes


def test_an_error_closes_the_model_and_comes_out_of_the_block(fakes: list[FakeRunner]) -> None:
    with pytest.raises(PictureError, match="no picture"), lowlight.open_model("neid") as model:
        model(None)
    assert model.closed
    assert len(fakes) == 1


def test_names_are_listed_before_anything_is_imported_for_them() -> None:
    code = "import lowlight_cli as l, sys; print(set(l.__all__) <= set(dir(l)), 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == [
        "True",
        "False",
    ]
    assert all(getattr(lowlight, name) for name in lowlight.__all__)


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 1), (7, 9, 3), (7, 9, 4), (1, 1), (1, 1, 3), (1, 1, 4), (1, 6, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_integers_keep_their_kind_and_shape(spec: ModelSpec, shape: tuple[int, ...], kind: type) -> None:
    pixels = dark(*shape, kind=kind)
    bright = enhancer(spec)(pixels)
    expected = pixels[..., 0] if shape[2:] == (1,) else pixels.copy()
    assert bright.dtype == kind
    assert bright.shape == expected.shape
    colours = np.s_[..., :3] if expected.ndim == 3 else np.s_[...]
    np.testing.assert_array_equal(bright[colours], 2 * expected[colours])


def test_alpha_is_kept_as_it_is(spec: ModelSpec) -> None:
    pixels = dark(7, 9, 4)
    np.testing.assert_array_equal(enhancer(spec)(pixels)[..., 3], pixels[..., 3])
    pixels[..., 3] = 200
    big = enhancer(spec, scale=2)(pixels)
    assert big.shape == (14, 18, 4)
    assert np.unique(big[..., 3]).tolist() == [200]
    [deep] = enhancer(spec, depth=16).enhance([picture.from_array(pixels)])
    assert deep.alpha.dtype == deep.pixels.dtype == np.uint16
    assert np.unique(deep.alpha).tolist() == [200 * 257]


def test_grey_with_alpha_comes_out_as_it_went_in(spec: ModelSpec) -> None:
    pixels = dark(7, 9, 2)
    bright = enhancer(spec)(pixels)
    np.testing.assert_array_equal(bright, np.dstack([2 * pixels[..., 0], pixels[..., 1]]))
    np.testing.assert_array_equal(enhancer(spec)(bright)[..., 1], pixels[..., 1])


def test_the_order_of_bytes_makes_no_difference(spec: ModelSpec) -> None:
    pixels = dark(7, 9, 3, kind=np.uint16)
    for order in "<>":
        np.testing.assert_array_equal(enhancer(spec)(pixels.astype(f"{order}u2")), 2 * pixels)


def test_floats_give_16_bits(spec: ModelSpec) -> None:
    values = np.linspace(0, 0.4, 3000, dtype=np.float32).reshape(50, 20, 3)
    bright = enhancer(spec)(values)
    assert bright.dtype == np.uint16
    assert np.abs(bright - 2 * values * 65535).max() <= 1.01


def test_16_bits_in_are_16_bits_out_with_more_than_256_levels(spec: ModelSpec, tmp_path: Path) -> None:
    ramp = np.arange(3000, dtype=np.uint16).reshape(50, 20, 3) % 1000
    path = tmp_path / "deep.png"
    path.write_bytes(picture_files.png16(ramp))
    model = enhancer(spec)
    bright = model(path)
    assert np.unique(bright).size > 256
    np.testing.assert_array_equal(bright, 2 * ramp)
    [saved] = model.enhance([picture.load(path)])
    picture.save(saved, tmp_path / "out.png")
    np.testing.assert_array_equal(picture.load(tmp_path / "out.png").pixels, 2 * ramp)


def test_depth_16_keeps_what_the_network_gives_beyond_8_bits(spec: ModelSpec) -> None:
    pixels = dark(40, 40, 3)
    half = enhancer(spec, depth=16, strength=0.3)(pixels)
    assert half.dtype == np.uint16
    assert (half % 257 != 0).any()
    assert enhancer(spec, depth=8)(dark(4, 4, 3, kind=np.uint16)).dtype == np.uint8


def test_what_lies_beside_the_pixels_is_kept(spec: ModelSpec) -> None:
    source = picture.Picture(pixels=dark(4, 4, 3), icc=b"i", exif=b"e", xmp=b"x", dpi=(72.0, 72.0), format="webp")
    [result] = enhancer(spec).enhance([source])
    for name in ("icc", "exif", "xmp", "dpi", "format", "gray"):
        assert getattr(result, name) == getattr(source, name)


def test_sizes_in_exif_are_those_of_the_output(spec: ModelSpec) -> None:
    block = Image.Exif()
    block[256], block[257] = 30, 20
    small = picture.from_pil(Image.new("RGB", (30, 20), "gray"))
    small = dataclasses.replace(small, exif=block.tobytes()[6:])
    for scale in (1, 2):
        read = Image.Exif()
        read.load(enhancer(spec, scale=scale).enhance([small])[0].exif)
        assert (read[256], read[257]) == (30 * scale, 20 * scale)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5000, 3), (5000, 3, 3)])
@pytest.mark.parametrize("scale", [1, 2])
def test_odd_pictures_go_through_whole_and_in_tiles(spec: ModelSpec, shape: tuple[int, ...], scale: int) -> None:
    spec = dataclasses.replace(spec, thumbnail=16)
    pixels = dark(*shape)
    expected = (2 * pixels).repeat(scale, axis=0).repeat(scale, axis=1)
    for tile in (None, 0, 64):
        np.testing.assert_array_equal(enhancer(spec, scale=scale, tile=tile)(pixels), expected)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5000, 3), (33, 57, 3)])
def test_the_bundled_network_takes_odd_pictures(shape: tuple[int, ...]) -> None:
    model = lowlight.open_model("neid", backend="onnx", device="cpu", threads=1)
    bright = model(dark(*shape) // 8)
    assert bright.shape == shape
    assert bright.mean() > dark(*shape).mean() / 8


def test_out_of_memory_halves_the_tile_and_remembers(spec: ModelSpec) -> None:
    pixels = dark(600, 400, 3)
    model = enhancer(spec, fail_above=200 * 200)
    np.testing.assert_array_equal(model(pixels), 2 * pixels)
    tried = [shape[2:] for shape in model.runner.batches]
    assert tried[0] == (600, 400)
    assert model.tile_choice.tile == model.tile_choice.used == 150
    tried.clear()
    model.runner.batches.clear()
    np.testing.assert_array_equal(model(pixels), 2 * pixels)
    assert max(height * width for *_, height, width in model.runner.batches) <= 200 * 200


@pytest.mark.parametrize("error", [MemoryError(), no_memory_of_opencv(), RuntimeError("can't start new thread")])
def test_memory_that_others_miss_halves_the_tile_too(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    model = enhancer(spec)
    run = FakeRunner.__call__

    def greedy(self: FakeRunner, batch: NDArray, vectors: NDArray) -> NDArray:
        if batch.shape[2] > 200:
            raise error
        return run(self, batch, vectors)

    monkeypatch.setattr(FakeRunner, "__call__", greedy)
    assert model(dark(300, 30, 3)).shape == (300, 30, 3)


def test_any_other_error_is_raised_at_once(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FakeRunner, batch: NDArray, vectors: NDArray) -> NDArray:
        self.batches.append(batch.shape)
        raise RuntimeError("no such operator")

    monkeypatch.setattr(FakeRunner, "__call__", broken)
    model = enhancer(spec)
    with pytest.raises(RuntimeError, match="no such operator"):
        model(dark(600, 400, 3))
    assert len(model.runner.batches) == 1


@pytest.mark.parametrize("error", [MemoryError(), no_memory_of_opencv()])
def test_a_picture_that_memory_does_not_hold_is_not_called_damaged(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def short(*_: object) -> None:
        raise error

    encoded = picture.encode(picture.from_array(dark(8, 8, 3)), "png")
    monkeypatch.setattr(decoding, "_DECODERS", {"png": short})
    with pytest.raises(PictureError, match="does not fit into memory"):
        picture.load(encoded)


def test_back_off_is_bounded(spec: ModelSpec) -> None:
    model = enhancer(spec, fail_above=0)
    with pytest.raises(OutOfMemory):
        model(dark(tiles.SMALLEST_CORE << (BACK_OFFS + 2), 8, 3))
    assert len(model.runner.batches) == BACK_OFFS + 1
    small = enhancer(spec, fail_above=0)
    with pytest.raises(OutOfMemory):
        small(dark(tiles.SMALLEST_CORE, 8, 3))
    assert len(small.runner.batches) == 1


def test_tile_0_never_tiles(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1000)
    model = enhancer(spec, tile=0, fail_above=600 * 400 - 1)
    with pytest.raises(OutOfMemory):
        model(dark(600, 400, 3))
    assert [shape[2:] for shape in model.runner.batches] == [(600, 400)]


def test_auto_cuts_tiles_that_fit_into_the_free_memory(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 20_000_000
    monkeypatch.setattr(memory, "available", lambda: free)
    model = enhancer(spec)
    model(dark(700, 900, 3))
    assert len(model.runner.batches) > 1
    assert all(h * w * spec.bytes_per_pixel <= free / 2 for *_, h, w in model.runner.batches)
    assert len(set(model.runner.batches)) == 1
    assert model.tile_choice.plan == model.tile_choice.choose((1, 700, 900))
    assert len(enhancer(spec).tile_choice.choose((1, 100, 100))) == 1
    assert len(enhancer(spec).tile_choice.choose((4, 150, 150))) == 1
    assert len(enhancer(spec).tile_choice.choose((4, 150, 150), scale=2)) > 1


@pytest.mark.parametrize(("halo", "most"), [(8, BUDGET), (128, BUDGET + SHARE * 24_000_000), (400, None)])
def test_more_memory_is_taken_only_where_halos_cost_much(spec: ModelSpec, halo: int, most: int | None) -> None:
    spec = dataclasses.replace(spec, halo=halo, multiple=16, bytes_per_pixel=220)
    plan = TileChoice(FakeRunner(spec, deterministic=True), None).choose((1, 4000, 6000))
    sizes = {tile.size for tile in plan}
    most = most or 2 * BUDGET + SHARE * 24_000_000
    assert max(height * width for height, width in sizes) * spec.bytes_per_pixel <= most
    if most > BUDGET:  # with less, more would have been computed twice than is worth it
        limits = {BUDGET: TOO_MUCH[0], BUDGET + SHARE * 24_000_000: TOO_MUCH[1]}
        for less, enough in ((b, e) for b, e in limits.items() if b < most):
            poorer = tiles.fitting(4000, 6000, pixels=less / spec.bytes_per_pixel, halo=halo, multiple=16)
            assert poorer is not None
            assert poorer.read > max(plan.read, (1 + enough) * 24e6)


@pytest.mark.parametrize(("halo", "whole"), [(16, False), (256, True)])
def test_a_thin_network_gets_tiles_whose_memory_comes_back(spec: ModelSpec, halo: int, whole: bool) -> None:
    """Where halos cost little no array of a tile is so large that the system gives its memory anew each time."""
    spec = dataclasses.replace(spec, halo=halo, multiple=4, bytes_per_pixel=60)
    plan = TileChoice(FakeRunner(spec, deterministic=True), None).choose((1, 2000, 3000))
    assert (len(plan) == 1) is whole
    assert whole or max(3 * 4 * math.prod(tile.size) for tile in plan) <= FRESH
    assert plan.read < 1.1 * 6e6


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (100, 60_000)])
def test_a_thin_picture_counts_as_what_it_is_filled_up_to(spec: ModelSpec, size: tuple[int, int]) -> None:
    spec = dataclasses.replace(spec, halo=16, multiple=4, smallest=128, bytes_per_pixel=1000)
    plan = TileChoice(FakeRunner(spec, deterministic=True), None).choose((1, *size))
    padded = [[spec.padded(side) for side in tile.size] for tile in plan]
    most = 2 * BUDGET + SHARE * 60_000 * 128
    assert max(height * width for height, width in padded) * spec.bytes_per_pixel <= most
    assert len(plan) < 200


def test_no_memory_at_all_still_gives_a_smallest_tile(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 0)
    assert enhancer(spec).tile_choice.choose((1, 700, 900)).side == tiles.SMALLEST_CORE


@pytest.mark.parametrize("values", [np.linspace(0, 255, 27), np.linspace(-0.5, 0.5, 27)])
def test_floats_that_are_far_from_0_to_1_are_refused_and_overshoot_is_clipped(spec: ModelSpec, values: Any) -> None:
    with pytest.raises(PictureError, match="holds numbers from") as caught:
        enhancer(spec)(values.reshape(3, 3, 3))
    assert "255" in caught.value.hint
    assert enhancer(spec)(np.linspace(-0.1, 1.1, 27).reshape(3, 3, 3)).dtype == np.uint16


def test_an_output_that_is_not_finite_is_an_error(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeRunner, "__call__", lambda _, batch, *__: batch * np.nan)
    with pytest.raises(PictureError, match="NaN"):
        enhancer(spec)(dark(4, 4, 3))


def test_exposure_is_refused_for_a_network_that_takes_none(spec: ModelSpec) -> None:
    with pytest.raises(OptionError, match=r"fake takes no exposure") as caught:
        enhancer(spec, exposure=0.4)
    assert "neid" in caught.value.hint
    able = dataclasses.replace(spec, exposure=True)
    assert enhancer(able, exposure=0.4)(dark(4, 4, 3)).shape == (4, 4, 3)
    with pytest.raises(OptionError, match=r"fake takes no exposure"):
        enhancer(spec).aim(0.4)


@pytest.mark.parametrize(
    "settings", [{"strength": 1.1}, {"strength": -0.1}, {"exposure": 0.0}, {"tile": -1}, {"depth": "16"}, {"depth": 12}]
)
def test_settings_out_of_range_are_refused(settings: dict) -> None:
    (name,) = settings
    with pytest.raises(OptionError, match=f"^{name} ") as caught:
        Settings(**settings)
    assert "--" not in str(caught.value)  # it is no flag to whoever calls the library


def test_a_library_users_wrong_name_or_scale_is_an_error() -> None:
    with pytest.raises(lowlight.LowlightError, match="neidd"):
        lowlight.open_model("neidd")
    with pytest.raises(OptionError, match="neid has no scale 3"):
        lowlight.open_model("neid", scale=3)
    for name, value in (
        ("backend", "ONNX"),
        ("device", "gpu"),
        ("device", "cuda:x"),
        ("device", "cpu:1"),
        ("threads", -1),
        ("threads", 10**6),
    ):
        with pytest.raises(OptionError, match=f"^{name} {value} is (none of auto, |not from 0 to)"):
            lowlight.open_model("neid", **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("scale", True, "Give 1, or 2"),
        ("scale", 2.0, "Give 1, or 2"),
        ("threads", 1.5, "to 256"),
        ("threads", True, "to 256"),
        ("deterministic", "no", "True or False"),
        ("offline", None, "True or False"),
        ("device", 3, "cuda:N"),
        ("precision", None, "int8"),
        ("weights", "", "safetensors"),
        ("weights", 3, "safetensors"),
        ("exposure", np.zeros(2), "Give one"),
    ],
)
def test_a_value_of_another_type_is_an_option_error_that_says_what_is_allowed(
    name: str, value: Any, allowed: str
) -> None:
    with pytest.raises(OptionError, match=f"^{name} {re.escape(repr(value))} is no ") as caught:
        lowlight.open_model("neid", **{name: value})
    assert allowed in caught.value.hint


@pytest.mark.parametrize("name", [None, 3, True])
def test_what_is_no_name_of_a_model_is_an_option_error(name: Any) -> None:
    with pytest.raises(OptionError, match=f"^name {name} is no text") as caught:
        lowlight.open_model(name)
    assert "neid" in caught.value.hint


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    with lowlight.open_model("gamma", scale=np.int64(1), threads=np.int32(1)) as model:
        assert model(dark(4, 4, 3)).shape == (4, 4, 3)


def test_the_empty_path_and_masked_values_are_no_picture(spec: ModelSpec) -> None:
    with pytest.raises(PictureError, match=r"^'', the empty path, is no picture"):
        enhancer(spec)("")
    masked = np.ma.masked_less(dark(4, 4, 3), 1000)
    with pytest.raises(PictureError, match="48 masked values") as caught:
        enhancer(spec)(masked)
    assert ".filled()" in caught.value.hint
    assert enhancer(spec)(np.ma.array(dark(4, 4, 3))).shape == (4, 4, 3)


def test_all_settings_and_options_are_keywords_with_the_same_defaults_and_the_docstring_tells_of_each() -> None:
    _, *keywords = inspect.signature(lowlight.open_model).parameters.values()
    assert {keyword.kind for keyword in keywords} == {inspect.Parameter.KEYWORD_ONLY}
    fields = {field.name: field.default for kind in (Settings, RunnerOptions) for field in dataclasses.fields(kind)}
    automatic = dict.fromkeys(("exposure", "shadows", "tile"), "auto")
    assert {keyword.name: keyword.default for keyword in keywords} == fields | automatic
    text = lowlight.open_model.__doc__
    assert [name for name in fields if f"`{name}`" not in text] == []
    for name in ("TypeError", "OptionError", "ModelUnavailable", "DeviceUnavailable", "PictureError", "OutOfMemory"):
        assert name in text
    assert all(f'"{value}"' in text for values in KNOWN.values() for value in values)


def test_a_path_that_cannot_be_read_is_named(spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.jpg: The file cannot be read"):
        enhancer(spec)(tmp_path / "gone.jpg")


def test_a_thumbnail_keeps_what_lies_between_the_levels_of_a_dark_picture() -> None:
    pixels = np.zeros((700, 800, 3), np.uint8)
    pixels[::2, ::4] = 1  # 1/8 of a level in the mean
    small = thumbnail(pixels, 10)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, 0.125 / 255, rtol=0.05)
    assert 0 < thumbnail(pixels.astype(np.uint16), 10).max() < 1 / 65535


@pytest.mark.parametrize("shape", [(1, 1), (3, 5000), (257, 7), (512, 112)])
def test_a_thumbnail_has_the_mean_of_its_picture_whatever_the_shape(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 51, np.uint8)
    pixels[..., 2] = 102
    small = thumbnail(pixels, 112)
    assert small.shape == (112, 112, 3)
    np.testing.assert_allclose(small.mean((0, 1), np.float64), [0.2, 0.2, 0.4], rtol=1e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(113, 200), (224, 112), (301, 1203)])
def test_a_thumbnail_is_of_area_averages(shape: tuple[int, int], kind: type) -> None:
    def shares(size: int) -> NDArray:
        """(112, size): how much of each part of a side each pixel is."""
        edges, pixels = np.arange(113) * size / 112, np.arange(size)
        inside = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return inside.clip(0) * 112 / size

    pixels = dark(*shape, 3, kind=kind)[::-1]  # a view, as of a picture that was turned
    expected = np.einsum("yh,hwc,xw->yxc", shares(shape[0]), pixels, shares(shape[1])) / np.iinfo(kind).max
    np.testing.assert_allclose(thumbnail(pixels, 112), expected, atol=1e-6)


def test_the_network_sees_the_thumbnail_and_the_exposure(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(_: FakeRunner, thumbnails: NDArray, exposure: float | None) -> NDArray:
        seen.append((thumbnails.shape, exposure, float(thumbnails.mean())))
        return np.zeros((len(thumbnails), 0), np.float32)

    monkeypatch.setattr(FakeRunner, "context", look)
    model = enhancer(dataclasses.replace(spec, thumbnail=16, exposure=True), exposure=0.3)
    model(np.full((40, 50, 3), 51, np.uint8))
    for exposure in (0.5, None):
        model.aim(exposure)
        model(np.full((40, 50, 3), 51, np.uint8))
    assert seen == [((1, 3, 16, 16), exposure, pytest.approx(0.2)) for exposure in (0.3, 0.5, None)]


@pytest.mark.parametrize("kind", ["memory", ""])
def test_memory_is_that_of_the_control_groups_where_they_have_limits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    root, groups = tmp_path / "groups", tmp_path / "cgroup"
    outer, inner = root / "batch", root / "batch" / "job"
    inner.mkdir(parents=True)
    names = dataclasses.replace(memory.HIERARCHIES[kind], root=root)
    monkeypatch.setattr(memory, "HIERARCHIES", {kind: names})
    monkeypatch.setattr(memory, "GROUPS", groups)
    monkeypatch.setattr(memory, "system", lambda: 8000)

    def told(group: Path, limit: str, use: int, droppable: int = 0) -> None:
        (group / names.limit).write_text(f"{limit}\n")
        (group / names.use).write_text(f"{use}\n")
        (group / "memory.stat").write_text(f"cache 99\n{names.droppable} {droppable}\n")

    assert memory.available() == 8000
    groups.write_text(f"9:{kind}:/batch/job\n8:pids:/other\n")
    assert memory.available() == 8000
    told(inner, "5000", 2000)
    assert memory.available() == 3000
    told(outer, "4500", 2500)
    assert memory.available() == 2000
    told(outer, "4500", 4400, droppable=2900)  # of pictures that were read
    assert memory.available() == 3000
    told(inner, "5000", 7000)
    assert memory.available() == 0
    told(inner, "max", 7000)
    told(root, "6000", 3000)
    assert memory.available() == 3000
    groups.write_text(f"9:{kind}:/the/path/outside\n")
    told(root, "6000", 5000)
    assert memory.available() == 1000


@pytest.mark.parametrize("source", [None, [[1, 2]], b"bytes", 7])
def test_what_is_no_picture_is_told_by_its_kind(spec: ModelSpec, source: object) -> None:
    with pytest.raises(PictureError, match=f"{type(source).__name__} is no picture"):
        enhancer(spec)(source)


@pytest.mark.parametrize(
    "given",
    [
        {"shadows": "0.5"},
        {"strength": None},
        {"exposure": "bright"},
        {"tile": float("nan")},
        {"tile": 2.5},
        {"tile": True},
    ],
)
def test_settings_of_another_kind_are_an_error_that_names_them(given: dict[str, object]) -> None:
    (name,) = given
    with pytest.raises(OptionError, match=f"^{name} .* is no (whole )?number"):
        Settings(**given)
    assert Settings(strength=np.float32(0.5), tile=np.int64(64)).tile == 64


NETWORKS = [name for name, row in manifest.models().items() if not row.classical]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("level", [0.1, 0.9])
def test_the_brightness_that_auto_chose_is_told_and_asked_for_gives_the_same(name: str, level: float) -> None:
    pixels = np.random.default_rng(5).integers(0, round(255 * level), (70, 90, 3), np.uint8)
    model = lowlight.open_model(name, backend="onnx", device="cpu", threads=1)
    auto = model(pixels).astype(int)
    [chosen] = model.aimed
    if not manifest.find(name).exposure:
        assert chosen is None
        return
    assert 0.3 < chosen < 0.6
    model.aim(chosen)
    assert np.abs(model(pixels) - auto).max() <= 1
    assert model.aimed == [chosen]
