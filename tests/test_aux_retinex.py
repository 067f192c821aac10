"""The auxiliary-block Retinex network: one stage at inference, what ties the stages in training, and its recipe."""

from __future__ import annotations

import pytest
import torch

from lowlight_cli import manifest, models, weights
from lowlight_cli.errors import OptionError
from lowlight_cli.models import aux_retinex
from lowlight_cli.nn.brightness import luma, luma_mean
from lowlight_cli.training.settings import Settings

pytestmark = pytest.mark.usefixtures("seeded")


def settings(**changes):
    return Settings(**aux_retinex.DEFAULTS).override(changes)


def dark(count=2, side=40):
    """Dark pictures with large and small structure."""
    y, x = torch.meshgrid(torch.arange(side) / 9.0, torch.arange(side) / 6.0, indexing="ij")
    waves = 0.08 + 0.06 * torch.sin(x) * torch.cos(y)
    tint = torch.tensor([1.0, 0.8, 0.6]).view(3, 1, 1)
    return (waves * tint + torch.rand(count, 3, side, side) * 0.01).clamp(0, 1)


def trained(steps, lr=1e-2, **changes):
    recipe = aux_retinex.recipe(settings(lr=lr, **changes))
    optimizer = recipe.optimizers["all"]

    def descend(loss, name):
        loss.backward()
        recipe.optimizers[name].step()
        optimizer.zero_grad(set_to_none=True)

    history = [recipe.step({"low": dark()}, descend) for _ in range(steps)]
    return recipe, history


def test_one_stage_is_deployed_and_no_auxiliary_block():
    recipe = aux_retinex.recipe(settings())
    deployed, auxiliary = recipe.networks[recipe.deploy], recipe.networks["auxiliary"]
    assert [name for name, _ in deployed.named_children()] == ["features", "theta"]
    inner = {id(p) for p in deployed.parameters()}
    assert inner.isdisjoint({id(p) for p in auxiliary.parameters()})
    assert sum(p.numel() for p in deployed.parameters()) == 1345
    convolutions = [part for part in deployed.theta if isinstance(part, torch.nn.Conv2d)]
    assert [part.kernel_size for part in convolutions] == [(3, 3)] * 3


@pytest.mark.parametrize("reduction", [1, 4])
def test_the_deployed_network_gives_the_first_stage_of_the_cascade(reduction):
    recipe, _ = trained(3, params={"reduction": reduction})
    network, low = recipe.networks["network"], dark()
    with torch.no_grad():
        lights, _ = recipe.stages(low)
        assert torch.equal(network.tile(low), (low / lights[0]).clamp(0, 1))
        assert torch.equal(network.maps(low)["illumination"], lights[0])
        assert not torch.allclose(lights[0], lights[1])


def test_the_stages_share_their_weights_and_run_the_network_once_each():
    recipe = aux_retinex.recipe(settings())
    seen = []
    recipe.networks["network"].theta.register_forward_hook(lambda *_: seen.append("theta"))
    recipe.networks["network"].features.register_forward_hook(lambda *_: seen.append("features"))
    lights, corrected = recipe.stages(dark())
    assert seen == ["features", "theta", "theta", "theta"]
    assert (len(lights), len(corrected)) == (3, 4)


def test_shallow_features_are_four_dilated_branches_side_by_side_without_pooling():
    features = aux_retinex.ShallowFeatures(3)
    assert [branch.dilation for branch in features.branches] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert {type(part) for part in features.modules()} == {
        aux_retinex.ShallowFeatures, torch.nn.ModuleList, torch.nn.Conv2d,
    }  # fmt: skip
    assert [plane.shape for plane in features(torch.rand(1, 3, 9, 9))] == [(1, 3, 9, 9)] * 4


def test_illumination_and_corrected_input_lie_between_the_picture_and_white():
    recipe, _ = trained(5)
    low = torch.rand(2, 3, 24, 24)
    with torch.no_grad():
        lights, corrected = recipe.stages(low)
    value = low.amax(dim=1, keepdim=True)
    assert all(((light >= value) & (light <= 1)).all() for light in lights)
    assert all(((each >= low) & (each <= 1)).all() for each in corrected)


def test_the_first_target_is_a_curve_that_keeps_contrast():
    """E^0 is one share of what each pixel lacks to white; only pixels at the border see the padding."""
    recipe = aux_retinex.recipe(settings())
    low = dark()
    share = ((recipe.stages(low)[1][0] - low) / (1 - low))[:, :, 4:-4, 4:-4]
    assert torch.allclose(share, share[:1, :, :1, :1].expand_as(share), atol=1e-6)


def test_fidelity_is_that_of_eq_5():
    recipe = aux_retinex.recipe(settings())
    low = dark()
    with torch.no_grad():
        terms = recipe.step({"low": low}, lambda *_: None)
        lights, corrected = recipe.stages(low)
        expected = sum(
            (light - each.amax(dim=1, keepdim=True)).square().mean()
            for light, each in zip(lights, corrected[:3], strict=True)
        )
    assert float(terms["fidelity"]) == pytest.approx(float(expected), rel=1e-5)


def test_smoothness_is_that_of_eq_6():
    plane = torch.rand(1, 1, 5, 6)
    p = plane[0, 0].double()
    roots = [
        float(((p[i, j] - p[i + 1, j]) * (p[i, j] - p[i, j + 1])).abs() + 1e-6) ** 0.5
        for i in range(4)
        for j in range(5)
    ]
    assert float(aux_retinex.smoothness(plane)) == pytest.approx(sum(roots) / 20, rel=1e-5)
    flat = torch.full((1, 1, 5, 6), 0.3, requires_grad=True)
    aux_retinex.smoothness(flat).backward()
    assert torch.isfinite(flat.grad).all()


def test_the_perceptual_term_compares_the_last_illumination_with_the_last_corrected_input():
    seen = []

    def distance(output, truth):
        seen.append((output, truth))
        return (output - truth.detach()).abs().mean()

    recipe, low = aux_retinex.recipe(settings(), distance), dark()
    terms = recipe.step({"low": low}, lambda loss, _: loss.backward())
    lights, corrected = recipe.stages(low)
    ((output, truth),) = seen
    assert output.shape == truth.shape == low.shape
    assert torch.allclose(output, lights[2].expand_as(low))
    assert torch.allclose(truth, corrected[3].amax(dim=1, keepdim=True).expand_as(low))
    names = ["fidelity", "smoothness", "exposure", "perceptual"]
    assert [*terms] == ["total", *names]
    expected = sum(w * float(terms[n]) for w, n in zip((0.8, 0.65, 10.0, 0.5), names, strict=True))
    assert float(terms["total"]) == pytest.approx(expected, rel=1e-5)


def test_without_a_perceptual_distance_or_a_weight_the_term_is_dropped():
    plain = aux_retinex.recipe(settings()).step({"low": dark()}, lambda *_: None)
    assert [*plain] == ["total", "fidelity", "smoothness", "exposure"]
    weightless = aux_retinex.recipe(settings(loss={"perceptual": 0.0}), lambda *_: pytest.fail("has no weight"))
    assert [*weightless.step({"low": dark()}, lambda *_: None)] == [*plain]


def test_nothing_but_low_pictures_is_asked_for():
    recipe = aux_retinex.recipe(settings())
    assert recipe.data == "low"
    recipe.step({"low": dark()}, lambda *_: None)


def test_a_loss_of_nothing_and_an_unknown_term_are_refused():
    with pytest.raises(OptionError, match="no colour"):
        aux_retinex.recipe(Settings(loss={"colour": 1.0}))
    with pytest.raises(OptionError, match="No term"):
        aux_retinex.recipe(Settings(loss={"perceptual": 1.0, "target": 0.4}))


def test_training_brightens_and_keeps_contrast_and_the_auxiliary_block_alive():
    """The loss as it was let K die, and fidelity flattened the picture: see the module's docstring."""
    recipe, history = trained(150)
    network, low = recipe.networks["network"], dark()
    with torch.no_grad():
        first = low / recipe.stages(low)[0][0]
        share = torch.sigmoid(recipe.networks["auxiliary"](torch.ones_like(low)))
    assert float(history[-1]["total"]) < 0.5 * float(history[0]["total"])
    assert float(luma_mean(first).mean()) == pytest.approx(0.45, abs=0.1)
    assert float(share.mean()) > 0.02
    relative = [float(luma(each).std() / luma(each).mean()) for each in (first, low)]
    curve = low / (low + (1 - low) * float(share.mean())).amax(dim=1, keepdim=True)
    assert relative[0] > 0.85 * float(luma(curve).std() / luma(curve).mean())
    assert network.tile(low).isfinite().all()


def test_the_brightness_asked_for_is_reached_and_hue_kept():
    network = aux_retinex.build()
    low = dark(1)
    output = network(low, low, torch.tensor([0.4])).detach()
    assert float(luma_mean(output)) == pytest.approx(0.4, abs=0.02)
    ratio = output / low
    assert torch.allclose(ratio[:, 0], ratio[:, 2], rtol=1e-4)


def test_without_exposure_tiles_are_exact_and_need_no_vectors():
    network = aux_retinex.build(exposure=False)
    assert aux_retinex.geometry(exposure=False) == {
        "multiple": 1, "halo": 7, "tiling": "exact", "thumbnail": 0, "scales": [1], "exposure": False, "smallest": 1,
    }  # fmt: skip
    low = dark(1)
    assert torch.equal(network.tile(low), network(low, low, torch.tensor([-1.0])))
    inner = network.tile(low[:, :, 3:37, 3:37])[:, :, 7:-7, 7:-7]
    assert torch.allclose(inner, network.tile(low)[:, :, 10:30, 10:30], atol=1e-6)


@pytest.mark.parametrize("reduction", [1, 4])
def test_the_facts_of_the_row_follow_from_its_params_and_a_pixel_sees_the_whole_halo(reduction):
    spec = manifest.find("aux-retinex")
    halo = {1: 7, 4: 32}[reduction]
    facts = aux_retinex.geometry(reduction=reduction)
    assert facts == {
        "multiple": reduction, "halo": halo, "tiling": "guided", "thumbnail": 112, "scales": [1], "exposure": True,
        "smallest": 1,
    }  # fmt: skip
    row = aux_retinex.geometry(**spec.params)
    assert (spec.multiple, spec.halo) == (row["multiple"], row["halo"])
    network = aux_retinex.build(width=8, hidden=(8, 8), reduction=reduction)
    seen, cell = 0, slice(44, 44 + reduction)  # tiles begin and end with one
    for _ in range(3):
        pixels = (torch.rand(1, 3, 92, 92) * 0.2).requires_grad_()
        network.tile(pixels)[0, :, cell, cell].sum().backward()
        touched = pixels.grad[0].abs().sum(0).nonzero()
        seen = max(seen, cell.start - int(touched.min()), int(touched.max()) - cell.stop + 1)
    assert seen == halo


def test_tiles_give_what_the_whole_picture_gives():
    network = aux_retinex.build(reduction=4)
    torch.nn.init.normal_(network.theta[-1].weight)
    low = dark(1, 120)
    whole = network.tile(low)
    assert torch.allclose(network.tile(low[:, :, 8:80, 8:80])[:, :, 32:40, 32:40], whole[:, :, 40:48, 40:48], atol=1e-6)
    # Nearer to the border a part looks different: the network does see that far.
    assert not torch.allclose(network.tile(low[:, :, 8:80, 8:80])[:, :, :8], whole[:, :, 8:16, 8:80], atol=1e-6)


def test_an_even_picture_stays_even_up_to_its_borders():
    network = aux_retinex.build(reduction=4)
    torch.nn.init.normal_(network.theta[-1].weight)
    output = network.tile(torch.full((1, 3, 48, 48), 0.1))
    assert torch.allclose(output, output[:, :, 24:25, 24:25].expand_as(output), atol=1e-6)


def test_detail_is_kept_where_the_share_is_made_from_means():
    """Lines one pixel wide are as far from each other as in the full-size form, give or take the enlarged share."""
    low = torch.full((1, 3, 32, 32), 0.05)
    low[..., ::2] = 0.1
    contrast = []
    for reduction in (1, 4):
        output = aux_retinex.build(reduction=reduction).tile(low).detach()
        contrast.append(float((output[..., 8:24:2] - output[..., 9:24:2]).mean()))
    assert contrast[1] == pytest.approx(contrast[0], rel=0.25)
    assert contrast[1] > 0.05


@pytest.mark.parametrize("reduction", [0, -4, 3, 224])
def test_means_must_fill_the_thumbnail(reduction):
    with pytest.raises(ValueError, match="divides 112"):
        aux_retinex.build(reduction=reduction)


def test_crops_are_cut_to_whole_means():
    recipe = aux_retinex.recipe(settings(params={"reduction": 4}))
    seen = []
    recipe.networks["auxiliary"].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-2:]))
    recipe.step({"low": dark(side=42)}, lambda *_: None)
    assert {*seen} == {(40, 40)}


def test_the_illumination_of_the_bundled_weights_divides_the_picture():
    spec = manifest.find("aux-retinex")
    network = models.load(spec, weights.find(spec, "torch")).eval()
    low = dark(1)
    with torch.no_grad():
        vectors = network.context(low, torch.tensor([0.4]))
        light = network.maps(low, vectors)["illumination"]
        assert light.shape == (1, 1, 40, 40)
        assert torch.equal((low / light).clamp(0, 1), network.tile(low, vectors))


def test_the_defaults_are_those_of_the_paper():
    chosen = Settings(**aux_retinex.DEFAULTS)
    assert (chosen.steps, chosen.lr, chosen.betas) == (158_900, 1e-4, (0.9, 0.999))
    assert {name: chosen.loss[name] for name in ("fidelity", "smoothness", "perceptual")} == {
        "fidelity": 0.8, "smoothness": 0.65, "perceptual": 0.5,
    }  # fmt: skip
    (group,) = aux_retinex.recipe(chosen).optimizers["all"].param_groups
    assert (group["lr"], group["betas"]) == (1e-4, (0.9, 0.999))
