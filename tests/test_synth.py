"""`lowlight synth`: the same bytes whatever happens, and nothing written over."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from skimage import data

from lowlight_cli import atomic, jsonl, locks, picture
from lowlight_cli.cli import group
from lowlight_cli.errors import NoInput, OptionError, OutputExists
from lowlight_cli.tasks import synth, synth_records
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


def test_the_folder_of_the_photos_is_no_output(photos, tmp_path):
    (tmp_path / "same").symlink_to(photos)
    done = invoke(photos, "--out", tmp_path / "same")
    assert done.exit_code != 0
    with pytest.raises(OptionError, match="is the folder of the photos"):
        make(photos, tmp_path / "same")


def test_what_lacks_is_told_of_both_folders(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "p0.png").write_bytes(b"broken")
    done = invoke(tmp_path / "photos", "--out", tmp_path / "out", "--count", 6, "--test", 4, "--workers", 1)
    run = json.loads((tmp_path / "out" / "synth.json").read_text())
    assert run["count"] == 6
    counts = {part: len([*(tmp_path / "out" / part / "low").iterdir()]) for part in ("train", "test")}
    assert sum(counts.values()) < 10
    assert f"; {counts['train']} of 6 pairs and {counts['test']} of 4 test pairs are there" in done.stderr


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
    run = make(photos, tmp_path / "c", preset="paper", test=2, crop=32)
    assert sorted(Counter(r["photo"] for r in run.records if r["folder"] == "train").values()) == [1, 1, 1, 1]
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
    assert "; 2 of 4 pairs are there" in done.stderr
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


@pytest.fixture
def own(photos, tmp_path):
    """A copy of the photos that a test may change."""
    return Path(shutil.copytree(photos, tmp_path / "own"))


def test_a_run_is_not_resumed_with_other_photos(own, tmp_path):
    out = tmp_path / "out"
    make(own, out, count=8, test=2, crop=32)
    before = files(out)
    (own / "p1.png").rename(own / "p9.png")
    with pytest.raises(OptionError, match=r"The photos differ: gone: p1\.png; new: p9\.png\."):
        make(own, out, count=8, test=2, crop=32, resume=True)
    shutil.copyfile(own / "p9.png", own / "p1.png")
    with pytest.raises(OptionError, match=r"The photos differ: new: p9\.png\."):
        make(own, out, count=8, test=2, crop=32, resume=True)
    assert files(out) == before


def test_a_run_is_not_resumed_with_photos_of_the_same_names_but_other_content(own, tmp_path):
    out = tmp_path / "out"
    make(own, out, count=8, crop=32)
    (out / "low" / "p2-0.png").unlink()
    before = files(out)
    shutil.copyfile(own / "p0.png", own / "p1.png")
    with pytest.raises(OptionError, match=r"The photos differ: other content: p1\.png\."):
        make(own, out, count=8, crop=32, resume=True)
    assert files(out) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_run_does_not_wait_for_a_pipe_in_place_of_a_photo_it_was_made_of(own, tmp_path):
    make(own, tmp_path / "out", count=8, crop=32)
    (own / "p1.png").unlink()
    os.mkfifo(own / "p1.png")
    with pytest.raises(OptionError, match=r"other content: p1\.png"):
        make(own, tmp_path / "out", count=8, crop=32, resume=True)


def test_photos_given_in_another_order_do_not_resume(own, tmp_path):
    names = [str(own / "p0.png"), str(own / "p1.png")]
    for order, resume in ((names, False), (names[::-1], True)):
        options = SynthOptions(inputs=tuple(order), out=tmp_path / "out", count=3, crop=32, resume=resume)
        if resume:
            with pytest.raises(OptionError, match="another order"):
                Synth(options)
        else:
            assert len([*Synth(options).results()]) == 2


def test_a_record_after_a_torn_line_is_kept(tmp_path):
    record = {"folder": "", "name": "a-0.png", "photo": "a.png", "photo_sha256": "0", "copy": 0}
    (tmp_path / "synth.jsonl").write_text('{"folder": "", "na')
    for name in ("a-0.png", "b-0.png"):
        synth_records.append(tmp_path, record | {"name": name})
        for path in synth_records.paths(tmp_path, "", name):
            path.parent.mkdir(exist_ok=True)
            path.touch()
    assert [kept["name"] for kept in synth_records.load(tmp_path)] == ["a-0.png", "b-0.png"]


def test_a_second_interruption_after_a_torn_line_loses_no_record(photos, tmp_path):
    options = {"inputs": (str(photos),), "out": tmp_path / "cut", "count": 6, "crop": 32}
    for _ in range(2):
        results = Synth(SynthOptions(**options, resume=(tmp_path / "cut").exists())).results()
        next(results), next(results)
        results.close()
        with (tmp_path / "cut" / "synth.jsonl").open("a") as file:
            file.write('{"folder": "", "na')
    assert len(Synth(SynthOptions(**options, resume=True)).records) == 4


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b'{"folder": "", "name": "\xff"}',
        b'{"folder": "", "name": [], "photo": "p0.png", "photo_sha256": "0"}',
        b'{"folder": "", "name": "p0-0.png"}',
        b"[" * 200_000,
        b"7",
        b"",
    ],
    ids=["bytes", "bytes in a name", "list", "too little", "deep", "number", "empty"],
)
def test_a_line_that_is_no_record_costs_its_pair_alone(line, photos, tmp_path):
    make(photos, tmp_path / "whole", count=6, crop=32)
    shutil.copytree(tmp_path / "whole", tmp_path / "hurt")
    records = tmp_path / "hurt" / "synth.jsonl"
    lines = records.read_bytes().splitlines()
    records.write_bytes(b"\n".join([line, *lines[1:]]) + b"\n")
    run = Synth(SynthOptions(inputs=(str(photos),), out=tmp_path / "hurt", count=6, crop=32, resume=True))
    assert len(run.records) == 5
    assert [result.pairs for result in run.results()] == [1]
    assert files(tmp_path / "hurt") == files(tmp_path / "whole")


def test_settings_that_cannot_be_read_are_an_error(photos, tmp_path):
    make(photos, tmp_path / "out", count=2, crop=32)
    for text in ("[" * 200_000, "7", "{}", "\0"):
        (tmp_path / "out" / "synth.json").write_text(text)
        with pytest.raises(OptionError, match="no run that can be resumed"):
            make(photos, tmp_path / "out", count=2, crop=32, resume=True)


def test_a_pair_made_again_is_counted_once(photos, tmp_path):
    words = (photos, "--out", tmp_path / "out", "--count", 4, "--crop", 32, "--workers", 1)
    assert "4 pairs made, 0 photos failed" in invoke(*words).stderr
    next((tmp_path / "out" / "high").iterdir()).unlink()
    assert "1 pair made, 3 were there, 0 photos failed" in invoke(*words, "--resume").stderr


def test_any_error_of_one_photo_leaves_the_others(photos, tmp_path, monkeypatch):
    pair = synth.pair_of
    errors = {"p1.png": MemoryError(), "p2.png": ZeroDivisionError("nothing left"), "p3.png": OSError(28, "Disk full")}

    def failing(record, pixels, depth):
        if error := errors.get(record["photo"]):
            raise error
        return pair(record, pixels, depth)

    monkeypatch.setattr(synth, "pair_of", failing)
    run = make(photos, tmp_path / "out", crop=32)
    assert [result.source.name for result in run.failures] == ["p1.png", "p2.png", "p3.png"]
    told = " ".join(f"{result.error} {result.hint}" for result in run.failures)
    for words in ("not enough memory", "Unexpected ZeroDivisionError: nothing left", "Disk full"):
        assert words in told
    assert len(run.records) == 3


def test_large_photos_are_refused_with_the_option_that_lets_them_in(photos, tmp_path):
    words = (photos / "p0.png", "--workers", 1, "--out")
    refused = invoke(*words, tmp_path / "a", "--max-pixels", 4799)
    assert refused.exit_code == 6
    assert "allow it with --max-pixels 4800" in refused.stderr
    assert invoke(*words, tmp_path / "b", "--max-pixels", 4800).exit_code == 0


def test_the_limits_of_the_command_and_of_the_task_are_one(photos, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(synth, "Synth", lambda options: seen.append(options) or Synth(options))
    assert invoke(photos / "p0.png", "--out", tmp_path / "out", "--workers", 1).exit_code == 0
    assert seen[0].max_pixels == SynthOptions(inputs=(), out=tmp_path).max_pixels == picture.MAX_PIXELS


def test_an_out_that_leads_nowhere_is_an_error(photos, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    for out in ("loop", "loop/below", "file", "file/below"):
        with pytest.raises(OptionError, match="cannot be used"):
            make(photos, tmp_path / out)


def test_a_hidden_photo_gives_pairs_that_can_be_seen(photos, tmp_path):
    for name in (".hid.png", "...png"):
        shutil.copyfile(photos / "p0.png", tmp_path / name)
        make(tmp_path / name, tmp_path / f"out{name}")
    names = [path.name for path in tmp_path.glob("out*/*/*")]
    assert sorted(names) == ["hid-0.png", "hid-0.png", "photo-0.png", "photo-0.png"]


def test_two_photos_of_one_path_are_refused(photos, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copyfile(photos / "p0.png", tmp_path / folder / "p.png")
    inputs = tuple(str(tmp_path / folder / "p.png") for folder in ("a", "b"))
    with pytest.raises(OutputExists, match="one name"):
        Synth(SynthOptions(inputs=inputs, out=tmp_path / "out"))


def test_kinds_that_are_not_read_are_told(own, tmp_path):
    for name in ("a.nef", "b.nef", "c.heic"):
        (own / name).touch()
    done = invoke(own, "--out", tmp_path / "out", "--crop", 32, "--workers", 1)
    assert done.exit_code == 0
    assert "passed over, as these kinds are not read: 1 .heic, 2 .nef" in done.stderr


def test_a_named_pipe_is_not_waited_for(own, tmp_path):
    os.mkfifo(own / "pipe.png")
    run = make(own, tmp_path / "out", crop=32)
    assert [result.error for result in run.failures] == ["This is not a regular file."]


def test_the_help_names_the_exit_codes():
    text = " ".join(invoke("--help").stdout.split())
    assert "Exit codes: 0 done, 1 some photos failed, 2 usage, 3 no input, 6 all failed, 130 interrupted" in text


def started(photos: Path, out: Path) -> subprocess.Popen[str]:
    """A run with two workers that have many pairs to make, once both are at work, and one that waits."""
    (out.parent / "bad.png").write_text("no picture")
    names = (photos / "p0.png", photos / "p1.png", out.parent / "bad.png")
    words = ("synth", *names, "--out", out, "--count", 20_000, "--workers", 3)
    process = subprocess.Popen(
        [sys.executable, "-m", "lowlight_cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while any(len([*out.glob(f"low/{name}-*.png")]) < 3 for name in ("p0", "p1")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


def members(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, leader = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(leader) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_for_none(group: int) -> None:
    end = time.monotonic() + 20
    while left := members(group):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def test_records_are_added_one_after_the_other(tmp_path, monkeypatch):
    held = []

    def append(descriptor, line):
        with (tmp_path / synth_records.RECORDS).open("rb") as other:
            held.append(not locks.claim(other.fileno()))
        add(descriptor, line)

    add = jsonl.append
    monkeypatch.setattr(jsonl, "append", append)
    for name in ("a", "b"):
        synth_records.append(tmp_path, {"name": name})
    assert held == [True, True]
    lines = (tmp_path / synth_records.RECORDS).read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["a", "b"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent_and_no_finished_pair_is_lost(number, photos, tmp_path):
    out = tmp_path / "out"
    process = started(photos, out)
    try:
        assert len(members(process.pid)) > 2
        process.send_signal(number)
        wait_for_none(process.pid)
    finally:
        for member in members(process.pid):
            os.kill(member, signal.SIGKILL)
    _, stderr = process.communicate(timeout=20)
    low = {path.name for path in (out / "low").iterdir()}
    kept = {json.loads(line)["name"] for line in (out / "synth.jsonl").read_text().splitlines()}
    assert kept <= low
    assert len(kept) >= max(6, len(low)) - 2  # a worker may have been between the file and its line
    assert not [path for path in out.rglob("*") if path.name.startswith(atomic.PREFIX)]
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert f"Interrupted: {len(kept)} pairs made" in stderr
        assert "Traceback" not in stderr


def test_ctrl_c_reaches_all_processes_and_ends_them_quietly(photos, tmp_path):
    process = started(photos, tmp_path / "out")
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Interrupted: " in stderr
    assert "Traceback" not in stderr


EARLY = """
import concurrent.futures.process as pool, os, signal
start = pool._ExecutorManagerThread.start
def interrupted(self):
    os.kill(os.getpid(), signal.SIGINT)
    start(self)
if __name__ == "__main__":
    pool._ExecutorManagerThread.start = interrupted
    from lowlight_cli.cli import main
    main()
"""
IN_ANOTHER_THREAD = """
import multiprocessing.util as util, signal, threading
go, gone, spawn = threading.Event(), threading.Event(), util.spawnv_passfds
def other():
    go.wait()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    gone.set()
def interrupted(path, words, descriptors):
    pid = spawn(path, words, descriptors)
    if "--multiprocessing-fork" in map(os.fsdecode, words):
        go.set()
        gone.wait()
    return pid
if __name__ == "__main__":
    import os
    threading.Thread(target=other, daemon=True).start()
    util.spawnv_passfds = interrupted
    from lowlight_cli.cli import main
    main()
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signal masks")
@pytest.mark.parametrize("script", [EARLY, IN_ANOTHER_THREAD], ids=["here", "in another thread"])
def test_ctrl_c_while_workers_are_started_ends_them_quietly(script, photos, tmp_path):
    (tmp_path / "early.py").write_text(script)
    words = [sys.executable, tmp_path / "early.py", "synth", photos, "--out", tmp_path / "out", "--workers", "2"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 130
    assert "Interrupted: " in done.stderr
    assert "Traceback" not in done.stderr
