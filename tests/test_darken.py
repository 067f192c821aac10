"""Darkened photos: the paper's formula, the camera, uneven light."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
from skimage import data

from lowlight_cli.color import luma, to_linear, to_srgb
from lowlight_cli.data import sensor
from lowlight_cli.data.darken import PRESETS, Camera, Paper, from_record, nightfall, relit
from lowlight_cli.data.lights import SHAPES, Light, beyond_white, blurred, outline, with_lamps
from lowlight_cli.data.pairs import made_pair, zoomed
from lowlight_cli.errors import OptionError

PLAIN = Camera(
    stops=0.0,
    noise=1e-9,
    balance=(1.0, 1.0),
    gains=(1.0, 1.0),
    crosstalk=0.0,
    tone=0.0,
    smoothing=0.0,
    quality=0,
    seed=0,
)
"""A camera that does nothing."""


@pytest.fixture(scope="module")
def photo():
    return (data.astronaut()[:96, 150:270] / 255).astype(np.float32)


def draw(preset, seed=0, **ranges):
    chosen = PRESETS[preset].with_ranges(ranges)
    return chosen.draw(np.random.default_rng(seed), chosen.ranges)


def test_the_paper_preset_is_gain_times_a_power_with_noise_of_that_variance():
    flat = np.full((300, 300, 3), 0.6, np.float32)
    dark = Paper(gamma=1.5, gain=0.9, noise=0.01, seed=1).darken(flat)
    assert dark.mean() == pytest.approx(0.9 * 0.6**1.5, abs=0.002)
    assert dark.std() == pytest.approx(0.1, abs=0.002)
    how = [draw("paper", seed) for seed in range(300)]
    assert {name: round(min(getattr(h, name) for h in how), 2) for name in ("gamma", "gain", "noise")} == {
        "gamma": 1.1,
        "gain": 0.0,
        "noise": 0.01,
    }
    assert max(h.gamma for h in how) == pytest.approx(2.0, abs=0.02)
    assert max(h.noise for h in how) == pytest.approx(0.05, abs=0.001)


def test_a_stop_less_is_half_the_linear_light(photo):
    smooth = np.full((40, 40, 3), (0.7, 0.5, 0.3), np.float32)
    dark = dataclasses.replace(PLAIN, stops=3.0, gains=(2.0, 1.6), crosstalk=0.3).darken(smooth)
    assert np.allclose(to_linear(dark), to_linear(smooth) / 8, atol=2e-4)


def test_the_noise_of_the_camera_grows_with_the_light_and_is_stronger_where_it_is_amplified():
    def spread(level: float, **how: object) -> np.ndarray:
        flat = to_srgb(np.full((200, 200, 3), level, np.float32)).astype(np.float32)
        dark = dataclasses.replace(PLAIN, noise=2e-3, **how).darken(flat)
        return to_linear(dark)[8:-8, 8:-8].std(axis=(0, 1))

    assert np.all(spread(0.4) > 1.5 * spread(0.1))
    red, green, blue = spread(0.2, gains=(2.4, 1.0))
    assert red > 1.3 * blue
    assert green > 0


def test_shot_and_read_noise_are_what_they_say():
    flat = np.full((400, 400), 0.25, np.float32)
    noisy = sensor.expose(flat, 1e-3, 0.01, np.random.default_rng(0))
    assert noisy.var() == pytest.approx(1e-3 * 0.25 + 0.01**2, rel=0.02)
    assert sensor.read_noise(1e-3) == pytest.approx(np.exp((2.18 * np.log(1e-3) + 1.2) / 2))


def test_smoothing_takes_the_noise_of_colour_and_keeps_luma():
    flat = np.full((80, 80, 3), 0.3, np.float32)
    noisy = flat + np.random.default_rng(0).normal(0, 0.03, flat.shape).astype(np.float32)
    smooth = sensor.smooth_color(noisy, 2.0)
    assert np.allclose(luma(smooth), luma(noisy), atol=1e-3)
    assert (smooth - luma(smooth)[..., None]).std() < 0.3 * (noisy - luma(noisy)[..., None]).std()
    assert sensor.smooth_color(noisy, 0.0) is noisy


def test_a_mosaic_of_smooth_colours_is_undone():
    ramp = np.linspace(0, 1, 60, dtype=np.float32)[None, :, None] * np.ones((40, 1, 3), np.float32)
    colours = ramp * np.array([0.9, 0.5, 0.2], np.float32)
    raw = sensor.mosaic(colours)
    assert raw[0, 0] == colours[0, 0, 0]
    assert raw[0, 1] == colours[0, 1, 1]
    assert raw[1, 1] == colours[1, 1, 2]
    assert np.allclose(sensor.demosaic(raw)[2:-2, 2:-2], colours[2:-2, 2:-2], atol=1e-6)


def test_the_tone_curve_and_its_inverse_agree():
    x = np.linspace(0, 1, 100, dtype=np.float32)
    for amount in (0.0, 0.4, 1.0):
        assert np.allclose(sensor.tone(sensor.untone(x, amount), amount), x, atol=2e-3)


def test_grey_stays_grey_in_the_sensors_colours():
    assert np.allclose(sensor.color_matrix(0.4).sum(axis=1), 1)
    assert np.linalg.cond(sensor.color_matrix(0.4)) < 10


@pytest.mark.parametrize("shape", SHAPES)
def test_light_is_uneven_smooth_and_between_zero_and_one(shape, photo):
    share = Light(shape=shape, stops=3.0, seed=5).share(photo)
    assert share.shape == (*photo.shape[:2], 1)
    assert 0 <= share.min() < share.max() <= 1
    assert np.abs(np.diff(share[..., 0], axis=1)).max() < 0.3
    assert np.array_equal(share, Light(shape=shape, stops=3.0, seed=5).share(photo))


def test_against_the_light_bright_parts_stay_brighter(photo):
    share = Light(shape="backlight", stops=3.0, seed=1).share(photo)[..., 0]
    bright = luma(photo)
    assert share[bright > 0.8].mean() > share[bright < 0.3].mean() + 0.2


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_record_gives_the_same_picture_again(preset, photo):
    how = draw(preset, seed=4)
    again = from_record(preset, json.loads(json.dumps(dataclasses.asdict(how))))
    assert again == how
    assert np.array_equal(again.darken(photo), how.darken(photo))


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (17, 23)])
def test_any_size_and_extreme_pictures_stay_in_range(preset, size):
    for seed, values in enumerate((0.0, 1.0, None)):
        image = (
            np.full((*size, 3), values, np.float32)
            if values is not None
            else np.random.default_rng(0).random((*size, 3), np.float32)
        )
        dark = draw(preset, seed).darken(image)
        assert dark.shape == image.shape
        assert dark.dtype == np.float32
        assert np.isfinite(dark).all()
        assert dark.min() >= 0
        assert dark.max() <= 1


def test_a_range_that_a_preset_does_not_have_is_refused():
    with pytest.raises(OptionError, match="draws no gamma"):
        PRESETS["camera"].with_ranges({"gamma": (1, 2)})
    assert draw("camera", stops=(2.0, 2.0)).stops == 2.0


@pytest.mark.parametrize(
    ("preset", "name", "span"),
    [
        ("paper", "noise", (0, 1e30)),
        ("paper", "gamma", (1, 1e300)),
        ("paper", "gain", (-0.1, 1)),
        ("camera", "noise", (0, 0.05)),
        ("camera", "stops", (1, 5000)),
        ("camera", "stops", (float("nan"), 3)),
        ("camera", "stops", (2, float("inf"))),
        ("camera", "balance", (0, 1)),
        ("night", "tone", (0, 5)),
        ("night", "smoothing", (0, 1e6)),
        ("night", "quality", (70, 500)),
        ("night", "quality", (0, 90)),
    ],
)
def test_a_range_beyond_its_bounds_is_refused_with_them(preset, name, span):
    least, most = PRESETS[preset].bounds[name]
    with pytest.raises(OptionError, match=f"--{name} .* is not within {least:g}:{most:g}"):
        PRESETS[preset].with_ranges({name: span})


def test_a_range_that_ends_below_its_begin_is_refused():
    with pytest.raises(OptionError, match=r"--stops 3:1\.5 ends below"):
        PRESETS["camera"].with_ranges({"stops": (3, 1.5)})


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("end", [0, 1])
def test_the_bounds_hold_the_presets_own_ranges_and_give_pictures(preset, end, photo):
    bounds = PRESETS[preset].bounds
    assert PRESETS[preset].with_ranges(PRESETS[preset].ranges) == PRESETS[preset]
    for seed in range(4):
        dark = draw(preset, seed, **{name: (span[end],) * 2 for name, span in bounds.items()}).darken(photo)
        assert np.isfinite(dark).all()
        assert 0 <= dark.min() <= dark.max() <= 1


def test_a_night_has_black_and_lit_parts():
    dark = nightfall(np.full((60, 80, 3), 0.7, np.float32), np.random.default_rng(4))
    assert dark.min() < 0.25
    assert dark.max() > 0.3


def test_relit_photos_take_the_colour_of_the_light_and_no_more_light():
    white = np.ones((4, 4, 3), np.float32)
    colours = [relit(white, np.random.default_rng(seed))[0, 0] for seed in range(40)]
    assert all(c.max() == pytest.approx(1, abs=1e-5) for c in colours)
    assert sum(c[0] > c[2] + 0.1 for c in colours) > 12  # most lamps are warm


def test_pairs_to_train_on_hold_bright_pictures_that_stay(photo):
    pairs = [made_pair(photo, np.random.default_rng(seed)) for seed in range(40)]
    same = sum(low is high for low, high in pairs)
    assert 1 <= same <= 14
    assert sum(low.mean() < high.mean() for low, high in pairs) > 20


@pytest.mark.parametrize("seed", range(6))
def test_lamps_shine_in_both_pictures_of_a_pair_and_the_rest_stays(photo, seed):
    shown, beyond = with_lamps(photo * 0.5, 2.0**-4, 5.5, np.random.default_rng(seed))
    scene = to_linear(shown) * beyond
    assert 0 <= shown.min() <= shown.max() <= 1
    assert np.isfinite(beyond).all()
    lamp = scene.max(axis=2) > 1
    assert 0 < lamp.mean() < 0.6
    assert np.allclose(shown.max(axis=2)[lamp], 1, atol=1e-3)
    # Elsewhere a glow may be added, nothing taken away but where a lamp's edge covers it.
    assert (shown >= photo * 0.5 - 1e-3).all(axis=2).mean() > 0.5
    assert np.allclose(beyond[~lamp & (shown.min(axis=2) > 1e-3)], 1, atol=1e-3)


def test_a_lamp_is_shown_in_the_colour_that_the_dark_picture_has_of_it():
    black = np.zeros((96, 96, 3), np.float32)
    compared = 0
    for seed in range(20):
        shown, beyond = with_lamps(black, 0.25, 5.0, np.random.default_rng(seed))
        scene = to_linear(shown) * beyond
        bright = scene.max(axis=2) > 1.01
        seen = np.minimum(scene * 0.25, 1)[bright]
        hue = seen / seen.max(axis=1, keepdims=True)
        assert np.allclose(to_linear(shown)[bright], hue, atol=0.01)
        compared += bright.sum()
    assert compared > 100


@pytest.mark.parametrize("sigma", [0.8, 5.0, 18.0])
def test_wide_blurs_are_about_gaussians(photo, sigma):
    exact = cv2.GaussianBlur(photo, (0, 0), sigma)
    assert np.abs(blurred(photo, sigma) - exact).mean() < 0.01
    assert blurred(photo, sigma).shape == photo.shape


def test_outlines_are_of_all_kinds_and_have_soft_edges():
    covers = [outline((80, 120), np.random.default_rng(seed)) for seed in range(60)]
    assert all(cover.shape == (80, 120) and cover.min() >= 0 and cover.max() <= 1 for cover in covers)
    areas = sorted(cover.sum() for cover in covers)
    assert areas[-1] > 5 * max(areas[20], 1)
    assert all(((cover > 0.05) & (cover < 0.95)).any() for cover in covers if cover.max() > 0.5)


def test_only_whites_may_have_been_brighter_than_shown():
    photo = np.zeros((1, 3, 3), np.float32)
    photo[0] = [[1, 1, 1], [1, 0.6, 0.2], [0.5, 0.5, 0.5]]
    white, orange, grey = beyond_white(photo, np.random.default_rng(0))[0, :, 0]
    assert white >= 2
    assert orange == grey == 1


def test_what_is_beyond_white_stays_white_in_the_dark():
    photo = np.ones((16, 16, 3), np.float32)
    beyond = np.ones((16, 16, 1), np.float32)
    beyond[:, 8:] = 16
    dark = dataclasses.replace(PLAIN, stops=3.0).darken(photo, beyond)
    assert dark[:, 10:].min() > 0.98
    assert dark[:, :6].max() < 0.5


def test_smearing_takes_grain_and_leaves_edges_and_sharpening_gives_them_more():
    rng = np.random.default_rng(1)
    step = np.full((64, 64, 3), 0.2, np.float32)
    step[:, 32:] = 0.7
    grainy = step + 0.03 * rng.standard_normal(step.shape, dtype=np.float32)
    smeared = sensor.smear(grainy, 1.0)
    assert smeared[:, :24].std() < 0.6 * grainy[:, :24].std()
    assert smeared[:, 34:38].mean() - smeared[:, 26:30].mean() > 0.45
    assert sensor.smear(grainy, 0.0) is grainy
    sharp = sensor.sharpen(step, 1.0)
    assert sharp[:, 32].mean() > 0.75
    assert sharp[:, 31].mean() < 0.15
    assert sensor.sharpen(step, 0.0) is step


def test_a_zoomed_pair_shows_the_same_part_larger(photo):
    low, high = zoomed(photo * 0.25, photo, np.random.default_rng(3))
    assert low.shape == high.shape == photo.shape
    assert np.allclose(low, high * 0.25, atol=2e-3)
    # Enlarged, neighbours differ less.
    assert np.abs(np.diff(high, axis=0)).mean() < 0.9 * np.abs(np.diff(photo, axis=0)).mean()


def test_dark_pictures_to_train_on_hold_clipped_lights(photo):
    lows = [made_pair(photo * 0.8, np.random.default_rng(seed))[0] for seed in range(60)]
    lit = [low for low in lows if low.mean() < 0.2 and (low.max(axis=2) > 0.97).mean() > 1e-3]
    assert len(lit) >= 5
