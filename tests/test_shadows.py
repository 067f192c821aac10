"""Shadows that get light from lights: nothing else of a picture changes, and no part of it differs from the whole."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner
from fake_runner import FakeRunner
from numpy.typing import NDArray

import lowlight_cli as lowlight
from lowlight_cli import manifest, picture
from lowlight_cli.cli import group
from lowlight_cli.color import exposure_factor, luma
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import OptionError
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.shadows import Shadows, centres
from lowlight_cli.thumbnail import thumbnail

ALL = centres(0, 112, 112)


def room(height: int = 112, width: int = 112) -> NDArray[np.uint8]:
    """A dark room of texture on the left, a bright window on the right."""
    texture = np.random.default_rng(3).uniform(0.8, 1.2, (height, width, 3))
    light = np.where(np.arange(width) < 0.7 * width, 0.08, 0.75)[None, :, None]
    return np.rint(np.clip(texture * light, 0, 1) * 255).astype(np.uint8)


def small(level: float) -> NDArray[np.float32]:
    """A thumbnail of one level, with some texture."""
    return np.random.default_rng(1).uniform(0.8, 1.2, (112, 112, 3)).astype(np.float32) * np.float32(level)


def planes(square: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(square.transpose(2, 0, 1))


def shown(spec: ModelSpec, pixels: NDArray, **settings: object) -> NDArray:
    """What a network is shown of a picture: the fake doubles it."""
    return Enhancer(FakeRunner(spec), Settings(depth=16, **settings))(pixels) / (2 * 65535)


def test_shadows_get_what_lights_lose_and_the_mean_stays():
    square = thumbnail(room(), 112)
    lifted = Shadows(square, 0.5)(planes(square), ALL, ALL).transpose(1, 2, 0)
    assert luma(lifted).mean() == pytest.approx(luma(square).mean(), rel=0.005)
    assert lifted[:, :60].mean() > 1.3 * square[:, :60].mean()
    assert lifted[:, 85:].mean() < 0.95 * square[:, 85:].mean()


def test_two_curves_one_after_the_other_are_one():
    value = np.linspace(0.001, 1, 50, dtype=np.float32)
    once = exposure_factor(value, np.float32(3.0)) * value
    twice = exposure_factor(once, np.float32(2.5)) * once
    np.testing.assert_allclose(twice, exposure_factor(value, np.float32(7.5)) * value, rtol=1e-5)


def test_a_step_keeps_its_place_and_gets_no_halo():
    step = np.full((112, 112, 3), 0.08, np.float32)
    step[:, 60:] = 0.75
    line = Shadows(step, 0.5)(planes(step), ALL, ALL)[0, 56]
    assert np.ptp(line[:60]) < 0.1 * line[:60].mean()
    assert np.ptp(line[60:]) < 0.05 * line[60:].mean()


def test_hue_black_and_white_stay():
    square = thumbnail(room(), 112)
    square[:10] = 0
    square[20:30, 80:] = 1
    lifted = Shadows(square, 0.6)(planes(square), ALL, ALL).transpose(1, 2, 0)
    assert not lifted[:10].any()
    np.testing.assert_allclose(lifted[20:30, 80:], 1, atol=1e-6)
    np.testing.assert_allclose(
        lifted[40:] / lifted[40:].sum(axis=2, keepdims=True),
        square[40:] / square[40:].sum(axis=2, keepdims=True),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("square", "share"),
    [
        (small(0.08), 0),  # dark as a whole: it needs exposure
        (small(0.6), 0),  # bright as a whole
        (thumbnail(room(), 112), 1),
        (
            np.where(np.arange(112)[:, None, None] < 90, np.float32(0.004), np.float32(0.9)) * np.ones(3, np.float32),
            0,
        ),  # night
    ],
)
def test_auto_is_for_pictures_that_hold_shadows_and_lights(square, share):
    assert Shadows(square.astype(np.float32) * np.ones((1, 112, 1), np.float32), None, 0.5).amount == pytest.approx(
        0.5 * share
    )
    assert Shadows(square, None, 0.0).amount == 0
    assert Shadows(square, 0.3, 0.5).amount == 0.3


@pytest.mark.parametrize("shape", [(150, 210), (64, 301), (1, 90)])
def test_tiles_are_shown_what_they_are_of_the_whole_picture(spec: ModelSpec, shape: tuple[int, int]):
    pixels = room(*shape)
    whole = shown(spec, pixels, tile=0, shadows=0.5)
    assert np.abs(whole - pixels / 255).max() > 0.02
    np.testing.assert_allclose(shown(spec, pixels, tile=64, shadows=0.5), whole, atol=1e-4)


def test_each_picture_of_a_batch_gets_its_own(spec: ModelSpec):
    batch = [picture.from_array(pixels) for pixels in (room(), np.full((112, 112, 3), 30, np.uint8))]
    model = Enhancer(FakeRunner(dataclasses.replace(spec, shadows=0.5)), Settings(shadows=None))
    together = model.enhance(batch)
    for one, result in zip(batch, together, strict=True):
        np.testing.assert_array_equal(model.enhance([one])[0].pixels, result.pixels)
    np.testing.assert_array_equal(together[1].pixels, 60)


def test_the_share_of_the_source_is_the_source_as_it_was(spec: ModelSpec):
    model = Enhancer(FakeRunner(spec), Settings(strength=0.0, shadows=0.5))
    np.testing.assert_array_equal(model(room()), room())


def test_a_network_that_looks_at_a_thumbnail_sees_it_lifted(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def look(_: FakeRunner, thumbnails: NDArray, __: float | None) -> NDArray:
        seen.append(thumbnails[0])
        return np.zeros((len(thumbnails), 0), np.float32)

    monkeypatch.setattr(FakeRunner, "context", look)
    for amount in (0.0, 0.5):
        shown(dataclasses.replace(spec, thumbnail=112), room(), shadows=amount)
    np.testing.assert_array_equal(seen[0], planes(thumbnail(room(), 112)))
    assert seen[1][:, :, :60].mean() > 1.3 * seen[0][:, :, :60].mean()


def test_neid_lifts_the_shadows_of_a_room_before_its_window_and_leaves_dark_pictures_alone():
    assert manifest.find("neid").shadows > 0
    pixels = room(96, 128)
    plain, lifted = (lowlight.open_model("neid", shadows=amount)(pixels).astype(float) for amount in (0.0, "auto"))
    assert lifted[:, :70].mean() > 1.1 * plain[:, :70].mean()
    pixels = np.rint(pixels * 0.2).astype(np.uint8)
    plain, same = (lowlight.open_model("neid", shadows=amount)(pixels) for amount in (0.0, "auto"))
    np.testing.assert_array_equal(plain, same)


def test_the_command_lifts_by_itself_as_much_as_told_or_not_at_all(tmp_path):
    picture.save(picture.from_array(room(96, 128)), tmp_path / "room.png")

    def enhanced(*words: str) -> NDArray:
        out = tmp_path / "-".join(["out", *words])
        command = ["enhance", str(tmp_path / "room.png"), "--out", str(out), "-q", *words]
        assert CliRunner().invoke(group, command).exit_code == 0
        return picture.load(out / "room.png").pixels.astype(float)

    plain, auto, more = enhanced("--shadows", "0"), enhanced(), enhanced("--shadows", "0.9")
    assert plain[:, :70].mean() < auto[:, :70].mean() < more[:, :70].mean()
    gamma = [enhanced("--model", "gamma"), enhanced("--model", "gamma", "--shadows", "0.5")]
    assert gamma[0][:, :70].mean() < gamma[1][:, :70].mean()
    assert (
        CliRunner()
        .invoke(group, ["enhance", str(tmp_path / "room.png"), "--out", str(tmp_path / "x"), "--shadows", "2"])
        .exit_code
        == 2
    )


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_an_amount_out_of_range_is_refused(amount: float):
    with pytest.raises(OptionError, match="shadows"):
        Settings(shadows=amount)


def test_a_benchmark_measures_models_alone_unless_told_otherwise(tmp_path):
    (tmp_path / "no_reference" / "DICM").mkdir(parents=True)
    picture.save(picture.from_array(room(96, 128)), tmp_path / "no_reference" / "DICM" / "01.png")
    words = ["benchmark", "--dataset", "DICM", "--root", str(tmp_path / "no_reference"), "--metric", "brightness"]
    words += ["--model", "gamma", "--model", "neid", "--json", "-q"]
    alone, lifted = (
        json.loads(CliRunner().invoke(group, [*words, *more]).stdout) for more in ([], ["--shadows", "AUTO"])
    )
    assert [entry["shadows"] for entry in alone["models"]] == [None, 0.0, 0.0]
    assert [entry["shadows"] for entry in lifted["models"]] == [None, 0.0, "auto"]
    assert any("neid was shown lifted shadows (--shadows auto)" in notice for notice in lifted["notices"])
    changes = [[entry["metrics"]["brightness"]["mean"] for entry in told["models"]] for told in (alone, lifted)]
    assert changes[0][1] == changes[1][1]
    assert changes[0][2] != changes[1][2]
