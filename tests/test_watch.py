"""`lowlight enhance --watch`: takes what is whole, does nothing twice, loses nothing, waits for what is gone."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_runner import FakeRunner

from lowlight_cli import atomic, evidence, picture
from lowlight_cli.cli import console
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import DONE, INTERRUPTED, SOME_FAILED, USAGE, OptionError
from lowlight_cli.jobs import Layout
from lowlight_cli.tasks import watch as task
from lowlight_cli.tasks import watch_folders, watch_memory, watch_plan
from lowlight_cli.tasks.enhance import EnhanceOptions
from lowlight_cli.tasks.preset import EvidenceOptions
from lowlight_cli.tasks.results import Result
from lowlight_cli.tasks.unwitnessed import Unwitnessed
from lowlight_cli.tasks.watch import Pace, Watch
from lowlight_cli.tasks.watch_plan import Checked

pytestmark = pytest.mark.usefixtures("here")
Photo = Callable[..., Path]
Script = dict[float, Callable[[], object]]

OUT = Path("out")


class Clock:
    """Stands for `time`: nobody waits, and what a script says happens while the watch rests."""

    def __init__(self, script: Script) -> None:
        self.now, self.script = 0.0, sorted(script.items())

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.01)
        while self.script and self.script[0][0] <= self.now:
            self.script.pop(0)[1]()


@dataclasses.dataclass
class Seen:
    """What a watch told, with the seconds after which it did."""

    results: list[tuple[float, Result]]
    said: list[str]
    watch: Watch

    @property
    def done(self) -> list[str]:
        return [result.source.name for _, result in self.results if result.status == "done"]

    @property
    def failed(self) -> list[tuple[float, str]]:
        return [(at, result.source.name) for at, result in self.results if result.status == "failed"]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, fakes: list[FakeRunner]) -> Callable[..., Seen]:
    """Watches `in` while a script runs; the model is a fake one."""
    assert not fakes

    def run(script: Script | None = None, until: float = 10, *, pace: Pace | None = None, **options: object) -> Seen:
        clock, said = Clock((script or {}) | {until: lambda: watch.stop()}), []
        monkeypatch.setattr(task, "time", clock)
        watch = made(said, pace, **options)
        results = [(clock.now, result) for result in watch.results(watch.open())]
        return Seen(results, said, watch)

    return run


def made(said: list[str], pace: Pace | None = None, **options: object) -> Watch:
    layout = {name: options.pop(name) for name in ("shard", "limit", "format", "flatten") if name in options}
    inputs, out = options.pop("inputs", ("in",)), options.pop("out", OUT)
    chosen = EnhanceOptions(inputs=inputs, layout=Layout(out=Path(out), **layout), **options)
    return Watch(chosen, pace or Pace(), said.append)


def written() -> set[str]:
    return {str(path.relative_to(OUT)) for path in OUT.rglob("*") if path.is_file() and not path.name.startswith(".")}


def arrive(photo: Photo, *names: str) -> Callable[[], None]:
    """Each picture appears whole, as with a rename, and each is another one."""

    def come() -> None:
        for name in names:
            Path("in").mkdir(exist_ok=True)
            path = photo(Path("elsewhere") / name, value=1 + len(name) * 7 % 50)
            (Path("in") / name).parent.mkdir(parents=True, exist_ok=True)
            path.rename(Path("in") / name)

    return come


def test_a_file_is_taken_when_it_has_rested_and_not_before(watched: Callable[..., Seen], photo: Photo) -> None:
    seen = watched({1.5: arrive(photo, "a.png"), 20.5: arrive(photo, "deep/b.png")}, 30, pace=Pace(settle=5))
    [(first, a), (second, b)] = seen.results
    assert (a.source, b.target) == (Path("in/a.png"), OUT / "deep" / "b.png")
    assert 1.5 + 5 <= first <= 1.5 + 5 + 3
    assert 20.5 + 5 <= second <= 20.5 + 5 + 3
    np.testing.assert_array_equal(picture.load(a.target).pixels, 2 * picture.load(a.source).pixels)


def test_a_file_that_comes_in_pieces_is_done_once_and_never_said_to_have_failed(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    data = photo(Path("elsewhere/a.png"), 40, 40).read_bytes()
    path = Path("in/a.png")
    path.parent.mkdir()

    def more(end: int) -> Callable[[], object]:
        return lambda: path.write_bytes(data[:end])

    # Between two pieces it rests for longer than a file must to be taken, and each piece cannot be decoded.
    steps = {1.0 + 8 * step: more(len(data) * (step + 1) // 5) for step in range(5)}
    seen = watched(steps, 60)
    assert [result.status for _, result in seen.results] == ["done"]
    assert seen.results[0][0] > 33


def test_what_cannot_be_decoded_fails_once_and_is_tried_again_only_when_it_changes(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("in").mkdir()
    Path("in/bad.png").write_bytes(b"no picture")
    seen = watched(until=500, pace=Pace(patience=30))
    [(at, name)] = seen.failed
    assert name == "bad.png"
    assert 30 <= at <= 35
    loads = []
    load = picture.load
    monkeypatch.setattr(picture, "load", lambda *words, **options: loads.append(words) or load(*words, **options))
    assert not watched(until=500).results
    assert not loads, "a restart tried it again"
    assert watched({10: arrive(photo, "bad.png")}, 100).done == ["bad.png"]


def test_other_limits_than_those_it_failed_with_make_a_restart_try_it_again(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    photo(Path("in/a.png"), 20, 20)
    assert [name for _, name in watched(until=100, max_pixels=100).failed] == ["a.png"]
    assert watched(until=100, max_pixels=1000).done == ["a.png"]


def test_restarts_do_nothing_twice_even_where_outputs_were_taken_away(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    arrive(photo, "a.png", "b.png")()
    assert watched().done == ["a.png", "b.png"]
    before = {path: path.stat().st_mtime_ns for path in OUT.glob("*.png")}
    assert not watched().results
    (OUT / "a.png").unlink()
    assert watched({5: arrive(photo, "c.png")}, 20).done == ["c.png"]
    assert written() == {"b.png", "c.png"}
    assert (OUT / "b.png").stat().st_mtime_ns == before[OUT / "b.png"]


def test_what_is_remembered_as_done_is_on_the_disk_under_its_name(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, append = atomic.sync_folder, watch_memory.Memory.append
    monkeypatch.setattr(atomic, "sync_folder", lambda folder: steps.append(f"sync {folder.name}") or sync(folder))
    monkeypatch.setattr(
        watch_memory.Memory, "append", lambda self, entry: steps.append("remember") or append(self, entry)
    )
    watched({0: arrive(photo, "a.png")})
    assert steps[-2:] == ["sync out", "remember"]


def test_without_its_memory_a_watch_takes_outputs_that_are_there_as_done(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    arrive(photo, "a.png", "b.png")()
    watched()
    [memory] = OUT.glob(".lowlight-watch-*.jsonl")
    memory.unlink()
    (OUT / "b.png").unlink()
    future = time.time() + 100
    os.utime("in/a.png", (future, future))
    seen = watched()
    assert [(result.source.name, result.status) for _, result in seen.results] == [
        ("a.png", "skipped"),
        ("b.png", "done"),
    ]
    assert seen.results[0][1].notices == ("It is newer than out/a.png, which was there already and was left alone.",)


def test_an_input_that_changes_after_it_was_done_fails_once_and_its_output_stays(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    arrive(photo, "a.png")()
    assert watched().done == ["a.png"]
    output = (OUT / "a.png").read_bytes()
    photo(Path("in/a.png"), 9, 9)
    seen = watched(until=4000, pace=Pace(poll=10))
    assert len(seen.failed) == 1
    assert "has changed since it was enhanced" in seen.results[0][1].error
    assert (OUT / "a.png").read_bytes() == output
    assert not watched(until=200).results, "it was told again after a restart"
    (OUT / "a.png").unlink()
    assert watched(until=200).done == ["a.png"]
    assert picture.load(OUT / "a.png").pixels.shape == (9, 9, 3)


def test_a_change_is_noticed_while_the_watch_runs_too(watched: Callable[..., Seen], photo: Photo) -> None:
    arrive(photo, "a.png")()
    seen = watched({30: lambda: photo(Path("in/a.png"), 9, 9)}, 300)
    assert [result.status for _, result in seen.results] == ["done", "failed"]


def test_another_file_under_the_name_of_one_that_was_taken_away_fails_once(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    def replaced() -> None:
        os.utime(photo(Path("in/a.png"), 9, 9), (1e9, 1e9))  # as `cp -p` from a card leaves it

    arrive(photo, "a.png", "stays.png")()
    seen = watched({30: Path("in/a.png").unlink, 200: replaced}, 400)
    assert seen.done == ["a.png", "stays.png"]
    assert len(seen.failed) == 1
    assert "has changed since it was enhanced" in seen.results[-1][1].error
    assert picture.load(OUT / "a.png").pixels.shape != (9, 9, 3)
    assert not watched(until=200).results, "it was told again after a restart"
    (OUT / "a.png").unlink()
    assert watched(until=200).done == ["a.png"]


def test_a_file_that_is_taken_away_and_put_back_is_done(watched: Callable[..., Seen], photo: Photo) -> None:
    def back() -> None:
        os.utime("kept.png", (1e9, 1e9))
        Path("kept.png").rename("in/a.png")

    arrive(photo, "a.png", "stays.png")()
    os.utime("in/a.png", (1e9, 1e9))
    seen = watched({30: lambda: Path("in/a.png").rename("kept.png"), 200: back}, 400)
    assert [result.status for _, result in seen.results] == ["done", "done"]


def test_what_was_taken_away_is_forgotten_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_memory, "MOST_GONE", 2)
    memory = watch_memory.Memory(tmp_path / "memory", {})
    for name in "abc":
        memory.add(name, watch_folders.stamp(1, 1))
        memory.forget(())
    assert [memory.recall(name, watch_folders.stamp(2, 2)) for name in "abc"] == [None, *[watch_memory.TAKEN_AWAY] * 2]
    memory.close()


def test_a_file_that_another_process_enhanced_meanwhile_is_done(watched: Callable[..., Seen], photo: Photo) -> None:
    def come_with_its_output() -> None:
        arrive(photo, "b.png")()
        photo(OUT / "b.png")

    arrive(photo, "a.png")()
    seen = watched({30: come_with_its_output}, 200)
    assert [result.status for _, result in seen.results] == ["done", "skipped"]


def test_a_file_that_becomes_what_it_was_is_done(watched: Callable[..., Seen], photo: Photo) -> None:
    kept = Path("kept.png")

    def changed() -> None:
        Path("in/a.png").rename(kept)
        photo(Path("in/a.png"), 9, 9)

    arrive(photo, "a.png")()
    seen = watched({30: changed, 250: lambda: kept.replace("in/a.png")}, 600)
    assert [result.status for _, result in seen.results] == ["done", "failed"]
    assert not watched(until=200).results


def test_a_full_disk_is_told_once_and_the_picture_is_done_when_there_is_space(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(photo, "a.png")()
    write = atomic.write

    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(atomic, "write", full)
    seen = watched({400: lambda: monkeypatch.setattr(atomic, "write", write)}, 3000)
    assert [result.status for _, result in seen.results] == ["failed", "done"]
    assert "No space left" in seen.results[0][1].error


def test_a_folder_that_is_gone_is_said_once_and_waited_for(watched: Callable[..., Seen], photo: Photo) -> None:
    seen = watched(
        {
            20: arrive(photo, "a.png"),
            40: lambda: Path("in").rename("away"),
            80: lambda: Path("away").rename("in"),
            90: arrive(photo, "b.png"),
        },
        120,
    )
    assert seen.done == ["a.png", "b.png"]
    gone, again = "in: No such file or directory; waiting for it", "in is there again"
    assert seen.said == [gone, again, gone, again]


def test_the_empty_folder_below_a_share_that_is_gone_makes_nothing_forgotten(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    arrive(photo, "a.png")()
    script = {20: lambda: (Path("in").rename("share"), Path("in").mkdir())}
    script[200] = lambda: (Path("in").rmdir(), Path("share").rename("in"))
    (seen := watched(script, 300)).watch.stop()
    assert [result.status for _, result in seen.results] == ["done"]
    assert [*seen.watch.memory.known] == ["a.png"]


def test_an_inner_folder_that_cannot_be_read_for_a_while_makes_nothing_forgotten(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(photo, "a.png", "deep/b.png")()
    refuse, scandir = [], os.scandir

    def scan(path: str) -> object:
        if refuse and path.endswith("deep"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(watch_folders, "os", SimpleNamespace(**{**vars(os), "scandir": scan}))
    seen = watched({20: lambda: refuse.append(1), 30: arrive(photo, "c.png"), 150: refuse.clear}, 250)
    assert [(result.source.name, result.status) for _, result in seen.results] == [
        ("a.png", "done"),
        ("b.png", "done"),
        ("c.png", "done"),
    ]
    assert seen.said == ["in/deep: Permission denied; waiting for it", "in/deep is there again"]


@pytest.mark.parametrize("patience", [30, 0])
def test_a_file_that_changes_between_the_look_and_the_work_is_done_as_it_is_in_the_end(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    photo(Path("in/a.png"), 9, 9)
    read, reads = picture.read, []

    def late(path: Path) -> bytes:
        reads.append(path)
        if len(reads) == 1:
            photo(path, 12, 12)
        return read(path)

    monkeypatch.setattr(picture, "read", late)
    seen = watched(until=300, pace=Pace(patience=patience))
    assert [result.status for _, result in seen.results] == ["done"]
    assert len([path for path in reads if path == Path("in/a.png")]) == 2
    assert picture.load(OUT / "a.png").pixels.shape == (12, 12, 3)


def test_an_output_folder_that_is_gone_is_waited_for_and_not_made_anew(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    script = {5: lambda: OUT.rename("away"), 10: arrive(photo, "a.png"), 60: lambda: Path("away").rename(OUT)}
    seen = watched(script, 100)
    [(at, result)] = seen.results
    assert result.status == "done"
    assert at >= 60
    assert seen.said[1].startswith("out: .lowlight-watch-")
    assert seen.said[-1] == "out is there again"


def test_in_place_of_an_output_folder_that_is_gone_nothing_is_made(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_memory, "SPARE", -1)
    monkeypatch.setattr(task, "THOROUGH", 0)

    def unmount() -> None:
        OUT.rename("away")
        OUT.mkdir()
        Path("in/a.png").unlink()  # so that there is something to forget

    arrive(photo, "a.png")()
    seen = watched({30: unmount, 60: arrive(photo, "b.png")}, 200)
    assert seen.done == ["a.png"]
    assert "is gone; waiting for it" in seen.said[-1]
    assert not [*OUT.iterdir()]


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EACCES, errno.EIO])
def test_an_output_share_that_answers_with_errors_is_waited_for(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    stat, lost = os.stat, []

    def asked(path: Any, **more: Any) -> os.stat_result:
        if lost and os.fspath(path).startswith("out/"):
            raise OSError(number, os.strerror(number), path)
        return stat(path, **more)

    monkeypatch.setattr(os, "stat", asked)
    script = {5: lambda: lost.append(1), 10: arrive(photo, "a.png"), 60: lost.clear}
    seen = watched(script, 100)
    assert seen.done == ["a.png"]
    assert seen.said[-1] == "out is there again"


def test_a_name_too_long_for_its_output_fails_alone(watched: Callable[..., Seen], photo: Photo) -> None:
    arrive(photo, "a" * 251 + ".png")()
    arrive(photo, "b.png")()
    seen = watched(until=300, format="tiff")
    assert seen.done == ["b.png"]
    assert [result.source.name for _, result in seen.results if result.status == "failed"] == ["a" * 251 + ".png"]


def test_folders_that_do_not_answer_are_left_to_themselves(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(photo, "a.png")()
    answer, look, looks = threading.Event(), watch_folders.Folders.look, []

    def stalled(self: watch_folders.Folders, *words: object, **options: object) -> list:
        looks.append(1)
        if len(looks) == 2:
            answer.wait(30)
        return look(self, *words, **options)

    monkeypatch.setattr(task, "STALL", 0.05)
    monkeypatch.setattr(watch_folders.Folders, "look", stalled)

    def wake() -> None:
        assert len(looks) == 2, "while one look hung, others were made"
        answer.set()
        time.sleep(0.2)

    seen = watched({50: wake}, 100)
    assert seen.done == ["a.png"]
    assert seen.said == ["in: no answer; waiting for it", "in is there again"]


def test_a_look_that_lasts_for_long_is_waited_for_while_entries_come(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(photo, *(f"{name}.png" for name in "abcdefgh"))()
    stamp_of = watch_folders.stamp_of

    def slow(path: str) -> int | None:
        time.sleep(0.03)
        return stamp_of(path)

    monkeypatch.setattr(task, "STALL", 0.1)
    monkeypatch.setattr(watch_folders, "stamp_of", slow)
    seen = watched(until=30)
    assert len(seen.done) == 8
    assert seen.said == []


def test_a_stop_ends_a_look_that_lasts_for_long(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    arrive(photo, *(f"{name}.png" for name in "abcdefgh"))()
    watch, looked = made([]), []

    def slow(path: str) -> int:
        looked.append(path)
        watch.stop()
        return 1

    monkeypatch.setattr(watch_folders, "stamp_of", slow)
    watch.look()
    assert len(looked) == 1


def test_a_lack_of_memory_says_nothing_of_a_file(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = photo(Path("a.png"))

    def undecodable() -> bool:
        return watch_folders.undecodable(path, 10**6)

    assert not undecodable()
    for place in (picture, picture.decoding):
        with monkeypatch.context() as patch:
            if place is picture:
                patch.setattr(place, "read", full)
            else:
                patch.setattr(place, "_DECODERS", dict.fromkeys(place._DECODERS, full))
            assert not undecodable()
    path.write_bytes(path.read_bytes()[:-30])
    assert undecodable()


def full(*_: object) -> None:
    raise MemoryError


def test_what_is_named_as_a_picture_and_is_no_file_is_told_once_and_taken_when_it_is_one(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    arrive(photo, "a.png")()
    Path("in/b.png").symlink_to("later.png")
    os.mkfifo("in/c.png")
    seen = watched({30: lambda: photo(Path("in/later.png"))}, 200)
    told = "{} is not a file, or a link to nothing; it is passed over as long as it is"
    assert seen.said == [f"note: {told.format(name)}" for name in ("in/b.png", "in/c.png")]
    assert sorted(seen.done) == ["a.png", "b.png", "later.png"]


def test_a_picture_in_whose_place_is_a_pipe_has_failed(watched: Callable[..., Seen], photo: Photo) -> None:
    arrive(photo, "a.png", "b.png")()
    OUT.mkdir()
    os.mkfifo(OUT / "a.png")
    seen = watched(until=200)
    assert seen.done == ["b.png"]
    [error] = {result.error for _, result in seen.results if result.source.name == "a.png"}
    assert "a.png is not a regular file" in error


def test_outputs_inside_the_watched_folder_are_no_inputs(watched: Callable[..., Seen], photo: Photo) -> None:
    arrive(photo, "a.png")()
    seen = watched(until=200, out="in/bright")
    assert seen.done == ["a.png"]
    assert not watched(until=200, out="in/bright").results


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "in"}, "is or holds in, which is watched"),
        ({"out": "."}, "is or holds in, which is watched"),
        ({"inputs": ("in/a.png",)}, "in/a.png is not a folder"),
        ({"inputs": ("in/*.png",)}, r"in/\*.png is not a folder"),
        ({"inputs": ("in", "x/in")}, "one name"),
        ({"out": "bright.png"}, "names a file"),
    ],
)
def test_folders_that_cannot_be_watched_are_refused(photo: Photo, options: dict[str, object], words: str) -> None:
    arrive(photo, "a.png")()
    with pytest.raises(OptionError, match=words):
        made([], **options)


def test_a_second_watch_of_the_same_folders_is_refused() -> None:
    first = made([])
    with pytest.raises(OptionError, match="Another lowlight watches"):
        made([])
    first.memory.close()
    made([]).memory.close()


def test_an_input_under_a_new_name_is_a_new_picture(watched: Callable[..., Seen], photo: Photo) -> None:
    arrive(photo, "a.png")()
    seen = watched({10: lambda: Path("in/a.png").rename("in/b.png")}, 200)
    assert seen.done == ["a.png", "b.png"]
    assert [*seen.watch.memory.known] == ["b.png"], "what is gone costs no memory"


def test_two_inputs_with_one_output_are_told(watched: Callable[..., Seen], photo: Photo) -> None:
    arrive(photo, "a.png")()
    seen = watched({100: arrive(photo, "a.jpg")}, 300, format="png")
    assert seen.done == ["a.png"]
    [(_, result)] = seen.results[1:]
    assert result.error == "a.png and a.jpg would both be written to out/a.png."


def test_several_folders_keep_their_names(watched: Callable[..., Seen], photo: Photo) -> None:
    for folder in ("north", "south"):
        photo(Path(folder) / "a.png")
    watched(inputs=("north", "south"))
    assert written() == {"north/a.png", "south/a.png"}


def test_parts_of_a_shard_share_the_pictures(watched: Callable[..., Seen], photo: Photo) -> None:
    names = [f"{number}.png" for number in range(20)]
    arrive(photo, *names)()
    halves = [watched(shard=(part, 2)).done for part in (1, 2)]
    assert all(halves)
    assert sorted(halves[0] + halves[1]) == sorted(names)


def test_a_limit_and_fail_fast_end_a_watch(watched: Callable[..., Seen], photo: Photo) -> None:
    arrive(photo, *(f"{number}.png" for number in range(9)))()
    assert len(watched(until=1000, limit=4).done) == 4
    Path("in/00.png").write_bytes(b"no picture")
    seen = watched(until=10_000, fail_fast=True)
    assert len(seen.done) == 5
    assert [name for _, name in seen.failed] == ["00.png"]
    assert seen.results[-1][0] < 100


def test_a_stop_finishes_what_is_in_work_and_the_next_watch_does_the_rest(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {f"{number}.png" for number in range(40)}
    for number in range(40):
        photo(Path(f"in/{number}.png"), 6, 8 + number)
    run, watches = FakeRunner.__call__, []

    def stopped(self: FakeRunner, batch: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        if len(self.batches) == 10 and len(watches) == 1:
            watches[0].stop()
        return run(self, batch, vectors)

    monkeypatch.setattr(FakeRunner, "__call__", stopped)
    results = Watch.results
    monkeypatch.setattr(Watch, "results", lambda self, enhancer: watches.insert(0, self) or results(self, enhancer))
    first = watched()
    assert 0 < len(first.done) < 40
    assert written() == {*first.done}, "a picture was written, and nobody was told"
    assert sorted(first.done + watched().done) == sorted(names)


def test_an_idle_look_asks_nothing_of_files_that_are_done(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(photo, *(f"{number}.png" for number in range(30)))()
    asked, stat = [], os.stat
    system = SimpleNamespace(**{**vars(os), "stat": lambda path: asked.append(path) or stat(path)})
    monkeypatch.setattr(watch_folders, "os", system)
    seen = watched({15: asked.clear}, 45)
    assert len(seen.done) == 30
    assert {*asked} == {"in"}


def test_a_file_that_somebody_has_open_to_write_waits_for_long(watched: Callable[..., Seen], photo: Photo) -> None:
    arrive(photo, "a.png")()
    if watch_folders.file_system(Path("in").stat().st_dev, "in/a.png") not in watch_folders.LEASED:
        pytest.skip("this file system does not tell who has a file open")
    file = Path("in/a.png").open("r+b")  # noqa: SIM115
    assert watch_folders.written_elsewhere("in/a.png")
    seen = watched({12: file.close}, 40, pace=Pace(patience=1000))
    [(at, result)] = seen.results
    assert result.status == "done"
    assert at >= 12
    assert not watch_folders.written_elsewhere("in/a.png")


def test_the_memory_outlives_a_torn_line_and_grows_only_with_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_memory, "SPARE", 10)
    path, settings = Path("memory.jsonl"), {"version": "1"}
    memory = watch_memory.Memory(path, settings)
    for number in range(100):
        memory.add(f"{number}.png", watch_folders.stamp(number, 10**18 + number))
    memory.add("bad.png", 5, "no picture")
    memory.add("full.png", 6, "no space", final=False)
    memory.known["other.png"] = watch_memory.ELSEWHERE
    memory.forget({"1.png", "bad.png", "full.png", "other.png"})
    memory.close()
    assert len(path.read_text().splitlines()) == 4
    with path.open("a") as file:
        file.write('{"file":"2.png","si')
    memory = watch_memory.Memory(path, settings)
    memory.add("\udcff.png", 7)
    memory.close()
    again = watch_memory.Memory(path, settings)
    again.close()
    assert again.known == {"1.png": watch_folders.stamp(1, 10**18 + 1), "bad.png": 5, "\udcff.png": 7}
    assert (again.failed, again.told) == ({"bad.png": "no picture"}, {"full.png": (6, "no space")})
    other = watch_memory.Memory(path, {"version": "2"})
    other.close()
    assert "bad.png" not in other.known


def test_a_memory_with_nonsense_in_it_is_read_and_one_that_cannot_be_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, settings = Path("memory.jsonl"), {"version": "1"}
    lines = ["[" * 100_000, '{"file":5,"size":1,"mtime_ns":1}', '{"file":"a.png","size":1,"mtime_ns":1}']
    path.write_text("".join(f"{line}\n" for line in lines))
    memory = watch_memory.Memory(path, settings)
    memory.close()
    assert memory.known == {"a.png": watch_folders.stamp(1, 1)}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", full)
        with pytest.raises(MemoryError):
            watch_memory.Memory(path, settings)
    watch_memory.Memory(path, settings).close()


def test_the_witness_of_a_watch_hears_of_all_that_happens_to_a_picture() -> None:
    public = {name for name, value in vars(Unwitnessed).items() if callable(value) and not name.startswith("_")}
    assert public - {"plan", "beside", "not_taken", "begin", "end"} <= vars(Checked).keys()
    assert "put" in public


def test_maps_are_written_and_the_missing_ones_alone_after_a_crash(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(photo, "a.png")()
    monkeypatch.setattr(watch_plan, "map_names", lambda *_: ["light", "reflectance"])

    def maps(enhancer: Enhancer, pictures: Sequence[picture.Picture]) -> list[dict[str, picture.Picture]]:
        enhancer.lifted, enhancer.aimed = [0.0] * len(pictures), [None] * len(pictures)
        return [dict.fromkeys(("light", "reflectance"), each) for each in pictures]

    monkeypatch.setattr(Enhancer, "maps", maps)
    [(_, result)] = watched(maps=Path("maps")).results
    assert result.maps == (Path("maps/a-light.png"), Path("maps/a-reflectance.png"))
    before = (OUT / "a.png").stat().st_mtime_ns
    [memory] = OUT.glob(".lowlight-watch-*")
    memory.unlink()
    result.maps[0].unlink()
    [(_, again)] = watched(maps=Path("maps")).results
    assert (again.status, again.maps) == ("done", result.maps[:1])
    assert (OUT / "a.png").stat().st_mtime_ns == before


def test_with_an_evidence_log_each_picture_has_one_record_between_start_and_end(
    photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(photo, "a.png", "b.png")()
    log = Path("log.jsonl")
    watch = made([], model="gamma", evidence=EvidenceOptions(log=log))
    monkeypatch.setattr(task, "time", Clock({6: arrive(photo, "deep/c.png"), 20: watch.stop}))
    assert [result.status for result in watch.results(watch.open())] == ["done"] * 3
    lines = [line.record for line in evidence.read(log)]
    assert [record["kind"] for record in lines] == ["start", *["picture"] * 3, "end"]
    assert sorted(record["input"]["relative"] for record in lines[1:4]) == ["a.png", "b.png", "deep/c.png"]


def test_what_a_log_refuses_of_a_file_ends_no_watch(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The baseline of `a.png` would be `a-clahe.png`, the output of another file that comes with it."""
    arrive(photo, "a.png", "a-clahe.png", "b.png")()
    (OUT / "b-clahe.png").mkdir(parents=True)
    log = Path("log.jsonl")
    watch = made([], model="gamma", evidence=EvidenceOptions(log=log, baseline="clahe"))
    monkeypatch.setattr(task, "time", Clock({6: arrive(photo, "c.png"), 200: watch.stop}))
    results = {result.source.name: result for result in watch.results(watch.open())}
    assert {name for name, result in results.items() if result.status == "done"} == {"a-clahe.png", "c.png"}
    assert "a-clahe.png" in results["a.png"].error
    assert "b-clahe.png" in results["b.png"].error
    assert written() == {"a.png", "a-clahe.png", "a-clahe-clahe.png", "c.png", "c-clahe.png"}
    told = [line.record for line in evidence.read(log) if line.record["kind"] == "picture"]
    assert {record["input"]["relative"] for record in told if record["status"] == "done"} == {"a-clahe.png", "c.png"}
    failed = {record["input"]["relative"]: record for record in told if record["status"] == "failed"}
    assert {name: record["output"] is not None for name, record in failed.items()} == {"a.png": True, "b.png": False}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, run: Callable[..., SimpleNamespace]) -> Callable[..., SimpleNamespace]:
    """`lowlight enhance` as in `conftest`, while a script runs."""

    def scripted(*words: str, script: Script | None = None) -> SimpleNamespace:
        monkeypatch.setattr(task, "time", Clock(script or {}))
        return run("enhance", *words)

    return scripted


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, DONE), (signal.SIGHUP, DONE), (signal.SIGINT, INTERRUPTED)]
)
def test_a_signal_ends_a_watch_in_order(
    run: Callable[..., SimpleNamespace], photo: Photo, number: int, code: int
) -> None:
    arrive(photo, "a.png")()
    Path("in/bad.png").write_bytes(b"no picture")
    done = run("in", "--out", "out", "--watch", "--json", script={100: send(number)})
    assert done.code == code
    assert [line["status"] for line in done.lines[:-1]] == ["done", "failed"]
    assert done.lines[-1]["summary"]["exit_code"] == code
    assert "watching in: a look every 1 s, files are taken after 2 s without change" in done.err


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, DONE), (signal.SIGINT, INTERRUPTED)])
def test_a_signal_ends_a_watch_in_order_while_its_model_is_opened(
    run: Callable[..., SimpleNamespace], photo: Photo, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    arrive(photo, "a.png")()
    opened = Watch.open

    def signalled(watch: Watch) -> Enhancer:
        send(number)()
        return opened(watch)

    monkeypatch.setattr(Watch, "open", signalled)
    done = run("in", "--out", "out", "--watch", "--json")
    assert done.code == code
    assert [*done.lines[-1]] == ["summary"]
    assert len(done.lines) == 1


@pytest.mark.usefixtures("fakes")
def test_a_watch_counts_the_files_of_kinds_that_are_not_read(run: Callable[..., SimpleNamespace], photo: Photo) -> None:
    arrive(photo, "a.png")()
    for name in ("a.gif", "b.GIF", "c.jp2"):
        Path("in", name).touch()
    done = run("in", "--out", "out", "--watch", "--json", script={10: send(signal.SIGTERM)})
    assert done.lines[-1]["summary"]["passed_over"] == {".gif": 2, ".jp2": 1}


@pytest.mark.usefixtures("fakes")
def test_a_watch_that_is_stopped_names_what_still_waits(run: Callable[..., SimpleNamespace], photo: Photo) -> None:
    arrive(photo, "a.png")()
    late = arrive(photo, *(f"{number}.png" for number in range(11, 4, -1)))
    done = run("in", "--out", "out", "--watch", "--json", script={10: late, 11: send(signal.SIGTERM)})
    assert done.code == DONE
    assert done.lines[-1]["summary"]["not_tried"] == 7
    named = ", ".join(f"in/{number}.png" for number in range(5, 10))
    assert f"not tried, left to the next watch: {named} and 2 more" in done.err
    again = run("in", "--out", "out", "--watch", "--json", script={20: send(signal.SIGTERM)})
    assert again.lines[-1]["summary"]["not_tried"] == 0
    assert "left to the next watch" not in again.err


@pytest.mark.usefixtures("fakes")
def test_a_limit_ends_the_command_with_the_code_of_its_counts(
    run: Callable[..., SimpleNamespace], photo: Photo
) -> None:
    arrive(photo, "a.png")()
    Path("in/bad.png").write_bytes(b"no picture")
    assert run("in", "--out", "out", "--watch", "--limit", "2").code == SOME_FAILED


def test_a_second_signal_ends_a_watch_at_once(
    run: Callable[..., SimpleNamespace], photo: Photo, monkeypatch: pytest.MonkeyPatch, fakes: list[FakeRunner]
) -> None:
    arrive(photo, *(f"{number}.png" for number in range(5)))()
    call = FakeRunner.__call__

    def signalled(self: FakeRunner, batch: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        send(signal.SIGTERM)()
        send(signal.SIGTERM)()
        return call(self, batch, vectors)

    monkeypatch.setattr(FakeRunner, "__call__", signalled)
    monkeypatch.setattr(console, "AGAIN", -1.0)
    done = run("in", "--out", "out", "--watch", "--json", "--batch-size", "1")
    assert done.code == INTERRUPTED
    assert {Path(line["source"]).name for line in done.lines[:-1]} == written()
    assert len(written()) < 5
    assert fakes[0].closed


@pytest.mark.usefixtures("fakes")
def test_a_signal_that_comes_twice_at_once_is_one(run: Callable[..., SimpleNamespace], photo: Photo) -> None:
    """`timeout` sends its own to the process and to its group."""
    arrive(photo, *(f"{number}.png" for number in range(5)))()

    def twice() -> None:
        send(signal.SIGTERM)()
        send(signal.SIGTERM)()

    done = run("in", "--out", "out", "--watch", "--json", script={12: twice})
    assert done.code == DONE
    assert len(written()) == 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("in", "--out", "out", "--watch", "--overwrite"), "--watch takes no --overwrite"),
        (("in", "--out", "out", "--watch", "--dry-run"), "--watch takes no --dry-run"),
        (("-", "--out", "out", "--watch"), "a pipe is not a folder"),
        (("in", "--out", "out", "--settle", "3"), "it goes with --watch"),
        (("in", "--out", "out", "--watch", "--settle", "nan"), "nan is not a number of its range"),
        (("in", "--out", "out", "--watch", "--settle", "inf"), "inf is not a number of its range"),
        (("in", "--out", "out", "--watch", "--model", "he", "--exposure", "0.3"), "he takes no exposure."),
        (("in", "--out", "out", "--poll", "3"), "it goes with --watch"),
    ],
)
def test_flags_that_make_no_sense_with_or_without_watch_are_refused(
    run: Callable[..., SimpleNamespace], words: tuple[str, ...], told: str
) -> None:
    done = run(*words)
    assert done.code == USAGE
    assert told in done.err
    assert not Path("out").exists()


def test_kill_9_loses_nothing_and_does_nothing_twice(photo: Photo) -> None:
    names = [f"{number}.png" for number in range(60)]
    for number, name in enumerate(names):
        photo(Path("in") / name, 6, 8 + number)
    words = [sys.executable, "-m", "lowlight_cli", "enhance", "in", "--out", "out", "--model", "gamma"]
    words += ["--watch", "--settle", "0", "--poll", "0.05", "--json"]
    told: list[str] = []
    for stop_at in (5, 20, None):
        if stop_at is None:  # should the second have done all before it was killed
            photo(Path("in/last.png"))
            names.append("last.png")
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout:
                result = json.loads(line)
                told += [Path(result["source"]).name] if result.get("status") == "done" else []
                if len(told) == stop_at:
                    process.kill()
                elif stop_at is None and "source" in result and len(written()) == len(names):
                    process.terminate()
                    break
            process.stdout.read()
        assert process.returncode == (DONE if stop_at is None else -signal.SIGKILL)
    assert written() == {*names}
    assert len(told) == len({*told})
    assert not [*OUT.rglob("*.tmp")]
    plain = [*words[:4], "in", "--out", "plain", "--model", "gamma"]
    subprocess.run(plain, check=True, capture_output=True)
    for name in names:
        assert (OUT / name).read_bytes() == (Path("plain") / name).read_bytes()


@pytest.mark.parametrize("time_ns", [0, 1, -1, -86_400 * 10**9, 10**18, -(2**63), 2**63 - 1])
def test_a_stamp_gives_back_what_it_was_made_of(time_ns: int) -> None:
    assert watch_folders.parts(watch_folders.stamp(5, time_ns)) == (5, time_ns)


def test_a_file_that_fails_for_months_ends_no_watch(watched: Callable[..., Seen], photo: Photo) -> None:
    arrive(photo, "a.jpg", "a.png")()
    seen = watched(until=60 * 24 * 3600.0, format="png", pace=Pace(poll=1200.0))
    assert (seen.done, [name for _, name in seen.failed]) == (["a.jpg"], ["a.png"])
    assert seen.watch.pending["a.png"].tries > 1030  # doubled so often, a wait is no number any more


def test_a_file_in_the_place_of_an_outputs_folder_fails_that_picture_alone(
    watched: Callable[..., Seen], photo: Photo
) -> None:
    OUT.mkdir()
    (OUT / "sub").write_text("a file")
    seen = watched({1.0: arrive(photo, "sub/a.png"), 100.0: arrive(photo, "b.png")}, 200)
    assert (seen.done, [name for _, name in seen.failed]) == (["b.png"], ["a.png"])
    assert (OUT / "sub").read_text() == "a file"


def test_an_output_folder_that_goes_away_between_two_looks_is_not_made_anew(
    watched: Callable[..., Seen], photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(photo, *(f"{number}.png" for number in range(140)))()
    outcome, told = Watch.outcome, []

    def told_slowly(watch: Watch, result: Result) -> Result | None:
        task.time.now += 0.1
        told.append(result)
        if len(told) == 70:
            OUT.rename("away")
        return outcome(watch, result)

    monkeypatch.setattr(Watch, "outcome", told_slowly)
    seen = watched(until=1000, pace=Pace(poll=300.0))
    assert not OUT.exists()
    assert len([*Path("away").glob("*.png")]) >= len(seen.done)
    assert any("waiting for it" in text for text in seen.said)


def test_files_that_are_passed_over_and_taken_away_cost_no_memory(watched: Callable[..., Seen]) -> None:
    Path("in").mkdir()

    def others(number: int) -> Callable[[], None]:
        def come() -> None:
            for path in Path("in").iterdir():
                path.unlink()
            Path(f"in/{number}.mp4").write_bytes(b"x")
            Path(f"in/{number}.png").symlink_to("nowhere")

        return come

    seen = watched({float(second): others(second) for second in range(10, 400)}, 401)
    kept = seen.watch.folders.passed
    assert 0 < len(kept.unread) < 200
    assert 0 < len(kept.odd) < 200
    assert "in/399.mp4" in kept.unread


def test_what_was_taken_away_last_is_forgotten_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_memory, "MOST_GONE", 2)
    memory = watch_memory.Memory(tmp_path / "memory.jsonl", {}, str)
    for name in ("a", "b"):
        memory.add(name, 5)
        memory.forget(())
    assert memory.recall("a", 5) == 5
    memory.forget(())
    memory.add("c", 5)
    memory.forget(())
    assert [memory.recall(name, 5) for name in "abc"] == [5, None, 5]
    memory.close()
