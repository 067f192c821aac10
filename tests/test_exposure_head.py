"""The head that guesses how bright a picture should be: what it sees of a thumbnail, and what it can learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lowlight_cli.nn.brightness import ExposureHead


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def lit_on_the_left(side: int = 64) -> Tensor:
    """(1, 3, side, side), bright in one half."""
    pixels = torch.full((1, 3, side, side), 0.02)
    pixels[..., : side // 2] = 0.3
    return pixels


@pytest.mark.parametrize("grid", [0, 8])
def test_a_new_head_guesses_a_half_of_everything(grid: int) -> None:
    assert torch.equal(ExposureHead(grid).eval()(torch.rand(4, 3, 40, 24)), torch.full((4,), 0.5))


@pytest.mark.parametrize("grid", [-1, 33])
def test_a_grid_that_no_thumbnail_has_is_refused(grid: int) -> None:
    with pytest.raises(ValueError, match=f"grid is {grid}"):
        ExposureHead(grid)


@pytest.mark.parametrize("side", [8, 17, 64, 112])
def test_it_sees_thumbnails_of_any_side(side: int) -> None:
    head = ExposureHead(8).eval()
    pixels = lit_on_the_left(side)
    assert head.seen(pixels).shape == (1, head.layers[1].in_features)
    assert torch.allclose(head.cells(pixels)[..., 0], torch.tensor(0.3).sqrt())
    assert torch.allclose(head.cells(pixels)[..., -1], torch.tensor(0.02).sqrt(), atol=0.03)


def test_with_a_grid_it_sees_where_a_picture_is_bright_and_not_only_how_much_of_it() -> None:
    head, plain, pixels = ExposureHead(8).eval(), ExposureHead().eval(), lit_on_the_left()
    assert torch.allclose(plain.seen(pixels), plain.seen(pixels.flip(3)), atol=1e-6)
    assert torch.allclose(head.cells(pixels.flip(3)), head.cells(pixels).flip(3))
    assert not torch.allclose(head.seen(pixels), head.seen(pixels.flip(3)), atol=1.0)


def test_in_training_half_of_the_pictures_are_seen_in_the_mirror_and_later_none() -> None:
    head, pixels = ExposureHead(8), lit_on_the_left().repeat(200, 1, 1, 1)
    left = head.cells(pixels)[:, 0, 0, 0] > 0.3
    assert 60 < int(left.sum()) < 140
    assert (head.eval().cells(pixels)[:, 0, 0, 0] > 0.3).all()


def test_scenes_with_one_histogram_can_be_told_apart_and_a_mirrored_one_is_the_same_scene() -> None:
    head, across = ExposureHead(8), lit_on_the_left()
    upright = across.transpose(2, 3)
    pixels, brightness = torch.cat([across, upright]), torch.tensor([0.3, 0.6])
    optimizer = torch.optim.Adam(head.parameters(), 0.001)
    for _ in range(200):
        optimizer.zero_grad()
        (head(pixels) - brightness).square().mean().backward()
        optimizer.step()
    head.eval()
    assert torch.allclose(head(pixels), brightness, atol=0.1)
    assert torch.allclose(head(pixels.flip(3)), brightness, atol=0.1)
