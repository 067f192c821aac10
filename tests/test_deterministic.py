"""`--deterministic`: one picture, one machine, the same bits; whatever threads, batches and free memory there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lowlight_cli import manifest, memory, open_model, picture
from lowlight_cli.errors import OutOfMemory
from lowlight_cli.picture import Picture
from lowlight_cli.runners.onnx import OnnxRunner

NETWORKS = sorted({row.arch: name for name, row in manifest.models().items() if row.files}.values())


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """PyTorch's settings are those of the process."""
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = benchmark


def night(height: int = 128, width: int = 128, seed: int = 0) -> Picture:
    """Dark noise, brighter towards one corner."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0.2, 1, width)[None, :, None] * np.linspace(0.2, 1, height)[:, None, None]
    return picture.from_array((rng.integers(0, 120, (height, width, 3)) * ramp).astype(np.uint8))


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("model", NETWORKS)
def test_bits_do_not_depend_on_threads_or_neighbours(model: str, backend: str) -> None:
    pictures = [night(96, 80, seed=seed) for seed in range(2)]
    found = []
    for threads in (1, 3):
        enhancer = open_model(model, deterministic=True, backend=backend, threads=threads, depth=16)
        found += [[enhancer.enhance([p])[0].pixels for p in pictures], [p.pixels for p in enhancer.enhance(pictures)]]
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


def test_a_network_whose_sums_are_shared_out_among_threads_gives_the_same_bits_too() -> None:
    """Some processors do so with ba-gan, and others never: here a network shows how many threads it has."""

    def output(threads: int, **options: bool) -> np.ndarray:
        with open_model("aux-retinex", backend="torch", threads=threads, depth=16, **options) as enhancer:
            tile = enhancer.runner.network.tile
            enhancer.runner.network.tile = lambda *words, **more: (
                tile(*words, **more) * (1 - torch.get_num_threads() / 100)
            )
            return enhancer.enhance([night(32, 32)])[0].pixels

    assert (output(1) != output(3)).any()
    np.testing.assert_array_equal(output(1, deterministic=True), output(3, deterministic=True))


@pytest.mark.parametrize("threads", [0, 2])
def test_pytorch_takes_one_thread_and_onnx_runtime_says_how_many(threads: int) -> None:
    assert open_model("aux-retinex", deterministic=True, backend="torch", threads=threads).runner.threads == 1
    assert open_model("aux-retinex", deterministic=True, backend="onnx", threads=threads).runner.threads >= 1
    assert open_model("aux-retinex", backend="onnx").runner.threads == 0


def test_tiles_do_not_depend_on_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, fixed = open_model("neid"), open_model("neid", deterministic=True)
    shape = (1, 4000, 3000, 3)
    before = plain.tile_choice.choose(shape), fixed.tile_choice.choose(shape)
    monkeypatch.setattr(memory, "available", lambda: 100 << 20)
    assert len(plain.tile_choice.choose(shape)) > len(before[0])
    assert fixed.tile_choice.choose(shape) == before[1]


def test_where_memory_runs_out_no_smaller_tiles_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def out(self: OnnxRunner, batch: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        seen.append(batch.shape)
        raise OutOfMemory("There is not enough memory.", "")

    monkeypatch.setattr(OnnxRunner, "__call__", out)
    with pytest.raises(OutOfMemory):
        open_model("neid", deterministic=True).enhance([night(256, 256)])
    assert len(seen) == 1


def test_runs_of_the_library_and_of_files_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture.save(night(90, 70), path)
    first, second = (open_model("aux-retinex", deterministic=True)(path) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_model_that_computes_on_one_thread_leaves_pytorchs_threads_to_others() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen = []
        for options in ({"deterministic": True}, {}, {"threads": 2}):
            with open_model("aux-retinex", backend="torch", **options) as enhancer:
                network = enhancer.runner.network
                tile = network.tile
                network.tile = lambda *words, tile=tile, **more: (
                    seen.append(torch.get_num_threads()) or tile(*words, **more)
                )
                enhancer(np.zeros((32, 32, 3), np.uint8))
            assert torch.get_num_threads() == 3
        assert seen == [1, 3, 2]
    finally:
        torch.set_num_threads(before)
