"""EMA-CycleGAN: what the paper's parts are made of, tiles, and the cycle that trains it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lowlight_cli.models import ema_cyclegan
from lowlight_cli.models.ema_cyclegan import ASPP, EMA, Generator, shares_within
from lowlight_cli.nn.brightness import luma_mean
from lowlight_cli.nn.gan import PatchDiscriminator
from lowlight_cli.nn.guide import Guide
from lowlight_cli.nn.losses import ssim_loss
from lowlight_cli.training.settings import Settings

pytestmark = pytest.mark.usefixtures("seeded")
TINY = {"width": 2, "groups": 4, "blocks": 1}
NOBODY = torch.tensor([-1.0])


def lively(**params):
    """A network whose weights are large enough for every part to matter."""
    network = ema_cyclegan.build(**params)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.3)
    return network


def test_without_ema_and_aspp_it_is_cyclegans_generator_of_9_blocks():
    # 7x7 3 -> 64: 9,472. Strided 64 -> 128 -> 256: 73,856 + 295,168. Nine blocks of two 3x3 of 256: 9 * 2 * 590,080.
    # Transposed 256 -> 128 -> 64: 295,040 + 73,792. 7x7 64 -> 3: 9,411. With biases, as in CycleGAN.
    network = Generator(ema=False, aspp=False)
    assert sum(p.numel() for p in network.parameters()) == 11_378_179
    assert len(network.blocks) == 9
    assert network.encoder[1].conv.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_each_half_of_the_paper_can_be_built_alone_and_both_together():
    def count(**params):
        return sum(p.numel() for p in Generator(**params).parameters())

    # EMA of 8 channels: 1x1 72, 3x3 584, scale and bias 16. ASPP: two 1x1, three 3x3, and 5 * 256 -> 256.
    ema = 9 * (72 + 584 + 16)
    aspp = 2 * 65_792 + 3 * 590_080 + 327_936
    assert count(aspp=False) == 11_378_179 + ema
    assert count(ema=False) == 11_378_179 + aspp
    assert count() == 11_378_179 + ema + aspp


def test_aspp_has_rates_4_8_and_16_after_the_encoder_and_a_pool_of_the_whole_picture():
    network = Generator(**TINY)
    (aspp,) = network.aspp
    assert [branch.conv.dilation for branch in aspp.atrous] == [(4, 4), (8, 8), (16, 16)]
    assert aspp.point.conv.kernel_size == (1, 1)
    features = torch.randn(1, 8, 80, 80, requires_grad=True)
    # Pool, then mean and variance of five norms: means so low that no ReLU is off.
    norms = torch.cat([torch.full((1, 8), -50.0), torch.ones(1, 8)], dim=1).repeat(1, 5)
    aspp(features, Guide(torch.cat([torch.zeros(1, 8), norms], dim=1)))[0, :, 40, 40].sum().backward()
    seen = features.grad[0].abs().sum(0).nonzero() - 40
    assert {tuple(offset) for offset in seen.tolist()} == {
        (y * rate, x * rate) for rate in (4, 8, 16) for y in (-1, 0, 1) for x in (-1, 0, 1)
    }
    pooled = ASPP(8)
    torch.nn.init.ones_(pooled.pooled.weight)
    guides = [Guide(torch.cat([torch.full((1, 8), mean), norms], dim=1)) for mean in (1.0, 2.0)]
    one, two = (pooled(torch.zeros(1, 8, 40, 40), guide) for guide in guides)
    assert (one - two).abs().flatten(2).amin(dim=2).max() > 0.1
    asked = Guide()
    pooled(features, asked)
    assert torch.equal(asked.kept[0], features.mean(dim=(2, 3)))


def reference(module, features):
    """EMA as its paper draws it, group after group and without sharing of anything."""
    outputs = []
    for x in features.split(module.width, dim=1):
        rows, columns = x.mean(dim=3), x.mean(dim=2)
        joined = F.conv2d(torch.cat([rows, columns], dim=2)[..., None], module.point.weight, module.point.bias)
        rows, columns = joined.split([x.shape[2], x.shape[3]], dim=2)
        gated = x * rows.sigmoid() * columns.sigmoid().transpose(2, 3)
        one = F.group_norm(gated, module.width, module.scale, module.bias)
        two = module.local(x)
        weights = [torch.softmax(F.adaptive_avg_pool2d(branch, 1), dim=1) for branch in (one, two)]
        plane = (weights[0] * two + weights[1] * one).sum(dim=1, keepdim=True)
        outputs.append(x * plane.sigmoid())
    return torch.cat(outputs, dim=1)


def test_ema_is_what_its_paper_says_in_every_group():
    module = EMA(24, groups=3)
    with torch.no_grad():
        module.scale.normal_()
        module.bias.normal_()
    features = torch.randn(2, 24, 9, 13)
    assert torch.allclose(module(features, Guide()), reference(module, features), atol=1e-5)
    assert module.attention(features, Guide()).shape == (2, 3, 9, 13)


def test_a_group_of_ema_sees_nothing_of_the_others():
    module = EMA(16, groups=4)
    features = torch.randn(1, 16, 8, 8)
    changed = features.clone()
    changed[:, 4:8] = torch.randn(1, 4, 8, 8)
    same = (module(features, Guide()) == module(changed, Guide())).flatten(2).all(dim=2)[0].tolist()
    assert same == [True] * 4 + [False] * 4 + [True] * 8


@pytest.mark.parametrize("window", [0, 5])
def test_ema_pools_along_x_and_along_y_and_nowhere_else(window):
    strips = EMA(8, groups=2, window=window).strips
    features = torch.zeros(2, 4, 20, 30)
    features[:, :, 7, 11] = 1.0
    along_x, along_y = (strip.expand(2, 4, 20, 30)[0, 0].nonzero() for strip in strips(features))
    reach = (2, 2) if window else (30, 20)
    assert along_x.tolist() == [[7, x] for x in range(30) if abs(x - 11) <= reach[0]]
    assert along_y.tolist() == [[y, 11] for y in range(20) if abs(y - 7) <= reach[1]]


def test_a_window_counts_no_values_beyond_the_border():
    line = torch.tensor([[1.0, 2.0, 6.0, 8.0]])
    assert (line @ shares_within(3, 4, line).T)[0].tolist() == pytest.approx([1.5, 3.0, 16 / 3, 7.0])


def test_impossible_groups_and_windows_are_refused():
    with pytest.raises(ValueError, match="8 channels"):
        Generator(width=2)
    with pytest.raises(ValueError, match="odd"):
        EMA(8, 2, window=4)
    for window in (0, -1):
        with pytest.raises(ValueError, match="ask for guided=False"):
            Generator(width=8, window=window)
    assert Generator(width=8, blocks=1, window=0, guided=False).blocks[0].attention.window == 0


def test_attention_weighs_what_a_block_adds():
    (block,) = lively(**TINY, aspp=False, guided=False).blocks
    features = torch.randn(1, 8, 16, 16)
    added = block.second(block.first(features, Guide()), Guide())
    weights = block.attention.attention(added, Guide()).repeat_interleave(2, dim=1)
    assert ((weights > 0) & (weights < 1)).all()
    assert weights.std() > 0.01
    assert torch.allclose(block(features, Guide()), features + weights * added, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (65, 70), (67, 64)])
def test_odd_sides_keep_their_size_and_every_pixel_its_place(size):
    network = lively(**TINY)
    pixels, vectors = torch.rand(1, 3, 136, 136), network.context(torch.rand(1, 3, 112, 112), NOBODY)
    part = network.tile(pixels[..., : size[0], : size[1]], vectors)
    assert part.shape[2:] == size
    # The middle is what it is in a larger picture: nothing shifts.
    halo = ema_cyclegan.geometry(**TINY, window=1, aspp=False)["halo"]
    assert halo < 30
    small = lively(**TINY, window=1, aspp=False)
    vectors = small.context(torch.rand(1, 3, 112, 112), NOBODY)
    whole, part = small.tile(pixels, vectors), small.tile(pixels[..., : size[0], : size[1]], vectors)
    core = (..., slice(0, size[0] - halo), slice(0, size[1] - halo))
    assert torch.allclose(whole[core], part[core], atol=1e-5)
    assert whole[core].std() > 0.01


def test_tiles_give_what_the_whole_picture_gives():
    params = {**TINY, "window": 3}
    network, halo = lively(**params).eval(), ema_cyclegan.geometry(**params)["halo"]
    assert halo == 12 + 4 * (16 + 2 + 1)
    side, start = 2 * 88 + 40, 88
    pixels = torch.rand(1, 3, side, side)
    vectors = network.context(torch.rand(1, 3, 112, 112), NOBODY)
    with torch.inference_mode():
        whole = network.tile(pixels, vectors)
        read = network.tile(pixels[..., start - 88 :, start - 88 : start + 24 + 88], vectors)
        corner = network.tile(pixels[..., : start + 88, : start + 88], vectors)
    assert whole.std() > 0.01
    assert torch.allclose(read[..., 88:, 88:112], whole[..., start:, start : start + 24], atol=2e-5)
    assert torch.allclose(corner[..., :start, :start], whole[..., :start, :start], atol=2e-5)


@pytest.mark.parametrize("params", [{"window": 5}, {"window": 1}, {"ema": False}, {"aspp": False, "blocks": 2}])
def test_the_halo_is_what_the_network_sees(params):
    params = {**TINY, **params}
    network, halo = lively(**params), ema_cyclegan.geometry(**params)["halo"]
    side = (2 * halo + 32) // 8 * 8
    vectors = network.context(torch.rand(1, 3, 112, 112), NOBODY).detach()
    reach = 0
    for middle in range(side // 2, side // 2 + 4):
        pixels = torch.rand(1, 3, side, side, requires_grad=True)
        network.tile(pixels, vectors)[0, :, middle, middle].sum().backward()
        reach = max(reach, int((pixels.grad[0].abs().sum(0).nonzero() - middle).abs().max()))
    assert halo - 8 <= reach <= halo


def test_the_halo_of_the_defaults_is_that_of_the_docstring():
    assert ema_cyclegan.geometry(ema=False)["halo"] == 148
    assert ema_cyclegan.geometry()["halo"] == 436
    assert ema_cyclegan.geometry(window=65)["halo"] == 1300
    assert ema_cyclegan.geometry(guided=False)["tiling"] == "whole"


def test_the_vectors_are_of_the_whole_picture_and_steer_every_tile():
    network = lively(**TINY)
    pixels = torch.rand(1, 3, 64, 64)
    dark, bright = (network(pixels, torch.rand(1, 3, 112, 112) * gain, NOBODY) for gain in (0.1, 1.0))
    assert (dark - bright).abs().mean() > 0.01
    with pytest.raises(ValueError, match="vectors"):
        network.tile(pixels)


def test_unguided_each_call_takes_its_own_statistics():
    network = lively(**TINY, guided=False)
    pixels, thumbnail = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 112, 112)
    output = network(pixels, thumbnail, NOBODY)
    assert network.context(thumbnail, NOBODY).shape == (1, 0)
    assert torch.equal(output, network(pixels, thumbnail * 0.1, NOBODY))
    assert torch.equal(output, network.tile(pixels))
    # Unguided is guided by itself, but for the strips of EMA.
    alike = Generator(**TINY, ema=False)
    plain = Generator(**TINY, ema=False, guided=False)
    plain.load_state_dict(alike.state_dict())
    assert torch.allclose(alike(pixels, pixels, NOBODY), plain(pixels, thumbnail, NOBODY), atol=1e-5)


def test_what_the_whole_thumbnail_becomes_is_what_a_tile_of_it_becomes():
    network = lively(**TINY)
    thumbnail = torch.rand(2, 3, 112, 112)
    output, vectors = network.whole(thumbnail)
    assert torch.equal(vectors, network.context(thumbnail, NOBODY))
    assert torch.allclose(output, network.tile(thumbnail, vectors), atol=1e-5)


def batch(side=32):
    high = torch.rand(2, 3, 4, 4).repeat_interleave(side // 4, 2).repeat_interleave(side // 4, 3)
    low = (high * 0.2).flip(0)
    thumbnails = {f"{name}_thumbnail": picture for name, picture in (("low", low), ("high", high))}
    return {"low": low, "high": high, "brightness": luma_mean(high), **thumbnails}


def recipe(**changes):
    loss = {**ema_cyclegan.DEFAULTS["loss"], **changes.pop("loss", {})}
    params = {**TINY, "window": 3, **changes.pop("params", {})}
    discriminator = {"width": 2, "objective": "log", **changes.pop("discriminator", {})}
    settings = {**ema_cyclegan.DEFAULTS, "loss": loss, "params": params, "discriminator": discriminator}
    return ema_cyclegan.recipe(Settings(**{**settings, "lr": 5e-3, "pool": 3, **changes}))


def descend_in(made, order=None):
    """Backward, and one step of the optimizer and the schedule of a name."""

    def descend(loss, name):
        if order is not None:
            order.append(name)
        if torch.is_grad_enabled():
            made.optimizers[name].zero_grad(set_to_none=True)
            loss.backward()
            made.optimizers[name].step()
            made.schedules[name].step()

    return descend


def test_the_defaults_are_the_papers():
    settings = Settings(**ema_cyclegan.DEFAULTS)
    assert (settings.steps, settings.batch, settings.lr, settings.decay) == (12_125, 8, 1e-4, "linear")
    assert dict(settings.loss) == {"adversarial": 1, "cycle": 10, "identity": 5, "paired": 0, "ssim": 0, "exposure": 1}
    made = ema_cyclegan.recipe(
        Settings(**{**ema_cyclegan.DEFAULTS, "params": {**TINY}, "discriminator": {"objective": "lsgan", "width": 1}})
    )
    assert (made.data, made.deploy, made.objective) == ("unpaired", "generator", "lsgan")
    assert list(made.networks) == ["generator", "back", "discriminator_high", "discriminator_low"]
    assert isinstance(made.networks["discriminator_low"], PatchDiscriminator)
    assert made.optimizers["generators"].defaults["betas"] == (0.5, 0.999)
    assert made.optimizers.keys() == made.schedules.keys() == {"generators", "discriminators"}


def test_every_loss_is_told_apart_and_the_total_comes_first():
    made, order = recipe(loss={"paired": 2.0}), []
    terms = made.step(batch(), descend_in(made, order))
    assert made.data == "paired"
    assert order == ["generators", "discriminators"]
    names = ["generators", "adversarial_high", "adversarial_low", "cycle", "identity", "paired"]
    assert list(terms) == [*names, "discriminator_high", "discriminator_low"]
    weights = dict(zip(names[1:], (1, 1, 10, 5, 2), strict=True))
    assert float(terms["generators"]) == pytest.approx(sum(w * float(terms[n]) for n, w in weights.items()), rel=1e-5)
    assert not any(term.requires_grad for term in terms.values())


def test_the_terms_are_those_of_the_equations():
    made, shown = recipe(loss={"paired": 1.0}), batch()
    low, high = shown["low"], shown["high"]
    # The thumbnail is the picture itself here, so that `forward` tells all.
    to, back = (lambda x, net=made.networks[n]: net(x, x, NOBODY) for n in ("generator", "back"))
    with torch.no_grad():
        expected = {
            "cycle": (back(to(low)) - low).abs().mean() + (to(back(high)) - high).abs().mean(),
            "identity": (to(high) - high).abs().mean() + (back(low) - low).abs().mean(),
            "paired": (to(low) - high).abs().mean() + (back(high) - low).abs().mean(),
            "adversarial_high": F.softplus(-made.networks["discriminator_high"](to(low))).mean() / 2,
            "adversarial_low": F.softplus(-made.networks["discriminator_low"](back(high))).mean() / 2,
        }
        terms = made.step(shown, lambda loss, name: None)
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(2 * float(value), rel=1e-4), name


def test_ssim_compares_with_the_truth_and_asks_for_pairs():
    made, shown = recipe(loss={"cycle": 0.0, "identity": 0.0, "ssim": 3.0}), batch()
    assert made.data == "paired"
    with torch.no_grad():
        light = made.networks["generator"](shown["low"], shown["low"], NOBODY)
        terms = made.step(shown, lambda loss, name: None)
    assert float(terms["ssim"]) == pytest.approx(float(ssim_loss(light, shown["high"])), rel=1e-4)
    assert float(terms["generators"]) == pytest.approx(float(terms["adversarial_high"] + 3 * terms["ssim"]), rel=1e-5)


def test_a_term_without_weight_is_not_computed():
    from unittest import mock

    made = recipe(loss={"adversarial": 0.0, "identity": 0.0}, params={"guided": False})
    order = []
    with mock.patch.object(PatchDiscriminator, "forward", side_effect=AssertionError):
        terms = made.step(batch(), descend_in(made, order))
    assert list(terms) == ["generators", "cycle"]
    assert order == ["generators"]
    made = recipe(loss={"cycle": 0.0, "adversarial": 0.0})
    with mock.patch.object(Generator, "tile", autospec=True, side_effect=Generator.tile) as tile:
        assert list(made.step(batch(), descend_in(made))) == ["generators", "identity"]
    assert tile.call_count == 1


def test_without_the_cycle_there_is_no_way_back():
    made, order = recipe(loss={"cycle": 0.0, "paired": 1.0}), []
    assert list(made.networks) == ["generator", "discriminator_high"]
    assert list(made.extras) == ["pool_high"]
    shown = batch()
    with torch.no_grad():
        light = made.networks["generator"](shown["low"], shown["low"], NOBODY)
        terms = made.step(shown, lambda loss, name: None)
    assert float(terms["paired"]) == pytest.approx(2 * float((light - shown["high"]).abs().mean()), rel=1e-4)
    names = ["generators", "adversarial_high", "identity", "paired", "discriminator_high"]
    assert list(made.step(shown, descend_in(made, order))) == names
    assert order == ["generators", "discriminators"]


def test_each_descent_moves_its_own_networks_alone():
    made = recipe()
    gradients = {}

    def descend(loss, name):
        loss.backward()
        gradients[name] = {n for n, net in made.networks.items() if any(p.grad is not None for p in net.parameters())}
        for network in made.networks.values():
            network.zero_grad(set_to_none=True)

    made.step(batch(), descend)
    assert gradients["generators"] == {"generator", "back"}
    assert gradients["discriminators"] == {"discriminator_high", "discriminator_low"}


def test_the_gradient_flows_through_the_statistics_of_the_thumbnail():
    made, shown = recipe(loss={"adversarial": 0.0, "identity": 0.0}), batch()
    shown["low_thumbnail"].requires_grad_()
    made.step(shown, lambda loss, name: loss.backward())
    assert shown["low_thumbnail"].grad.abs().sum() > 0
