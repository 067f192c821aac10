"""benchmarks/figures.py keeps what was measured with which weights, and the pages on models show nothing else."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lowlight_cli import manifest

ROOT = Path(__file__).resolve().parent.parent
NETWORK = next(spec for spec in manifest.models().values() if spec.files)
FILES = {file.role: file.sha256 for file in NETWORK.files}
OTHER = {**FILES, "torch": "0" * 64}
TITLES = {"psnr": "PSNR", "ssim": "SSIM", "psnr_gtmean": "PSNR at GT mean", "ssim_gtmean": "SSIM at GT mean"}


def script(folder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script of the repository as a module; it finds those beside it."""
    monkeypatch.syspath_prepend(ROOT / folder)
    return importlib.import_module(name)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("benchmarks", "figures", monkeypatch)


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """docs/cards.py, which reads figures from an empty folder."""
    found = script("docs", "cards", monkeypatch)
    monkeypatch.setattr(sys.modules["measured"], "FIGURES", tmp_path)
    return found


def entry(name: str, kind: str, psnr: float, files: dict[str, str] | None = None, run: int = 0) -> dict[str, Any]:
    """One model of a document."""
    scores = {metric: {"mean": psnr if "psnr" in metric else 0.5, "std": 0.25, "n": 15} for metric in TITLES}
    told = {"model": name, "kind": kind, "files": files or {}, "run": run, "overlap": None, "n": 15, "metrics": scores}
    return {**told, "backend": "onnx", "device": "cpu", "precision": "fp32"}


def document(*models: dict[str, Any], date: str = "2026-01-02T03:04:05+00:00") -> dict[str, Any]:
    """What `distilled` gives of LOL."""
    run = {"date": date, "command": "lowlight benchmark", "versions": {"lowlight": "0.1.0"}}
    about = {name: {"title": title, "unit": "", "higher_is_better": True} for name, title in TITLES.items()}
    told = {"set": "LOL", "title": "LOL", "split": "test", "n": 15, "protocol": "8 bits", "notices": []}
    return {**told, "metrics": about, "runs": [{**run, "machine": {"processor": "some"}}], "models": [*models]}


def test_a_set_is_measured_and_a_part_that_is_redone_replaces_only_itself(bench, photo, tmp_path, capfd):
    for number in range(2):
        photo(tmp_path / "data" / "LIME" / f"{number}.png", 60, 60 + number)
    words = ["--data", str(tmp_path / "data"), "--only", "LIME", "--work", str(tmp_path / "work")]
    words += ["--results", str(tmp_path / "figures")]
    bench.main([*words, "--model", "clahe", "--model", "gamma"])
    path = tmp_path / "figures" / "LIME.json"
    first = json.loads(path.read_text())
    assert [model["model"] for model in first["models"]] == ["input", "clahe", "gamma"]
    assert first["n"] == 2
    assert first["metrics"].keys() == {"brightness", "clipped", "cast", "loe"}
    assert first["models"][1]["metrics"]["brightness"]["mean"] > 0
    assert str(tmp_path) not in path.read_text()
    gamma = copy.deepcopy(first["models"][2])
    first["models"][1]["metrics"]["brightness"]["mean"] = -9.0
    first["models"][2]["metrics"]["brightness"]["mean"] = -9.0
    path.write_text(json.dumps(first))
    bench.main([*words, "--model", "gamma"])
    second = json.loads(path.read_text())
    assert second["models"][1] == first["models"][1]
    assert second["models"][2] == {**gamma, "run": 1}
    assert [run["command"].count("--model") for run in second["runs"]] == [2, 1]
    assert "2 models" in capfd.readouterr().out


def test_a_part_that_was_measured_otherwise_is_refused(bench):
    with pytest.raises(SystemExit, match="LOL: n differ"):
        bench.merged(document(entry("clahe", "classical", 9)), {**document(entry("gamma", "classical", 9)), "n": 14})


def test_a_run_that_no_figure_is_of_is_forgotten(bench):
    old, new = (
        document(entry("gamma", "classical", 9), date="old"),
        document(entry("gamma", "classical", 8), date="new"),
    )
    assert [run["date"] for run in bench.merged(old, new)["runs"]] == ["new"]


def test_a_set_that_is_named_and_not_there_ends_it(bench, tmp_path):
    with pytest.raises(SystemExit, match="There are no test pictures of MEF"):
        bench.main(["--data", str(tmp_path), "--only", "MEF", "--results", str(tmp_path / "figures")])
    assert not (tmp_path / "figures").exists()


def test_pairs_darker_or_brighter_than_the_papers_are_refused(bench, tmp_path):
    told = {"preset": "paper", "ranges": {}, "photos": ["a.png", "b.png"]}
    for wrong, reason in (({"preset": "night"}, "--preset night"), ({"ranges": {"noise": [0, 0]}}, "own .noise.")):
        (tmp_path / "synth.json").write_text(json.dumps(told | wrong))
        with pytest.raises(SystemExit, match=reason):
            bench.made(tmp_path)
    (tmp_path / "synth.json").write_text(json.dumps(told))
    assert bench.made(tmp_path) == {"preset": "paper", "ranges": {}, "photos": 2}


@pytest.mark.parametrize(("files", "written"), [(FILES, True), (OTHER, False)])
def test_the_manifest_gets_lines_of_its_own_weights_only(bench, tmp_path, files, written):
    path = tmp_path / "manifest.json"
    table = json.loads(manifest.manifest_path().read_text())
    table["models"][NETWORK.name]["figures"] = [{"set": "LOL eval15", "PSNR": "old"}, {"set": "other"}]
    path.write_text(json.dumps(table))
    (tmp_path / "LOL.json").write_text(
        json.dumps(document(entry("input", "input", 7), entry(NETWORK.name, "network", 21.5, files)))
    )
    bench.write(tmp_path, path)
    lines = json.loads(path.read_text())["models"][NETWORK.name]["figures"]
    assert [line["set"] for line in lines] == ["LOL eval15", "other"]
    assert lines[0]["PSNR"] == ("21.50 ± 0.25" if written else "old")
    if written:
        assert [*lines[0]] == ["set", "n", *TITLES.values(), "command"]
        assert lines[0]["command"] == f"lowlight benchmark --dataset LOL --root LOL --model {NETWORK.name}"


def test_the_rest_of_the_manifest_stays_as_it_is(bench, tmp_path):
    path = tmp_path / "manifest.json"
    path.write_bytes(manifest.manifest_path().read_bytes())
    bench.write(tmp_path, path)
    assert path.read_bytes() == manifest.manifest_path().read_bytes()


@pytest.mark.parametrize("files", [FILES, OTHER])
def test_figures_are_shown_of_the_rows_weights_only(cards, tmp_path, files):
    models = (
        entry("input", "input", 7.25),
        entry("gamma", "classical", 13.5),
        entry(NETWORK.name, "network", 21.5, files),
    )
    (tmp_path / "LOL.json").write_text(json.dumps(document(*models)))
    card, page = cards.card(NETWORK), cards.models_page()
    same = files == FILES
    assert ("21.50 ± 0.25" in card) == ("21.50 ± 0.25" in page) == same
    assert ("| `input` | 7.25 ± 0.25 |" in card) == ("| `gamma` | 13.50 ± 0.25 |" in card) == same
    assert ("Not measured with these weights: LOL," in card) != same
    assert "lowlight benchmark" in page


def test_without_any_figures_the_pages_say_so(cards):
    assert "Not measured with these weights: LOL, synth, DICM, LIME, MEF, NPE." in cards.card(NETWORK)
    assert f"| `{NETWORK.name}` | {NETWORK.parameters:,} | – | not measured |" in cards.models_page()


def test_a_card_tells_files_limits_and_what_the_paper_states(cards):
    from dataclasses import replace

    card = cards.card(replace(NETWORK, limits=("Smears grass.",)))
    for file in NETWORK.files:
        assert f"`{file.path}` | {file.role} | {file.bytes:,} | `{file.sha256}`" in card
    assert "- Smears grass." in card
    assert NETWORK.training["command"] in card
    assert "It states " in card


def test_a_row_without_weights_says_so(cards):
    from dataclasses import replace

    card = cards.card(replace(NETWORK, files=(), training={}, figures=()))
    assert "There are no weights yet." in card
    assert "--weights runs/" in card
    assert "Not measured: LOL" in card
