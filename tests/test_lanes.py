"""Work side by side: no more at once than asked for, errors wait for what runs, and pictures come out the same."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest
from fake_runner import FakeRunner
from numpy.typing import NDArray

import lowlight_cli as lowlight
from lowlight_cli import manifest, memory, tiles
from lowlight_cli.enhancer import Enhancer, Settings
from lowlight_cli.errors import OutOfMemory
from lowlight_cli.lanes import Lanes
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners.onnx import OnnxRunner
from lowlight_cli.stopwatch import Stopwatch
from lowlight_cli.tile_choice import LANE, TOO_MUCH, TileChoice

LARGE = (1100, 1500, 3)


def dark(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 60, shape, np.uint8)


def lane_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lane")]


class Wide(FakeRunner):
    """A runner with lanes."""

    lanes = 2

    def alone(self) -> Wide:
        return self


def test_all_is_done_and_no_more_at_once_than_asked_for() -> None:
    lanes, met, lock = Lanes(4), threading.Barrier(2, timeout=30), threading.Lock()
    running, most, done = 0, 0, []

    def work(item: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        met.wait()  # alone it would wait in vain
        with lock:
            running -= 1
            done.append(item)

    lanes.each(work, range(20), at_once=2)
    assert (sorted(done), most) == (list(range(20)), 2)
    lanes.close()


def test_an_error_comes_out_when_nothing_runs_any_more_and_the_rest_is_left() -> None:
    lanes, begun, ended, failed = Lanes(2), [], [], threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            failed.set()
            raise OutOfMemory("None left.", "")
        failed.wait(30)
        time.sleep(0.2)
        ended.append(item)

    with pytest.raises(OutOfMemory):
        lanes.each(work, range(50), at_once=2)
    assert set(begun) - {0} == set(ended)
    assert len(begun) < 10
    lanes.each(ended.append, [99], at_once=2)
    assert 99 in ended, "they can be used again"
    lanes.close()


def test_each_thread_has_an_array_of_its_own_that_it_gets_again() -> None:
    lanes, met, seen = Lanes(2), threading.Barrier(2, timeout=30), []

    def work(_: int) -> None:
        met.wait()
        first = lanes.array((2, 3, 5), np.float32)
        smaller, larger = lanes.array((4,), np.uint16), lanes.array((1000,), np.float32)
        assert (first.shape, first.dtype, smaller.dtype, larger.shape) == ((2, 3, 5), np.float32, np.uint16, (1000,))
        seen.append((first.ctypes.data == smaller.ctypes.data, larger.ctypes.data))
        met.wait()

    lanes.each(work, range(2), at_once=2)
    assert all(again for again, _ in seen)
    assert seen[0][1] != seen[1][1]
    lanes.close()


def test_threads_end_with_the_model(spec: ModelSpec) -> None:
    assert not lane_threads()
    with Enhancer(Wide(dataclasses.replace(spec, halo=16)), Settings()) as model:
        assert not lane_threads(), "none before they are needed"
        model(dark(*LARGE))
        assert len(lane_threads()) == 2
    assert not lane_threads()


@pytest.mark.parametrize(
    ("lanes", "shape", "at_once"),
    [
        (1, LARGE, 1),
        (2, LARGE, 2),
        (2, (300, 400), 1),
        (4, LARGE, 4),
        (8, LARGE, 4),
        (16, LARGE, 1),
        (16, (3000, 4000), 16),
        (2, (30, 50_000), 2),
    ],
)
def test_tiles_side_by_side_are_neither_small_nor_large(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, lanes: int, shape: tuple[int, ...], at_once: int
) -> None:
    monkeypatch.setattr(Wide, "lanes", lanes)
    spec = dataclasses.replace(spec, halo=16, multiple=4, bytes_per_pixel=60)
    plan = TileChoice(Wide(spec), None).choose((1, *shape[:2]))
    assert plan.at_once == at_once
    assert len(plan) >= at_once
    if at_once > 1:
        assert LANE[0] * 0.5 < plan.read / len(plan) <= LANE[1]
        assert plan.read <= (1 + TOO_MUCH[0]) * shape[0] * shape[1]


def test_memory_is_for_all_that_run_at_once(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = dataclasses.replace(spec, halo=16, multiple=4, bytes_per_pixel=60)
    monkeypatch.setattr(memory, "available", lambda: 2 * 60 * 800_000)
    plan = TileChoice(Wide(spec), None).choose((1, 4000, 6000))
    assert plan.at_once * max(height * width for height, width in (tile.size for tile in plan)) <= 800_000


def test_halos_that_cost_much_are_not_computed_for_it(spec: ModelSpec) -> None:
    spec = dataclasses.replace(spec, halo=200, multiple=4, bytes_per_pixel=60)
    assert TileChoice(Wide(spec), None).choose((1, 1100, 1500)).at_once == 1


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_a_thin_network_gives_the_same_side_by_side(strength: float) -> None:
    pixels, watch = dark(*LARGE), Stopwatch()
    with lowlight.open_model("aux-retinex", backend="onnx", device="cpu", threads=2, strength=strength) as model:
        model.stopwatch = watch
        out = model(pixels)
        assert model.tile_choice.plan.at_once == 2
        assert out.std() > 1
    assert set(watch.stages) >= {"network"}
    assert watch.stages["network"].seconds > 0
    with lowlight.open_model("aux-retinex", backend="onnx", device="cpu", threads=1, strength=strength) as alone:
        np.testing.assert_array_equal(alone(pixels), out)
        assert alone.tile_choice.plan.at_once == 1


def test_a_lane_without_memory_falls_back_to_smaller_tiles_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(batch: NDArray, vectors: NDArray) -> NDArray:
        raise OutOfMemory("There is not enough memory.", "")

    pixels = dark(*LARGE)
    with lowlight.open_model("aux-retinex", backend="onnx", device="cpu", threads=2) as model:
        expected = model(pixels)
        monkeypatch.setattr(OnnxRunner, "alone", lambda _: none_left)
        np.testing.assert_array_equal(model(pixels), expected)
        assert model.tile_choice.plan.at_once == 1


def test_what_repeats_exactly_and_what_has_channels_enough_runs_one_by_one() -> None:
    for name, options, lanes in (
        ("aux-retinex", {"threads": 3}, 3),
        ("aux-retinex", {"threads": 3, "deterministic": True}, 1),
        ("neid", {"threads": 3}, 1),
    ):
        with lowlight.open_model(name, backend="onnx", device="cpu", **options) as model:
            assert model.runner.lanes == lanes


def test_a_picture_too_small_for_lanes_is_one_tile() -> None:
    with lowlight.open_model("aux-retinex", backend="onnx", device="cpu", threads=2) as model:
        model(dark(400, 600, 3))
        assert (len(model.tile_choice.plan), model.runner.lane) == (1, None)


def test_both_forms_put_a_picture_together_alike() -> None:
    halo, pixels = manifest.models()["aux-retinex"].halo, dark(1, 300, 500, 3)
    plan = dataclasses.replace(tiles.plan(300, 500, tile=64, halo=halo, multiple=4), at_once=3)
    outs, lanes = [], Lanes(3)
    for side_by_side in (None, lanes):
        outs.append(np.zeros_like(pixels))
        tiles.run_tiled(
            pixels, lambda batch: batch**2, plan, outs[-1], padded=lambda n: tiles.round_up(n, 4), lanes=side_by_side
        )
    lanes.close()
    np.testing.assert_array_equal(*outs)


@pytest.mark.parametrize("size", [(1500, 2000), (2000, 3000), (3000, 4000), (4000, 6000), (6000, 8000)])
def test_no_lane_waits_for_a_last_tile(size: tuple[int, int]) -> None:
    plan = TileChoice(Wide(manifest.models()["aux-retinex"]), None).choose((1, *size))
    assert (plan.at_once, len(plan) % 2) == (2, 0)
