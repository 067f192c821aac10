"""Pictures on a device give what pictures in memory give. The device is the CPU here; the code for CUDA is the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lowlight_cli import manifest, tiles
from lowlight_cli.enhancer import Enhancer
from lowlight_cli.errors import PictureError
from lowlight_cli.frames import HostFrames
from lowlight_cli.runners import Landing, RunnerOptions, cuda
from lowlight_cli.runners.cuda import CudaRunner
from lowlight_cli.runners.device_frames import DeviceFrames
from lowlight_cli.runners.pytorch import TorchRunner, quickest
from lowlight_cli.settings import Settings
from lowlight_cli.shadows import Relit, Shadows
from lowlight_cli.thumbnail import thumbnail


def pictures(height: int, width: int, bits: int, count: int = 2) -> NDArray:
    """Noise over a slope, dark, with a bright window."""
    rng = np.random.default_rng(3)
    slope = np.linspace(0.02, 0.3, width)[None, None, :, None] * np.linspace(1, 0.4, height)[None, :, None, None]
    values = slope + 0.05 * rng.random((count, height, width, 3))
    values[:, height // 4 : height // 2, width // 3 : width // 2] = 0.97
    top = 2**bits - 1
    return np.rint(values * top).astype(np.uint16 if bits == 16 else np.uint8)


def numpy_network(scale: int):
    def run(batch: NDArray[np.float32], vectors: NDArray) -> NDArray[np.float32]:
        return np.sqrt(batch).repeat(scale, axis=2).repeat(scale, axis=3)

    return run


def torch_network(scale: int):
    return lambda batch: torch.sqrt(batch).repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)


def padded(length: int) -> int:
    return max(80, tiles.round_up(length, 8))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("tile", "strength", "lit"), [(0, 1.0, 0.0), (32, 0.6, 0.8)])
def test_tiles_are_as_in_memory(bits: int, scale: int, tile: int, strength: float, lit: float) -> None:
    pixels = pictures(75, 101, bits)
    plan = tiles.plan(75, 101, tile=tile, halo=8, multiple=8)
    relit = None
    if lit:  # of the second picture alone
        relit = Relit(
            [Shadows(thumbnail(one, 24), amount) for one, amount in zip(pixels, (0.0, lit), strict=True)], 75, 101
        )
    told = {"bits": bits, "relit": relit, "strength": strength}
    want = HostFrames(pixels, numpy_network(scale), padded, scale).enhanced(np.zeros((2, 0)), plan, **told)
    got = DeviceFrames(pixels, "cpu").run(torch_network(scale), plan, padded=padded, scale=scale, **told)
    assert got.dtype == want.dtype
    assert got.shape == want.shape == (2, 75 * scale, 101 * scale, 3)
    apart = np.abs(got.astype(int) - want)
    assert apart.max() <= (1 if bits == 8 else 20)
    assert (apart > 0).mean() < (0.01 if bits == 8 else 0.5)
    if lit:
        plain = DeviceFrames(pixels, "cpu").run(
            torch_network(scale), plan, padded=padded, scale=scale, **{**told, "relit": None}
        )
        assert np.array_equal(plain[0], got[0])
        assert not np.array_equal(plain[1], got[1])


@pytest.mark.parametrize("size", [(75, 101), (24, 300), (10, 12), (2500, 9)])
@pytest.mark.parametrize("bits", [8, 16])
def test_thumbnails_are_as_in_memory(size: tuple[int, int], bits: int) -> None:
    pixels = pictures(*size, bits)
    for got, one in zip(DeviceFrames(pixels, "cpu").thumbnails(24), pixels, strict=True):
        np.testing.assert_allclose(got, thumbnail(one, 24), atol=2e-6)
    assert DeviceFrames(pixels, "cpu").thumbnails(0)[1].shape == (0, 0, 3)


def test_what_is_not_finite_is_no_picture() -> None:
    plan = tiles.plan(16, 16, tile=0, halo=0, multiple=1)
    with pytest.raises(PictureError, match="NaN"):
        DeviceFrames(pictures(16, 16, 8), "cpu").run(lambda batch: batch / 0, plan, bits=8, padded=padded)


@pytest.mark.parametrize("name", ["neid", "drs-cyclegan", "ba-gan"])
def test_a_runner_whose_device_takes_pictures_gives_what_the_other_gives(name: str) -> None:
    spec, options = manifest.find(name), RunnerOptions(backend="torch", device="cpu", offline=True)
    runners = TorchRunner(spec, options), CudaRunner(spec, options)
    assert [isinstance(one, Landing) for one in runners] == [False, True]
    settings = Settings(tile=64, shadows=0.5)
    pixels = pictures(90, 150, 8, 1)[0]
    want, got = (Enhancer(one, settings)(pixels) for one in runners)
    apart = np.abs(got.astype(int) - want)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


def test_half_precision_stays_near_and_the_brightness_is_found_in_full() -> None:
    spec = manifest.find("neid")
    options = {"backend": "torch", "device": "cpu", "offline": True}
    exact, half = (CudaRunner(spec, RunnerOptions(precision=one, **options)) for one in ("fp32", "bf16"))
    small = thumbnail(pictures(90, 150, 8, 1)[0], spec.thumbnail).transpose(2, 0, 1)[None].copy()
    assert np.array_equal(exact.context(small, None), half.context(small, None))
    pixels = pictures(90, 150, 8, 1)[0]
    whole = Settings(tile=0)
    apart = np.abs(Enhancer(half, whole)(pixels).astype(int) - Enhancer(exact, whole)(pixels))
    assert 0 < apart.mean() < 1


def test_what_is_free_on_the_device_decides_how_large_tiles_are(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, options = manifest.find("neid"), RunnerOptions(backend="torch", device="cpu", offline=True)
    enhancer, free = Enhancer(CudaRunner(spec, options), Settings()), int(5000 * spec.bytes_per_pixel)
    monkeypatch.setattr(CudaRunner, "room", lambda _: 100 * free)
    assert len(enhancer.tile_choice.choose((1, 400, 600, 3))) == 1
    monkeypatch.setattr(CudaRunner, "room", lambda _: 60 * free)
    assert len(enhancer.tile_choice.choose((1, 400, 600, 3))) > 1


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"device": "cuda:0"}, "fp16"),
        ({"device": "cuda:0", "weights": Path("mine.safetensors")}, "bf16"),
        ({"device": "cuda:0", "deterministic": True}, "fp32"),
        ({"device": "cpu"}, "fp32"),
    ],
)
def test_precision_is_the_finest_of_the_quick_ones(given: dict, wanted: str) -> None:
    assert quickest(manifest.find("neid"), RunnerOptions(**given)) == wanted
    full = dataclasses.replace(manifest.find("neid"), precisions=("fp32",))
    assert quickest(full, RunnerOptions(**given)) == "fp32"


def test_a_shape_is_recorded_when_it_comes_often_and_is_not_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Size] = []

    class Recording:
        def __init__(self, run, *given) -> None:
            self.run, self.shape = run, given[0].shape
            made.append(self.shape)

        def __call__(self, *given: torch.Tensor) -> torch.Tensor:
            return self.run(*given) + 1  # to be told apart

    monkeypatch.setattr(cuda, "Recording", Recording)
    recorder = cuda.Recorder(lambda pixels: pixels * 2)

    def given(side: int) -> list[float]:
        """What comes out for a picture of ones: 2, or 3 if it was recorded."""
        return recorder(torch.ones(1, 3, side, side)).unique().tolist()

    assert [given(8) for _ in range(4)] == [[2], [2], [3], [3]]
    assert [given(9), given(8), given(8), given(8)] == [[2], [2], [2], [3]]
    assert len(made) == 1
    assert [given(9) for _ in range(3)][-1] == [3]
    assert [shape[2] for shape in made] == [8, 9]
    monkeypatch.setattr(cuda, "RECORDED_PIXELS", 99)
    assert [given(10) for _ in range(4)] == [[2]] * 4
    monkeypatch.setattr(cuda, "RECORDED_PIXELS", 10**6)
    recorder.wanted = False
    assert given(10) == [2]
