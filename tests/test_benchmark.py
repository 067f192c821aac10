"""`lowlight benchmark`: figures that are those of the files, nothing lost, nothing computed twice."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from lowlight_cli import picture
from lowlight_cli.cli import group
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import ModelUnavailable, NoInput, OptionError, OutputExists, PictureError
from lowlight_cli.models import gflop_per_megapixel
from lowlight_cli.tasks import contestants
from lowlight_cli.tasks.benchmark import Benchmark, BenchmarkOptions
from lowlight_cli.tasks.speed import measure


@pytest.fixture
def lol(tmp_path):
    """Three pairs in the layout of LOL."""
    root = tmp_path / "LOL"
    for name, top in (("1", 40), ("9", 100), ("10", 200)):
        high = data.astronaut()[top : top + 48, 150:214]
        for side, pixels in (("high", high), ("low", (high * 0.2).astype(np.uint8))):
            (root / "eval15" / side).mkdir(parents=True, exist_ok=True)
            picture.save(picture.from_array(pixels), root / "eval15" / side / f"{name}.png")
    return root


@pytest.fixture
def dicm(tmp_path):
    """Two dark pictures without truths."""
    for name in ("01", "02"):
        path = tmp_path / "no_reference" / "DICM" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(picture.from_array((data.rocket()[100:160, 200:280] * 0.3).astype(np.uint8)), path)
    return tmp_path / "no_reference"


def run(root, **options) -> Benchmark:
    benchmark = Benchmark(BenchmarkOptions(**{"dataset": "LOL", "root": root, **options}))
    assert len([*benchmark.results()]) == benchmark.total
    return benchmark


def invoke(*words):
    return CliRunner().invoke(group, ["benchmark", *map(str, words)])


def test_figures_are_those_of_the_pictures_that_are_kept(lol, tmp_path):
    benchmark = run(lol, models=("gamma",), metrics=("psnr",), results=tmp_path / "r")
    rows = [row for row in benchmark.rows if row.model == "gamma"]
    assert [row.picture for row in rows] == ["1", "9", "10"]
    for row in rows:
        output = picture.load(tmp_path / "r" / "pictures" / "gamma" / f"{row.picture}.png").pixels
        truth = picture.load(lol / "eval15" / "high" / f"{row.picture}.png").pixels
        assert row.metrics["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, output), abs=1e-5)
    summary = next(m for m in benchmark.document()["models"] if m["model"] == "gamma")
    values = [row.metrics["psnr"] for row in rows]
    assert summary["metrics"]["psnr"] == {
        "mean": pytest.approx(np.mean(values)),
        "std": pytest.approx(np.std(values)),
        "n": 3,
    }


def test_the_dark_pictures_themselves_are_the_first_row(lol):
    benchmark = run(lol, models=("gamma",), metrics=("psnr", "mae"))
    first, second = benchmark.document()["models"]
    assert (first["model"], first["kind"]) == ("input", "input")
    assert first["metrics"]["psnr"]["mean"] < second["metrics"]["psnr"]["mean"]


def test_a_broken_picture_loses_no_other(lol):
    low = lol / "eval15" / "low" / "9.png"
    low.write_bytes(low.read_bytes()[:200])
    benchmark = run(lol, models=("gamma",), metrics=("psnr",))
    summary = benchmark.document()["models"][1]
    assert summary["n"] == 2
    assert [failure["picture"] for failure in summary["failed"]] == ["9"]
    assert benchmark.document()["models"][0]["n"] == 2


def test_a_model_that_does_not_open_loses_no_other(lol, monkeypatch):
    real = contestants.open_runner

    def refuse(spec, options):
        if spec.name == "neid":
            raise ModelUnavailable("Gone.", "Look for it.")
        return real(spec, options)

    monkeypatch.setattr(contestants, "open_runner", refuse)
    benchmark = run(lol, models=("neid", "gamma"), metrics=("psnr",))
    entries = {entry["model"]: entry for entry in benchmark.document()["models"]}
    assert entries["neid"]["metrics"]["psnr"] is None
    assert entries["neid"]["failed"][0]["error"] == "Gone. Look for it."
    assert entries["gamma"]["n"] == 3


def test_nothing_is_computed_twice_unless_it_changed(lol, tmp_path, monkeypatch):
    calls = []
    real = Enhancer.__call__
    monkeypatch.setattr(Enhancer, "__call__", lambda self, source: (calls.append(1), real(self, source))[1])
    first = run(lol, models=("gamma",), metrics=("psnr",), results=tmp_path / "r")
    cost = len(calls)
    assert cost == 4  # three pictures and the warm-up
    again = run(lol, models=("gamma",), metrics=("psnr",), results=tmp_path / "r", resume=True)
    assert len(calls) == cost + 1
    assert again.rows == first.rows
    run(lol, models=("gamma",), metrics=("psnr", "mae"), results=tmp_path / "r", resume=True)
    assert len(calls) == cost + 1 + 4
    shutil.copy(lol / "eval15" / "low" / "1.png", lol / "eval15" / "low" / "10.png")
    run(lol, models=("gamma",), metrics=("psnr", "mae"), results=tmp_path / "r", resume=True)
    assert len(calls) == cost + 1 + 4 + 2
    with pytest.raises(OutputExists, match="not empty"):
        run(lol, models=("gamma",), results=tmp_path / "r")


def test_a_torn_line_of_a_killed_run_is_computed_again(lol, tmp_path):
    run(lol, models=("gamma",), metrics=("psnr",), results=tmp_path / "r")
    rows = tmp_path / "r" / "rows.jsonl"
    rows.write_text(rows.read_text()[:-40])
    benchmark = run(lol, models=("gamma",), metrics=("psnr",), results=tmp_path / "r", resume=True)
    assert all(row.error is None for row in benchmark.rows)


def test_pictures_of_another_tool_are_scored_by_name(lol, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(lol / "eval15" / "high", mine)
    benchmark = run(lol, images=(str(mine),), metrics=("psnr", "ssim"))
    entry = benchmark.document()["models"][1]
    assert (entry["model"], entry["kind"]) == ("mine", "pictures")
    assert entry["metrics"]["psnr"]["mean"] == float("inf")
    assert entry["metrics"]["ssim"]["mean"] == pytest.approx(1)
    (mine / "9.png").unlink()
    with pytest.raises(PictureError, match="no picture for 1 of 3, among them 9"):
        run(lol, images=(f"other={mine}",))
    with pytest.raises(NoInput):
        run(lol, images=(str(tmp_path / "nope"),))
    with pytest.raises(OptionError, match="'gamma'"):
        run(lol, models=("gamma",), images=(f"gamma={lol / 'eval15' / 'high'}",))


def test_a_picture_of_another_size_is_an_error_of_its_own(lol, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(lol / "eval15" / "high", mine)
    picture.save(picture.from_array(np.zeros((9, 9, 3), np.uint8)), mine / "9.png")
    entry = run(lol, images=(str(mine),), metrics=("psnr",)).document()["models"][1]
    assert entry["n"] == 2
    assert "(9, 9)" in entry["failed"][0]["error"]


def test_sets_without_truth_have_metrics_of_their_own(dicm):
    benchmark = run(dicm, dataset="DICM", models=("gamma",))
    entry = benchmark.document()["models"][1]
    assert set(entry["metrics"]) == {"brightness", "clipped", "cast", "loe"}
    assert entry["metrics"]["brightness"]["mean"] > 0.1
    with pytest.raises(OptionError, match=r"psnr needs the ground truth"):
        run(dicm, dataset="DICM", models=("gamma",), metrics=("psnr",))
    assert "64 or 69 pictures expected, 2 found" in benchmark.document()["notices"][0]


def test_the_document_says_what_was_run_and_on_what(lol):
    document = run(lol, models=("neid",), metrics=("psnr_gtmean",), limit=2, command="lowlight benchmark x").document()
    assert document["n"] == 2
    assert document["command"] == "lowlight benchmark x"
    assert "8-bit RGB" in document["protocol"]
    assert {"lowlight", "numpy", "python"} <= document["versions"].keys()
    assert "mean BT.601 luma" in document["metrics"]["psnr_gtmean"]["definition"]
    neid = document["models"][1]
    assert len(neid["weights_sha256"]) == 64
    assert (neid["backend"], neid["device"], neid["precision"]) == ("onnx", "cpu", "fp32")
    assert "share" in neid["overlap"] or "training" in neid["overlap"]
    assert any("Only the first 2 of 3" in notice for notice in document["notices"])


def test_the_command_writes_all_results_and_says_it_in_json(lol, tmp_path):
    done = invoke(
        "--dataset",
        "LOL",
        "--root",
        lol,
        "-m",
        "gamma",
        "--metric",
        "psnr,mae",
        "--results",
        tmp_path / "r",
        "--published",
        "--json",
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert json.loads((tmp_path / "r" / "summary.json").read_text()) == document
    assert set(document) >= {"dataset", "split", "n", "protocol", "models"}
    assert set(document["models"][1]["metrics"]["psnr"]) == {"mean", "std", "n"}
    rows = (tmp_path / "r" / "per_image.csv").read_text().splitlines()
    assert len([*csv.DictReader(rows)]) == 6
    page = (tmp_path / "r" / "report.html").read_text()
    assert "gamma" in page
    assert "22.83" in page  # neid's paper


def test_a_back_end_is_asked_of_networks_alone(lol):
    from lowlight_cli.runners import RunnerOptions

    wanted = RunnerOptions(backend="torch", device="cpu")
    entries = run(lol, models=("aux-retinex", "gamma"), metrics=("psnr",), runner=wanted).document()["models"]
    assert [entry["backend"] for entry in entries] == [None, "torch", "classical"]


def test_exit_codes_tell_how_much_failed(lol):
    assert invoke("--dataset", "LOL", "--root", lol, "-m", "gamma").exit_code == 0
    low = lol / "eval15" / "low"
    (low / "1.png").write_bytes(b"no picture")
    assert invoke("--dataset", "LOL", "--root", lol, "-m", "gamma").exit_code == 1
    for name in ("9.png", "10.png"):
        (low / name).write_bytes(b"no picture")
    assert invoke("--dataset", "LOL", "--root", lol, "-m", "gamma").exit_code == 6
    for words in (["-m", "gama"], ["--dataset", "LOLL", "-m", "gamma"], ["--metric", "psnrr", "-m", "gamma"], []):
        done = invoke("--dataset", "LOL", "--root", lol, *words)
        assert "Did you mean" in str(done.exception) or "Nothing to score" in str(done.exception)


def test_the_cost_of_neid_stays_under_its_bar():
    from lowlight_cli import manifest

    assert 20 < gflop_per_megapixel(manifest.find("neid")) <= 60


def test_speed_is_measured_in_a_process_of_its_own():
    from lowlight_cli.runners import RunnerOptions

    (figures,) = measure(["gamma"], RunnerOptions(device="cpu"))["gamma"]
    assert figures["backend"] == "classical"
    assert 0 < figures["latency_median_ms"] <= figures["latency_p95_ms"]
    assert figures["throughput_mp/s"] == pytest.approx(240 / figures["latency_median_ms"], rel=0.01)
    assert figures["peak_memory_mb"] > 20
