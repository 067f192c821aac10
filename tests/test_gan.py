"""The ground floor of adversarial training: losses, the pool of pictures, the discriminator, the penalty."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lowlight_cli.nn.gan import (
    ImagePool,
    PatchDiscriminator,
    discriminator_loss,
    frozen,
    generator_loss,
    gradient_penalty,
)

pytestmark = pytest.mark.usefixtures("seeded")


def test_the_logarithmic_losses_are_those_of_equation_2():
    real, made = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 3.0]])
    sigma = [1 / (1 + math.exp(-x)) for x in (2.0, -1.0, 0.5, 3.0)]
    expected = -(math.log(sigma[0]) + math.log(sigma[1])) / 2 - (math.log(1 - sigma[2]) + math.log(1 - sigma[3])) / 2
    assert float(discriminator_loss(real, made, "log")) == pytest.approx(expected / 2, rel=1e-5)
    assert float(generator_loss(made, "log")) == pytest.approx(-(math.log(sigma[2]) + math.log(sigma[3])) / 2, rel=1e-5)


def test_the_least_squares_losses_are_those_of_cyclegan():
    real, made = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    assert float(discriminator_loss(real, made, "lsgan")) == pytest.approx(((1 + 4) / 2 + (0.25 + 9) / 2) / 2)
    assert float(generator_loss(made, "lsgan")) == pytest.approx((0.25 + 4) / 2)


def test_a_generator_that_is_seen_through_still_has_a_gradient():
    logits = torch.tensor([-20.0], requires_grad=True)
    generator_loss(logits).backward()
    assert logits.grad.item() == pytest.approx(-1.0, abs=1e-4)


def pictures(*values):
    return torch.stack([torch.full((3, 4, 4), float(value)) for value in values])


def values(made):
    return made[:, 0, 0, 0].tolist()


def test_a_pool_shows_every_picture_until_it_is_full():
    pool = ImagePool(5)
    assert values(pool(pictures(0, 1, 2))) == [0, 1, 2]
    assert values(pool(pictures(3, 4))) == [3, 4]
    assert values(pool.state_dict()["kept"]) == [0, 1, 2, 3, 4]


def test_a_full_pool_swaps_half_of_the_pictures_for_earlier_ones():
    pool = ImagePool(50)
    pool(pictures(*range(50)))
    fresh = list(range(50, 1050))
    shown = values(pool(pictures(*fresh)))
    earlier = sum(a != b for a, b in zip(shown, fresh, strict=True))
    assert 440 < earlier < 560
    # What was taken out is not inside any more, and nothing is lost or doubled.
    assert sorted(shown + values(pool.state_dict()["kept"])) == list(range(1050))


def test_a_pool_neither_keeps_nor_draws_without_gradients():
    pool = ImagePool(2)
    pool(pictures(0, 1))
    state = torch.get_rng_state()
    with torch.no_grad():
        assert values(pool(pictures(7, 8, 9))) == [7, 8, 9]
    assert torch.equal(torch.get_rng_state(), state)
    assert values(pool.state_dict()["kept"]) == [0, 1]


def test_a_pool_of_no_size_lets_everything_pass():
    pool = ImagePool(0)
    made = pictures(1, 2).requires_grad_()
    shown = pool(made)
    assert values(shown) == [1, 2]
    assert not shown.requires_grad
    assert not len(pool.state_dict()["kept"])


def test_a_pool_that_is_restored_goes_on_bit_for_bit():
    pool = ImagePool(4)
    pool(pictures(*range(9)))
    state, random = pool.state_dict(), torch.get_rng_state()
    expected = values(pool(pictures(*range(9, 40))))
    other = ImagePool(4)
    other.load_state_dict(state)
    torch.set_rng_state(random)
    assert values(other(pictures(*range(9, 40)))) == expected
    assert expected != list(range(9, 40))
    assert torch.equal(other.state_dict()["kept"], pool.state_dict()["kept"])


def test_an_empty_pool_is_restored_empty():
    pool = ImagePool(3)
    pool.load_state_dict(ImagePool(3).state_dict())
    assert values(pool(pictures(5))) == [5]


def test_pictures_of_another_size_drive_the_kept_ones_out():
    pool = ImagePool(2)
    pool(pictures(1, 2))
    assert pool(torch.zeros(2, 3, 8, 8)).shape == (2, 3, 8, 8)
    assert pool.state_dict()["kept"].shape == (2, 3, 8, 8)


def test_a_pool_keeps_what_was_made_and_not_what_becomes_of_it():
    pool = ImagePool(1)
    made = pictures(1)
    pool(made)
    made.zero_()
    assert values(pool.state_dict()["kept"]) == [1]


def test_a_frozen_network_passes_gradients_on_and_takes_none():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    network[0].bias.requires_grad_(False)
    before = [p.requires_grad for p in network.parameters()]
    pixels = torch.rand(1, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="on purpose"), frozen(network):
        network(pixels).sum().backward()
        assert not any(p.requires_grad for p in network.parameters())
        raise RuntimeError("on purpose")
    assert pixels.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())
    assert [p.requires_grad for p in network.parameters()] == before == [True, False, True, True]


def test_a_logit_of_the_discriminator_judges_70_pixels():
    discriminator = PatchDiscriminator(width=2)
    # Instance norm looks at the whole picture: it is no part of the patch.
    discriminator.layers = nn.Sequential(*(x for x in discriminator.layers if not isinstance(x, nn.InstanceNorm2d)))
    pixels = torch.rand(1, 3, 256, 256, requires_grad=True)
    logits = discriminator(pixels)
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    seen = pixels.grad[0].abs().sum(0).nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [70, 70]


def test_the_discriminator_judges_pictures_of_24_pixels_and_no_smaller_ones():
    discriminator = PatchDiscriminator(width=2)
    assert discriminator(torch.rand(1, 3, 24, 24)).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        discriminator(torch.rand(1, 3, 23, 23))


def test_the_discriminator_is_cyclegans():
    # 4x4 convolutions with biases: 3 -> 64 -> 128 -> 256 -> 512 -> 1, that is 3136 + 131200 + 524544 + 2097664 + 8193.
    discriminator = PatchDiscriminator()
    assert sum(p.numel() for p in discriminator.parameters()) == 2_764_737
    assert [x.stride[0] for x in discriminator.layers if isinstance(x, nn.Conv2d)] == [2, 2, 2, 1, 1]
    assert discriminator.layers[2].weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_the_penalty_is_zero_where_the_gradient_has_norm_one_and_nine_where_it_has_four():
    count = 3 * 8 * 8
    real, made = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    for norm, expected in ((1.0, 0.0), (4.0, 9.0)):
        penalty = gradient_penalty(lambda x, norm=norm: x.flatten(1).sum(1) * norm / math.sqrt(count), real, made)
        assert float(penalty) == pytest.approx(expected, abs=1e-4)


def test_the_score_of_a_map_of_logits_is_its_mean():
    real, made = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    # Each logit is one value times 48; the mean of 48 of them has a gradient of 1 in each value, norm sqrt(48).
    penalty = gradient_penalty(lambda x: 48 * x, real, made)
    assert float(penalty) == pytest.approx((math.sqrt(48) - 1) ** 2, rel=1e-4)


def test_the_penalty_looks_between_real_and_made():
    seen = []

    def discriminator(pixels):
        seen.append(pixels)
        return pixels.square().flatten(1).sum(1)

    gradient_penalty(discriminator, torch.full((64, 3, 2, 2), 3.0), torch.full((64, 3, 2, 2), 1.0))
    points = seen[0][:, 0, 0, 0]
    assert 1 < points.min() < 1.3
    assert 2.7 < points.max() < 3
    assert (seen[0] == points[:, None, None, None]).all()


def test_a_descent_on_the_penalty_brings_the_gradient_to_norm_one():
    discriminator = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3))
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.02)
    real, made = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    penalties = []
    for _ in range(60):
        penalty = gradient_penalty(discriminator, real, made)
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
        penalties.append(penalty.item())
    assert penalties[0] > 0.3
    assert penalties[-1] < 0.05


def test_there_is_no_penalty_without_gradients_and_no_draw():
    discriminator, real, made = PatchDiscriminator(width=1), torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    state = torch.get_rng_state()
    with torch.no_grad():
        assert gradient_penalty(discriminator, real, made) == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert gradient_penalty(discriminator, real, made) > 0
