"""Muon: steps of hidden convolutions are orthogonal, all else has Adam's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lowlight_cli.nn.optimizer import HIDDEN, SIZE, Muon, discriminators_optimizer, optimizer, orthogonal
from lowlight_cli.training.settings import Settings


def network() -> nn.Sequential:
    """A thin convolution, a hidden one, and the last, which is thin again."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(6, 32, 3), nn.Conv2d(32, 24, 3), nn.ReLU(), nn.Conv2d(24, 3, 1))


def descend(net: nn.Module, made: torch.optim.Optimizer, steps: int) -> None:
    rng = torch.Generator().manual_seed(steps)
    for _ in range(steps):
        net(torch.randn(2, 6, 9, 9, generator=rng)).square().mean().backward()
        made.step()
        made.zero_grad(set_to_none=True)


@pytest.mark.parametrize("shape", [(20, 70), (70, 20), (40, 40)])
def test_singular_values_come_near_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    turned, other = orthogonal(torch.stack([1e-4 * matrix, torch.ones(shape)]))
    assert turned.shape == other.shape == shape
    values = torch.linalg.svdvals(turned)
    assert 0.3 < float(values.min()) <= float(values.max()) < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    aligned = left.T @ turned @ right.T
    assert torch.allclose(aligned, torch.diag(aligned.diag()), atol=1e-3)
    assert torch.equal(orthogonal(torch.zeros(1, *shape)), torch.zeros(1, *shape))


def test_hidden_convolutions_are_turned_and_the_rest_moves_as_with_adam() -> None:
    ours, theirs = network(), network()
    before = copy.deepcopy(ours)
    lr, betas = 1e-3, (0.9, 0.999)
    descend(ours, Muon(ours.parameters(), lr, betas), 1)
    descend(theirs, torch.optim.Adam(theirs.parameters(), lr=lr, betas=betas), 1)
    for name, moved in ours.named_parameters():
        hidden = moved.ndim == 4 and min(moved.shape[:2]) >= HIDDEN
        assert hidden == (name == "1.weight")
        assert torch.equal(moved, theirs.get_parameter(name)) != hidden, name
    step = (ours[1].weight - before[1].weight).detach().flatten(1)
    values = torch.linalg.svdvals(step) / (lr * SIZE * max(step.shape) ** 0.5)
    assert 0.3 < float(values.min()) <= float(values.max()) < 1.3
    assert float(step.square().mean().sqrt()) == pytest.approx(lr * SIZE, rel=0.25)


def test_kernels_of_one_shape_each_get_their_own_step() -> None:
    torch.manual_seed(2)
    net = nn.ModuleList(nn.Conv2d(16, 20, 3, bias=False) for _ in range(4))
    before = copy.deepcopy(net)
    for layer in (net[0], net[1], net[3]):
        layer.weight.grad = torch.randn_like(layer.weight)
    wanted = [
        orthogonal(layer.weight.grad.flatten(1)[None])[0] if layer.weight.grad is not None else None for layer in net
    ]
    Muon(net.parameters(), 1e-3, (0.9, 0.999)).step()
    for number, one in enumerate(wanted):
        step = (before[number].weight - net[number].weight).detach().flatten(1)
        expected = torch.zeros_like(step) if one is None else 1e-3 * SIZE * max(one.shape) ** 0.5 * one
        assert torch.allclose(step, expected, atol=1e-6)
    assert not torch.allclose(wanted[0], wanted[1], atol=0.1)


def test_restored_it_goes_on_to_the_same_numbers() -> None:
    whole, part = network(), network()
    made = Muon(whole.parameters(), 1e-3, (0.9, 0.999))
    descend(whole, made, 3)
    descend(part, first := Muon(part.parameters(), 1e-3, (0.9, 0.999)), 3)
    again = Muon(part.parameters(), 1e-3, (0.9, 0.999))
    again.load_state_dict(first.state_dict())
    descend(whole, made, 2)
    descend(part, again, 2)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), part.parameters(), strict=True))


def test_the_setting_chooses_for_the_network_and_not_for_its_discriminator() -> None:
    net, asked = network(), Settings(optimizer="muon", lr=1e-3, lr_discriminator=2e-3)
    assert isinstance(optimizer(asked, net), Muon)
    assert type(optimizer(Settings(), net)) is torch.optim.Adam
    discriminators = discriminators_optimizer(asked, net)
    assert type(discriminators) is torch.optim.Adam
    assert discriminators.param_groups[0]["lr"] == 2e-3


def test_what_is_turned_is_turned_in_full_precision_whatever_the_network_ran_in() -> None:
    one, other = network(), network()
    for net in (one, other):
        net(torch.rand(2, 6, 8, 8, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    Muon(one.parameters(), 1e-2, (0.9, 0.999)).step()
    with torch.autocast("cpu", torch.bfloat16):
        Muon(other.parameters(), 1e-2, (0.9, 0.999)).step()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
