"""benchmarks/accelerator.py on the CPU: it measures, keeps what it has, and tells what fails."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("accelerator")


def test_every_way_is_measured_and_told_on_a_page(accelerator, tmp_path, monkeypatch):
    out = tmp_path / "found" / "some.json"
    words = ["--device", "cpu", "--model", "aux-retinex", "--size", "40x24", "--seconds", "0.01", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["accelerator.py", *words])
    accelerator.main()
    found = json.loads(out.read_text())
    assert [(row["precision"], row["way"]) for row in found["network"]] == list(accelerator.ways("cpu"))
    assert [row["move"] for row in found["moves"]] == list(accelerator.MOVES)
    assert [(row["precision"], row["tiles"], row["mean_levels"]) for row in found["whole"]] == [("fp32", 1, 0)]
    for kind in ("whole", "batches", "network", "moves"):
        assert all(row["ms"]["median"] > 0 for row in found[kind])
    exact, *half = found["network"]
    assert exact["largest_levels"] < 0.01
    assert half
    assert all(0 < row["mean_levels"] < 1 for row in half)
    text = out.with_suffix(".md").read_text()
    assert text.count("| `aux-retinex` | `40x24` |") == 1 + len(accelerator.ways("cpu")) + len(accelerator.MOVES)


def test_what_fails_is_told_and_nothing_begins_when_time_is_up(accelerator, tmp_path):
    def fails() -> dict[str, float]:
        raise RuntimeError("no memory\nat all")

    told = {"model": "m", "size": "1x1", "move": "bytes"}
    measured = accelerator.Measured(tmp_path / "a.json", {**accelerator.machine.about({}), "device": "cpu"}, minutes=1)
    measured.add("moves", told, fails)
    measured.end = 0
    measured.add("moves", told, fails)
    assert json.loads((tmp_path / "a.json").read_text())["moves"] == [{**told, "failed": "no memory"}]
    assert "| no memory | `m` | `1x1` | `bytes` |" in (tmp_path / "a.md").read_text()


@pytest.mark.parametrize("move", ["floats", "bytes", "pinned"])
def test_a_picture_comes_back_as_it_went(accelerator, move):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    assert np.array_equal(accelerator.MOVES[move](pixels, "cpu", lambda batch: batch), pixels)
    darker = accelerator.MOVES[move](pixels, "cpu", lambda batch: batch / 2)
    assert np.abs(darker.astype(int) - pixels / 2).max() <= 0.5


def test_weights_are_cast_for_good_and_outputs_stay_near(accelerator):
    case = accelerator.Case("aux-retinex", accelerator.dark_picture(33, 17), "cpu")
    network = case.opened()
    accelerator.cast(network, torch.bfloat16)
    types = {p.dtype for m in network.modules() if isinstance(m, torch.nn.Conv2d) for p in m.parameters()}
    assert types == {torch.bfloat16}
    assert case.network_alone("bf16", "cast", 0.0)["mean_levels"] < 1
