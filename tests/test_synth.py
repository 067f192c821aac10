"""`lowlight synth`: the same bytes whatever happens, and nothing written over."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from skimage import data

from lowlight_cli import picture
from lowlight_cli.cli import group
from lowlight_cli.errors import NoInput, OptionError, OutputExists
from lowlight_cli.tasks.synth import Synth, SynthOptions, pair_of


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six small photos, one in a sub-folder."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    image = data.astronaut()
    for k in range(6):
        name = f"more/p{k}.png" if k == 5 else f"p{k}.png"
        picture.save(picture.from_array(image[50 * k : 50 * k + 60, 100:180]), folder / name)
    return folder


def make(photos: Path, out: Path, **options: object) -> Synth:
    run = Synth(SynthOptions(inputs=(str(photos),), out=out, **options))
    run.failures = [result for result in run.results() if result.error]
    return run


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def invoke(*words: object):
    return CliRunner().invoke(group, ["synth", *map(str, words)])


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(photos, tmp_path):
    for name, workers in (("one", 1), ("three", 3)):
        make(photos, tmp_path / name, preset="night", count=14, crop=32, seed=7, workers=workers)
    assert files(tmp_path / "one") == files(tmp_path / "three")
    make(photos, tmp_path / "other", preset="night", count=14, crop=32, seed=8)
    assert files(tmp_path / "other").keys() == files(tmp_path / "one").keys()
    assert files(tmp_path / "other") != files(tmp_path / "one")


def test_a_pair_can_be_made_again_from_its_line(photos, tmp_path):
    make(photos, tmp_path / "out", preset="camera", count=8, crop=40)
    lines = (tmp_path / "out" / "synth.jsonl").read_text().splitlines()
    assert len(lines) == 8
    for record in map(json.loads, lines):
        low, high = pair_of(record, picture.load(photos / record["photo"]).pixels, 8)
        for name, pixels in (("low", low), ("high", high)):
            assert np.array_equal(picture.load(tmp_path / "out" / name / record["name"]).pixels, pixels)


def test_an_interrupted_run_goes_on_to_the_same_end(photos, tmp_path):
    make(photos, tmp_path / "whole", count=9, crop=32)
    options = SynthOptions(inputs=(str(photos),), out=tmp_path / "cut", count=9, crop=32)
    results = Synth(options).results()
    next(results), next(results)
    results.close()
    records = tmp_path / "cut" / "synth.jsonl"
    records.write_text(records.read_text() + '{"folder": "", "na')
    next((tmp_path / "cut" / "low").iterdir()).unlink()
    make(photos, tmp_path / "cut", count=9, crop=32, resume=True)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_resumed_run_must_have_the_same_settings(photos, tmp_path):
    make(photos, tmp_path / "out", count=2, crop=32)
    with pytest.raises(OptionError, match="other values of: crop, seed"):
        make(photos, tmp_path / "out", count=2, crop=40, seed=3, resume=True)
    with pytest.raises(OutputExists, match="not empty"):
        make(photos, tmp_path / "out", count=2, crop=32)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("keep")
    with pytest.raises(OptionError, match="no run that can be resumed"):
        make(photos, tmp_path / "other", count=2, resume=True)


def test_test_pairs_come_from_photos_that_give_no_others(photos, tmp_path):
    run = make(photos, tmp_path / "out", preset="paper", count=20, test=7, crop=32)
    used = {folder: {r["photo"] for r in run.records if r["folder"] == folder} for folder in ("train", "test")}
    assert not used["train"] & used["test"]
    for folder, count in (("train", 20), ("test", 7)):
        for side in ("low", "high"):
            assert len([*(tmp_path / "out" / folder / side).iterdir()]) == count
    with pytest.raises(OptionError, match="cannot be parted"):
        make(photos / "more", tmp_path / "b", count=2, test=1)


def test_deep_pairs_have_sixteen_bits(photos, tmp_path):
    make(photos, tmp_path / "out", count=1, depth=16)
    low = picture.load(next((tmp_path / "out" / "low").iterdir()))
    assert low.bits == 16
    assert len(np.unique(low.pixels % 257)) > 50


def test_bad_photos_are_told_and_the_rest_is_made(photos, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("p0.png", "p1.png"):
        (folder / name).write_bytes((photos / name).read_bytes())
    (folder / "cut.png").write_bytes((photos / "p2.png").read_bytes()[:300])
    picture.save(picture.from_array(np.zeros((8, 8, 3), np.uint8)), folder / "tiny.png")
    done = invoke(folder, "--out", tmp_path / "out", "--crop", 32, "--json", "--workers", 1)
    assert done.exit_code == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["summary"] | {"seconds": 0} == {"pairs": 2, "failed": 2, "seconds": 0, "exit_code": 1}
    assert "cut.png" in done.stderr
    assert "does not fit" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out" / "low").iterdir()) == ["p0-0.png", "p1-0.png"]


def test_exit_codes_and_messages(photos, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(NoInput):
        make(empty, tmp_path / "a")
    assert isinstance(invoke(photos, "--out", tmp_path / "a", "--gamma", "1:2").exception, OptionError)
    assert isinstance(invoke(photos, "--out", tmp_path / "a", "--stops", "3:1").exception, OptionError)
    assert invoke(photos, "--out", tmp_path / "a", "--stops", "x").exit_code == 2
    assert not (tmp_path / "a").exists()
    (empty / "bad.jpg").write_text("no picture")
    assert invoke(empty, "--out", tmp_path / "a").exit_code == 6


def test_two_photos_of_one_name_are_refused(tmp_path):
    for name in ("in/a/b.png", "in/a_b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(picture.from_array(np.zeros((8, 8, 3), np.uint8)), tmp_path / name)
    with pytest.raises(OutputExists, match="one name"):
        make(tmp_path / "in", tmp_path / "out")


def test_photos_are_left_as_they_were(photos, tmp_path):
    before = files(photos)
    make(photos, tmp_path / "out", count=6)
    assert files(photos) == before
    assert not filecmp.dircmp(photos, tmp_path / "out").common_files
