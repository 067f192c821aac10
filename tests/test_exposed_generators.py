"""The CycleGANs' generators with a target brightness: the curve first, and then what the network knows better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lowlight_cli import models
from lowlight_cli.errors import OptionError
from lowlight_cli.nn.brightness import lift, luma_mean, solve_gain
from lowlight_cli.nn.cycle import CycleRecipe
from lowlight_cli.nn.guide import GuidedNetwork, blur, toward
from lowlight_cli.training.settings import Settings

pytestmark = pytest.mark.usefixtures("seeded")
TINY: dict[str, dict[str, Any]] = {
    "drs_cyclegan": {"width": 4, "blocks": (1, 1, 1)},
    "ema_cyclegan": {"width": 4, "blocks": 1, "groups": 4, "window": 3},
}
BOTH = pytest.mark.parametrize("arch", TINY)
AUTO = torch.tensor([-1.0])


def network(arch: str, **params: Any) -> GuidedNetwork:
    return models.module(arch).build(**{**TINY[arch], "exposure": True, **params}).eval().requires_grad_(False)


def dark(side: int = 48, count: int = 1) -> Tensor:
    return torch.rand(count, 3, side, side) ** 2 * 0.3


def to_the_full(network: GuidedNetwork) -> GuidedNetwork:
    """With a last layer as large as it gets."""
    tail = network.tail if hasattr(network, "tail") else network.last
    tail.weight.mul_(100.0)
    return network


def test_black_that_another_network_made_has_a_gradient() -> None:
    made = torch.cat([torch.zeros(1, 3, 4, 4), torch.rand(1, 3, 4, 4)], dim=3).requires_grad_()
    planes = GuidedNetwork.planes(made, lift(made, torch.tensor([4.0])))
    assert torch.allclose(planes[:, 3:], 2 * made.sqrt() - 1, atol=3e-6)
    planes.sum().backward()
    assert torch.isfinite(made.grad).all()


@BOTH
def test_a_network_that_makes_nothing_of_it_gives_the_curve_to_the_target_half_blurred(arch: str) -> None:
    idle, pixels = network(arch), dark()
    (idle.tail if hasattr(idle, "tail") else idle.last).weight.zero_()
    for target in (0.3, 0.5):
        output = idle(pixels, pixels, torch.tensor([target]))
        assert float(luma_mean(output)) == pytest.approx(target, abs=0.01)
        curve = lift(pixels, solve_gain(pixels, torch.tensor([target])))
        assert torch.allclose(output, (curve + blur(curve)) / 2, atol=1e-6)


@BOTH
def test_the_fourth_plane_lets_detail_through(arch: str) -> None:
    able, pixels, target = network(arch), dark(), torch.tensor([0.4])
    last = able.tail if hasattr(able, "tail") else able.last
    last.weight.zero_()
    curve = lift(pixels, solve_gain(pixels, target))
    for bias, wanted in ((50.0, curve), (-50.0, blur(curve))):
        last.bias[3] = bias
        assert torch.allclose(able(pixels, pixels, target), wanted, atol=1e-6)


def test_blurring_keeps_edges_in_their_places_and_flat_parts_as_they_are() -> None:
    step = torch.zeros(1, 1, 24, 24)
    step[..., 12:] = 1.0
    row = blur(step)[0, 0, 5]
    assert torch.allclose(row + row.flip(0), torch.ones(24), atol=1e-6)
    assert row[:8].abs().max() == 0
    assert row[8] > 0


@BOTH
def test_without_a_target_the_head_decides_and_never_darkens(arch: str) -> None:
    able, pixels = network(arch), dark()
    guess = able.head.choose(pixels)
    assert torch.equal(able(pixels, pixels, AUTO), able(pixels, pixels, guess))
    bright = 1 - pixels
    assert torch.allclose(able.context(bright, AUTO)[:, 0], torch.ones(1), atol=1e-2)


@BOTH
def test_the_network_has_a_say_but_not_on_white_and_stays_in_range(arch: str) -> None:
    strong, pixels = to_the_full(network(arch)), dark()
    pixels[..., :16, :16] = 1.0
    output = strong(pixels, pixels, torch.tensor([0.4]))
    curve = lift(pixels, solve_gain(pixels, torch.tensor([0.4])))
    assert float((output - curve).abs().mean()) > 0.02
    assert float(output.min()) >= 0.0
    assert float(output.max()) <= 1.0
    assert torch.equal(output[..., :12, :12], pixels[..., :12, :12])


def test_a_share_goes_towards_white_or_black() -> None:
    base = torch.full((1, 3, 1, 4), 0.4)
    share = torch.tensor([-1.0, 0.0, 0.5, 1.0]).expand(1, 3, 1, 4)
    assert torch.allclose(toward(base, share)[0, 0, 0], torch.tensor([0.0, 0.4, 0.7, 1.0]))


@BOTH
def test_tiles_give_what_the_whole_thumbnail_gives(arch: str) -> None:
    able, pixels, target = to_the_full(network(arch)), dark(), torch.tensor([0.4])
    output, vectors = able.whole(pixels, target)
    assert torch.equal(vectors, able.context(pixels, target))
    assert torch.allclose(able.tile(pixels, vectors), output, atol=1e-5)
    assert not torch.allclose(able.whole(pixels, torch.tensor([0.6]))[0], output, atol=0.05)


@BOTH
@pytest.mark.parametrize("exposure", [False, True])
def test_a_hot_pixel_in_a_black_picture_is_no_explosion(arch: str, exposure: bool) -> None:
    deep = {"drs_cyclegan": {"blocks": (9, 6, 6)}, "ema_cyclegan": {"blocks": 9}}[arch]
    able, pixels = network(arch, exposure=exposure, **deep), torch.zeros(1, 3, 64, 64)
    pixels[..., 30, 30] = 1.0
    assert torch.isfinite(able(pixels, torch.zeros(1, 3, 48, 48), AUTO)).all()


@BOTH
def test_a_target_asks_for_the_whole_picture(arch: str) -> None:
    with pytest.raises(ValueError, match="guided=True"):
        network(arch, guided=False)
    facts = models.module(arch).geometry(**TINY[arch], exposure=True)
    assert (facts["exposure"], facts["tiling"]) == (True, "guided")
    assert models.module(arch).geometry(**TINY[arch])["exposure"] is False


def recipe(arch: str, **loss: float) -> CycleRecipe:
    code = models.module(arch)
    changes = {"params": {**TINY[arch], "exposure": True}, "discriminator": {"width": 2}, "loss": loss, "lr": 1e-2}
    return code.recipe(Settings(**code.DEFAULTS).override(changes))


def batch() -> dict[str, Tensor]:
    high = torch.rand(2, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    pictures = {"low": high * torch.tensor([0.1, 0.2])[:, None, None, None], "high": high}
    return pictures | {f"{name}_thumbnail": x for name, x in pictures.items()} | {"brightness": luma_mean(high)}


def stepper(made: CycleRecipe) -> Callable[[Tensor, str], None]:
    def descend(loss: Tensor, name: str) -> None:
        made.optimizers[name].zero_grad()
        loss.backward()
        made.optimizers[name].step()

    return descend


@BOTH
def test_training_brightens_to_the_truth_s_brightness_and_the_way_back_has_plain_input(arch: str) -> None:
    made, shown = recipe(arch, paired=1.0), batch()
    assert made.networks["generator"].head is not None
    assert made.networks["back"].head is None
    with torch.no_grad():
        terms = made.step(shown, lambda loss, name: None)
        light = made.networks["generator"](shown["low"], shown["low_thumbnail"], shown["brightness"])
        dimmed = made.networks["back"](shown["high"], shown["high_thumbnail"], AUTO)
    wanted = 2 * ((light - shown["high"]).abs().mean() + (dimmed - shown["low"]).abs().mean())
    assert float(terms["paired"]) == pytest.approx(float(wanted), rel=1e-4)


@BOTH
def test_the_head_learns_the_brightness_from_its_own_error_alone(arch: str) -> None:
    made, shown = recipe(arch, adversarial=0.0, cycle=0.0, identity=0.0, paired=0.0), batch()
    assert list(made.networks) == ["generator", "discriminator_high"]
    errors = [float(made.step(shown, stepper(made))["exposure"]) for _ in range(30)]
    assert errors[-1] < 0.5 * errors[0]
    without = recipe(arch, cycle=0.0, paired=1.0, exposure=0.0)
    head = without.networks["generator"].head
    before = [p.clone() for p in head.parameters()]
    without.step(shown, stepper(without))
    assert all(torch.equal(old, new) for old, new in zip(before, head.parameters(), strict=True))


@BOTH
def test_a_loss_without_any_term_is_refused(arch: str) -> None:
    with pytest.raises(OptionError, match="No term"):
        recipe(arch, adversarial=0.0, cycle=0.0, identity=0.0, exposure=0.0)
    plain = models.module(arch)
    changes = {"params": TINY[arch], "loss": dict.fromkeys(("adversarial", "cycle", "identity"), 0.0)}
    with pytest.raises(OptionError, match="No term"):
        plain.recipe(Settings(**plain.DEFAULTS).override(changes))
