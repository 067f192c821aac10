"""`--precision int8`: nearly the pictures of float32, through ONNX Runtime on the CPU, or a refusal."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from fake_runner import FakeRunner
from numpy.typing import NDArray

import lowlight_cli as lowlight
from lowlight_cli import manifest, picture, weights
from lowlight_cli.cli import group
from lowlight_cli.errors import ModelUnavailable, NoInput, OptionError, PictureError
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.runners.quantize import quantize
from lowlight_cli.tasks import calibration
from lowlight_cli.tasks import export as task

NEID = manifest.find("neid")


@pytest.fixture(scope="module")
def dark() -> NDArray[np.uint8]:
    """A night picture, (150, 200, 3)."""
    small = cv2.resize(skimage.data.astronaut(), (200, 150), interpolation=cv2.INTER_AREA) / 255
    noise = np.random.default_rng(0).normal(0, 0.01, small.shape)
    return picture.to_integers((0.25 * small**1.6 + noise).astype(np.float32), 8)


def psnr(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    return -10 * float(np.log10(np.square((found.astype(float) - expected) / 255).mean()))


@pytest.mark.parametrize("scale", NEID.scales)
def test_a_picture_is_nearly_that_of_float32_and_the_runner_says_what_ran(dark: NDArray, scale: int) -> None:
    exact, rough = (
        lowlight.open_model("neid", backend="onnx", device="cpu", precision=precision, scale=scale)
        for precision in ("fp32", "int8")
    )
    assert (rough.runner.backend, rough.runner.device, rough.runner.precision) == ("onnx", "cpu", "int8")
    assert rough.runner.sha256 == NEID.file(f"onnx-x{scale}-int8").sha256 != exact.runner.sha256
    assert 38 < psnr(rough(dark), exact(dark)) < 70


def test_tiles_of_bytes_equal_the_whole_picture(dark: NDArray) -> None:
    large = cv2.resize(dark, (600, 420), interpolation=cv2.INTER_CUBIC)
    whole, tiled = (lowlight.open_model("neid", precision="int8", tile=tile)(large).astype(int) for tile in (0, 256))
    assert np.abs(whole - tiled).max() <= 1


def test_int8_asks_for_no_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from lowlight_cli.runners import driver

    monkeypatch.setattr(driver, "cuda_devices", lambda: 1)
    runner = open_runner(NEID, RunnerOptions(precision="int8"))
    assert (runner.backend, runner.device) == ("onnx", "cpu")


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        ("neid", {"backend": "torch"}, "cannot be asked for backend torch with precision int8"),
        ("neid", {"device": "cuda"}, "cannot be asked for device cuda with precision int8"),
        ("neid", {"maps": True}, "cannot be asked for maps with precision int8"),
        ("aux-retinex", {}, "does not run in int8"),
        ("clahe", {}, "does not run in int8"),
    ],
)
def test_what_bytes_cannot_do_is_refused(model: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        open_runner(manifest.find(model), RunnerOptions(precision="int8", **given))


def test_the_command_tells_of_int8(dark: NDArray, tmp_path: Path) -> None:
    picture.save(picture.from_array(dark), tmp_path / "night.png")
    words = ["enhance", str(tmp_path / "night.png"), "--out", str(tmp_path / "out"), "--precision", "int8", "--json"]
    done = CliRunner().invoke(group, words)
    line = json.loads(done.stdout.splitlines()[0])
    assert (line["status"], line["precision"], line["backend"]) == ("done", "int8", "onnx")


# Export


@pytest.fixture
def bundled_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter takes too long for a test: graphs are those of the bundle, and calibration sees small pictures."""

    def export_onnx(spec: manifest.ModelSpec, source: Path, folder: Path, announce: object) -> dict[str, Path]:
        named = {graph: weights.find(NEID, f"onnx-{graph}") for graph in spec.graphs()}
        return {graph: Path(shutil.copy(path, folder / f"{graph}.onnx")) for graph, path in named.items()}

    monkeypatch.setattr(task, "export_onnx", export_onnx)
    monkeypatch.setattr(calibration, "SIDE", 96)


@pytest.mark.usefixtures("bundled_graphs")
def test_export_writes_int8_forms_that_a_row_can_run(dark: NDArray, tmp_path: Path) -> None:
    for name, crop in {"a": dark, "b": dark[:60, :80], "c": 255 - dark}.items():
        (tmp_path / "photos").mkdir(exist_ok=True)
        picture.save(picture.from_array(crop), tmp_path / "photos" / f"{name}.png")
    source = weights.find(NEID, "torch")
    options = task.ExportOptions(
        source=source, out=tmp_path / "out", model="neid", name="mine", int8=tmp_path / "photos"
    )
    said: list[str] = []
    row = json.loads(json.dumps(task.run(options, said.append)["mine"], default=list))
    assert [line for line in said if "dB from float32 on the worst of 3 pictures" in line]
    assert row["precisions"] == [*(p for p in NEID.precisions if p != "int8"), "int8"]
    spec = manifest.spec_from_row("mine", row)
    files = (dataclasses.replace(file, path=str(tmp_path / "out" / file.path)) for file in spec.files)
    spec = dataclasses.replace(spec, files=tuple(files))
    assert {file.role for file in spec.files} == {file.role for file in NEID.files}
    found, expected = (
        lowlight.enhancer.Enhancer(open_runner(spec, RunnerOptions(backend="onnx", precision=p)), settings())(dark)
        for p in ("int8", "fp32")
    )
    assert psnr(found, expected) > 34


def settings() -> Any:
    from lowlight_cli.enhancer import Settings

    return Settings()


@pytest.mark.usefixtures("bundled_graphs")
@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({}, NoInput, "no pictures"),
        ({"good.png": 40, "empty.png": None, "void.png": None}, PictureError, "void.png: "),
    ],
)
def test_a_folder_that_gives_no_ranges_is_told(tmp_path: Path, files: dict, error: type, words: str) -> None:
    (tmp_path / "photos").mkdir()
    for name, level in files.items():
        path = tmp_path / "photos" / name
        if level is None:
            path.touch()
        else:
            pixels = np.random.default_rng(0).integers(0, level + 1, (70, 90, 3), np.uint8)
            picture.save(picture.from_array(pixels), path)
    given = {"source": weights.find(NEID, "torch"), "out": tmp_path / "out", "model": "neid"}
    with pytest.raises(error, match=words):
        task.run(task.ExportOptions(**given, int8=tmp_path / "photos"))
    assert not [*tmp_path.glob("out/*")]


def test_a_network_of_thin_layers_has_no_int8_form(tmp_path: Path) -> None:
    graph = weights.find(manifest.find("aux-retinex"), "onnx-x1")
    sample = {"pixels": np.random.default_rng(0).random((1, 3, 32, 32), np.float32), "vectors": np.ones((1, 1), "f4")}
    with pytest.raises(ModelUnavailable, match="nothing of it would be int8"):
        quantize(graph, tmp_path / "form.onnx", [sample])


def test_a_picture_that_cannot_be_read_is_left_out_and_told(tmp_path: Path, photo: Callable[..., Path]) -> None:
    photo(tmp_path / "good.png", 20, 30)
    (tmp_path / "empty.png").touch()
    said: list[str] = []
    assert len([*calibration.samples(tmp_path, 8, said.append)]) == 1
    assert len(said) == 1
    assert "empty.png is left out: " in said[0]


def test_pictures_are_spread_over_the_folder_even_from_within_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Callable[..., Path]
) -> None:
    monkeypatch.setattr(calibration, "PICTURES", 3)
    (tmp_path / "inner").mkdir()
    for number in range(10):
        photo(tmp_path / "inner" / f"{number}.png", 20 + number, 20)
    monkeypatch.chdir(tmp_path / "inner")
    assert [pixels.shape[:2] for pixels in calibration.pictures(Path(".."))] == [(20, 20), (23, 20), (26, 20)]


@pytest.mark.parametrize("made", [calibration.inputs, lambda spec, _: task.compare(spec)])
def test_a_runner_that_fails_while_graphs_are_made_is_closed(monkeypatch: pytest.MonkeyPatch, made: Callable) -> None:
    class Failing(FakeRunner):
        closed = 0

        def context(self, *_: object) -> NDArray[np.float32]:
            raise PictureError("It broke.", "")

        def close(self) -> None:
            self.closed += 1

    runner = Failing(NEID)
    for module in (calibration, task):
        monkeypatch.setattr(module, "open_runner", lambda *_: runner)
    small = calibration.Sample(np.zeros((320, 320, 3), np.uint8), np.zeros((112, 112, 3), np.float32))
    with pytest.raises(PictureError, match="It broke"):
        made(NEID, [small])
    assert runner.closed == 1
