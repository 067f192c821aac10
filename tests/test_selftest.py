"""The tiny run of `lowlight models verify --run`: what it compares, and that every fault it is for is found."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from lowlight_cli import cli, frames, manifest, weights
from lowlight_cli.errors import DONE, NO_MODEL, ModelUnavailable
from lowlight_cli.manifest import ModelSpec, WeightFile
from lowlight_cli.nn.state import save_weights
from lowlight_cli.runners import export as graphs
from lowlight_cli.runners import pytorch
from lowlight_cli.tasks import export as task
from lowlight_cli.tasks import selftest
from lowlight_cli.tasks.selftest import NAMES, TOLERANCE, Trial, trials

ROWS = [name for name, spec in manifest.models().items() if not spec.untrained]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def network() -> ModelSpec:
    """The smallest network, with the figures of its graphs."""
    spec = manifest.find("aux-retinex")
    return dataclasses.replace(spec, check=selftest.check(spec))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`lowlight models verify --run` of one row."""

    def run(spec: ModelSpec, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(manifest, "models", lambda: {spec.name: spec})
        monkeypatch.setattr(sys, "argv", ["lowlight", "models", "verify", "--run", "--offline", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run


def with_figure(spec: ModelSpec, number: int, more: float) -> ModelSpec:
    """The row with one of its figures changed."""
    figures = [*spec.check["x1"]]
    figures[number] += more
    return dataclasses.replace(spec, check={"x1": figures})


def problems(spec: ModelSpec) -> dict[str, str]:
    """What is wrong at scale 1, by back end."""
    found = {tried.backend: tried.problem for tried in trials(spec, offline=True) if tried.scale == 1}
    assert found
    return found


# The picture and its figures


def test_the_picture_is_the_same_everywhere() -> None:
    pixels = selftest.night()
    assert pixels.mean() / 255 < 0.12
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    assert digest == "e5bcd8de843e53909bf2268e781f57b286196ea7aea2d15f4503f4c8e6ff401f"


def shifted(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.roll(pixels, 1, axis=1)


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels[..., ::-1],
        lambda pixels: pixels[..., [1, 0, 2]],
        lambda pixels: pixels[::-1],
        lambda pixels: pixels[:, ::-1],
        lambda pixels: pixels[::-1, ::-1],
        shifted,
        lambda pixels: (pixels * 0.98).astype(np.uint16),
        lambda pixels: (65535 * (pixels / 65535) ** 0.95).astype(np.uint16),
    ],
    ids=["blue first", "green first", "upside down", "mirrored", "turned", "shifted", "darker", "another gamma"],
)
def test_figures_move_when_the_output_does(change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    pixels = selftest.night().astype(np.uint16)[..., ::-1] * 128 + 16000
    there, moved = selftest.figures(pixels), selftest.figures(change(pixels))
    assert len(there) == len(NAMES)
    assert max(abs(a - b) for a, b in zip(there, moved, strict=True)) > 2 * TOLERANCE["fp32"]


# Rows


@pytest.mark.parametrize("name", ROWS)
def test_a_row_gives_its_figures_on_every_back_end_at_every_scale(name: str) -> None:
    spec = manifest.find(name)
    tried = [*trials(spec, offline=True)]
    assert len(tried) == len(spec.scales) * (1 if spec.classical else 2 + ("int8" in spec.precisions))
    assert [trial.problem for trial in tried if trial.problem] == []


def test_both_back_ends_give_the_figures_of_the_graphs(network: ModelSpec) -> None:
    tried = [*trials(network, offline=True)]
    assert [trial.backend for trial in tried] == ["torch", "onnx"]
    for trial in tried:
        assert (trial.problem, trial.expected) == ("", network.check["x1"])
        assert max(trial.differences) < 0.0005
        assert len({*trial.found}) == len(NAMES)


def test_a_form_in_bytes_is_compared_with_figures_of_its_own() -> None:
    spec = manifest.find("neid-lol")
    changed = spec.check | {"x1-int8": [*spec.check["x1-int8"][:-1], 0.0]}
    tried = [*trials(dataclasses.replace(spec, check=changed, scales=(1,)), offline=True)]
    assert [trial.precision for trial in tried if trial.problem] == ["int8"]


def test_a_network_without_weights_is_not_tried() -> None:
    spec = dataclasses.replace(manifest.find("aux-retinex"), files=())
    assert [*trials(spec)] == []


# Faults, each of which must be found


def test_changed_weights_are_found(network: ModelSpec, tmp_path: Path) -> None:
    state = load_file(weights.find(network, "torch"))
    name = next(name for name, value in state.items() if value.dim() == 4)
    path = tmp_path / "changed.safetensors"
    save_file(state | {name: -state[name]}, path)
    digest, size = weights.sha256_of(path), path.stat().st_size
    changed = WeightFile(role="torch", path=str(path), bytes=size, sha256=digest, bundled=True)
    files = (changed, *(file for file in network.files if file.role != "torch"))
    found = problems(dataclasses.replace(network, files=files))
    assert "its row says" in found["torch"]
    assert found["onnx"] == ""


def test_swapped_channels_are_found_on_the_back_end_that_swaps_them(
    network: ModelSpec, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = pytorch.TorchRunner.__call__
    monkeypatch.setattr(pytorch.TorchRunner, "__call__", lambda self, *inputs: call(self, *inputs)[:, ::-1].copy())
    code, out, err = run(network, "--json")
    runs = {item["backend"]: item for item in json.loads(out)["runs"]}
    assert (code, runs["torch"]["ok"], runs["onnx"]["ok"]) == (NO_MODEL, False, True)
    assert runs["torch"]["difference"] > 0.1
    assert "1 of 5 checks failed" in err
    assert "Use the back end that is right" in err


def test_a_thumbnail_that_is_not_the_pictures_is_found(network: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnail = frames.thumbnail
    monkeypatch.setattr(frames, "thumbnail", lambda pixels, side: thumbnail(pixels, side) * np.float32(1.1))
    assert all("its row says" in problem for problem in problems(network).values())


def test_a_classical_method_with_another_parameter_is_found(run: Run) -> None:
    spec = manifest.find("gamma")
    spec = dataclasses.replace(spec, check=selftest.check(spec))
    assert problems(spec) == {"classical": ""}
    code, out, _ = run(dataclasses.replace(spec, params={"gamma": 0.5}))
    assert code == NO_MODEL
    assert out.startswith("BAD  gamma  classical  x1  classical on cpu, fp32: ")


# What `verify --run` says


def test_a_wrong_figure_is_exit_code_4_and_named(network: ModelSpec, run: Run) -> None:
    figure = network.check["x1"][3]
    code, out, _ = run(with_figure(network, 3, 0.01))
    lines = [line for line in out.splitlines() if line.startswith("BAD")]
    assert (code, len(lines)) == (NO_MODEL, 2)
    assert lines[0].startswith("BAD  aux-retinex  torch  x1  torch on cpu, fp32: green of a pixel, upper left is ")
    assert f"its row says {figure + 0.01:.5f}; off by 0.01" in lines[1]
    assert lines[1].endswith("allowed is 0.00196 (1 of 16 figures fail)")


def test_a_figure_within_the_tolerance_is_right(network: ModelSpec, run: Run) -> None:
    code, out, _ = run(with_figure(network, 3, 0.001))
    assert (code, out.count("BAD"), out.count("off by 0.001")) == (DONE, 0, 2)


@pytest.mark.parametrize("figures", [[], [0.1] * 15, [float("nan")] * 16])
def test_figures_that_cannot_be_compared_are_no_success(network: ModelSpec, figures: list[float]) -> None:
    spec = dataclasses.replace(network, check={"x1": figures})
    assert all(problems(spec).values())


def test_a_row_without_figures_is_told_and_no_failure(network: ModelSpec, run: Run) -> None:
    bare = dataclasses.replace(network, check={})
    code, out, _ = run(bare)
    runs = out.splitlines()[-2:]
    assert (code, len(runs)) == (DONE, 2)
    assert all(line.startswith("ok ") and line.endswith("no figure to compare with") for line in runs)


def test_without_figures_an_output_must_still_be_brighter() -> None:
    darker = dataclasses.replace(manifest.find("gamma"), check={}, params={"gamma": 1.5})
    assert "gives a picture of mean" in problems(darker)["classical"]


def test_json_has_found_and_expected_figures(network: ModelSpec, run: Run) -> None:
    code, out, _ = run(network, "--json")
    document = json.loads(out)
    assert (code, document["ok"], len(document["runs"])) == (DONE, True, 2)
    for item in document["runs"]:
        assert item["expected"] == network.check["x1"]
        assert item["found"] == pytest.approx(item["expected"], abs=item["tolerance"])
        assert (item["model"], item["scale"], item["device"], item["precision"]) == ("aux-retinex", 1, "cpu", "fp32")
        assert item["difference"] <= item["tolerance"] == TOLERANCE["fp32"]


def test_a_run_that_fails_is_told_and_the_next_one_goes_on(
    network: ModelSpec, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ModelUnavailable("No weights.", "Fetch them.")

    monkeypatch.setattr(pytorch, "load", missing)
    code, out, _ = run(network)
    assert code == NO_MODEL
    assert "BAD  aux-retinex  torch  x1  No weights. Fetch them." in out
    assert "ok   aux-retinex  onnx  x1  onnx on cpu" in out


def test_the_selftest_of_doctor_compares_too(network: ModelSpec) -> None:
    assert "off by 0.0000" in selftest.selftest(network, backend="onnx", device="cpu")
    with pytest.raises(ModelUnavailable, match="its row says") as caught:
        selftest.selftest(with_figure(network, 0, 0.1), backend="onnx", device="cpu")
    assert "verify --run" in caught.value.hint


def test_half_precision_may_differ_more() -> None:
    given = {"model": "m", "backend": "torch", "scale": 1, "found": [0.5], "expected": [0.51]}
    assert Trial(**given, tolerance=TOLERANCE["fp32"]).problem
    assert not Trial(**given, tolerance=TOLERANCE["bf16"]).problem


# Writing figures


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/checks.py, on a copy of the manifest."""
    copy = tmp_path / manifest.FILE
    copy.write_bytes(manifest.manifest_path().read_bytes())
    monkeypatch.setattr(manifest, "manifest_path", lambda: copy)
    path = Path(__file__).resolve().parent.parent / "docs" / "checks.py"
    about = importlib.util.spec_from_file_location("checks", path)
    module = importlib.util.module_from_spec(about)
    about.loader.exec_module(module)
    return module


def test_one_command_writes_the_figures_of_a_row_and_changes_nothing_else(
    script: ModuleType, network: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = manifest.manifest_path()
    wrong = dataclasses.replace(network, check={"x1": [0.0]})
    monkeypatch.setattr(manifest, "find", lambda _: wrong)
    before = json.loads(path.read_text())
    script.main(["aux-retinex"])
    after = json.loads(path.read_text())
    assert after["models"]["aux-retinex"].pop("check") == network.check
    before["models"]["aux-retinex"].pop("check", None)
    assert after == before


def test_figures_on_which_the_back_ends_disagree_are_not_written(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = pytorch.TorchRunner.__call__
    monkeypatch.setattr(pytorch.TorchRunner, "__call__", lambda self, *inputs: call(self, *inputs) * np.float32(0.9))
    before = manifest.manifest_path().read_bytes()
    with pytest.raises(SystemExit, match=r"torch on cpu, fp32: .*Nothing was written"):
        script.main(["aux-retinex"])
    assert manifest.manifest_path().read_bytes() == before


# Export, and denormal numbers: counted by their bits, since a CPU that is told to takes them for zeros


@pytest.fixture
def exported(network: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The row that an export prints; its graphs are those of the bundle, the exporter takes too long for a test."""

    def export_onnx(spec: ModelSpec, source: Path, folder: Path, announce: object) -> dict[str, Path]:
        graphs = {graph: weights.find(network, f"onnx-{graph}") for graph in spec.graphs()}
        return {graph: Path(shutil.copy(path, folder)) for graph, path in graphs.items()}

    monkeypatch.setattr(task, "export_onnx", export_onnx)
    source = weights.find(network, "torch")
    options = task.ExportOptions(source=source, out=tmp_path / "out", model="aux-retinex", name="mine")
    return json.loads(json.dumps(task.run(options)["mine"], default=list))


def test_export_prints_a_row_whose_figures_both_back_ends_give(
    exported: dict[str, Any], network: ModelSpec, tmp_path: Path
) -> None:
    assert exported["check"] == network.check
    spec = manifest.spec_from_row("mine", exported)
    files = (dataclasses.replace(file, path=str(tmp_path / "out" / file.path)) for file in spec.files)
    assert problems(dataclasses.replace(spec, files=tuple(files))) == {"torch": "", "onnx": ""}


def denormals(values: NDArray[np.float32]) -> int:
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return int((((bits & 0x7F800000) == 0) & ((bits & 0x007FFFFF) != 0)).sum())


class Convolution(torch.nn.Conv2d):
    """A network of one layer; two of its weights are denormal."""

    def __init__(self) -> None:
        super().__init__(3, 3, 3)
        self.eval().requires_grad_(False)
        # Bits, not a number: a CPU that flushes denormals would write a zero.
        self.weight.view(torch.int32).view(-1)[:2] = 7
        assert denormals(self.weight.numpy()) == 2

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return super().forward(pixels)


def test_exported_files_hold_no_denormals(tmp_path: Path) -> None:
    network = Convolution()
    weight = network.weight.numpy()
    graphs.export(network, {"pixels": graphs.picture(2, 16, 24)}, tmp_path / "x1.onnx")
    held = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(tmp_path / "x1.onnx").graph.initializer}
    assert denormals(held["weight"]) == 0
    np.testing.assert_array_equal(held["weight"].ravel()[2:], weight.ravel()[2:])
    save_weights(tmp_path / "x.safetensors", network)
    assert denormals(load_file(tmp_path / "x.safetensors")["weight"].numpy()) == 0


def test_the_session_that_export_compares_with_flushes_denormals(
    network: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, session = [], onnxruntime.InferenceSession

    def spy(path: str, settings: onnxruntime.SessionOptions, **options: Any) -> onnxruntime.InferenceSession:
        opened.append(settings.get_session_config_entry("session.set_denormal_as_zero"))
        return session(path, settings, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    graphs.compare(network, torch.nn.Identity(), {"pixels": torch.zeros(3)}, product_graph(tmp_path / "same.onnx", 1))
    assert opened == ["1"]


def product_graph(path: Path, factor: float) -> Path:
    """A graph that multiplies its pixels."""
    kind = onnx.TensorProto.FLOAT
    ends = [onnx.helper.make_tensor_value_info(name, kind, ["n"]) for name in ("pixels", "output")]
    constant = onnx.helper.make_tensor("factor", kind, [1], [factor])
    node = onnx.helper.make_node("Mul", ["pixels", "factor"], ["output"])
    graph = onnx.helper.make_graph([node], "product", ends[:1], ends[1:], [constant])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)
    return path


FLUSH = """
import numpy as np
from lowlight_cli import manifest
from lowlight_cli.runners import RunnerOptions, open_runner
runner = open_runner(manifest.find("aux-retinex"), RunnerOptions(backend={backend!r}, device="cpu", threads=2))
values = np.full(1_000_000, 1e-20, np.float32)
print(np.count_nonzero({product}.view(np.int32)))
"""


@pytest.mark.parametrize(
    ("backend", "product"),
    [
        ("onnx", "runner.run(runner.open({path!r}, 2), {{'pixels': values}})"),
        ("torch", "(runner.tensor(values) * 1e-20).numpy()"),
    ],
    ids=["onnx", "torch"],
)
def test_a_runner_flushes_denormals_in_all_of_its_threads(backend: str, product: str, tmp_path: Path) -> None:
    product = product.format(path=str(product_graph(tmp_path / "tiny.onnx", 1e-20)))
    code = FLUSH.format(backend=backend, product=product)
    # A process of its own: what a thread does with denormals is inherited, and decided by whoever comes first.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
