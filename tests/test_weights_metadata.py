"""Files of weights that say what network they are of: run at once, and trusted in nothing."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from lowlight_cli import manifest, models, weights_metadata
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import ModelUnavailable, OptionError
from lowlight_cli.models import neid
from lowlight_cli.nn.state import load_weights, save_weights
from lowlight_cli.runners import RunnerOptions, open_runner
from lowlight_cli.runners.own_weights import with_weights
from lowlight_cli.weights_metadata import Origin

NEID = {"widths": [4, 8]}
GEOMETRY = {"multiple": 16, "halo": 150, "tiling": "guided", "thumbnail": 48, "scales": [1], "exposure": True}


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the weights of a small NEID with metadata; keywords are other texts, None: left out."""

    def write(**other: str | None) -> Path:
        torch.manual_seed(0)
        texts = weights_metadata.texts(Origin("neid", NEID, GEOMETRY)) | other
        path = tmp_path / "best.safetensors"
        save_weights(path, neid.build(**NEID), {name: text for name, text in texts.items() if text is not None})
        return path

    return write


def enhanced(model: str, path: Path, **options: Any) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 40, (40, 50, 3), np.uint8)
    runner = open_runner(manifest.find(model), RunnerOptions(weights=path, **options))
    return Enhancer(runner, Settings(depth=16))(pixels) / 65535


def test_the_number_of_parameters_is_the_files_own(file: Callable[..., Path]) -> None:
    spec = with_weights(manifest.find("neid"), file())
    assert spec.parameters == sum(p.numel() for p in neid.build(**NEID).parameters())


@pytest.mark.parametrize("shape", [None, 3, [-1], ["2"], [2.0], [True], [10**30]])
def test_a_tensor_of_absurd_shape_is_refused(file: Callable[..., Path], shape: object) -> None:
    path = file()
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    next(entry for name, entry in header.items() if name != "__metadata__")["shape"] = shape
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data[8 + length :])
    with pytest.raises(ModelUnavailable, match="a tensor has no shape"):
        with_weights(manifest.find("neid"), path)


def test_weights_of_another_width_run_at_once(file: Callable[..., Path]) -> None:
    path = file()
    network = neid.build(**NEID)
    network.load_state_dict(load_weights(path))
    assert network.encoder.levels[0][0].weight.shape[0] == 4
    bright = enhanced("neid", path, backend="torch")
    assert bright.shape == (40, 50, 3)
    assert bright.std() > 0
    with pytest.raises(ModelUnavailable, match="does not fit neid"):
        enhanced("neid", file(arch=None), backend="torch")


def test_both_back_ends_are_told_what_the_file_says(file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from lowlight_cli.runners import onnx, pytorch

    for backend, code, name in (("onnx", onnx, "OnnxRunner"), ("torch", pytorch, "TorchRunner")):
        monkeypatch.setattr(code, name, lambda spec, options: spec)
        spec = open_runner(manifest.find("neid"), RunnerOptions(weights=file(), backend=backend))
        assert (spec.params, spec.halo, spec.graphs()) == (NEID, 150, ("context", "x1"))


def test_the_file_goes_before_the_row(file: Callable[..., Path]) -> None:
    row = manifest.find("neid")
    spec = with_weights(row, file())
    assert spec.params == NEID
    assert {name: getattr(spec, name) for name in GEOMETRY} == GEOMETRY | {"scales": (1,)}
    assert (spec.name, spec.arch) == (row.name, row.arch)
    assert {*row.precisions} - {*spec.precisions} == {"int8"}, "that form is of the row's own weights"
    with pytest.raises(OptionError, match="has no int8 form") as caught:
        open_runner(row, RunnerOptions(weights=file(), precision="int8"))
    assert "export --int8" in caught.value.hint
    with pytest.raises(OptionError, match="no scale 2"):
        open_runner(row, RunnerOptions(weights=file(), scale=2))


def test_files_that_say_nothing_leave_the_row_as_it_is(file: Callable[..., Path], tmp_path: Path) -> None:
    row = manifest.find("neid")
    torch.save({}, tmp_path / "old.pt")
    texts = {"params": None, "geometry": None, "lowlight": None}
    for path in (file(arch=None, **texts), file(arch=None), file(arch=None, **texts, format="pt"), tmp_path / "old.pt"):
        spec = with_weights(row, path)
        assert dataclasses.replace(spec, files=row.files, figures=row.figures, precisions=row.precisions) == row


def test_the_same_weights_give_the_same_bytes_and_any_reader_reads_them(file: Callable[..., Path]) -> None:
    first = file().read_bytes()
    # safetensors orders metadata anew in every file.
    assert {file().read_bytes() for _ in range(8)} == {first}
    assert int.from_bytes(first[:8], "little") % 8 == 0
    with safe_open(file(), "pt") as opened:
        found = opened.metadata()
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not iterable
    assert (found["arch"], json.loads(found["params"]), json.loads(found["geometry"])) == ("neid", NEID, GEOMETRY)
    plain = neid.build(**NEID)
    save_weights(file().with_name("plain.safetensors"), plain)
    assert state.keys() == plain.state_dict().keys()
    neid.build(**NEID).load_state_dict(state)


def test_weights_of_another_network_name_the_model_to_use(file: Callable[..., Path]) -> None:
    with pytest.raises(ModelUnavailable, match=r"trained for neid, and aux-retinex is aux_retinex. Use model neid"):
        with_weights(manifest.find("aux-retinex"), file())
    with pytest.raises(ModelUnavailable, match=r"trained for better_net.*does not know"):
        with_weights(manifest.find("neid"), file(arch="better_net"))


def geometry(**other: object) -> str:
    return json.dumps({name: value for name, value in (GEOMETRY | other).items() if value is not ...})


def params(**other: object) -> str:
    return json.dumps(NEID | other)


DAMAGED = {
    "no name": {"arch": ""},
    "a long name": {"arch": "x" * 200},
    "no params": {"params": None},
    "no geometry": {"geometry": None},
    "no JSON": {"params": "{"},
    "no table": {"params": "[]"},
    "no number": {"params": '{"init": NaN}'},
    "more than a float holds": {"params": '{"init": 1e999}'},
    "many digits": {"params": '{"init": ' + "9" * 5000 + "}"},
    "a deep table": {"params": '{"widths": ' + "[" * 200_000 + "]" * 200_000 + "}"},
    "deeper than any": {"params": '{"widths": ' + "[" * 90 + "]" * 90 + "}"},
    "a wide network": {"params": params(widths=[10**9, 8])},
    "a long list": {"params": params(widths=[8] * 5000)},
    "a long word": {"params": params(init="x" * 5000)},
    "no geometry at all": {"geometry": "{}"},
    "a part missing": {"geometry": geometry(halo=...)},
    "an unknown part": {"geometry": geometry(colour=1)},
    "no multiple": {"geometry": geometry(multiple=0)},
    "a large multiple": {"geometry": geometry(multiple=10**6)},
    "a wrong multiple": {"geometry": geometry(multiple="16")},
    "a negative halo": {"geometry": geometry(halo=-1)},
    "a large halo": {"geometry": geometry(halo=10**6)},
    "unknown tiling": {"geometry": geometry(tiling="loose")},
    "a list for a word": {"geometry": geometry(tiling=["exact"])},
    "no thumbnail": {"geometry": geometry(thumbnail=0)},
    "a large thumbnail": {"geometry": geometry(thumbnail=10**5)},
    "no scale": {"geometry": geometry(scales=[])},
    "a broken scale": {"geometry": geometry(scales=[1.0])},
    "a true scale": {"geometry": geometry(scales=[True])},
    "an unknown scale": {"geometry": geometry(scales=[1, 3])},
    "no yes or no": {"geometry": geometry(exposure=1)},
}


@pytest.mark.parametrize("texts", DAMAGED.values(), ids=DAMAGED)
def test_what_cannot_be_is_refused(file: Callable[..., Path], texts: dict[str, str | None]) -> None:
    path = file(**texts)
    with pytest.raises(ModelUnavailable, match=r"best.safetensors is damaged: in what it says of its network") as told:
        with_weights(manifest.find("neid"), path)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        (10**15).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{{",
        (2).to_bytes(8, "little") + b"\xff\xfe",
        (400_000).to_bytes(8, "little") + b"[" * 400_000,
    ],
    ids=["empty", "short", "long", "list", "no JSON", "no text", "deep"],
)
def test_a_file_with_a_broken_beginning_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelUnavailable, match="cannot be read as weights"):
        with_weights(manifest.find("neid"), path)


@pytest.mark.parametrize(
    "wrong",
    [{"hidden": 3}, {"widths": "wide"}, {"widths": []}, {"widths": [-8, 8]}, {"widths": 3}, {"ff": True, "dr": False}],
    ids=str,
)
def test_params_that_the_network_does_not_take_are_refused(file: Callable[..., Path], wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelUnavailable, match="neid"):
        open_runner(manifest.find("neid"), RunnerOptions(weights=file(params=params(**wrong)), backend="torch"))


def test_a_geometry_that_is_not_the_networks_is_refused(file: Callable[..., Path]) -> None:
    for wrong in ({"tiling": "exact"}, {"tiling": "whole"}, {"multiple": 3}):
        with pytest.raises(ModelUnavailable, match="There is no neid of tiling"):
            open_runner(manifest.find("neid"), RunnerOptions(weights=file(geometry=geometry(**wrong)), backend="torch"))


def test_a_network_larger_than_its_file_is_never_built(
    file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    build, devices = neid.build, []

    def watched(**values: Any) -> nn.Module:
        network = build(**values)
        devices.append({tensor.device.type for tensor in network.state_dict().values()})
        return network

    monkeypatch.setattr(neid, "build", watched)
    path = file(params=params(widths=[4096] * 4))
    devices.clear()
    with pytest.raises(ModelUnavailable, match="does not fit"):
        open_runner(manifest.find("neid"), RunnerOptions(weights=path, backend="torch"))
    assert devices == [{"meta"}]


def test_reading_them_imports_no_torch(file: Callable[..., Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from lowlight_cli import manifest\n"
        "from lowlight_cli.runners.own_weights import with_weights\n"
        "spec = with_weights(manifest.find('neid'), Path(sys.argv[1]))\n"
        "print(spec.params, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file())], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{NEID} False False"


def test_the_cost_of_every_kind_of_tiling_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(nn.Module):
        """Says what vectors it gets."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def context(self, thumbnail: torch.Tensor, exposure: torch.Tensor) -> torch.Tensor:
            return exposure[:, None] + thumbnail.mean()

        def tile(self, pixels: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
            seen.append(None if vectors is None else tuple(vectors.shape))
            return self.conv(pixels)

    seen: list[tuple[int, ...] | None] = []
    code = SimpleNamespace(build=Plain)
    monkeypatch.setitem(sys.modules, "lowlight_cli.models.plain", code)
    for tiling in ("exact", "guided", "whole"):
        spec = dataclasses.replace(manifest.find("aux-retinex"), arch="plain", params={}, multiple=4, tiling=tiling)
        code.geometry = lambda spec=spec: vars(spec)
        assert models.gflop_per_megapixel(spec) == 0.02  # 2 * 3 * 3 operations a pixel
    assert seen == [None, (1, 1), (1, 0)]
