"""`lowlight benchmark`: figures that are those of the files, nothing lost, nothing computed twice."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from lowlight_cli import manifest, picture
from lowlight_cli.cli import benchmark as command
from lowlight_cli.cli import group
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import (
    DeviceUnavailable,
    LowlightError,
    ModelUnavailable,
    NoInput,
    OptionError,
    OutputExists,
    PictureError,
)
from lowlight_cli.metrics import METRICS
from lowlight_cli.metrics.fidelity import mean_luma
from lowlight_cli.models import aux_retinex, gflop_per_megapixel
from lowlight_cli.nn.state import save_weights
from lowlight_cli.runners import RunnerOptions
from lowlight_cli.tasks import benchmark_metrics, contestants, speed
from lowlight_cli.tasks.benchmark import Benchmark, BenchmarkOptions
from lowlight_cli.tasks.benchmark_metrics import spread
from lowlight_cli.tasks.speed import measure
from lowlight_cli.weights_metadata import Origin, texts


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


def test_what_ran_in_fewer_bits_is_told_beside_the_figures(lol, tmp_path):
    words = ["--dataset", "LOL", "--root", lol, "--model", "gamma", "--model", "neid", "--metric", "psnr", "--limit", 1]
    done = invoke(*words, "--precision", "int8", "--results", tmp_path / "r")
    assert done.exit_code == 0
    assert done.stdout.count("ran in int8") == done.stdout.count("neid ran in int8, not in float32.") == 1
    assert "- neid ran in int8, not in float32." in (tmp_path / "r" / "summary.md").read_text()
    assert "gamma ran in" not in (tmp_path / "r" / "summary.md").read_text()
    assert "float32" not in invoke(*words).stdout


def test_models_that_take_a_brightness_can_be_told_that_of_each_truth(lol, tmp_path):
    words = ["--dataset", "LOL", "--root", lol, "--model", "gamma", "--model", "aux-retinex", "--metric", "psnr"]
    words += ["--results", tmp_path / "r"]
    assert invoke(*words).exit_code == 0
    gamma = (tmp_path / "r" / "pictures" / "gamma" / "9.png").read_bytes()
    done = invoke(*words, "--resume", "--exposure", "truth")
    assert done.exit_code == 0
    assert "aux-retinex was told each truth's mean luma." in done.stdout
    for name in ("1", "9", "10"):
        truth = picture.load(lol / "eval15" / "high" / f"{name}.png").pixels
        output = picture.load(tmp_path / "r" / "pictures" / "aux-retinex" / f"{name}.png").pixels
        assert mean_luma(output) == pytest.approx(mean_luma(truth), abs=4)
    assert (tmp_path / "r" / "pictures" / "gamma" / "9.png").read_bytes() == gamma
    told = {
        entry["model"]: entry["exposure"]
        for entry in json.loads((tmp_path / "r" / "summary.json").read_text())["models"]
    }
    assert told == {"input": None, "gamma": None, "aux-retinex": "truth"}
    done = invoke(*words, "--resume", "--exposure", "0.2")
    assert "aux-retinex was told a mean luma of 0.2." in done.stdout
    output = picture.load(tmp_path / "r" / "pictures" / "aux-retinex" / "9.png").pixels
    assert mean_luma(output) == pytest.approx(51, abs=4)


def test_a_brightness_is_refused_where_no_model_takes_one_or_no_truth_has_one(lol, dicm):
    with pytest.raises(OptionError, match="No model here takes an --exposure"):
        run(lol, models=("gamma",), exposure="truth")
    with pytest.raises(OptionError, match="No model is there to take --shadows"):
        run(lol, models=(), images=(f"mine={lol}",), shadows=0.5)
    with pytest.raises(OptionError, match="DICM has no truths"):
        run(dicm, dataset="DICM", models=("neid",), exposure="truth")


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


def test_what_a_contestant_holds_is_given_back_when_nobody_takes_more_rows(lol, monkeypatch):
    closed = []
    monkeypatch.setattr(Enhancer, "close", lambda self: closed.append(self))
    rows = Benchmark(BenchmarkOptions(dataset="LOL", root=lol, models=("gamma",), metrics=("psnr",))).results()
    while next(rows).model != "gamma":
        pass
    assert not closed
    rows.close()
    assert len(closed) == 1


def test_a_file_of_weights_that_changed_is_run_again_whichever_it_is():
    model = contestants.Model("aux-retinex", RunnerOptions(backend="onnx"))
    model.open()
    model.close()
    before = model.identity("1")
    # The brightness is in another graph than the one whose sha256 the runner tells.
    steer = model.spec.file("onnx-context")
    others = [file for file in model.spec.files if file != steer]
    model.spec = dataclasses.replace(model.spec, files=(dataclasses.replace(steer, sha256="0" * 64), *others))
    assert model.identity("1") != before


def test_a_torn_line_of_a_killed_run_is_computed_again(lol, tmp_path):
    first = run(lol, models=("gamma",), metrics=("psnr",), results=tmp_path / "r")
    rows = tmp_path / "r" / "rows.jsonl"
    rows.write_text(rows.read_text()[:-40])
    again = run(lol, models=("gamma",), metrics=("psnr",), results=tmp_path / "r", resume=True)
    assert [(row.picture, row.error) for row in again.rows] == [(row.picture, None) for row in first.rows]
    assert [row.metrics for row in again.rows] == [row.metrics for row in first.rows]


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
    assert "9x9, the input is 64x48. Outputs are scored at" in entry["failed"][0]["error"]


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
    assert any("Only the first 2 pictures of 3 were used" in notice for notice in document["notices"])


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


@pytest.mark.parametrize(
    "words", [[], ["-m", "all", "--weights", "x.pt"], ["-m", "gama"], ["--metric", ",", "-m", "he"]]
)
def test_what_cannot_be_scored_is_told_before_a_set_is_fetched(words, monkeypatch):
    monkeypatch.setattr("lowlight_cli.cli.benchmark.fetch", lambda flags: pytest.fail("fetched"))
    assert isinstance(invoke("--dataset", "LOL", "--download", *words).exception, LowlightError)


def test_the_cost_of_neid_stays_under_its_bar():
    from lowlight_cli import manifest

    assert 20 < gflop_per_megapixel(manifest.find("neid")) <= 60


def test_speed_is_measured_in_a_process_of_its_own():
    (figures,) = measure(["gamma"], RunnerOptions(device="cpu"))["gamma"]
    assert figures["backend"] == "classical"
    assert 0 < figures["latency_median_ms"] <= figures["latency_p95_ms"]
    assert figures["throughput_mp/s"] == pytest.approx(240 / figures["latency_median_ms"], rel=0.01)
    assert figures["peak_memory_mb"] > 20


# Pictures of another tool


@pytest.fixture
def v2(tmp_path):
    """One pair whose files are called as in LOL-v2-real: the stems of its two pictures differ."""
    root = tmp_path / "LOL-v2-real"
    for folder, name, value in (("Low", "low00690", 20), ("Normal", "normal00690", 100)):
        path = root / "Test" / folder / f"{name}.png"
        path.parent.mkdir(parents=True)
        picture.save(picture.from_array(np.full((24, 24, 3), value, np.uint8)), path)
    return root


def flat(path, value, shape=(48, 64, 3)):
    """A picture of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(picture.from_array(np.full(shape, value, np.uint8)), path)
    return path


def test_two_files_that_may_be_one_output_are_an_error_and_no_choice(v2, tmp_path):
    mine = tmp_path / "mine"
    for stem in ("low00690", "normal00690"):
        flat(mine / f"{stem}.png", 90, (24, 24, 3))
    with pytest.raises(PictureError, match=r"low00690\.png and .*normal00690\.png may be the output of 00690"):
        run(v2, dataset="LOL-v2-real", images=(str(mine),))
    (mine / "normal00690.png").unlink()
    figures = run(v2, dataset="LOL-v2-real", images=(str(mine),), metrics=("mae",)).document()["models"][1]["metrics"]
    assert figures["mae"]["mean"] == 10


def test_one_file_is_never_the_output_of_two_pictures(tmp_path):
    items = [contestants.Item(f"{part}-1", tmp_path / part / "1.png", None) for part in ("Huawei", "Nikon")]
    flat(tmp_path / "mine" / "1.png", 1)
    with pytest.raises(PictureError, match=r"both Huawei-1 and Nikon-1"):
        contestants.Pictures("mine", tmp_path / "mine", items, 1000)


def test_names_of_folders_are_taken_as_they_stand(lol, tmp_path):
    shutil.copytree(lol / "eval15" / "high", tmp_path / "a=b")
    assert run(lol, images=(str(tmp_path / "a=b"),), metrics=("mae",)).document()["models"][1]["model"] == "a=b"
    for name in ("truth", "input"):
        with pytest.raises(OptionError, match=f"{name!r}.*reserved"):
            run(lol, images=(f"{name}={lol / 'eval15' / 'high'}",))
    with pytest.raises(OptionError, match="input is always"):
        run(lol, models=("input",))


def test_a_link_to_itself_is_no_folder(lol, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(NoInput, match="no folder"):
        run(lol, images=(str(loop),))


def test_pictures_without_a_partner_end_before_any_work_with_the_exit_code_of_no_input(lol, tmp_path):
    (lol / "eval15" / "high" / "9.png").unlink()
    with pytest.raises(PictureError, match="1 picture has no partner") as caught:
        run(lol, models=("gamma",))
    assert caught.value.exit_code == 3
    (lol / "eval15" / "low" / "9.png").unlink()
    flat(tmp_path / "mine" / "1.png", 1)
    with pytest.raises(PictureError, match="no picture for 1 of 2") as caught:
        run(lol, images=(str(tmp_path / "mine"),))
    assert caught.value.exit_code == 3


# What is kept


def kept(results):
    """The entries of rows.jsonl."""
    return [json.loads(line) for line in (results / "rows.jsonl").read_text().splitlines()]


def test_a_kept_row_goes_with_the_picture_that_it_was_measured_on(lol, tmp_path):
    for name, value in (("a", 50), ("b", 200)):
        for stem in ("1", "9", "10"):
            flat(tmp_path / name / f"{stem}.png", value)
    once = {"metrics": ("mae",), "results": tmp_path / "r"}
    first = run(lol, images=(f"mine={tmp_path / 'a'}",), **once)
    run(lol, images=(f"mine={tmp_path / 'b'}",), resume=True, **once)
    again = run(lol, images=(f"mine={tmp_path / 'a'}",), resume=True, **once)
    assert again.rows == first.rows
    for stem in ("1", "9", "10"):
        assert (picture.load(again.picture_of("mine", stem)).pixels == 50).all()


@pytest.mark.parametrize("what", ["version", "definition", "files"])
def test_a_row_of_another_version_or_of_a_metric_defined_otherwise_is_not_used(what, lol, tmp_path, monkeypatch):
    run(lol, images=(f"mine={lol / 'eval15' / 'high'}",), metrics=("mae",), results=tmp_path / "r")
    if what == "version":
        monkeypatch.setattr("lowlight_cli.tasks.benchmark.__version__", "99")
    else:
        real = benchmark_metrics.open_metric
        changed = {"files": {"net": "0" * 64}} if what == "files" else {}

        def other(name, **options):
            opened = dataclasses.replace(real(name, **options), **changed)
            metric = dataclasses.replace(opened.metric, definition="another") if not changed else opened.metric
            return dataclasses.replace(opened, metric=metric)

        monkeypatch.setattr(benchmark_metrics, "open_metric", other)
    run(lol, images=(f"mine={lol / 'eval15' / 'high'}",), metrics=("mae",), results=tmp_path / "r", resume=True)
    assert len(kept(tmp_path / "r")) == 12


EDITS = {
    "model": {"model": "zzz"},
    "picture": {"picture": "../../x"},
    "metrics": {"metrics": None},
    "a list": {"metrics": []},
    "text": {"metrics": {"mae": "abc"}},
    "truth value": {"metrics": {"mae": True}},
    "huge": {"metrics": {"mae": 10**400}},
    "error": {"error": "It broke."},
    "size": {"width": "64"},
    "seconds": {"seconds": "soon"},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_row_that_somebody_edited_is_computed_again(edit, lol, tmp_path):
    again = {"models": ("gamma",), "metrics": ("mae",), "results": tmp_path / "r"}
    first = run(lol, **again)
    changed = [entry | {"row": entry["row"] | edit} for entry in kept(tmp_path / "r")]
    (tmp_path / "r" / "rows.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in changed))
    rows = run(lol, resume=True, **again).rows
    assert [dataclasses.replace(row, seconds=None) for row in rows] == [
        dataclasses.replace(row, seconds=None) for row in first.rows
    ]
    assert len(kept(tmp_path / "r")) == 12


@pytest.mark.parametrize("line", [b"\xff\xfe\n", b"[" * 200_000 + b"\n", b"[]\n", b'{"key": []}\n', b'{"key": "torn'])
def test_lines_that_are_no_rows_cost_no_other_row(line, lol, tmp_path):
    again = {"models": ("gamma",), "metrics": ("mae",), "results": tmp_path / "r"}
    first = run(lol, **again)
    rows = tmp_path / "r" / "rows.jsonl"
    good = rows.read_bytes().splitlines(keepends=True)
    rows.write_bytes(b"".join(good[:-1]) + line)
    second = run(lol, resume=True, **again)
    assert second.rows[:5] == first.rows[:5]
    assert json.loads(rows.read_bytes().splitlines()[-1])["row"]["picture"] == "10"  # on a line of its own
    assert run(lol, resume=True, **again).rows == second.rows


def test_kept_rows_are_json_that_every_parser_takes_and_infinite_figures_come_back(lol, tmp_path):
    again = {"images": (f"mine={lol / 'eval15' / 'high'}",), "metrics": ("psnr",), "results": tmp_path / "r"}
    first = run(lol, **again)
    assert "Infinity" not in (tmp_path / "r" / "rows.jsonl").read_text()
    second = run(lol, resume=True, **again)
    assert second.rows == first.rows
    assert len(kept(tmp_path / "r")) == 6
    assert second.document()["models"][1]["metrics"]["psnr"] == {"mean": float("inf"), "std": None, "n": 3}
    assert spread([]) is None


def test_a_folder_of_somebody_else_is_not_touched(lol, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "summary.json").write_text("mine")
    with pytest.raises(OutputExists, match=r"holds no rows\.jsonl"):
        run(lol, models=("gamma",), results=own, resume=True)
    assert [path.name for path in own.iterdir()] == ["summary.json"]
    run(lol, models=("gamma",), metrics=("mae",), results=tmp_path / "new", resume=True)


def test_a_folder_that_cannot_be_written_to_is_told_before_any_work(lol, tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    run(lol, models=("gamma",), metrics=("mae",), results=tmp_path / "r")
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OptionError, match=r"cannot be used: Read-only"):
        Benchmark(BenchmarkOptions(dataset="LOL", root=lol, models=("gamma",), results=tmp_path / "r", resume=True))


def test_a_full_disk_costs_no_figures_and_is_told_with_its_folder(lol, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lowlight_cli.atomic.write", full)
    done = invoke("--dataset", "LOL", "--root", lol, "-m", "gamma", "--metric", "mae", "--results", tmp_path / "r")
    assert isinstance(done.exception, PictureError)
    assert done.exception.exit_code == 1
    assert f"{tmp_path / 'r' / 'summary.json'} cannot be written: No space left" in str(done.exception)
    assert "gamma" in done.stdout


def test_the_report_shows_no_picture_of_an_earlier_run_for_one_that_failed(lol, tmp_path):
    run(lol, models=("gamma",), metrics=("mae",), results=tmp_path / "r")
    (lol / "eval15" / "low" / "9.png").write_bytes(b"no picture")
    again = run(lol, models=("gamma",), metrics=("mae",), results=tmp_path / "r", resume=True)
    assert again.picture_of("gamma", "9") is None
    assert again.picture_of("gamma", "1").is_file()


# Metrics


def test_a_metric_that_cannot_be_measured_costs_no_other(lol):
    for side in ("low", "high"):
        flat(lol / "eval15" / side / "9.png", 7, (1, 1, 3))
    benchmark = run(lol, models=("gamma",), metrics=("psnr", "ssim"))
    entry = benchmark.document()["models"][1]
    assert (entry["n"], entry["failed"]) == (3, [])
    assert entry["metrics"]["psnr"]["n"] == 3
    assert entry["metrics"]["ssim"]["n"] == 2
    assert "ssim could not be measured everywhere: not on 9." in benchmark.document()["notices"]
    assert "11" in benchmark.unmeasured["ssim"]
    alone = run(lol, models=("gamma",), metrics=("ssim",)).document()["models"][1]
    assert [failure["picture"] for failure in alone["failed"]] == ["9"]


def test_all_metrics_are_those_that_can_be_had_and_the_rest_is_told(lol, monkeypatch):
    real = benchmark_metrics.open_metric

    def some(name, **options):
        if name in ("lpips", "niqe"):
            raise ModelUnavailable(f"No file of {name}.", "Fetch it.")
        return real(name, **options)

    monkeypatch.setattr(benchmark_metrics, "open_metric", some)
    document = run(lol, models=("gamma",), metrics=("all",), limit=1).document()
    assert list(document["metrics"]) == [name for name in METRICS if name not in ("lpips", "niqe")]
    assert "niqe is left out: No file of niqe. `--metric niqe` says how to get it." in document["notices"]
    with pytest.raises(ModelUnavailable, match="No file of niqe"):
        run(lol, models=("gamma",), metrics=("all", "niqe"))
    with pytest.raises(OptionError, match="'foo'"):
        run(lol, models=("gamma",), metrics=("all", "foo"))


@pytest.mark.parametrize("text", [",", "", " , "])
def test_a_metric_option_without_a_name_is_an_error(text, lol):
    done = invoke("--dataset", "LOL", "--root", lol, "-m", "gamma", "--metric", text)
    assert isinstance(done.exception, OptionError)
    assert "names nothing" in str(done.exception)


# What is asked of networks


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"weights": Path("x.pt")}, "weights"),
        ({"backend": "torch"}, "backend"),
        ({"precision": "bf16"}, "bf16"),
        ({"device": "cuda"}, "device"),
    ],
)
def test_what_only_a_network_takes_is_refused_where_there_is_none(options, word, lol):
    with pytest.raises(OptionError, match=word):
        run(lol, models=("he",), runner=RunnerOptions(**options))
    with pytest.raises(OptionError, match=f"--{word}" if word != "bf16" else "--precision"):
        run(lol, images=(str(lol / "eval15" / "high"),), runner=RunnerOptions(**options))


def test_weights_of_ones_own_are_for_one_model_and_claim_no_training_data(lol):
    with pytest.raises(OptionError, match="--weights fits one model, here are"):
        run(lol, models=("all",), runner=RunnerOptions(weights=Path("x.pt")))
    benchmark = Benchmark(
        BenchmarkOptions(
            dataset="LOL", root=lol, models=("aux-retinex",), runner=RunnerOptions(weights=Path("x.pt"), offline=True)
        )
    )
    assert len([*benchmark.results()]) == benchmark.total
    assert benchmark.document()["models"][1]["overlap"] is None
    assert Benchmark(BenchmarkOptions(dataset="LOL", root=lol, models=("neid",))).document()["models"][1]["overlap"]


def test_what_the_table_tells_of_a_network_is_that_of_the_weights_that_ran(lol, tmp_path):
    params = {"width": 1, "hidden": [2, 2], "reduction": 4}
    network, path = aux_retinex.build(**params), tmp_path / "thin.safetensors"
    save_weights(path, network, texts(Origin("aux_retinex", params, aux_retinex.geometry(**params))))
    benchmark = run(lol, models=("aux-retinex",), runner=RunnerOptions(weights=path))
    told = benchmark.document()["models"][1]
    assert told["parameters"] == sum(p.numel() for p in network.parameters())
    assert "aux-retinex ran with weights of your own, not with those that ship." in benchmark.document()["notices"]
    (figures,) = measure(["aux-retinex"], RunnerOptions(weights=path, backend="torch", threads=1))["aux-retinex"]
    assert figures["gflop_per_megapixel"] < gflop_per_megapixel(manifest.find("aux-retinex"))


def test_speed_is_that_of_the_weights_and_the_precision_asked_for(tmp_path):
    options = RunnerOptions(weights=tmp_path / "x.pt", precision="bf16", device="cpu", threads=1)
    told = speed.asked("torch", options)
    assert (told["weights"], told["precision"]) == (str(tmp_path / "x.pt"), "bf16")
    assert "weights" not in speed.asked(speed.CLASSICAL, options)
    (figures,) = measure(["aux-retinex"], dataclasses.replace(options, backend="torch"))["aux-retinex"]
    assert "error" in figures  # there is no such file


@pytest.mark.parametrize(("error", "code"), [(ModelUnavailable("Gone."), 4), (DeviceUnavailable("None."), 5)])
def test_where_no_model_opens_the_exit_code_is_that_of_the_reason(error, code, lol, monkeypatch):
    real = contestants.open_runner

    def refuse(spec, options):
        if spec.name == "neid":
            raise error
        return real(spec, options)

    monkeypatch.setattr(contestants, "open_runner", refuse)
    assert invoke("--dataset", "LOL", "--root", lol, "-m", "neid").exit_code == code
    assert invoke("--dataset", "LOL", "--root", lol, "-m", "neid", "-m", "gamma").exit_code == 1


def test_swapped_folders_are_noticed(lol, tmp_path):
    asked = {"models": ("gamma",), "metrics": ("mae",)}
    assert not [notice for notice in run(lol, **asked).document()["notices"] if "swapped" in notice]
    low, high = lol / "eval15" / "low", lol / "eval15" / "high"
    low.rename(tmp_path / "dark")
    high.rename(low)
    (tmp_path / "dark").rename(high)
    assert any("low/ and high/ swapped?" in notice for notice in run(lol, **asked).document()["notices"])


def test_a_picture_over_the_limit_can_be_allowed(lol):
    words = ("--dataset", "LOL", "--root", lol, "-m", "gamma", "--metric", "mae", "--max-pixels")
    done = invoke(*words, 100)
    assert done.exit_code == 6
    assert "--max-pixels 3072" in done.stderr
    assert invoke(*words, 3072).exit_code == 0


# The table


def entry(name, mean, n):
    figures = {"psnr": {"mean": mean, "std": 1.0, "n": n}}
    return {"model": name, "kind": "network", "metrics": figures, "overlap": None, "speed": None}


def table(*models, names=("psnr",)):
    """A document that `show` takes."""
    about = {"title": "PSNR", "unit": "dB", "higher_is_better": True, "definition": ""}
    for model in models:
        model["metrics"] = dict.fromkeys(names, model["metrics"]["psnr"])
    return {"dataset": "LOL", "split": "test", "n": 5, "notices": ["Only the first 5 of 15."]} | {
        "metrics": dict.fromkeys(names, about),
        "models": [*models],
    }


def test_the_table_tells_where_a_mean_is_of_fewer_pictures(capsys):
    command.show(table(entry("all", 20.0, 5), entry("few", 25.0, 3)), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [("(n = 3)" in line) for line in lines if "few" in line] == [True]
    assert [("(n" in line) for line in lines if "all" in line] == [False]


def test_names_are_no_markup_and_stay_on_one_line_of_the_table(capsys):
    command.show(table(entry("[red]x", 20.0, 5), entry("one\ntwo", 20.0, 5), entry("\udcff", 9.0, 5)), as_json=False)
    out = capsys.readouterr().out
    assert "[red]x" in out
    assert "one\\ntwo" in out
    assert "\\udcff" in out


def test_a_table_in_a_pipe_is_as_wide_as_its_content(capsys):
    names = [f"metric{k}" for k in range(25)]
    command.show(table(entry("a-name-that-is-long", 20.0, 5), names=names), as_json=False)
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "LOL test, n = 5, mean ± standard deviation"
    row = next(line for line in lines if "a-name-that-is-long" in line)
    assert row.count("20.00 ± 1.00") == 25
    assert len(lines) == 6
    assert lines[-1] == "Only the first 5 of 15."
    command.show(table(entry("a", 20.0, 5)), as_json=False)
    assert max(map(len, capsys.readouterr().out.splitlines()[1:])) < 40


@pytest.mark.skipif(os.name == "nt", reason="a redirection of POSIX, and names that are no text")
def test_a_closed_stdout_is_told_and_names_that_are_no_text_are_written(dicm, tmp_path):
    shutil.copy(dicm / "DICM" / "01.png", os.fsencode(dicm / "DICM") + b"/\xff.png")
    line = f"{sys.executable} -m lowlight_cli benchmark --dataset DICM --root {dicm} -m he -q"
    for more in ("", " --json"):
        done = subprocess.run(["sh", "-c", f"{line}{more} >&-"], capture_output=True, text=True, check=False)
        assert (done.returncode, "stdout is closed" in done.stderr) == (2, True)
    done = invoke("--dataset", "DICM", "--root", dicm, "-m", "he", "--results", tmp_path / "r")
    assert done.exit_code == 0, done.exception
    assert (tmp_path / "r" / "pictures" / "he" / "\udcff.png").is_file()


def test_a_system_that_tells_no_memory_is_no_error():
    from lowlight_cli.cli.benchmark import speed_text

    speed = {"latency_median_ms": 1.5, "latency_p95_ms": 2.0, "size": "600x400", "peak_memory_mb": None}
    assert speed_text(speed | {"gflop_per_megapixel": None}) == "1.5 ms (95 %: 2 ms) at 600x400"
