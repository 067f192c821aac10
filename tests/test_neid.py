"""NEID: what its parts share and cost, what steers them, and its recipe."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from lowlight_cli import manifest, models, weights
from lowlight_cli.errors import OptionError
from lowlight_cli.models import neid
from lowlight_cli.nn.brightness import lift, luma_mean
from lowlight_cli.nn.losses import color_loss, ssim_loss
from lowlight_cli.training.settings import Settings

pytestmark = pytest.mark.usefixtures("seeded")
WIDTHS = (8, 12, 16)
THUMBNAIL = torch.linspace(0, 0.2, 3 * 32 * 32).reshape(1, 3, 32, 32)


def small(**params):
    return neid.build(widths=WIDTHS, **params)


def settings(**changes):
    return Settings(**neid.DEFAULTS).override({"params": {"widths": WIDTHS}, "lr": 2e-3, "decay": "none", **changes})


def batch(side=64):
    high = torch.rand(2, 3, side, side)
    thumbnail = torch.rand(2, 3, 32, 32) * 0.2
    return {"low": high * 0.1, "high": high, "low_thumbnail": thumbnail, "brightness": torch.full((2,), 0.5)}


def flops(network, scale=1):
    vectors = network.context(THUMBNAIL, torch.tensor([0.4]))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.tile(torch.rand(1, 3, 64, 64), vectors, scale=scale)
    return counter.get_total_flops()


def called(network, *, work):
    """Names of the direct parts that `work` runs."""
    names = set()
    hooks = [
        part.register_forward_hook(lambda *_, name=name: names.add(name)) for name, part in network.named_children()
    ]
    work()
    for hook in hooks:
        hook.remove()
    return names


def test_the_tail_of_dr_is_not_run_at_inference_while_the_features_that_ff_needs_are():
    network, pixels = small(), torch.rand(1, 3, 32, 32)
    vectors = network.context(THUMBNAIL, torch.tensor([0.4]))
    parts = {"encoder", "le_features", "le", "dr_features"}
    assert called(network, work=lambda: network.tile(pixels, vectors)) == parts
    assert called(network, work=lambda: network.same_size(pixels, vectors, with_detail=True)) == parts | {"dr"}


def test_the_deployed_network_costs_nothing_for_dr_but_the_features_of_ff():
    features = 2 * 2 * WIDTHS[-1] ** 2 * 9
    for scale, deepest in ((1, 8), (2, 16)):
        plain = flops(small(dr=False, ff=False), scale)
        assert flops(small(ff=False), scale) == plain
        assert flops(small(), scale) == plain + features * deepest**2


def test_the_output_sends_a_gradient_to_every_part_but_the_decoder_of_dr_and_the_head():
    network = small()
    network(torch.rand(2, 3, 32, 32) * 0.2, THUMBNAIL.expand(2, -1, -1, -1), torch.tensor([0.4, 0.5])).sum().backward()
    without = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is None}
    assert without == {"dr", "head"}


def test_one_encoder_serves_both_decoders():
    for index in (0, 1):
        network = small(exposure=False)
        outputs = network.same_size(
            torch.rand(1, 3, 32, 32), network.context(THUMBNAIL, torch.ones(1)), with_detail=True
        )
        outputs[index].square().sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in network.encoder.parameters())
    other = {name for name, part in network.named_children() if isinstance(part, neid.Encoder)}
    assert other == {"encoder"}


def test_shares_of_ff_are_one_a_channel_between_nothing_and_all_and_come_from_dr():
    network = small()
    with torch.no_grad():
        share = network.context(THUMBNAIL, torch.tensor([0.4]))[:, 2:]
        network.dr_features[2].bias.add_(torch.linspace(-3, 3, WIDTHS[-1]))
        changed = network.context(THUMBNAIL, torch.tensor([0.4]))[:, 2:]
    assert share.shape == (1, WIDTHS[-1])
    assert ((share > 0) & (share < 1)).all()
    assert len({*share.flatten().tolist()}) == WIDTHS[-1]
    assert not torch.allclose(share, changed)


def test_the_share_of_a_channel_mixes_le_and_dr():
    light, detail = torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)
    share = torch.tensor([[0.0, 0.25, 0.5, 1.0]])
    assert neid.FeatureFusing.fuse(light, detail, share)[0, :, 0, 0].tolist() == [0.0, 0.25, 0.5, 1.0]


@pytest.mark.parametrize("params", [{"dr": False, "ff": False}, {"ff": False}, {}], ids=["LE", "LE+DR", "LE+DR+FF"])
@pytest.mark.parametrize("plain", [False, True], ids=["ours", "as in the paper"])
def test_each_step_of_the_ablation_is_built_run_and_trained(params, plain):
    params = {**params, **({"exposure": False, "detail": False, "init": 0.02} if plain else {})}
    network = small(**params)
    vectors = network.context(THUMBNAIL, torch.tensor([0.4]))
    assert (vectors[:, 2:] == 1).all() == ("ff" in params)
    assert network.tile(torch.rand(1, 3, 16, 24), vectors).shape == (1, 3, 16, 24)
    recipe = neid.recipe(settings(params={"widths": WIDTHS, **params}))
    terms = recipe.step(batch(), lambda loss, _: loss.backward())
    assert ("dr" in terms, "exposure" in terms) == (params.get("dr", True), not plain)


def test_both_tails_double_the_size_by_pixel_shuffle():
    network = small(exposure=False, detail=False)
    pixels = torch.rand(1, 3, 16, 24)
    light, _, refined = network.both(pixels, network.context(THUMBNAIL, torch.ones(1)), with_detail=True)
    assert light.shape == refined.shape == (1, 3, 32, 48)
    with torch.no_grad():
        for decoder in (network.le, network.dr):
            decoder.tail.weight.zero_()
            decoder.tail.bias.copy_(torch.arange(12.0))
    light, _, refined = network.both(pixels, network.context(THUMBNAIL, torch.ones(1)), with_detail=True)
    for output in (light, refined):
        assert output[0, 0, :2, :2].tolist() == [[0, 1], [2, 3]]
        assert output[0, 2, 4:6, 6:8].tolist() == [[8, 9], [10, 11]]


@pytest.mark.parametrize("widths", [(4, 4), (4, 4, 4), (4, 4, 4, 4)])
def test_the_halo_by_formula_covers_what_a_tile_sees_and_little_more(widths):
    facts = neid.geometry(widths=widths)
    halo, multiple = facts["halo"], facts["multiple"]
    side = 2 * halo + 4 * multiple
    network = neid.build(widths=widths)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.constant_(parameter, 0.2)  # keeps units on
        elif parameter.ndim == 4:
            parameter.data.abs_()
    vectors = network.context(THUMBNAIL, torch.tensor([0.4])).detach()
    start = side // 2 // multiple * multiple
    end = start + multiple - 1
    reach = []
    for pixel in (start, end):
        pixels = (torch.rand(1, 3, side, side) * 0.2).requires_grad_()
        # Before `tile` clips it, where it has no gradient.
        network.same_size(pixels, vectors)[0][0, :, pixel, pixel].sum().backward()
        seen = pixels.grad[0].abs().sum(0).nonzero()
        reach += [start - int(seen.min()), int(seen.max()) - end]
    assert halo - multiple < max(reach) <= halo


def test_the_facts_of_the_row_follow_from_its_params():
    spec = manifest.find("neid")
    assert neid.geometry(**spec.params) == {
        "multiple": 16, "halo": 128, "tiling": "guided", "thumbnail": 112, "scales": [1, 2],
        "exposure": True, "smallest": 1,
    }  # fmt: skip
    assert neid.geometry(widths=(8, 8), exposure=False)["multiple"] == 4
    assert not neid.geometry(exposure=False)["exposure"]


def test_the_bundled_weights_fill_every_part():
    spec = manifest.find("neid")
    network = models.load(spec, weights.find(spec, "torch"))
    assert {name.split(".")[0] for name in network.state_dict()} == {
        "encoder", "le_features", "le", "dr_features", "dr", "ff", "head",
    }  # fmt: skip
    low = torch.rand(1, 3, 64, 64) * 0.1
    with torch.no_grad():
        output = network(low, F.avg_pool2d(low, 2), torch.tensor([0.4]))
    assert float(luma_mean(output)) == pytest.approx(0.4, abs=0.08)


def test_a_picture_of_any_sides_is_what_its_padded_self_is():
    network = small().eval()
    pixels = torch.rand(1, 3, 35, 41) * 0.2
    with torch.no_grad():
        for scale in (1, 2):
            padded = network(F.pad(pixels, (0, 7, 0, 5), mode="replicate"), THUMBNAIL, torch.tensor([0.4]), scale)
            output = network(pixels, THUMBNAIL, torch.tensor([0.4]), scale)
            assert output.shape == (1, 3, 35 * scale, 41 * scale)
            assert torch.equal(output, padded[:, :, : 35 * scale, : 41 * scale])


def test_maps_show_the_curve_and_where_its_detail_is_let_through():
    network = small().eval()
    pixels = torch.rand(1, 3, 32, 48) * 0.2
    with torch.no_grad():
        vectors = network.context(THUMBNAIL, torch.tensor([0.4]))
        maps = network.maps(pixels, vectors)
        bare = small(exposure=False, detail=False)
        assert bare.maps(pixels, bare.context(THUMBNAIL, torch.ones(1))) == {}
        # Where nothing is let through, the output is that of half the size alone.
        light, mask, _ = network.both(neid.halve(pixels), vectors, with_detail=False)
    assert torch.equal(maps["lifted"], lift(pixels, vectors[:, 0]))
    assert maps["detail"].shape == (1, 1, 32, 48)
    assert torch.equal(maps["detail"], mask)
    assert all(values.min() >= 0 and values.max() <= 1 for values in maps.values())
    assert light.shape == pixels.shape


def test_the_total_is_the_weighted_sum_of_terms_with_a_weight():
    recipe = neid.recipe(settings(), perceptual=lambda *_: pytest.fail("has no weight"))
    given = []
    terms = recipe.step(batch(), lambda loss, name: given.append((float(loss.detach()), name)))
    assert [*terms] == ["total", "exposure", "huber", "color", "dr"]
    expected = terms["huber"] + 0.1 * terms["dr"] + 0.1 * terms["color"] + terms["exposure"]
    assert float(terms["total"]) == pytest.approx(float(expected), rel=1e-6)
    assert given == [(float(terms["total"]), "network")]
    assert not any(term.requires_grad for term in terms.values())


def test_the_terms_are_those_of_the_paper():
    recipe = neid.recipe(settings(params={"widths": WIDTHS, "exposure": False, "detail": False}))
    drawn = batch()
    with torch.no_grad():
        terms = recipe.step(drawn, lambda *_: None)
        network = recipe.networks["network"]
        vectors = network.context(drawn["low_thumbnail"], drawn["brightness"])
        light, refined = network.same_size(drawn["low"], vectors, with_detail=True)
    error = (light - drawn["high"]).abs()
    huber = torch.where(error < 1, error.square() / 2, error - 0.5).mean()
    assert float(terms["huber"]) == pytest.approx(float(huber), rel=1e-5)
    assert float(terms["dr"]) == pytest.approx(float((refined - drawn["low"]).square().mean()), rel=1e-5)
    assert float(terms["color"]) == pytest.approx(float(color_loss(light, drawn["high"])), rel=1e-5)


def test_outputs_at_twice_the_size_are_halved_and_compared_where_that_has_a_weight():
    recipe = neid.recipe(settings(loss={"huber": 2.0, "color": 0.0, "ssim": 0.5, "double": 0.25}))
    drawn = batch()
    with torch.no_grad():
        terms = recipe.step(drawn, lambda *_: None)
        network = recipe.networks["network"]
        vectors = network.context(drawn["low_thumbnail"], drawn["brightness"])[::2]
        low, high = (drawn[name][::2, :, :32, :32] for name in ("low", "high"))
        light = neid.halve(network.both(low, vectors, with_detail=False)[0])
        expected = 2 * F.huber_loss(light, high) + 0.5 * ssim_loss(light, high)
    assert float(terms["double"]) == pytest.approx(float(expected), rel=1e-5)
    total = sum(weight * terms[name] for name, weight in recipe.weights.items() if name in terms)
    assert float(terms["total"]) == pytest.approx(float(total), rel=1e-5)
    assert torch.isfinite(recipe.step(batch(side=16), lambda loss, _: loss.backward())["double"])
    with pytest.raises(OptionError, match="No term"):
        neid.recipe(settings(loss={**dict.fromkeys(neid.TERMS, 0.0), "double": 1.0}))


def test_a_perceptual_term_is_run_where_it_has_a_weight():
    seen = []

    def distance(output, truth):
        seen.append((output, truth))
        return (output - truth).square().mean()

    recipe = neid.recipe(settings(loss={"perceptual": 0.5}), perceptual=distance)
    drawn = batch()
    terms = recipe.step(drawn, lambda loss, _: loss.backward())
    assert float(terms["perceptual"]) > 0
    assert torch.equal(seen[0][1], drawn["high"])
    assert seen[0][0].min() >= 0
    assert seen[0][0].max() <= 1


def test_with_the_weight_of_exposure_alone_only_the_head_learns():
    zeros = dict.fromkeys(neid.TERMS, 0.0)
    recipe = neid.recipe(settings(loss={**zeros, "exposure": 1.0}))
    terms = recipe.step(batch(), lambda loss, _: loss.backward())
    assert [*terms] == ["total", "exposure"]
    learning = {name.split(".")[0] for name, p in recipe.networks["network"].named_parameters() if p.grad is not None}
    assert learning == {"head"}


def test_without_a_weight_dr_is_not_run():
    recipe = neid.recipe(settings(loss={"dr": 0.0}))
    network = recipe.networks["network"]
    assert "dr" not in called(network, work=lambda: recipe.step(batch(), lambda *_: None))


@pytest.mark.parametrize("gain", [5.0, 20.0, 40.0, 90.0, 500.0])
def test_beside_lights_the_encoder_sees_no_more_than_black_and_white(gain):
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[:, :, ::16, :] = torch.linspace(0.0, 1.0, 64)
    pixels[:, :, 20:30, 40:] = 0.5
    planes, base = small().planes(neid.halve(pixels), torch.tensor([gain]))
    assert planes.min() >= 0
    assert planes.max() <= 1 + 1e-5
    assert torch.equal(planes[:, :3], base)


def test_crops_that_are_no_multiples_are_trained_on():
    recipe = neid.recipe(settings())
    assert torch.isfinite(recipe.step(batch(side=71), lambda loss, _: loss.backward())["total"])


def test_a_term_that_the_recipe_does_not_know_and_a_loss_of_nothing_are_refused():
    with pytest.raises(OptionError, match="no hubert"):
        neid.recipe(Settings(loss={"hubert": 1.0}))
    with pytest.raises(OptionError, match="No term of the loss has a weight"):
        neid.recipe(Settings(params={"widths": WIDTHS}, loss={"delta": 1.0}))
    with pytest.raises(OptionError, match="No term"):
        neid.recipe(Settings(params={"widths": WIDTHS, "exposure": False}, loss={"exposure": 1.0}))


def test_the_defaults_are_those_of_the_paper():
    chosen = Settings(**neid.DEFAULTS)
    assert (chosen.steps, chosen.batch, chosen.crop, chosen.lr) == (121_250, 8, 256, 1e-4)
    assert (chosen.loss["huber"], chosen.loss["dr"]) == (1.0, 0.1)
    recipe = neid.recipe(settings(lr=1e-4, decay="paper", steps=2000))
    (factor,) = recipe.schedules["network"].lr_lambdas
    assert [factor(epoch) for epoch in (0, 499, 500, 999, 1000, 1999)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
