"""BA-GAN: both tables layer by layer, the attention target, tiles as the whole, the terms of its loss, its recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lowlight_cli import models, tiles
from lowlight_cli.data.darken import PRESETS
from lowlight_cli.models import ba_gan
from lowlight_cli.nn import dped
from lowlight_cli.training.settings import Settings

pytestmark = pytest.mark.usefixtures("seeded")
TINY = {"widths": (6, 8, 12), "attention": (4, 4, 6, 8)}
JUDGE = {"widths": (4, 4, 6, 6, 4), "hidden": 8}


def averaging(**params: object) -> ba_gan.BAGAN:
    """A network of positive weights that sum to about one: no gradient is cut off, whatever way it goes."""
    network = ba_gan.build(**params)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                taps = module.weight.numel() / module.out_channels
                module.weight.uniform_(0.5, 1.5).div_(taps)
    return network


def convolutions(network: nn.Module) -> list[tuple[nn.Module, tuple[int, int, int, int]]]:
    """All convolutions in the order in which they run, each with channels in and out, kernel and stride."""
    kinds = nn.Conv2d | nn.ConvTranspose2d
    return [
        (m, (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]))
        for m in network.modules()
        if isinstance(m, kinds)
    ]


def sizes(network: nn.Module, pixels: Tensor) -> list[int]:
    """Heights of what each convolution gives, in order."""
    heights: list[int] = []
    hooks = [m.register_forward_hook(lambda *a: heights.append(a[2].shape[2])) for m, _ in convolutions(network)]
    with torch.no_grad():
        network(pixels)
    for hook in hooks:
        hook.remove()
    return heights


def test_the_attention_network_is_that_of_table_1() -> None:
    network = ba_gan.build().attention
    found = convolutions(network)
    assert [shape for _, shape in found] == [
        (3, 16, 3, 2),
        *((16, 16, 3, 1), (16, 16, 3, 2)),
        *((16, 32, 3, 1), (32, 32, 3, 2)),
        *((32, 64, 3, 1), (64, 64, 3, 2)),
        *((64, 128, 3, 1), (128, 128, 3, 2)),
        (128, 256, 3, 1),
        *((256 + 128, 128, 3, 1), (128, 128, 3, 2)),
        *((128 + 64, 64, 3, 1), (64, 64, 3, 2)),
        *((64 + 32, 32, 3, 1), (32, 32, 3, 2)),
        *((32 + 16, 16, 3, 1), (16, 16, 3, 2)),
        (16 + 16, 3, 2, 2),
        (3, 1, 3, 1),
    ]
    up = [isinstance(module, nn.ConvTranspose2d) for module, _ in found]
    assert [i for i, is_up in enumerate(up) if is_up] == [11, 13, 15, 17, 18]
    # Deconvolutions give the double, of which 7, 13, 25 are cut.
    down = [50, 50, 25, 25, 13, 13, 7, 7, 4, 4]
    assert sizes(network, torch.rand(1, 3, 100, 100)) == [*down, 4, 8, 7, 14, 13, 26, 25, 50, 100, 100]
    assert sum(isinstance(module, nn.LeakyReLU) for module in network.modules()) == len(found) - 1
    assert not any(isinstance(module, nn.modules.batchnorm._NormBase) for module in network.modules())


def test_attention_is_one_plane_within_the_range_of_tanh() -> None:
    network = ba_gan.build(**TINY).attention
    with torch.no_grad():
        network.last.weight.mul_(1e4)
        plane = network(torch.rand(2, 3, 40, 56))
    assert plane.shape == (2, 1, 40, 56)
    assert plane.min() < -0.99
    assert plane.max() > 0.99
    assert plane.abs().max() <= 1


def test_the_generator_has_the_parameters_counted_by_hand() -> None:
    def conv(channels: int, width: int, kernel: int = 3) -> int:
        return kernel * kernel * channels * width + width

    attention = conv(3, 16)
    for above, width in ((16, 16), (16, 32), (32, 64), (64, 128)):
        attention += conv(above, width) + conv(width, width)
    attention += conv(128, 256)
    for below, width in ((256, 128), (128, 64), (64, 32), (32, 16)):
        attention += conv(below + width, width) + conv(width, width)
    attention += conv(32, 3, 2) + conv(3, 1)
    trunk = conv(7, 32) + conv(32, 32)
    for width in (32, 64, 128, 256):
        trunk += conv(width, 2 * width) + conv(2 * width, 2 * width)  # down
        trunk += conv(2 * width, width, 2) + conv(2 * width, width) + conv(width, width)  # up
    trunk += conv(32, 3, 1)
    network = ba_gan.build()
    assert sum(p.numel() for p in network.attention.parameters()) == attention == 1_375_263
    assert sum(p.numel() for p in network.trunk.parameters()) == trunk == 7_761_315


def test_the_discriminator_is_that_of_table_2() -> None:
    network = dped.Discriminator()
    found = convolutions(network)
    assert [shape for _, shape in found] == [
        (3, 48, 11, 4),
        (48, 128, 5, 2),
        (128, 192, 3, 1),
        (192, 192, 3, 1),
        (192, 128, 3, 2),
    ]
    pixels = torch.rand(2, 3, 100, 100)
    assert sizes(network, pixels) == [25, 13, 13, 13, 7]
    assert network.features(pixels).shape == (2, 6272)
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(6272, 1024), (1024, 2)]
    for module in [m for m, _ in found] + linear:
        assert nn.utils.parametrize.is_parametrized(module, "weight")
    by_hand = 121 * 3 * 48 + 25 * 48 * 128 + 9 * (128 * 192 + 192 * 192 + 192 * 128) + 6272 * 1024 + 1024 * 2
    by_hand += 48 + 128 + 192 + 192 + 128 + 1024 + 2
    assert sum(p.numel() for p in network.parameters()) == by_hand
    logits = network(pixels)
    assert logits.shape == (2, 2)
    share = logits.softmax(dim=1)
    odds = network.eval().odds(pixels)
    assert odds.shape == (2, 1)
    assert torch.allclose(odds[:, 0], torch.logit(share[:, dped.REAL]), atol=1e-2)


@pytest.mark.parametrize("crop", [64, 97, 128])
def test_a_discriminator_for_another_crop_has_as_many_inputs_as_are_left_of_it(crop: int) -> None:
    assert dped.Discriminator(crop, **JUDGE)(torch.rand(2, 3, crop, crop)).shape == (2, 2)


def test_spectral_norm_brings_the_largest_singular_value_to_one() -> None:
    network = dped.Discriminator(64, **JUDGE)
    modules = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(modules) == 7
    with torch.no_grad():
        for module in modules:
            module.parametrizations.weight.original.mul_(5)
        for _ in range(50):
            network(torch.rand(1, 3, 64, 64))
        for module in modules:
            original = torch.linalg.matrix_norm(module.parametrizations.weight.original.flatten(1), 2)
            assert original > 2
            largest = torch.linalg.matrix_norm(module.weight.flatten(1), 2)
            assert float(largest) == pytest.approx(1, abs=0.02)


def test_the_wanted_attention_is_the_share_of_light_that_is_missing() -> None:
    low = torch.tensor(
        [[0.1, 0.2, 0.05], [0.4, 0.1, 0.3], [0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.9, 0.5, 0.5], [0, 0, 0]]
    )
    high = torch.tensor(
        [[0.6, 0.5, 0.8], [0.4, 0.2, 0.3], [0.2, 0.1, 0.1], [0.0, 0.0, 0.0], [0.3, 0.2, 0.1], [0, 0, 0]]
    )
    planes = (colors.T[None, :, None] for colors in (low, high))
    found = ba_gan.wanted_attention(*planes)
    assert found.shape == (1, 1, 1, 6)
    # Dark; as it should be; black; noise where the truth is black; brighter than the truth; both black.
    assert torch.allclose(found.flatten(), torch.tensor([(0.8 - 0.2) / 0.8, 0.0, 1.0, 0.0, 0.0, 0.0]))


def test_where_the_map_is_right_the_converted_input_is_the_truth() -> None:
    network = ba_gan.build(**TINY)
    high = torch.rand(1, 3, 24, 24) * 0.9 + 0.1
    low = high * (torch.rand(1, 1, 24, 24) * 0.8 + 0.1)
    seen = []
    network.attention.forward = lambda pixels: ba_gan.wanted_attention(pixels, high)
    network.trunk.forward = lambda planes: seen.append(planes) or planes[:, :3] / 2
    output, attention = network.enhance(low)
    assert torch.equal(output, low / 2)  # what the trunk makes, and nothing of the noisy input beside it
    planes = seen[0]
    assert planes.shape == (1, 7, 24, 24)
    assert torch.equal(planes[:, :3], low)
    assert torch.equal(planes[:, 3:4], attention)
    assert torch.allclose(planes[:, 4:], high, atol=1e-5)


def test_the_map_begins_half_way_and_the_output_near_black() -> None:
    network, pixels = ba_gan.build(), torch.rand(1, 3, 96, 96) * 0.3
    with torch.no_grad():
        output, attention = network.enhance(pixels)
    assert float(attention.mean()) == pytest.approx(0.5, abs=0.1)
    assert float(output.abs().mean()) < 0.2


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (100, 100), (71, 83)])
def test_sides_of_any_size_give_pictures_and_maps_of_that_size(size: tuple[int, int]) -> None:
    network = ba_gan.build(widths=(4, 4, 4, 4), attention=(2, 2, 2, 2, 2, 2))
    pixels = torch.rand(2, 3, *size)
    with torch.no_grad():
        output = network(pixels, torch.rand(2, 3, 32, 32), torch.full((2,), -1.0))
        maps = network.maps(pixels)
    assert output.shape == (2, 3, *size)
    assert output.min() >= 0
    assert output.max() <= 1
    assert torch.equal(output, network.tile(pixels, None, scale=1))
    assert {name: plane.shape for name, plane in maps.items()} == {"attention": (2, 1, *size)}
    assert maps["attention"].min() >= 0


def reach(network: nn.Module, side: int, middle: tuple[int, int]) -> int:
    """How far from a pixel others influence it: the largest distance, along rows or columns."""
    pixels = (torch.rand(1, 3, side, side) * 0.2).requires_grad_()
    network.tile(pixels)[0, :, *middle].sum().backward()
    seen = pixels.grad[0].abs().sum(0).nonzero()
    return int((seen - torch.tensor(middle)).abs().max())


def test_a_pixel_sees_as_far_as_the_halo_says() -> None:
    params = {"widths": (4, 4, 4), "attention": (4, 4, 4)}
    halo = ba_gan.geometry(**params)["halo"]
    assert halo == 17 + 23
    network = averaging(**params)
    reached = [reach(network, 96, (44 + i, 44 + i)) for i in range(4) for _ in range(4)]
    assert max(reached) <= halo
    assert max(reached) > 0.9 * halo


def test_the_default_network_sees_less_than_its_halo() -> None:
    facts = ba_gan.geometry()
    assert facts == {
        "multiple": 32,
        "halo": 185 + 107,
        "tiling": "exact",
        "thumbnail": 0,
        "scales": [1],
        "exposure": False,
        "smallest": 1,
    }
    network = averaging(widths=(1,) * 5, attention=(1,) * 6)
    assert 0.85 * 292 < reach(network, 672, (335, 335)) <= 292


def test_tiles_give_what_the_whole_picture_gives() -> None:
    network = ba_gan.build(**TINY).eval()
    facts = ba_gan.geometry(**TINY)
    multiple, halo = facts["multiple"], facts["halo"]
    pixels = np.random.default_rng(0).integers(0, 65536, (1, 203, 277, 3)).astype(np.uint16)

    def run(values: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network.tile(torch.from_numpy(values)).numpy()

    outputs = []
    for tile in (0, 64):
        plan = tiles.plan(203, 277, tile=tile, halo=halo, multiple=multiple)
        assert len(plan) == (1 if not tile else 20)
        out = np.zeros_like(pixels)
        tiles.run_tiled(pixels, run, plan, out, padded=lambda length: tiles.round_up(length, multiple))
        outputs.append(out.astype(np.int64))
    assert outputs[0].std() > 1000
    assert np.abs(outputs[0] - outputs[1]).max() <= 1


def test_variation_is_the_mean_square_of_steps_down_and_across() -> None:
    ramp = torch.arange(4.0)[None, None, None] * 0.1 + torch.arange(3.0)[None, None, :, None] * 0.2
    assert float(dped.variation(ramp)) == pytest.approx(0.01 + 0.04)
    assert float(dped.variation(torch.full((1, 3, 5, 5), 0.7))) == 0


def test_the_colour_distance_sees_colour_and_not_detail() -> None:
    truth = torch.full((2, 3, 40, 40), 0.5)
    tinted = truth.clone()
    tinted[:, 0] += 0.3
    assert float(dped.color_distance(tinted, truth)) == pytest.approx(0.09 / 3, rel=1e-4)
    y, x = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    checked = truth + 0.3 * (1 - 2 * ((x + y) % 2))
    assert float(dped.color_distance(checked, truth)) < 1e-8
    assert dped.blurred(tinted).shape == (2 * 3, 1, 20, 20)


def settings(**changes: object) -> Settings:
    changes = {"params": TINY, "discriminator": JUDGE, "crop": 64, "batch": 4, "steps": 1000, **changes}
    return Settings(**ba_gan.DEFAULTS).override(changes)


def batch(seed: int = 0, count: int = 4, side: int = 64) -> dict[str, Tensor]:
    """Photos of soft blobs, darkened as the paper does, but with a tenth of its noise."""
    preset = PRESETS["paper"].with_ranges({"gain": (0.2, 0.6), "noise": (0.001, 0.005)})
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0.2, 1.0, (count, 3, 6, 6)).astype(np.float32))
    high = nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    low = [preset.draw(rng, preset.ranges).darken(photo.permute(1, 2, 0).numpy()) for photo in high]
    return {"low": torch.from_numpy(np.stack(low)).permute(0, 3, 1, 2), "high": high}


def descend_of(recipe: ba_gan.BAGANRecipe, calls: list[str] | None = None):
    def descend(loss: Tensor, name: str) -> None:
        if calls is not None:
            calls.append(name)
        loss.backward()
        recipe.optimizers[name].step()
        recipe.schedules[name].step()
        recipe.optimizers[name].zero_grad(set_to_none=True)

    return descend


def state(recipe: ba_gan.BAGANRecipe) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value.clone() for name, n in recipe.networks.items() for key, value in n.state_dict().items()
    }


def test_the_defaults_are_what_the_paper_says() -> None:
    wanted = Settings(**ba_gan.DEFAULTS)
    assert (wanted.batch, wanted.crop, wanted.steps, wanted.preset) == (32, 100, 20_000, "paper")
    recipe = ba_gan.recipe(wanted.override({"params": TINY}))
    assert recipe.data == "paired"
    assert all(type(optimizer) is torch.optim.Adam for optimizer in recipe.optimizers.values())
    assert recipe.networks["discriminator"].hidden[0].in_features == 6272


def test_a_step_descends_the_generator_and_then_the_discriminator() -> None:
    recipe, calls = ba_gan.recipe(settings()), []
    network, start = recipe.networks["discriminator"], state(recipe)

    def descend(loss: Tensor, name: str) -> None:
        calls.append(name)
        before = state(recipe)
        asked = [p for p in network.parameters() if p.requires_grad]
        assert bool(asked) == (name == "discriminator")
        descend_of(recipe)(loss, name)
        changed = {key.split("/")[0] for key, value in state(recipe).items() if not torch.equal(value, before[key])}
        assert changed == {name}

    terms = recipe.step(batch(), descend)
    assert calls == ["generator", "discriminator"]
    names = ["total", "attention", "adversarial", "content", "tv", "color", "discriminator", "penalty"]
    assert list(terms) == names
    weights = ba_gan.DEFAULTS["loss"]
    assert float(terms["total"]) == pytest.approx(sum(weights[name] * float(terms[name]) for name in names[1:6]))
    changed = [key for key, value in state(recipe).items() if not torch.equal(value, start[key])]
    assert any("attention" in key for key in changed)
    assert any("trunk" in key for key in changed)


def test_the_terms_are_those_of_a_generator_that_changes_nothing() -> None:
    recipe, values = ba_gan.recipe(settings()), batch()
    low, high = values["low"], values["high"]
    recipe.networks["generator"].enhance = lambda pixels: (pixels, torch.zeros(len(pixels), 1, 64, 64))
    with torch.no_grad():
        logits = recipe.networks["discriminator"].eval()(low)
        terms = recipe.step(values, lambda *_: None)
    lacking = (1 - low.amax(1) / high.amax(1)).clamp(min=0)
    assert float(terms["attention"]) == pytest.approx(float(lacking.square().mean()), rel=1e-4)
    assert float(terms["content"]) == pytest.approx(float((low - high).abs().mean()), rel=1e-4)
    assert float(terms["color"]) == pytest.approx(float(dped.color_distance(low, high)), rel=1e-4)
    assert float(terms["adversarial"]) == pytest.approx(float(-logits.softmax(1)[:, 0].log().mean()), rel=1e-4)
    assert float(terms["penalty"]) == 0


def test_the_perceptual_term_counts_where_there_is_one_and_it_weighs() -> None:
    def perceptual(output: Tensor, truth: Tensor) -> Tensor:
        return (output - truth).square().mean() + 2

    with_term = ba_gan.recipe(settings(), perceptual).step(batch(), lambda *_: None)
    assert float(with_term["perceptual"]) > 2
    weights = ba_gan.DEFAULTS["loss"]
    weighed = sum(weights[k] * float(v) for k, v in with_term.items() if k in weights and k != "penalty")
    assert float(with_term["total"]) == pytest.approx(weighed)
    without = ba_gan.recipe(settings(loss={"perceptual": 0.0}), perceptual).step(batch(), lambda *_: None)
    assert "perceptual" not in without


def test_the_discriminator_sees_a_real_or_a_made_picture_in_each_place() -> None:
    recipe, seen = ba_gan.recipe(settings()), []
    network = recipe.networks["discriminator"]
    network.register_forward_hook(lambda _, inputs, logits: seen.append((inputs[0].detach(), logits.detach())))
    real, made = torch.ones(32, 3, 64, 64), torch.zeros(32, 3, 64, 64)
    with torch.no_grad():
        terms = recipe.discriminator_terms(made, real)
    pictures, logits = seen[0]
    is_real = pictures.mean(dim=(1, 2, 3))
    assert {*is_real.tolist()} == {0.0, 1.0}
    assert all(float(p.std()) == 0 for p in pictures)
    right = torch.where(is_real == 1, logits.softmax(1)[:, dped.REAL], logits.softmax(1)[:, dped.MADE])
    assert float(terms["discriminator"]) == pytest.approx(float(-right.log().mean()), rel=1e-4)


def half_dark(seed: int, count: int = 4) -> dict[str, Tensor]:
    """A `batch` of which the left or the right half, in turn, is as bright as the truth."""
    values = batch(seed, count)
    left = torch.arange(64) < 32
    lit = torch.stack([left if i % 2 else ~left for i in range(count)])[:, None, None]
    return {**values, "low": torch.where(lit, values["high"], values["low"]), "lit": lit}


def test_steps_lower_attention_and_content_loss_and_the_map_is_white_where_it_is_dark() -> None:
    recipe = ba_gan.recipe(settings(lr=3e-3, lr_discriminator=1e-3))
    judge, batches = half_dark(seed=1000), [half_dark(seed) for seed in range(10)]

    def measure() -> dict[str, float]:
        with torch.no_grad():
            return {name: float(term) for name, term in recipe.step(judge, lambda *_: None).items()}

    first = measure()
    for step in range(40):
        recipe.step(batches[step % 10], descend_of(recipe))
    last = measure()
    with torch.no_grad():
        plane, lit = recipe.networks["generator"].maps(judge["low"])["attention"], judge["lit"].expand(4, 1, 64, 64)
    assert last["attention"] < 0.7 * first["attention"]
    assert last["content"] < 0.8 * first["content"]
    assert plane[~lit].mean() > plane[lit].mean() + 0.1


def test_the_same_seed_gives_the_same_step() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        recipe = models.module("ba_gan").recipe(settings())
        for seed in range(2):
            recipe.step(batch(seed), descend_of(recipe))
        states.append(state(recipe))
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_networks_without_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="two widths"):
        ba_gan.build(widths=(8,))
