"""`lowlight enhance --profile`: where the time of a run went, and what bounds it."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_runner import FakeRunner
from numpy.typing import NDArray

from lowlight_cli import cli, picture, stopwatch
from lowlight_cli.cli.profile import BOUNDS, TITLES, lines, profiled
from lowlight_cli.jobs import Layout
from lowlight_cli.stopwatch import OFF, Stopwatch
from lowlight_cli.tasks.enhance import EnhanceOptions, plan_run

Photo = Callable[..., Path]
Command = Callable[..., SimpleNamespace]


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(stopwatch, "age", lambda: 3.0)

    def work(self, watch: stopwatch.Untimed, stage: str, seconds: float) -> None:
        with watch.stage(stage):
            self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, fakes: list[FakeRunner]
) -> Command:
    """`lowlight enhance` with a fake network: `code`, `out`, `err` and `profile`, if the last line of JSON has one."""
    monkeypatch.chdir(tmp_path)
    assert not fakes

    def run(*words: str, stdin: bytes = b"") -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["lowlight", "enhance", *words])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfdbinary.readouterr()
        last = json.loads(out.splitlines()[-1]) if "--json" in words else {"summary": {}}
        profile = last["summary"].get("profile")
        return SimpleNamespace(code=ended.value.code or 0, out=out, err=err.decode(), profile=profile)

    return run


def test_a_stage_within_another_takes_its_time_from_it(clock: Clock) -> None:
    watch = Stopwatch()
    with watch.stage("blend"):
        clock.now += 1
        with watch.stage("resize"):
            clock.work(watch, "network", 4)
            clock.now += 2
        clock.work(watch, "network", 8)
    clock.work(watch, "blend", 16)
    found = {name: (stage.seconds, stage.calls) for name, stage in watch.stages.items()}
    assert found == {"network": (12, 2), "resize": (2, 1), "blend": (17, 2)}


def test_a_call_that_fails_costs_time_and_is_not_counted(clock: Clock) -> None:
    watch = Stopwatch()
    with pytest.raises(OSError, match="full"), watch.stage("encode"):
        clock.now += 2
        raise OSError("full")
    assert (watch.stages["encode"].seconds, watch.stages["encode"].calls) == (2, 0)


def test_threads_lose_nothing_and_are_marked() -> None:
    watch, together = Stopwatch(), threading.Barrier(8)

    def work() -> None:
        together.wait()
        for _ in range(500):
            with watch.stage("decode"):
                watch.count("decode", 3)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work) for _ in range(8)]:
            future.result()
    with watch.stage("network"):
        pass
    assert (watch.stages["decode"].calls, watch.stages["decode"].pixels) == (4000, 12000)
    assert watch.stages["decode"].beside
    assert not watch.stages["network"].beside


def test_the_process_is_older_than_what_it_has_done_since() -> None:
    before = stopwatch.age()
    time.sleep(0.02)
    assert time.process_time() <= stopwatch.age() + 0.02
    assert 0 < before <= stopwatch.age() < 1e6


def test_rows_of_the_main_thread_add_up_to_the_wall_time(clock: Clock) -> None:
    watch = Stopwatch()
    clock.now += 1
    watch.start()
    clock.work(watch, "network", 2)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(clock.work, watch, "decode", 3).result()
    watch.count("decode", 2_000_000)
    watch.count("network", 4_000_000)
    profile = profiled(watch)
    assert profile["seconds"] == 3 + 1 + 2 + 3  # before the stopwatch, and since
    stages = profile["stages"]
    assert stages["start"]["seconds"] == 4
    assert stages["other"]["seconds"] == 3
    assert sum(stage["share"] for stage in stages.values() if not stage["threads"]) == pytest.approx(1, abs=1e-3)
    assert (stages["decode"]["ms_per_megapixel"], stages["network"]["ms_per_megapixel"]) == (1500, 500)
    assert (profile["pictures"], profile["megapixels"]) == (1, 2)
    assert profile["megapixels_per_second"] == pytest.approx(2 / 9, abs=1e-4)


@pytest.mark.parametrize(
    ("stage", "bound"),
    [
        ("network", "network"),
        ("wait_decode", "decoding"),
        ("decode", "decoding"),
        ("wait_encode", "encoding"),
        ("wait_pipe", "waiting"),
        ("open", "start-up"),
        ("blend", "blend"),
    ],
)
def test_what_takes_most_of_the_main_thread_bounds_the_run(clock: Clock, stage: str, bound: str) -> None:
    watch = Stopwatch()
    clock.work(watch, stage, 27)
    with ThreadPoolExecutor(1) as pool:  # a sum over threads is no time of the run, however long
        pool.submit(clock.work, watch, "encode" if stage != "wait_encode" else "decode", 1000).result()
    clock.now -= 1000
    profile = profiled(watch)
    assert (profile["bound"], profile["bound_share"]) == (bound, 0.9)
    assert lines(profile)[-1] == f"{BOUNDS[bound][1]}: 90 % of the wall time."


def test_every_stage_has_its_place_in_the_table_and_can_bound_a_run() -> None:
    assert {stage for by, _ in BOUNDS.values() for stage in by} == {*TITLES}


def test_files_are_profiled_on_stderr_and_in_the_summary(command: Command, photo: Photo) -> None:
    for name, width in (("a", 8), ("b", 8), ("c", 20)):
        photo(Path(f"in/{name}.png"), 10, width)
    Path("in/d.png").write_bytes(b"no picture")
    done = command("in", "--out", "out", "--profile", "--json")
    assert done.code == 1
    stages = done.profile["stages"]
    assert [stages[name]["calls"] for name in ("start", "open", "decode", "encode")] == [1, 1, 3, 3]
    assert stages["network"]["calls"] == 2  # two of one size in a batch, and one
    assert stages["decode"]["threads"]
    assert stages["encode"]["threads"]
    assert not stages["network"]["threads"]
    assert done.profile["pictures"] == 3
    assert done.profile["megapixels"] == pytest.approx(360e-6)
    assert all(f"\n{TITLES[name]}" in done.err for name in stages)
    assert "sums over threads" in done.err
    assert "3 pictures" in done.err
    assert done.err.rstrip().endswith("% of the wall time.")


def test_columns_stand_under_each_other(command: Command, photo: Photo) -> None:
    photo(Path("a.png"))
    table = command("a.png", "--out", "b.png", "--profile").err.partition("stage ")[2].splitlines()
    ends = [line.index("%") for line in table if line.count(" %") == 1 and ":" not in line]
    assert len(ends) > 5
    assert len({*ends}) == 1


def test_without_the_option_nothing_is_said_or_timed(command: Command, photo: Photo) -> None:
    photo(Path("a.png"))
    done = command("a.png", "--out", "b.png", "--json")
    assert done.profile is None
    assert "wall time" not in done.err
    assert EnhanceOptions(inputs=("a.png",), layout=Layout(out=Path("b.png"))).stopwatch is OFF
    assert OFF.stage("network").__enter__() is None
    assert not vars(OFF)


def test_quiet_hides_the_table_and_not_the_document(command: Command, photo: Photo) -> None:
    photo(Path("a.png"))
    done = command("a.png", "--out", "b.png", "--json", "--profile", "--quiet")
    assert done.err == ""
    assert done.profile["pictures"] == 1


@pytest.mark.parametrize("out", ["-", "b.png"])
def test_a_pipe_is_profiled_without_threads(command: Command, photo: Photo, out: str) -> None:
    data = photo(Path("a.png"), 10, 20).read_bytes()
    done = command("-", "--out", out, "--profile", *(["--json"] if out != "-" else []), stdin=data)
    assert done.code == 0
    assert picture.load(done.out if out == "-" else Path(out)).width == 20
    assert TITLES["wait_pipe"] in done.err
    assert "1 picture, " in done.err
    assert "*" not in done.err
    if out != "-":
        assert done.profile["stages"]["encode"]["calls"] == 1
        assert not done.profile["stages"]["decode"]["threads"]


def test_a_dry_run_has_a_start_and_no_pictures(command: Command, photo: Photo) -> None:
    photo(Path("a.png"))
    profile = command("a.png", "--out", "b.png", "--dry-run", "--json", "--profile").profile
    assert [*profile["stages"]] == ["start", "other"]
    assert profile["pictures"] == 0
    assert profile["bound"] == "start-up"


def decoding(monkeypatch: pytest.MonkeyPatch, held: str) -> tuple[threading.Event, threading.Event]:
    """(started, may end) of the decoding of the file named `held`."""
    read, started, go = picture.read, threading.Event(), threading.Event()

    def slow(source: Path, **options: int) -> bytes:
        if source.name == held:
            started.set()
            assert go.wait(10)
        return read(source, **options)

    monkeypatch.setattr(picture, "read", slow)
    return started, go


def enhance(before: Callable[[], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stopwatch:
    """Enhance the folder `in`, with `before` called whenever the network gets a batch."""
    run_network = FakeRunner.__call__

    def watched(self: FakeRunner, batch: NDArray, vectors: NDArray) -> NDArray[np.float32]:
        before()
        return run_network(self, batch, vectors)

    monkeypatch.setattr(FakeRunner, "__call__", watched)
    layout, watch = Layout(out=tmp_path / "out"), Stopwatch()
    run = plan_run(EnhanceOptions(inputs=(str(tmp_path / "in"),), layout=layout, stopwatch=watch))
    assert [result.status for result in run.results(run.open())] == ["done"] * len(run.jobs)
    return watch


@pytest.mark.usefixtures("fakes")
def test_the_network_starts_on_a_picture_before_the_next_of_another_size_is_decoded(
    photo: Photo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    photo(tmp_path / "in" / "a.png", 8, 8)
    photo(tmp_path / "in" / "b.png", 8, 9)
    _, go = decoding(monkeypatch, "b.png")
    watch = enhance(go.set, monkeypatch, tmp_path)
    assert watch.stages["network"].calls == 2


@pytest.mark.usefixtures("fakes")
def test_a_picture_that_fills_the_queue_is_decoded_while_the_one_before_is_enhanced(
    photo: Photo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lowlight_cli.tasks.pipeline.AHEAD_PIXELS", 10)
    for name, width in (("a", 8), ("b", 9)):
        photo(tmp_path / "in" / f"{name}.png", 8, width)
    started, go = decoding(monkeypatch, "b.png")
    seen: list[bool] = []

    def before() -> None:
        seen.append(started.wait(10))
        go.set()

    enhance(before, monkeypatch, tmp_path)
    assert seen == [True, True]
