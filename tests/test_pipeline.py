"""The pipeline with a fake network: one bad file never stops the rest, and nothing half-done stays."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import picture_files
import pytest
from fake_runner import FakeRunner
from numpy.typing import NDArray

from lowlight_cli import atomic, picture
from lowlight_cli.enhancer import Settings
from lowlight_cli.errors import OptionError, PictureError
from lowlight_cli.jobs import Layout
from lowlight_cli.picture import Picture
from lowlight_cli.runners import RunnerOptions
from lowlight_cli.tasks import enhance as task
from lowlight_cli.tasks import pipeline as pipeline_task
from lowlight_cli.tasks.enhance import EnhanceOptions, Result, Run, plan_run

pytestmark = pytest.mark.usefixtures("here", "fakes")
Photo = Callable[..., Path]


def planned(
    *, out: str = "out", existing: str = "refuse", tile: int | None = None, scale: int = 1, **options: object
) -> Run:
    layout = Layout(out=Path(out), existing=existing)
    settings, runner = Settings(tile=tile), RunnerOptions(scale=scale)
    return plan_run(EnhanceOptions(inputs=("in",), layout=layout, settings=settings, runner=runner, **options))


def enhanced(**options: object) -> list[Result]:
    run = planned(**options)
    return [*run.results(run.open()), *run.late]


def written() -> list[str]:
    return sorted(str(path.relative_to("out")) for path in Path("out").rglob("*") if not path.is_dir())


def statuses(results: list[Result]) -> str:
    return "".join(result.status[0] for result in results)


def calls(monkeypatch: pytest.MonkeyPatch, before: Callable[[NDArray], None]) -> None:
    """Let `before` see every batch that the network gets."""
    run = FakeRunner.__call__

    def watched(self: FakeRunner, batch: NDArray, vectors: NDArray) -> NDArray:
        before(batch)
        return run(self, batch, vectors)

    monkeypatch.setattr(FakeRunner, "__call__", watched)


def test_every_picture_is_twice_as_bright_and_its_result_says_what_was_done(photo: Photo) -> None:
    source = photo(Path("in/deep/Grüße 🌃.png"), 30, 50)
    [result] = enhanced(scale=2, tile=16)
    assert (result.status, result.width, result.height, result.tile) == ("done", 100, 60, 16)
    assert result.source == source
    assert result.seconds > 0
    bright = picture.load(result.target).pixels
    np.testing.assert_array_equal(bright[::2, ::2], 2 * picture.load(source).pixels)


def test_a_bad_file_among_good_ones_fails_alone(photo: Photo) -> None:
    for name in "acd":
        photo(Path(f"in/{name}.png"))
    Path("in/b.png").write_bytes(b"no picture")
    Path("in/e.png").symlink_to("nowhere")
    results = enhanced()
    assert statuses(results) == "dfddf"
    assert written() == ["a.png", "c.png", "d.png"]
    assert all(result.error and result.hint for result in results if result.status == "failed")


def test_a_folder_that_cannot_be_read_is_a_failed_result(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(Path("in/a.png"))
    run = planned()
    run.jobs.append(task.Job(Path("in/closed"), Path("out/closed.png"), Path("closed"), "The folder cannot be read."))
    monkeypatch.setattr(picture, "pixel_count", lambda path: 1 if path.is_file() else pytest.fail("opened a folder"))
    results = list(run.results(run.open()))
    assert [(result.status, result.error) for result in results][1] == ("failed", "The folder cannot be read.")
    assert [(result.status, result.error) for result in run.planned()] == [
        ("planned", None),
        ("failed", "The folder cannot be read."),
    ]


def test_a_named_pipe_fails_and_does_not_wait_for_a_writer(photo: Photo) -> None:
    photo(Path("in/b.png"))
    os.mkfifo("in/a.png")
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.extend(enhanced()), daemon=True)
    thread.start()
    thread.join(10)
    assert statuses(results) == "fd"


def test_results_come_in_the_order_of_the_jobs(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        photo(Path(f"in/{number}.png"), 4, 4 + number % 3)
    write = picture.write
    dice = random.Random(0)

    def slow(*arguments: object, **options: object) -> None:
        time.sleep(dice.random() / 100)
        write(*arguments, **options)

    monkeypatch.setattr(picture, "write", slow)
    assert [result.source.stem for result in enhanced()] == [str(number) for number in range(30)]


def test_equal_shapes_run_together_and_others_do_not(photo: Photo, fakes: list[FakeRunner]) -> None:
    for name, width in zip("abcdefg", [8, 8, 8, 12, 12, 8, 8], strict=True):
        photo(Path(f"in/{name}.png"), 8, width)
    assert statuses(enhanced()) == "d" * 7
    assert [(shape[0], shape[3]) for shape in fakes[0].batches] == [(3, 8), (2, 12), (2, 8)]


def test_batch_size_is_the_most_that_run_together(photo: Photo, fakes: list[FakeRunner]) -> None:
    for name in "abcde":
        photo(Path(f"in/{name}.png"))
    enhanced(batch_size=2)
    assert [shape[0] for shape in fakes[0].batches] == [2, 2, 1]


def test_large_pictures_run_alone_when_nobody_says(photo: Photo, fakes: list[FakeRunner]) -> None:
    for name in "ab":
        photo(Path(f"in/{name}.png"), 800, 800, value=3)
    enhanced()
    assert [shape[0] for shape in fakes[0].batches] == [1, 1]


def test_8_and_16_bits_are_not_mixed(photo: Photo, fakes: list[FakeRunner]) -> None:
    photo(Path("in/a.png"), 8, 8)
    Path("in/b.png").write_bytes(picture_files.png16(np.full((8, 8, 3), 1001, np.uint16)))
    assert statuses(enhanced()) == "dd"
    assert [shape[0] for shape in fakes[0].batches] == [1, 1]
    assert np.unique(picture.load(Path("out/b.png")).pixels).tolist() == [2002]


def test_an_error_in_a_batch_fails_only_the_picture_that_causes_it(
    photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcd":
        photo(Path(f"in/{name}.png"), value=77 if name == "c" else 5)

    def fail(batch: NDArray) -> None:
        if np.isclose(batch, 77 / 255).any():
            raise PictureError("The network failed.", "Try another.")

    calls(monkeypatch, fail)
    results = enhanced()
    assert statuses(results) == "ddfd"
    assert (results[2].error, results[2].hint) == ("The network failed.", "Try another.")
    assert written() == ["a.png", "b.png", "d.png"]


def test_a_bug_of_ours_fails_one_file_and_is_told(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(Path("in/a.png"))
    calls(monkeypatch, lambda _: [][1])
    [result] = enhanced()
    assert result.error == "Unexpected IndexError: list index out of range"
    assert "report" in result.hint


def test_fail_fast_stops_at_the_first_failure_and_loses_no_result(photo: Photo, fakes: list[FakeRunner]) -> None:
    for number in range(40):
        photo(Path(f"in/{number}.png"), 8, 8 + number)
    Path("in/3.png").write_bytes(b"")
    results = enhanced(fail_fast=True)
    assert statuses(results[:4]) == "dddf"
    assert len(results) < 40
    assert len(fakes[0].batches) < 39
    assert written() == sorted(result.target.name for result in results if result.status == "done")


def live_pictures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many decoded pictures there were at once, each time one was decoded."""
    load, lock, live, counts = picture.load, threading.Lock(), [0], []

    def change(by: int) -> None:
        with lock:
            live[0] += by
            counts.append(live[0])

    def counted(*arguments: object, **options: object) -> Picture:
        loaded = load(*arguments, **options)
        change(1)
        weakref.finalize(loaded, change, -1)
        return loaded

    monkeypatch.setattr(picture, "load", counted)
    return counts


@pytest.mark.parametrize(("name", "limit"), [("AHEAD_FILES", 3), ("AHEAD_PIXELS", 3 * 48)])
def test_decoders_do_not_run_far_ahead_of_the_network(
    photo: Photo, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    for number in range(25):
        photo(Path(f"in/{number}.png"), 6, 8)
    monkeypatch.setattr(pipeline_task, name, limit)
    counts = live_pictures(monkeypatch)
    calls(monkeypatch, lambda _: time.sleep(0.004))
    assert statuses(enhanced(batch_size=1)) == "d" * 25
    # Three ahead, one of which waits to be the next one's neighbour, and one in the network.
    assert 3 <= max(counts) <= 4


@pytest.mark.parametrize(("name", "limit"), [("AHEAD_FILES", 3), ("AHEAD_PIXELS", 3 * 48)])
def test_the_network_does_not_run_far_ahead_of_the_encoders(
    photo: Photo, monkeypatch: pytest.MonkeyPatch, fakes: list[FakeRunner], name: str, limit: int
) -> None:
    for number in range(25):
        photo(Path(f"in/{number}.png"), 6, 8)
    monkeypatch.setattr(pipeline_task, name, limit)
    saved, ahead = itertools.count(1), []
    write = picture.write

    def slow(*arguments: object, **options: object) -> None:
        time.sleep(0.01)
        write(*arguments, **options)
        ahead.append(len(fakes[0].batches) - next(saved))

    monkeypatch.setattr(picture, "write", slow)
    assert statuses(enhanced(batch_size=1)) == "d" * 25
    assert 2 <= max(ahead) <= 4


def test_a_full_disk_fails_the_file_with_a_remedy_and_leaves_nothing(
    photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        photo(Path(f"in/{name}.png"))
    write = Path.write_bytes
    count = itertools.count()

    def full(path: Path, data: bytes) -> int:
        if next(count) != 1:
            return write(path, data)
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pipeline_task, "ThreadPoolExecutor", lambda _, name: one_thread(1, name))
    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(atomic, "write_nameless", lambda *_, **__: False)
    results = enhanced()
    assert statuses(results) == "dfd"
    assert "No space left on device" in results[1].error
    assert "Free some space" in results[1].hint
    assert written() == ["a.png", "c.png"]


one_thread = pipeline_task.ThreadPoolExecutor


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="needs a folder that not even root can write to")
def test_a_read_only_folder_fails_the_file_with_a_remedy(photo: Photo) -> None:
    photo(Path("in/a.png"))
    Path("out").symlink_to("/sys")
    [result] = enhanced()
    assert result.status == "failed"
    assert "/a.png" in result.error
    assert result.hint


def test_a_folder_that_cannot_be_made_fails_the_file(photo: Photo) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/sub/b.png"))
    Path("out").mkdir()
    Path("out/sub").write_bytes(b"a file")
    results = enhanced()
    assert statuses(results) == "df"
    assert "out/sub" in results[1].error


def test_an_out_folder_that_cannot_be_made_is_told_once(photo: Photo) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/b.png"))
    Path("plain").write_bytes(b"a file")
    with pytest.raises(OptionError, match="plain/out cannot be made: Not a directory"):
        enhanced(out="plain/out")


@pytest.mark.parametrize(("existing", "status"), [("refuse", "f"), ("skip", "s"), ("overwrite", "d")])
def test_a_target_that_appears_while_running_is_left_alone(
    photo: Photo, monkeypatch: pytest.MonkeyPatch, existing: str, status: str
) -> None:
    photo(Path("in/a.png"))
    calls(monkeypatch, lambda _: Path("out/a.png").write_bytes(b"somebody else's"))
    [result] = enhanced(existing=existing)
    assert result.status[0] == status
    assert (Path("out/a.png").read_bytes() == b"somebody else's") == (status != "d")


def test_skipped_files_are_not_even_opened(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/b.png"))
    photo(Path("out/a.png"), value=1)
    before = Path("out/a.png").read_bytes()
    read, seen = picture.read, []
    monkeypatch.setattr(picture, "read", lambda path, **options: seen.append(path.name) or read(path, **options))
    count = picture.pixel_count
    monkeypatch.setattr(picture, "pixel_count", lambda path: seen.append(path.name) or count(path))
    results = enhanced(existing="skip")
    assert statuses(results) == "sd"
    assert {*seen} == {"b.png"}
    assert Path("out/a.png").read_bytes() == before


def test_inputs_are_never_changed(photo: Photo) -> None:
    path = photo(Path("in/a.png"))
    before = path.read_bytes(), path.stat().st_mtime_ns
    enhanced()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_too_large_pictures_are_refused_before_decoding(photo: Photo) -> None:
    photo(Path("in/a.png"), 10, 10)
    [result] = enhanced(max_pixels=99)
    assert result.status == "failed"
    assert "pixels" in result.error


def test_ctrl_c_lets_started_files_finish_and_counts_them(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        photo(Path(f"in/{number}.png"), 6, 8 + number)
    write, count = picture.write, itertools.count()

    def slow(*arguments: object, **options: object) -> None:
        time.sleep(0.02)
        write(*arguments, **options)

    def interrupt(_: NDArray) -> None:
        if next(count) == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(picture, "write", slow)
    calls(monkeypatch, interrupt)
    run, results = planned(), []
    with pytest.raises(KeyboardInterrupt):
        results.extend(run.results(run.open()))
    assert run.late
    done = {result.target.name for result in run.late}
    assert done <= {*written()}
    assert not [name for name in written() if name.startswith(atomic.PREFIX)]
    assert len(written()) < 60


SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from hub_server import row
from fake_runner import FakeRunner
from lowlight_cli.tasks import enhance as task
from lowlight_cli import cli

class Slow(FakeRunner):
    def __call__(self, *arguments):
        time.sleep(0.05)
        return super().__call__(*arguments)

task.open_runner = lambda spec, options: Slow(row(), options.scale)
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_130_and_a_true_count(photo: Photo, number: int) -> None:
    for index in range(100):
        photo(Path(f"in/{index}.png"), 6, 8 + index)
    words = [sys.executable, "-c", SLOW.format(tests=str(Path(__file__).parent)), "enhance", "in", "--out", "out"]
    process = subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = json.loads(process.stdout.readline())
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    *lines, last = [first, *map(json.loads, stdout.splitlines())]
    assert "Traceback" not in stderr
    assert sorted(Path(line["target"]).name for line in lines) == written()
    assert last["summary"]["done"] == len(lines) < 100
    assert last["summary"]["not_tried"] == 100 - len(lines)
    assert last["summary"]["exit_code"] == 130
    assert f"Interrupted: {len(lines)} done, {100 - len(lines)} not tried" in stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP")
def test_under_nohup_a_lost_line_ends_nothing(photo: Photo) -> None:
    for index in range(8):
        photo(Path(f"in/{index}.png"), 6, 8 + index)
    words = [sys.executable, "-c", SLOW.format(tests=str(Path(__file__).parent)), "enhance", "in", "--out", "out"]
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh"]
    process = subprocess.Popen([*ignoring, *words, "--json"], stdout=-1, stderr=-1, text=True)
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert len(written()) == 8


def test_whoever_stops_reading_the_json_gets_no_traceback(photo: Photo) -> None:
    for index in range(20):
        photo(Path(f"in/{index}.png"), 6, 8 + index)
    words = [sys.executable, "-c", SLOW.format(tests=str(Path(__file__).parent)), "enhance", "in", "--out", "out"]
    process = subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        stderr = process.stderr.read()
    assert process.wait(20) == 1
    assert "Traceback" not in stderr
    assert "Error" not in stderr
    assert not [name for name in written() if name.startswith(atomic.PREFIX)]
    assert len(written()) < 20
