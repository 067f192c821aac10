"""What every classical method must hold, what each of ours computes, and what is refused to them."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import lowlight_cli as lowlight
from lowlight_cli import cli, manifest, picture
from lowlight_cli.classical import clahe, gamma, he, msr, msrcr, retinex, ssr
from lowlight_cli.color import luma
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import DONE, USAGE, OptionError, OutOfMemory, PictureError
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.tasks.selftest import selftest

ROWS = [name for name, spec in manifest.models().items() if spec.classical]
Enhance = Callable[..., NDArray[np.float32]]


def method(name: str) -> Enhance:
    return importlib.import_module(f"lowlight_cli.{manifest.find(name).arch}").enhance


def dark(height: int, width: int, kind: type = np.uint8) -> NDArray:
    """A dark picture with structure, colour and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    waves = 0.1 + 0.07 * np.sin(x / 17)[..., None] * np.cos(y / 23)[..., None] * np.array([1.0, 0.8, 0.6])
    values = np.clip(waves + rng.normal(0, 0.01, (height, width, 3)), 0, 1)
    return np.rint(values * np.iinfo(kind).max).astype(kind)


def floats(height: int, width: int) -> NDArray[np.float32]:
    return picture.to_float(dark(height, width, np.uint16))


def check(name: str, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the method itself and check what is promised of every output."""
    before = pixels.copy()
    values = method(name)(pixels)
    assert values.shape == pixels.shape
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 1
    np.testing.assert_array_equal(pixels, before)
    assert not np.shares_memory(values, pixels)
    return values


# What all rows hold


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (17, 23), (64, 65), (3, 200)])
def test_any_size_gives_the_same_size(name: str, size: tuple[int, int]) -> None:
    check(name, floats(*size))


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("value", [0.0, 1 / 65535, 0.5, 1.0])
def test_a_picture_of_one_grey_gives_one_grey(name: str, value: float) -> None:
    values = check(name, np.full((33, 40, 3), value, np.float32))
    assert np.ptp(values) < 1e-3


@pytest.mark.parametrize("name", ROWS)
def test_one_colour_and_noise_give_finite_values(name: str) -> None:
    check(name, np.broadcast_to(np.float32([1, 0, 0.2]), (20, 30, 3)).copy())
    noise = np.random.default_rng(0).random((40, 50, 3), np.float32)
    assert check(name, noise).std() > 0.01
    assert check(name, noise / 1000).std() > 1e-5


@pytest.mark.parametrize("name", ROWS)
def test_a_half_black_half_white_picture_keeps_its_order(name: str) -> None:
    pixels = np.zeros((40, 60, 3), np.float32)
    pixels[:, 30:] = 1
    values = check(name, pixels)
    assert values[:, 30:].mean() > values[:, :30].mean()


@pytest.mark.parametrize("name", ROWS)
def test_a_dark_picture_gets_brighter_and_grey_stays_grey(name: str) -> None:
    pixels = floats(64, 96)
    assert check(name, pixels).mean() > 1.1 * pixels.mean()
    grey = check(name, np.repeat(pixels[..., :1], 3, axis=2))
    assert np.ptp(grey, axis=2).max() < 1e-4


@pytest.mark.parametrize("name", ROWS)
def test_8_bits_give_the_same_8_bits_each_time(name: str) -> None:
    pixels = dark(48, 64)
    model = lowlight.open_model(name)
    first = model(pixels)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(model(pixels), first)


@pytest.mark.parametrize("name", ROWS)
def test_16_bits_give_16_bits_with_more_levels_than_8_bits_hold(name: str) -> None:
    bright = lowlight.open_model(name)(dark(64, 96, np.uint16))
    assert bright.dtype == np.uint16
    assert np.unique(bright).size > 1000


@pytest.mark.parametrize("name", ROWS)
def test_the_row_passes_the_selftest(name: str) -> None:
    assert selftest(manifest.find(name)).startswith("classical on cpu, fp32: opened")


@pytest.mark.parametrize("name", ROWS)
def test_without_scipy_a_method_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [*sys.modules]:
        if loaded.startswith("lowlight_cli.classical."):
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert lowlight.open_model(name)(dark(20, 30)).shape == (20, 30, 3)


# What ours compute


def test_equalised_values_are_those_of_opencv() -> None:
    pixels = dark(60, 80)
    value = picture.to_float(cv2.equalizeHist(pixels.max(axis=2)))
    out = he.enhance(picture.to_float(pixels))
    assert np.abs(out.max(axis=2) - value).max() < 0.51 / 255
    hue, wanted = (cv2.cvtColor(p, cv2.COLOR_RGB2HSV)[value > 0] for p in (out, picture.to_float(pixels)))
    np.testing.assert_allclose(hue[:, 1], wanted[:, 1], atol=1e-4)


def test_equalisation_merges_no_levels_of_16_bits() -> None:
    ramp = np.arange(20000, 22000, dtype=np.uint16).reshape(40, 50)
    out = he.enhance(picture.to_float(np.dstack([ramp] * 3)))
    np.testing.assert_allclose(out[..., 0].ravel(), np.arange(2000) / 1999, atol=1e-6)


def test_clahe_of_8_bit_grey_is_that_of_opencv() -> None:
    grey = dark(512, 1024)[..., 0]
    # Large tiles: OpenCV gives what is left of the cut pixels, up to 255, to the darkest bins.
    wanted = cv2.createCLAHE(2.0, (4, 4)).apply(grey).astype(float)
    out = clahe.enhance(picture.to_float(np.dstack([grey] * 3)), grid=4)[..., 0] * 255.0
    assert np.abs(out - wanted).max() < 1.5
    assert np.abs(wanted - grey).mean() > 5


def test_clahe_keeps_levels_of_16_bits_apart_and_colour_differences_as_they_are() -> None:
    ramp = np.linspace(0.2, 0.3, 6400, dtype=np.float32).reshape(80, 80)
    assert np.unique(clahe.enhance(np.dstack([ramp] * 3))).size > 6000
    pixels = floats(64, 64) + np.float32(0.2)
    out = clahe.enhance(pixels)
    np.testing.assert_allclose(out - luma(out)[..., None], pixels - luma(pixels)[..., None], atol=1e-5)


def test_clahe_with_one_tile_and_no_limit_is_plain_equalisation() -> None:
    grey = np.random.default_rng(0).random((200, 300, 1), np.float32) ** 2
    out = clahe.enhance(np.repeat(grey, 3, axis=2), clip=256.0, grid=1)[..., 0]
    order = np.sort(out.ravel())[out.size // 10 :]  # the first bins hold many pixels each
    assert np.abs(order - np.linspace(0.1, 1, order.size)).max() < 0.02


def test_gamma_is_a_power() -> None:
    out = gamma.enhance(np.float32([[[0, 0.01, 1]]]))
    np.testing.assert_allclose(out, [[[0, 0.01**0.45, 1]]], rtol=1e-6)
    np.testing.assert_allclose(gamma.enhance(np.float32([[[0.3]]]), gamma=2.0), 0.09, rtol=1e-6)


@pytest.mark.parametrize("sigma", [5, 15, 80, 250])
@pytest.mark.parametrize("size", [(150, 211), (40, 300), (9, 70), (1, 1)])
def test_a_fast_surround_is_the_gaussian(sigma: float, size: tuple[int, int]) -> None:
    values = retinex.shifted(floats(*size)[..., 0])
    values[: size[0] // 2] *= 3
    exact = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    assert np.abs(np.log(retinex.surround(values, sigma)) - np.log(exact)).max() < 0.005
    values[:] = np.where(np.arange(size[1]) < size[1] // 2, np.float32(1), np.float32(256))
    exact = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    assert np.abs(np.log(retinex.surround(values, sigma)) - np.log(exact)).max() < 0.02


def plain_retinex(pixels: NDArray[np.float32], sigmas: tuple[float, ...]) -> NDArray[np.float64]:
    """The definition, in float64 and with Gaussians of full size."""
    values = pixels.astype(np.float64) * 255 + 1
    blurred = [cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for sigma in sigmas]
    return np.mean([np.log(values) - np.log(surround) for surround in blurred], axis=0)


@pytest.mark.parametrize(("enhance", "sigmas"), [(ssr.enhance, (80.0,)), (msr.enhance, (15.0, 80.0, 250.0))])
def test_retinexes_are_spread_so_that_one_percent_is_black_and_one_white(
    enhance: Enhance, sigmas: tuple[float, ...]
) -> None:
    pixels = floats(100, 120)
    out = enhance(pixels)
    for channel in range(3):
        plain = plain_retinex(pixels, sigmas)[..., channel]
        low, high = np.percentile(plain, [1, 99])
        np.testing.assert_allclose(out[..., channel], np.clip((plain - low) / (high - low), 0, 1), atol=0.01)
        assert np.mean(out[..., channel] == 0) == pytest.approx(0.01, abs=0.001)
        assert np.mean(out[..., channel] == 1) == pytest.approx(0.01, abs=0.001)


def test_colour_restoration_is_that_of_the_definition() -> None:
    pixels = floats(100, 120)
    values = pixels.astype(np.float64) * 255 + 1
    restoration = np.log(125 * values) - np.log(values.sum(axis=2, keepdims=True))
    wanted = 30 * (restoration * plain_retinex(pixels, (15.0, 80.0, 250.0)) + 6) / 255
    assert wanted.std() > 0.05
    np.testing.assert_allclose(msrcr.enhance(pixels), np.clip(wanted, 0, 1), atol=0.005)


# The runner, the library and the commands


def fails_with(error: Exception) -> SimpleNamespace:
    """A module whose method fails; `calls` counts."""

    def enhance(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        module.calls += 1
        raise error

    module = SimpleNamespace(enhance=enhance, calls=0)
    return module


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("Failed to allocate memory")])
def test_too_little_memory_is_told_at_once_as_there_are_no_tiles(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    module = fails_with(error)
    monkeypatch.setitem(sys.modules, "lowlight_cli.classical.gamma", module)
    model = lowlight.open_model("gamma")
    with pytest.raises(OutOfMemory, match="not enough memory for gamma") as caught:
        model(dark(300, 300))
    assert caught.value.hint.startswith("It needs the whole picture at once")
    assert module.calls == 1


def test_a_method_that_breaks_is_an_error_of_that_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lowlight_cli.classical.gamma", fails_with(ValueError("singular")))
    with pytest.raises(PictureError, match="gamma failed: singular") as caught:
        lowlight.open_model("gamma")(dark(3, 3))
    assert caught.value.hint == "Report this with `lowlight doctor`."


def test_a_large_picture_is_never_tiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowlight_cli.memory.available", lambda: 1000)
    for tile in (None, 0):
        model = lowlight.open_model("gamma", tile=tile)
        model(dark(600, 700))
        assert model.tile_choice.used == 0


def test_params_of_the_row_reach_the_method() -> None:
    spec = dataclasses.replace(manifest.find("gamma"), params={"gamma": 1.0})
    pixels = dark(9, 11)
    np.testing.assert_array_equal(Enhancer(open_runner(spec, RunnerOptions()), Settings())(pixels), pixels)


def test_a_batch_is_enhanced_picture_by_picture() -> None:
    model = lowlight.open_model("he")
    pictures = [picture.from_array(pixels) for pixels in (dark(20, 30), dark(20, 30)[::-1] // 2)]
    for one, together in zip(pictures, model.enhance(pictures), strict=True):
        np.testing.assert_array_equal(model.enhance([one])[0].pixels, together.pixels)


def test_half_strength_is_half_way() -> None:
    pixels = dark(20, 30, np.uint16)
    whole, half = (lowlight.open_model("gamma", strength=share)(pixels).astype(float) for share in (1.0, 0.5))
    assert np.abs((whole + pixels) / 2 - half).max() <= 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"backend": "torch"}, "clahe takes no backend torch"),
    ({"backend": "onnx"}, "clahe takes no backend onnx"),
    ({"device": "cuda"}, "clahe takes no device cuda"),
    ({"device": "cuda:1"}, "clahe takes no device cuda:1"),
    ({"weights": Path("mine.pt")}, "clahe takes no weights mine.pt"),
    ({"weights": "mine.pt"}, "clahe takes no weights mine.pt"),
    ({"scale": 2}, "clahe has no scale 2"),
    ({"precision": "bf16"}, "clahe does not run in bf16"),
    ({"exposure": 0.4}, "clahe takes no exposure"),
    ({"tile": 64}, "clahe takes no tile 64: each of its pixels depends on the whole picture"),
]


@pytest.mark.parametrize(("options", "text"), REFUSED)
def test_what_only_networks_have_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError, match=text) as caught:
        lowlight.open_model("clahe", **options)
    assert caught.value.hint


def test_auto_may_be_said() -> None:
    pixels = dark(20, 30)
    plain, told = lowlight.open_model("gamma"), lowlight.open_model("gamma", exposure="auto", tile="auto")
    np.testing.assert_array_equal(plain(pixels), told(pixels))


def test_the_cpu_in_fp32_and_threads_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(cv2, "setNumThreads", threads.append)
    runner = lowlight.open_model("clahe", device="cpu", precision="fp32", threads=3, offline=True).runner
    assert threads == [3]
    assert (runner.backend, runner.device, runner.precision, runner.sha256) == ("classical", "cpu", "fp32", None)


def test_the_command_enhances_and_its_json_states_no_weights(
    photo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = photo(tmp_path / "in" / "a.png", 24, 40)
    words = ["lowlight", "enhance", str(source), "--out", str(tmp_path / "out"), "--model", "msrcr", "--json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert (ended.value.code or 0) == DONE
    assert err.splitlines()[0] == "msrcr: classical on cpu, fp32, 1 picture"
    line = json.loads(out.splitlines()[0])
    assert (line["backend"], line["device"], line["weights_sha256"], line["tile"]) == ("classical", "cpu", None, 0)
    assert picture.load(tmp_path / "out" / "a.png").pixels.mean() > 2 * picture.load(source).pixels.mean()
    monkeypatch.setattr(sys, "argv", [*words, "--overwrite", "--tile", "64"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == USAGE


def test_classical_methods_import_no_network_library(photo: Callable[..., Path], tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", 24, 40)
    code = f"""
import sys, lowlight_cli
sys.modules["scipy"] = None
for name in {ROWS!r}:
    try:
        lowlight_cli.open_model(name)({str(path)!r})
        print(name)
    except lowlight_cli.LowlightError:
        pass
print("LOADED", *sorted({{"torch", "onnxruntime", "cv2"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    ran, _, loaded = done.stdout.partition("LOADED")
    assert loaded.split() == ["cv2"], done.stderr
    assert {"he", "clahe", "gamma", "ssr", "msr", "msrcr"} <= {*ran.split()}
