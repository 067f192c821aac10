"""LIME, SRIE, NPE, BIMEF, CRM, Dong's and Fu's methods: each must compute what its paper says."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from lowlight_cli.classical import bimef, clahe, crm, dong, least_squares, lime, mf, npe, srie
from lowlight_cli.classical.least_squares import Grid, smoothed, solve
from lowlight_cli.color import to_linear, to_srgb

METHODS = ["lime", "srie", "npe", "bimef", "crm", "dong", "mf"]
Picture = NDArray[np.float32]


def method(name: str) -> Callable[[Picture], Picture]:
    return importlib.import_module(f"lowlight_cli.classical.{name}").enhance


def bright(size: int = 160) -> Picture:
    return cv2.resize(data.astronaut(), (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def dark(size: int = 160) -> Picture:
    """A fortieth of the light, and a little noise."""
    noise = np.random.default_rng(0).normal(0, 0.003, (size, size, 3))
    return (to_srgb(to_linear(bright(size)) / 40) + noise).clip(0, 1).astype(np.float32)


def grey(values: NDArray) -> Picture:
    return np.repeat(np.float32(values)[..., None], 3, axis=2)


def random(*shape: int) -> Picture:
    return np.random.default_rng(1).random(shape, np.float32)


# What all hold


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 23), (64, 65)])
@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_any_picture_gives_finite_values_of_its_size_and_stays_itself(
    name: str, size: tuple[int, int], kind: str
) -> None:
    pixels = random(*size, 3) if kind == "noise" else np.full((*size, 3), kind == "white", np.float32)
    before = pixels.copy()
    out = method(name)(pixels)
    assert out.shape == pixels.shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(method(name)(pixels), out)
    if kind != "noise":
        assert (abs(out - pixels) < 0.12).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_darkened_picture_comes_nearer_to_what_it_was(name: str) -> None:
    before, after = (np.mean((pixels - bright()) ** 2) for pixels in (dark(), method(name)(dark())))
    assert after < 0.55 * before


@pytest.mark.parametrize("name", METHODS)
def test_a_turned_picture_gives_the_turned_result(name: str) -> None:
    pixels = dark(96)
    turned = method(name)(np.ascontiguousarray(pixels.transpose(1, 0, 2))).transpose(1, 0, 2)
    assert abs(turned - method(name)(pixels)).mean() < 0.01


# Weighted least squares


def matrix(grid: Grid) -> NDArray[np.float64]:
    """The matrix of a grid, entry by entry."""
    width = grid.own.shape[1]
    out = np.diag(grid.own.ravel().astype(float))
    for weights, step in ((grid.across, 1), (grid.down, width)):
        for (row, column), weight in np.ndenumerate(weights):
            i = row * width + column
            out[i, i] += weight
            out[i + step, i + step] += weight
            out[i, i + step] -= weight
            out[i + step, i] -= weight
    return out


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 1), (12, 12), (23, 31)])
def test_least_squares_are_those_of_the_matrix(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(least_squares, "ENOUGH", 1e-6)
    height, width = size
    rng = np.random.default_rng(0)
    weights = [np.float32(10.0 ** rng.uniform(-3, 3, shape)) for shape in ((height, width - 1), (height - 1, width))]
    grid = Grid(np.ones(size, np.float32) + random(*size), *weights)
    values = random(*size)
    exact = np.linalg.solve(matrix(grid), values.ravel()).reshape(size)
    np.testing.assert_allclose(grid(exact.astype(np.float32)), values, atol=1e-2)
    np.testing.assert_allclose(solve(grid, values), exact, atol=2e-4)


def test_twenty_steps_are_enough_for_weights_as_wild_as_those_of_lime(monkeypatch: pytest.MonkeyPatch) -> None:
    values = dark(40).max(axis=2) + lime.LIFT
    across, down = lime.weights(values)
    assert across.max() > 1000
    assert across.max() > 50 * across.min()
    grid = Grid(np.ones_like(values), across, down)
    exact = np.linalg.solve(matrix(grid), values.ravel()).reshape(values.shape)
    assert exact.std() > 0.03 * exact.mean()
    monkeypatch.setattr(least_squares, "MOST", 20)
    assert abs(solve(grid, values) - exact).max() < 2e-3 * exact.mean()
    monkeypatch.setattr(least_squares, "MOST", 3)
    assert abs(solve(grid, values) - exact).max() > 5e-3 * exact.mean()


def test_smoothing_stops_where_the_weight_is_nothing() -> None:
    values = random(20, 30)
    across, down = np.full((20, 29), 1e6, np.float32), np.full((19, 30), 1e6, np.float32)
    across[:, 11] = 0
    out = smoothed(values, across, down)
    np.testing.assert_allclose(out[:, :12], values[:, :12].mean(), rtol=0.01)
    np.testing.assert_allclose(out[:, 12:], values[:, 12:].mean(), rtol=0.01)


# LIME


def test_the_illumination_map_loses_texture_and_keeps_edges() -> None:
    y, x = np.mgrid[0:80, 0:90]
    values = np.where(x < 40, 0.1, 0.6) + 0.02 * ((x + y) % 2)
    light = lime.illumination(grey(values))
    left, right = light[:, :38], light[:, 42:]
    assert left.std() < 0.25 * values[:, :38].std()
    assert right.std() < 0.25 * values[:, 42:].std()
    assert right.mean() - left.mean() > 0.45


def test_the_illumination_map_lies_between_the_extremes_of_the_largest_channel() -> None:
    pixels = dark()
    rough = pixels.max(axis=2) + 0.02
    light = lime.illumination(pixels)
    assert rough.min() - 1e-3 <= light.min()
    assert light.max() <= rough.max() + 1e-3
    assert light.mean() == pytest.approx(rough.mean(), rel=0.01)
    assert np.corrcoef(light.ravel(), rough.ravel())[0, 1] > 0.6


def test_lime_divides_by_a_power_of_the_map() -> None:
    pixels = dark()
    light = lime.illumination(pixels)[..., None]
    np.testing.assert_allclose(lime.enhance(pixels), (pixels / light**0.8).clip(0, 1), rtol=1e-5)
    np.testing.assert_array_equal(lime.enhance(pixels, gamma=0.0), pixels)
    flat = np.full((30, 30, 3), 0.1, np.float32)
    np.testing.assert_allclose(lime.enhance(flat), 0.1 / 0.12**0.8, rtol=0.01)


# CRM


def test_the_camera_response_is_that_of_the_paper() -> None:
    beta, gamma = math.exp(1.1258 * (1 - 3**-0.3293)), 3**-0.3293
    np.testing.assert_allclose(crm.exposed(np.float32([0.2]), np.float32(3)), beta * 0.2**gamma, rtol=1e-6)
    values = random(20, 3) / 4
    np.testing.assert_allclose(crm.exposed(values, np.float32(1)), values, rtol=1e-6)
    twice = crm.exposed(crm.exposed(values, np.float32(1.5)), np.float32(2))
    np.testing.assert_allclose(crm.exposed(values, np.float32(3)), twice, rtol=1e-5)


def test_exposure_is_one_over_the_illumination_and_at_most_seven() -> None:
    for value, ratio in ((0.05, 7), (0.25, 4), (1.0, 1)):
        flat = np.full((40, 40, 3), value, np.float32)
        np.testing.assert_allclose(crm.enhance(flat), crm.exposed(flat, np.float32(ratio)), rtol=0.01)


def test_the_scene_illumination_keeps_the_border_between_light_and_shadow() -> None:
    pixels = bright(128)
    pixels[:, :64] *= 0.1
    light = crm.illumination(pixels)
    assert light[:, 70:].mean() > 5 * light[:, :58].mean()
    value = pixels.max(axis=2)
    assert abs(np.diff(light, axis=1)).mean() < 0.6 * abs(np.diff(value, axis=1)).mean()


def test_what_goes_up_and_down_is_texture_and_what_goes_one_way_an_edge() -> None:
    x = np.arange(160)
    stripes = np.tile(0.5 + 0.05 * (x // 4 % 2), (80, 1))
    stairs = np.tile(0.2 + 0.05 * (x // 8 % 8), (80, 1))
    flat, kept = (crm.illumination(grey(values))[10:70, 20:140] for values in (stripes, stairs))
    assert flat.std() < 0.03 * stripes.std()
    assert np.ptp(kept) > 0.1


# BIMEF


def test_a_picture_without_dark_parts_stays() -> None:
    pixels = 0.55 + 0.4 * bright()
    np.testing.assert_array_equal(bimef.enhance(pixels), pixels)


def test_bimef_lifts_the_shadow_and_leaves_the_light() -> None:
    pixels = 0.7 + 0.3 * bright(128)
    pixels[:, :64] *= 0.2
    change = bimef.enhance(pixels) - pixels
    assert change[:, :56].mean() > 0.15
    assert abs(change[:, 80:]).mean() < 0.3 * change[:, :56].mean()


def test_bimef_is_a_mean_of_the_picture_and_of_one_exposure() -> None:
    pixels = dark()
    light = crm.illumination(pixels)
    ratio = bimef.best_ratio(bimef.darkest(pixels, light))
    weight = np.sqrt(light)[..., None]
    wanted = pixels * weight + (crm.exposed(pixels, ratio) - 0.01) * (1 - weight)
    np.testing.assert_allclose(bimef.enhance(pixels), wanted.clip(0, 1), atol=1e-6)


def test_the_ratio_is_the_one_of_the_greatest_entropy() -> None:
    assert bimef.entropy(np.arange(256, dtype=np.float32) / 255) == pytest.approx(8)
    assert bimef.entropy(np.full(9, 0.3, np.float32)) == 0
    values = random(3000) * 0.1
    best = bimef.best_ratio(values)
    assert best > 4
    entropies = [bimef.entropy(crm.exposed(values, ratio)) for ratio in np.float32([1, 2, 4, best - 0.5])]
    assert bimef.entropy(crm.exposed(values, best)) >= max(entropies)


# Dong


def hazy(clear: float) -> tuple[Picture, Picture]:
    """A picture whose inverse has haze of a transmission, with some air on the left, and the picture without."""
    air = np.float32([0.9, 1.0, 0.95])
    scene = random(60, 80, 3)
    scene[::4, ::4, 0] = 0  # in every window
    hazed = scene * clear + air * (1 - clear)
    hazed[:, :20] = air
    return 1 - hazed, 1 - scene


def test_haze_of_a_known_transmission_is_removed() -> None:
    pixels, scene = hazy(0.7)
    np.testing.assert_allclose(dong.enhance(pixels, omega=1.0)[:, 24:], scene[:, 24:], atol=1e-5)


def test_where_little_is_transmitted_the_transmission_counts_twice() -> None:
    pixels, scene = hazy(0.3)
    air = np.float32([0.9, 1.0, 0.95])
    wanted = 1 - (((1 - scene) - air) / 0.6 + air)
    np.testing.assert_allclose(dong.enhance(pixels, omega=1.0)[:, 24:], wanted.clip(0, 1)[:, 24:], atol=1e-5)


def test_a_picture_whose_inverse_is_clear_stays() -> None:
    pixels = dark()
    pixels[..., 1] = 1
    np.testing.assert_allclose(dong.enhance(pixels), pixels, atol=1e-6)


def test_the_air_is_the_brightest_of_the_pixels_with_the_brightest_dark_channel() -> None:
    inverted = random(40, 50, 3) * 0.5
    inverted[10, 20] = (0.9, 0.6, 0.6)
    inverted[30, 40] = (0.65, 0.65, 0.65)
    inverted[5, 5] = (1.0, 1.0, 0.0)
    colour = dong.air(inverted, inverted.min(axis=2), 2 / 2000)
    np.testing.assert_array_equal(colour, inverted[10, 20])


# NPE


def test_the_bright_pass_filter_is_that_of_its_definition() -> None:
    slope = np.arange(30)[:, None] * 4 + np.arange(25) * 3
    level = (slope + np.random.default_rng(0).integers(10, 60, (30, 25))).astype(np.uint8)
    closed = cv2.morphologyEx(np.pad(level, 14, mode="reflect"), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    around = np.pad(closed[14:-14, 14:-14].astype(float), 20, mode="reflect")
    out = npe.bright_pass(level)
    for row, column in ((0, 0), (3, 24), (15, 12), (29, 7)):
        window, own = around[row : row + 41, column : column + 41], float(level[row, column])
        weight = np.where(window >= own, np.exp((own - window) / 50), 0)
        assert out[row, column] == pytest.approx((weight * (window + 1)).sum() / weight.sum(), rel=1e-4)


def test_no_reflectance_is_above_one() -> None:
    value = dark().max(axis=2) * 255
    light = npe.illumination(value)
    assert (value <= light).all()
    assert light.min() >= 11
    assert light.max() <= 256


def test_the_curve_lifts_black_to_127_and_rises_most_where_least_is_noticed() -> None:
    curve = npe.lifted()
    assert curve[0] == 127
    assert (np.diff(curve) > 0).tolist() == (np.round(curve[:-1]) <= 256).tolist()  # flat beyond white
    assert 250 < curve[-1] < 258
    # Around 127 the least difference, 3 levels of 127, is noticed.
    assert np.diff(curve)[115:140].mean() > 4 * np.diff(curve)[:10].mean()


def test_brightness_of_the_whole_is_stretched_before() -> None:
    pixels = dark()
    np.testing.assert_allclose(npe.enhance(pixels / 2), npe.enhance(pixels), atol=1e-4)


def test_channels_are_cut_at_three_deviations_and_stretched_together_after() -> None:
    values = np.random.default_rng(0).normal(100, 10, (50, 60, 3)).astype(np.float32)
    values[0, 0, 0] = 500
    channels = values.astype(float).reshape(-1, 3)
    middle, spread = channels.mean(axis=0), channels.std(axis=0)
    cut = channels.clip(middle - 3 * spread, middle + 3 * spread)
    wanted = (cut - cut.min()) / np.ptp(cut)
    np.testing.assert_allclose(npe.stretched(values).reshape(-1, 3), wanted, atol=1e-5)


def test_lightness_keeps_its_order() -> None:
    pixels = dark()
    before, after = (cv2.blur(p.max(axis=2), (7, 7)).ravel() for p in (pixels, npe.enhance(pixels)))
    first, second = np.random.default_rng(0).integers(0, before.size, (2, 20000))
    kept = (before[first] > before[second]) == (after[first] > after[second])
    assert kept.mean() > 0.85


# MF


def test_the_weights_sum_to_one_and_favour_a_half() -> None:
    lights = [random(20, 30) for _ in range(2)] + [np.full((20, 30), 0.5, np.float32)]
    lights[1] = lights[0] * 0.3
    weights = mf.weights(lights)
    parts = [light * np.exp(-((light - 0.5) ** 2) / (2 * 0.25**2)) for light in lights]
    for part, weight in zip(parts, weights, strict=True):
        np.testing.assert_allclose(weight, part / sum(parts), atol=1e-3)
    np.testing.assert_allclose(sum(weights), 1, rtol=1e-5)
    assert min(weight.min() for weight in weights) >= 0
    dim = lights[0] < 0.4
    assert (weights[2][dim] > weights[0][dim]).all()
    assert (weights[0][dim] >= weights[1][dim]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 50), (64, 64)])
def test_the_pyramid_of_equal_pictures_is_that_picture(size: tuple[int, int]) -> None:
    plane = random(*size)
    share = random(*size)
    np.testing.assert_allclose(mf.fused([plane, plane], [share, 1 - share]), plane, atol=1e-5)
    third = np.full(size, 1 / 3, np.float32)
    np.testing.assert_allclose(mf.fused([plane, share], [third, 2 * third]), plane / 3 + 2 * share / 3, atol=1e-5)


def test_the_three_illuminations_are_those_of_the_paper() -> None:
    light = mf.illumination(dark())
    first, brighter, contrast = mf.versions(light)
    gain = 10 + (1 - light.mean()) / light.mean()
    np.testing.assert_array_equal(first, light)
    np.testing.assert_allclose(brighter, 2 / np.pi * np.arctan(gain * light), rtol=1e-4)
    np.testing.assert_array_equal(contrast, clahe.enhance(grey(light), 3.55)[..., 0])
    assert (contrast.max() - contrast.min()) > 1.2 * (light.max() - light.min())


def test_the_closing_covers_dark_details_and_the_guided_filter_keeps_edges() -> None:
    values = np.where(np.arange(80) < 40, 0.2, 0.8) * np.ones((60, 1))
    values[20:26, 10:16] = 0
    light = mf.illumination(grey(values), epsilon=1e-6)
    np.testing.assert_allclose(light[30:, :36], 0.2, atol=1e-3)
    np.testing.assert_allclose(light[:, 44:], 0.8, atol=1e-3)
    assert light[20:26, 10:16].min() > 0.15
    plane = random(30, 40)
    np.testing.assert_allclose(mf.guided(plane, plane, 2, 1e-9), plane, atol=1e-3)


# SRIE


def test_reflectance_and_illumination_make_the_picture() -> None:
    value = np.maximum(dark().max(axis=2), np.float32(1 / 255))
    reflectance, light = srie.decomposed(value)
    assert reflectance.max() <= 1
    assert (light >= value * (1 - 1e-5)).all()
    assert abs(reflectance * light - value).mean() < 0.02 * value.mean()
    assert reflectance.std() > 0.05
    rough, smooth = (sum(abs(d).sum() for d in srie.differences(np.log(plane))) for plane in (value, light))
    assert smooth < 0.6 * rough


def test_the_illumination_alone_is_gamma_corrected() -> None:
    pixels = dark()
    value = np.maximum(pixels.max(axis=2), np.float32(1 / 255))
    reflectance, light = srie.decomposed(value)
    out = srie.enhance(pixels)
    lit = pixels.max(axis=2) >= 1 / 255
    np.testing.assert_allclose(out.max(axis=2)[lit], (reflectance * light ** (1 / 2.2))[lit].clip(0, 1), rtol=1e-4)
    np.testing.assert_allclose(
        out[lit] * value[lit, None], out[lit].max(axis=1, keepdims=True) * pixels[lit], atol=1e-6
    )
    assert abs(srie.enhance(pixels, gamma=1.0) - pixels).mean() < 0.02 * pixels.mean()


def test_the_reflectance_loses_noise_and_keeps_edges() -> None:
    steps = np.where(np.arange(64) < 32, -1.0, -0.2) * np.ones((64, 1))
    target = (steps + np.random.default_rng(0).normal(0, 0.02, (64, 64))).astype(np.float32)
    r, multipliers = np.zeros_like(target), (np.zeros_like(target), np.zeros_like(target))
    for _ in range(100):
        pull, threshold = np.float32(1.0), np.float32(0.02)
        r, multipliers = srie.reflected(target, r, multipliers, srie.spectrum(r.shape), pull, threshold)
    assert r[8:-8, 40:56].std() < 0.5 * target[8:-8, 40:56].std()
    assert (r[:, 32] - r[:, 31]).mean() > 0.6
    assert r.max() <= 0


def test_the_multipliers_gather_what_the_threshold_took() -> None:
    before, multipliers = -3 * random(20, 24), (random(20, 24), -random(20, 24))
    r, after = srie.reflected(before - 5, before, multipliers, srie.spectrum((20, 24)), np.float32(1), np.float32(0.3))
    assert r.max() < 0
    old, new = srie.differences(before), srie.differences(r)
    for axis in range(2):
        jump = np.exp(before) * old[axis] + multipliers[axis]
        kept = np.where(abs(jump) > 0.3, jump - 0.3 * np.sign(jump), 0)
        wanted = multipliers[axis] + np.exp(before) * new[axis] - kept
        np.testing.assert_allclose(after[axis], wanted, atol=1e-5)


def test_the_fourier_transform_solves_for_what_the_differences_say() -> None:
    plane, other = random(21, 34), random(21, 34)
    penalty = np.float32(3) * srie.spectrum(plane.shape)
    x = srie.solved(plane, penalty)
    np.testing.assert_allclose(x + 3 * srie.gathered(*srie.differences(x)), plane, atol=1e-4)
    assert x.dtype == np.float32
    forward = sum(np.vdot(d, e) for d, e in zip(srie.differences(plane), srie.differences(other), strict=True))
    assert forward == pytest.approx(np.vdot(plane, srie.gathered(*srie.differences(other))), rel=1e-4)
