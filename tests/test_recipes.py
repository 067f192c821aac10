"""What every recipe must hold, whatever the network."""

from __future__ import annotations

import copy
import inspect
import math
import pkgutil

import numpy as np
import pytest
import torch

from lowlight_cli import manifest, models, picture
from lowlight_cli.errors import OptionError
from lowlight_cli.nn.guide import Guide
from lowlight_cli.tasks.train import run
from lowlight_cli.tasks.train_plan import TrainOptions, resolve, smallest_crop
from lowlight_cli.training.run import Limits
from lowlight_cli.training.settings import Settings

pytestmark = pytest.mark.usefixtures("seeded")
ROWS = {name: spec for name, spec in manifest.models().items() if not spec.classical}
SMALL = {
    "neid": {"params": {"widths": [16, 16]}, "lr": 2e-3},
    "aux_retinex": {"lr": 5e-3},
    "ba_gan": {
        "params": {"widths": [8, 16, 16], "attention": [4, 4, 8, 8, 8, 8]},
        "discriminator": {"widths": [4, 4, 6, 6, 4], "hidden": 8},
        "lr": 1e-3,
    },
    "ema_cyclegan": {"params": {"width": 8, "blocks": 1, "groups": 4}, "discriminator": {"width": 8}, "lr": 2e-3},
    "drs_cyclegan": {"params": {"width": 8, "blocks": [1, 1, 1]}, "discriminator": {"width": 8}, "lr": 2e-3},
}
"""Settings that make a network small enough for seconds, by architecture."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pairs of 120x112 in low/ and high/, dark and noisy against well lit."""
    root = tmp_path_factory.mktemp("pairs")
    for number in range(4):
        rng = np.random.default_rng(number)
        high = np.kron(rng.integers(60, 250, (15, 14, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        low = np.clip(high / 9 + rng.normal(0, 1, high.shape), 0, 255).astype(np.uint8)
        for name, pixels in (("low", low), ("high", high)):
            (root / name).mkdir(exist_ok=True)
            picture.save(picture.from_array(pixels), root / name / f"{number}.png")
    return root


def settings_of(arch, **changes):
    defaults = Settings(**models.module(arch).DEFAULTS)
    return defaults.override(
        {"crop": 100, "batch": 2, "steps": 1000, "decay": "none", **SMALL.get(arch, {}), **changes}
    )


def perceptual(output, truth):
    return (output.mean() - truth.mean()).square()


def batch(count=2, side=100):
    high = torch.rand(count, 3, side, side) * 0.6 + 0.3
    small = torch.nn.functional.interpolate(high, (32, 32))
    values = {"low": high / 8, "high": high, "low_thumbnail": small / 8, "high_thumbnail": small}
    return values | {"brightness": high.mean(dim=(1, 2, 3))}


def descend_of(recipe):
    def descend(loss, name):
        if torch.is_grad_enabled():
            loss.backward()
            recipe.optimizers[name].step()
            recipe.schedules[name].step()
            recipe.optimizers[name].zero_grad(set_to_none=True)

    return descend


def state(recipe):
    """Everything that a step may change."""
    groups = (recipe.networks, recipe.optimizers, recipe.schedules, recipe.extras)
    return copy.deepcopy([{name: item.state_dict() for name, item in group.items()} for group in groups])


def same(one, other):
    """Bit for bit, however deep."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


ARCHES = sorted({spec.arch for spec in ROWS.values()})


def test_every_network_of_the_package_has_a_row_and_every_row_can_be_trained():
    files = {module.name for module in pkgutil.iter_modules(models.__path__)}
    assert files == set(ARCHES)
    assert set(SMALL) == files


@pytest.mark.parametrize("arch", ARCHES)
def test_a_recipe_has_what_the_loop_asks_of_it(arch):
    settings = settings_of(arch)
    recipe = models.module(arch).recipe(settings, perceptual)
    assert recipe.data in ("paired", "unpaired", "low")
    assert recipe.deploy in recipe.networks
    assert recipe.optimizers.keys() == recipe.schedules.keys()
    trained = {id(p) for o in recipe.optimizers.values() for group in o.param_groups for p in group["params"]}
    assert trained == {id(p) for network in recipe.networks.values() for p in network.parameters()}
    deployed = recipe.networks[recipe.deploy]
    assert list(inspect.signature(deployed.forward).parameters)[:3] == ["pixels", "thumbnail", "exposure"]
    values = batch() if recipe.data != "low" else {k: v for k, v in batch().items() if k.startswith("low")}
    terms = recipe.step(values, descend_of(recipe))
    assert len(terms) > 1
    assert all(math.isfinite(float(term)) and not term.requires_grad for term in terms.values())


@pytest.mark.parametrize("arch", ARCHES)
def test_steps_lower_the_loss(arch):
    settings = settings_of(arch, pool=0)
    recipe = models.module(arch).recipe(settings, perceptual)
    values, descend = batch(), descend_of(recipe)
    first = recipe.step(values, lambda *_: None)
    for _ in range(25):
        last = recipe.step(values, descend)
    total = next(iter(first))
    assert float(last[total]) < float(first[total])
    assert "cycle" not in first or float(last["cycle"]) < 0.7 * float(first["cycle"])


@pytest.mark.parametrize("arch", ARCHES)
def test_terms_without_weight_are_left_out_and_a_loss_of_none_is_refused(arch):
    settings = settings_of(arch, perceptual="off")
    weights = models.module(arch).DEFAULTS["loss"]
    last = max(weights, key=lambda name: name in ("content", "huber", "identity", "fidelity"))
    alone = settings.override({"loss": {name: 0.0 for name in weights if name not in (last, "delta", "target")}})
    terms = models.module(arch).recipe(alone).step(batch(), descend_of(models.module(arch).recipe(alone)))
    assert terms.keys() == {"generators" if "cycle" in weights else "total", last}
    with pytest.raises(OptionError, match="No term of the loss has a weight"):
        models.module(arch).recipe(alone.override({"loss": {last: 0.0}}))


@pytest.mark.parametrize("arch", ARCHES)
def test_a_step_without_gradients_changes_nothing(arch):
    recipe = models.module(arch).recipe(settings_of(arch), perceptual)
    values, descend = batch(), descend_of(recipe)
    for _ in range(2):
        trained = recipe.step(values, descend)
    before, random = state(recipe), torch.get_rng_state()
    with torch.no_grad():
        terms = recipe.step(values, lambda *_: None)
    assert terms.keys() == trained.keys()
    assert all(math.isfinite(float(term)) for term in terms.values())
    assert same(state(recipe), before)
    assert all(p.requires_grad for network in recipe.networks.values() for p in network.parameters())
    # ba-gan draws which pictures its discriminator is shown, whether it learns or not.
    assert arch == "ba_gan" or torch.equal(torch.get_rng_state(), random)
    recipe.step(values, descend)
    assert not same(state(recipe), before)


@pytest.mark.parametrize("arch", ARCHES)
def test_a_step_in_bf16_is_finite(arch):
    recipe = models.module(arch).recipe(settings_of(arch), perceptual)
    with torch.autocast("cpu", torch.bfloat16):
        terms = recipe.step(batch(), descend_of(recipe))
    assert all(math.isfinite(float(term)) and term.dtype == torch.float32 for term in terms.values())
    weights = [p for network in recipe.networks.values() for p in network.parameters()]
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in weights)


@pytest.mark.parametrize("arch", ARCHES)
def test_the_smallest_crop_that_is_taken_is_one_that_can_be_trained_on(arch, tmp_path):
    module, small = models.module(arch), SMALL[arch]
    least = smallest_crop(module, module.geometry(**settings_of(arch).params))
    recipe = module.recipe(settings_of(arch, crop=least), perceptual)
    assert all(math.isfinite(float(term)) for term in recipe.step(batch(side=least), descend_of(recipe)).values())
    model = next(name for name, spec in ROWS.items() if spec.arch == arch)
    options = {"model": model, "out": tmp_path / "run", "data": tmp_path}
    assert resolve(TrainOptions(overrides={**small, "crop": least}, **options)).settings.crop == least
    with pytest.raises(OptionError, match=f"{least - 1} "):
        resolve(TrainOptions(overrides={**small, "crop": least - 1}, **options))


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_row_says_what_the_network_says_of_itself(name):
    spec = ROWS[name]
    for field, value in models.module(spec.arch).geometry(**spec.params).items():
        stated = getattr(spec, field)
        assert (list(stated) if field == "scales" else stated) == value, field


@pytest.mark.parametrize(("arch", "optimizer"), [*((arch, "adam") for arch in ARCHES), ("neid", "muon")])
def test_a_run_of_every_recipe_goes_on_bit_for_bit(arch, optimizer, folder, tmp_path):
    name = next(name for name, spec in ROWS.items() if spec.arch == arch)
    small = {**SMALL.get(arch, {}), "crop": 100, "batch": 2, "steps": 4, "perceptual": "off", "ema": 0.5}
    small["optimizer"] = optimizer
    chosen = {"model": name, "data": folder, "validation": 1, "overrides": small}
    [*run(TrainOptions(**chosen, out=tmp_path / "a"))]
    [*run(TrainOptions(**chosen, out=tmp_path / "b", limits=Limits(steps=2)))]
    [*run(TrainOptions(**chosen, out=tmp_path / "b", resume=True))]
    one, other = (torch.load(tmp_path / run_ / "last.pt", weights_only=True) for run_ in "ab")
    for group in ("networks", "averaged", "optimizers", "schedules", "extras"):
        assert one[group]
        assert same(one[group], other[group]), group


def test_a_guide_hands_out_what_it_kept_in_the_order_it_was_asked_for():
    first = Guide()
    one, two = first(2, lambda: torch.ones(1, 2)), first(1, lambda: torch.zeros(1, 1))
    again = Guide(first.vectors())
    assert torch.equal(again(2, lambda: torch.full((1, 2), 9.0)), one)
    assert torch.equal(again(1, lambda: torch.full((1, 1), 9.0)), two)
