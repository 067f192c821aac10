"""Tiles: the geometry is exact, and what is put together from tiles is what the whole picture gives."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray

from lowlight_cli import tiles
from lowlight_cli.errors import PictureError

MULTIPLES = some.sampled_from([1, 2, 3, 4, 8, 16])


def noise(*shape: int, kind: type = np.uint8) -> NDArray:
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def whole(pixels: NDArray, run: Callable, **options: object) -> NDArray:
    return tiled(pixels, run, tile=0, halo=0, **options)


def tiled(pixels: NDArray, run: Callable, *, tile: int, halo: int, multiple: int = 1, **options: object) -> NDArray:
    scale = options.get("scale", 1)
    count, height, width = pixels.shape[:3]
    out = np.zeros((count, height * scale, width * scale, 3), pixels.dtype)
    plan = tiles.plan(height, width, tile=tile, halo=halo, multiple=multiple)
    options.setdefault("padded", lambda length: tiles.round_up(length, multiple))
    tiles.run_tiled(pixels, run, plan, out, **options)
    return out


def identity(batch: NDArray) -> NDArray:
    return batch


def doubled(batch: NDArray) -> NDArray:
    return batch.repeat(2, axis=2).repeat(2, axis=3)


def convolution(radius: int, scale: int = 1) -> Callable:
    """Weighs the square around each pixel with other weights, zeros around: dyadic numbers, so that sums are exact."""
    weights = np.random.default_rng(1).integers(1, 8, (2 * radius + 1,) * 2) / 1024

    def run(batch: NDArray) -> NDArray:
        padded = np.pad(batch, ((0, 0), (0, 0), (radius, radius), (radius, radius)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape, axis=(2, 3))
        values = np.einsum("nchwij,ij->nchw", windows.astype(np.float64), weights)
        return values.repeat(scale, axis=2).repeat(scale, axis=3)

    return run


@given(some.integers(1, 5000), some.integers(1, 64), some.integers(0, 200), MULTIPLES)
def test_spans_partition_every_side(size: int, cores: int, halo: int, multiple: int) -> None:
    core = cores * multiple
    spans = tiles.spans(size, core, halo, multiple)
    assert (spans[0].keep[0], spans[-1].keep[1]) == (0, size)
    assert all(a.keep[1] == b.keep[0] for a, b in itertools.pairwise(spans))
    for span in spans:
        assert 0 < span.keep[1] - span.keep[0] <= core
        assert span.keep[0] % multiple == span.read[0] % multiple == 0
        assert span.read[0] <= max(0, span.keep[0] - halo)
        assert span.read[1] >= min(size, span.keep[1] + halo)
        assert span.read[1] == size or span.read[1] % multiple == 0


@given(some.integers(1, 5000), some.integers(1, 64), MULTIPLES)
def test_spans_are_no_more_than_needed_and_none_is_a_sliver(size: int, cores: int, multiple: int) -> None:
    spans = tiles.spans(size, cores * multiple, 0, multiple)
    assert len(spans) == -(-size // (cores * multiple))
    assert min(span.keep[1] - span.keep[0] for span in spans) > size / len(spans) - multiple


@given(
    some.integers(1, 5000),
    some.integers(1, 5000),
    some.sampled_from([20_000, 300_000, 4_000_000]),
    some.integers(0, 300),
    MULTIPLES,
)
def test_tiles_that_fit_have_one_size_and_their_halos(
    height: int, width: int, pixels: int, halo: int, multiple: int
) -> None:
    plan = tiles.fitting(height, width, pixels=pixels, halo=halo, multiple=multiple)
    if plan is None:
        room = pixels // tiles.round_up(min(height, 2 * halo + tiles.SMALLEST_CORE), multiple)
        assert room < min(width, 2 * halo + tiles.SMALLEST_CORE) + 4 * multiple
        return
    [(high, wide)] = {tuple(tiles.round_up(side, multiple) for side in tile.size) for tile in plan}
    assert high * wide <= pixels
    assert plan.read == sum(tile.size[0] * tile.size[1] for tile in plan)
    for size, spans in ((height, plan.rows), (width, plan.columns)):
        assert (spans[0].keep[0], spans[-1].keep[1]) == (0, size)
        assert all(a.keep[1] == b.keep[0] for a, b in itertools.pairwise(spans))
        for span in spans:
            assert span.keep[0] < span.keep[1]
            assert span.keep[0] % multiple == span.read[0] % multiple == 0
            assert span.read[0] <= max(0, span.keep[0] - halo)
            assert span.read[1] >= min(size, span.keep[1] + halo)


def test_of_all_plans_that_fit_one_reads_least() -> None:
    [tile] = tiles.fitting(1000, 4000, pixels=4.1e6, halo=128, multiple=16) or []
    assert tile.size == (1000, 4000)
    wide = tiles.fitting(1000, 12000, pixels=4e6, halo=128, multiple=16)
    assert wide is not None
    assert (len(wide.rows), len(wide.columns)) == (1, 4), "not two rows of squares"
    photo = tiles.fitting(4000, 6000, pixels=5e6, halo=128, multiple=16)
    assert photo is not None
    assert (len(photo.rows), len(photo.columns)) == (2, 3)
    assert photo.read == (4000 + 2 * 128) * (6000 + 4 * 128 + 16), "three parts of 2176, which are whole multiples"


def test_tile_0_is_the_whole_picture() -> None:
    [tile] = tiles.plan(5000, 7000, tile=0, halo=100, multiple=16)
    assert tile.size == (5000, 7000)


@settings(max_examples=60)
@given(some.integers(1, 70), some.integers(1, 70), some.integers(1, 40), some.integers(0, 9), MULTIPLES)
def test_a_picture_is_put_together_exactly(height: int, width: int, tile: int, halo: int, multiple: int) -> None:
    pixels = noise(1, height, width, 3)

    def run(batch: NDArray) -> NDArray:
        assert batch.dtype == np.float32
        assert batch.shape[2] % multiple == batch.shape[3] % multiple == 0
        return batch

    np.testing.assert_array_equal(tiled(pixels, run, tile=tile, halo=halo, multiple=multiple), pixels)
    big = tiled(pixels, lambda batch: doubled(run(batch)), tile=tile, halo=halo, multiple=multiple, scale=2)
    np.testing.assert_array_equal(big, pixels.repeat(2, axis=1).repeat(2, axis=2))


def test_16_bits_and_batches_are_put_together_exactly() -> None:
    pixels = noise(3, 33, 50, 3, kind=np.uint16)
    np.testing.assert_array_equal(tiled(pixels, identity, tile=16, halo=3, multiple=4), pixels)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize(("height", "width", "tile"), [(45, 61, 16), (64, 9, 20), (17, 70, 8)])
def test_tiles_equal_the_whole_where_the_halo_covers_the_network(
    height: int, width: int, tile: int, multiple: int, scale: int
) -> None:
    pixels, network = noise(2, height, width, 3, kind=np.uint16), convolution(3, scale)
    expected = whole(pixels, network, multiple=multiple, scale=scale)
    assert expected.std() > 500
    got = tiled(pixels, network, tile=tile, halo=3, multiple=multiple, scale=scale)
    np.testing.assert_array_equal(got, expected)
    too_narrow = tiled(pixels, network, tile=tile // multiple * multiple, halo=0, multiple=multiple, scale=scale)
    assert (too_narrow != expected).any()


def test_strength_leaves_no_seam_at_twice_the_size() -> None:
    pixels, network = noise(1, 50, 70, 3, kind=np.uint16), convolution(2, scale=2)
    expected = whole(pixels, network, multiple=2, scale=2, strength=0.3)
    got = tiled(pixels, network, tile=16, halo=4, multiple=2, scale=2, strength=0.3)
    assert np.abs(got.astype(int) - expected).max() <= 1  # of 65535: the last bit of a float


def test_strength_mixes_the_picture_with_the_networks_output() -> None:
    pixels = np.full((1, 9, 9, 3), 100, np.uint8)
    mixed = tiled(pixels, lambda batch: 2 * batch, tile=4, halo=0, strength=0.25)
    assert np.unique(mixed).tolist() == [125]
    np.testing.assert_array_equal(
        tiled(noise(1, 9, 9, 3), convolution(1), tile=4, halo=2, strength=0), noise(1, 9, 9, 3)
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_an_error_and_no_picture(value: float) -> None:
    def broken(batch: NDArray) -> NDArray:
        batch[0, 1, 2, 3] = value
        return batch

    with pytest.raises(PictureError, match="NaN or infinite") as caught:
        tiled(noise(1, 20, 20, 3), broken, tile=8, halo=0)
    assert "fp32" in caught.value.hint


def test_values_outside_0_to_1_are_clipped() -> None:
    pixels = np.full((1, 4, 4, 3), 200, np.uint8)
    assert np.unique(tiled(pixels, lambda batch: 3 * batch, tile=0, halo=0)).tolist() == [255]
    assert np.unique(tiled(pixels, lambda batch: -batch, tile=0, halo=0)).tolist() == [0]
