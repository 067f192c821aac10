"""The training loop with a recipe of two numbers: what is exact, what is kept, and when it stops."""

from __future__ import annotations

import contextlib
import csv
import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from lowlight_cli import weights_metadata
from lowlight_cli.data.pairs import Pair
from lowlight_cli.errors import Diverged, LowlightError
from lowlight_cli.nn.gan import ImagePool
from lowlight_cli.nn.schedule import schedules
from lowlight_cli.nn.state import load_weights
from lowlight_cli.tasks.train_record import scores as told_scores
from lowlight_cli.training import checkpoint, loop
from lowlight_cli.training import run as run_module
from lowlight_cli.training.descent import Descent
from lowlight_cli.training.journal import Journal, rows
from lowlight_cli.training.loop import prepare, train
from lowlight_cli.training.prefetch import ahead
from lowlight_cli.training.run import Limits, Run
from lowlight_cli.training.settings import Settings
from lowlight_cli.training.validation import Judge


class Gain(nn.Module):
    """Brightens by a convolution."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, pixels, thumbnail, exposure):  # noqa: ARG002
        return self.layer(pixels)


class GainRecipe:
    """A supervised term, and one that draws random numbers and uses an image pool."""

    data, deploy = "paired", "network"

    def __init__(self, settings):
        self.settings = settings
        self.networks = {"network": Gain(), "critic": nn.Conv2d(3, 1, 1)}
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), lr=settings.lr) for name, network in self.networks.items()
        }
        self.schedules = {
            name: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
            for name, optimizer in self.optimizers.items()
        }
        self.extras = {"pool": ImagePool(4)}

    def step(self, batch, descend):
        output = self.networks["network"](batch["low"], None, None)
        total = (output - batch["high"]).square().mean()
        descend(total, "network")
        shown = self.extras["pool"](output.detach())
        critic = (self.networks["critic"](shown) + 0.1 * torch.randn(len(shown), 1, 1, 1)).square().mean()
        descend(critic, "critic")
        return {"total": total.detach(), "critic": critic.detach()}


PICTURES = [
    Pair(str(n), high // 8, high)
    for n, high in enumerate(np.random.default_rng(0).integers(40, 250, (3, 16, 24, 3)).astype(np.uint8))
]


def draw(step, samples):
    rngs = [np.random.default_rng([7, step, sample]) for sample in samples]
    high = torch.from_numpy(np.stack([rng.random((3, 8, 8), dtype=np.float32) for rng in rngs]))
    return {"low": high / 8, "high": high}


def new(folder, *, pictures=PICTURES, limits=None, recipe=None, **changes):
    settings = Settings(
        **{"steps": 6, "batch": 4, "lr": 0.01, "ema": 0.9, "log_every": 2, "validate_every": 3, **changes}
    )
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    return Run(
        recipe=recipe or GainRecipe(settings),
        settings=settings,
        draw=draw,
        judge=Judge(
            pictures,
            [],
            multiple=4,
            smallest=1,
            thumbnail_side=8,
            device=accelerator.device,
            autocast=contextlib.nullcontext,
        ),
        held_out=[draw(0, range(2))],
        folder=folder,
        metadata={},
        limits=limits or Limits(),
        accelerator=accelerator,
    )


def finished(run, *, resume=False):
    prepare(run, resume=resume)
    return [*train(run)]


def state(folder):
    return torch.load(folder / loop.LAST, weights_only=True)


def assert_equal(one, other, path=""):
    """Bit for bit, whatever lies in whatever."""
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_equal(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{path}/{number}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other or path.endswith("seconds"), path


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_a_resumed_run_is_bit_equal_to_one_that_never_stopped(tmp_path, stop):
    finished(new(tmp_path / "a"))
    first = finished(new(tmp_path / "b", limits=Limits(steps=stop)))
    assert first[-1].step == stop
    finished(new(tmp_path / "b"), resume=True)
    one, other = state(tmp_path / "a"), state(tmp_path / "b")
    assert one["position"]["step"] == 6
    assert len(one["extras"][0]["pool"]["kept"]) == 4
    assert_equal(one, other)
    # The terms that are logged are the same, too; times are not.
    logs = [
        [(row[0], *row[2:]) for row in csv.reader((tmp_path / name / "log.csv").read_text().splitlines())]
        for name in "ab"
    ]
    terms = [[row for row in log if row[1] in ("train_total", "train_critic", "lr_network")] for log in logs]
    assert terms[0] == terms[1] != []


def test_parts_of_a_batch_add_up_to_the_whole(tmp_path):
    finished(new(tmp_path / "whole", pool=0))
    finished(new(tmp_path / "parts", pool=0, accumulate=4))
    one, other = (state(tmp_path / name)["networks"]["network"] for name in ("whole", "parts"))
    for name in one:
        assert torch.allclose(one[name], other[name], atol=1e-6)


def test_a_run_stops_after_the_step_in_hand_when_asked_and_saves(tmp_path):
    asked = iter([False, True])
    run = new(tmp_path, limits=Limits(asked=lambda: next(asked)))
    assert finished(run)[-1].step == 2
    assert state(tmp_path)["position"]["step"] == 2


def test_the_time_limit_ends_a_run_with_a_checkpoint(tmp_path):
    assert finished(new(tmp_path, limits=Limits(minutes=0)))[-1].step == 1
    assert state(tmp_path)["position"]["step"] == 1


def test_how_long_a_run_goes_on_is_told_by_whatever_ends_it_first(tmp_path):
    run = new(tmp_path, steps=1000, limits=Limits(steps=500))
    assert run.left == math.inf
    run.began, run.step, run.seconds = (80, 10.0), 100, 20.0
    assert (run.rate, run.left) == (2.0, 200.0)
    run.limits = Limits(minutes=2)
    assert run.left == 110.0  # of this start's two minutes
    run.settings = Settings(steps=1000, minutes=1)
    assert run.left == 40.0  # of all starts' one minute
    told = finished(new(tmp_path / "run"))
    assert told[0].rate == 0
    assert all(one.rate > 0 for one in told[1:])
    assert told[-1].left == 0 < told[1].left < math.inf


def test_a_recipe_of_minutes_ends_with_them_and_its_rate_has_fallen_by_then(tmp_path):
    def recipe(settings):
        made = GainRecipe(settings)
        made.schedules = schedules(settings, made.optimizers)
        return made

    settings = Settings(minutes=0.01, steps=10**6, decay="linear", lr=0.01)
    timed = {"minutes": 0.01, "steps": 10**6, "decay": "linear", "log_every": 1, "validate_every": 10**6}
    run = new(tmp_path, recipe=recipe(settings), **timed)
    told = finished(run)
    assert run.complete
    assert 1 < told[-1].step < 10**6
    assert 0.6 <= run.seconds == told[-1].seconds
    rates = [one.values["lr_network"] for one in told if "lr_network" in one.values]
    assert rates[0] == 0.01
    assert sorted(rates, reverse=True) == rates
    assert rates[-1] < 0.005
    again = new(tmp_path, recipe=recipe(settings), **timed)
    prepare(again, resume=True)
    assert again.complete
    assert again.recipe.schedules["network"].get_last_lr()[0] == 0
    timed["minutes"] = 1.25 * again.seconds / 60
    longer = new(tmp_path, recipe=recipe(Settings(lr=0.01, **timed)), **timed)
    prepare(longer, resume=True)
    assert not longer.complete
    assert longer.recipe.schedules["network"].get_last_lr()[0] == pytest.approx(0.01 * 2 * 0.2)


def test_a_run_that_diverges_stops_and_keeps_its_last_good_checkpoint(tmp_path):
    finished(new(tmp_path, limits=Limits(steps=3)))
    before = (tmp_path / loop.LAST).read_bytes()
    run = new(tmp_path)
    good = run.recipe.step
    run.recipe.step = lambda batch, descend: good({**batch, "high": batch["high"] * math.nan}, descend)
    with pytest.raises(Diverged, match="diverged before step 4: total"):
        finished(run, resume=True)
    assert (tmp_path / loop.LAST).read_bytes() == before
    assert not [row for row in csv.reader((tmp_path / "log.csv").read_text().splitlines()) if row[-1] == "nan"]


def test_weights_that_are_not_finite_stop_a_run_whose_losses_are(tmp_path):
    run = new(tmp_path)
    good = run.recipe.step

    def poisoned(batch, descend):
        terms = good(batch, descend)
        with torch.no_grad():
            run.recipe.networks["network"].layer.bias.fill_(math.inf)
        return {name: torch.zeros(()) for name in terms}

    run.recipe.step = poisoned
    with pytest.raises(Diverged, match="a weight is not finite"):
        finished(run)
    assert not (tmp_path / loop.LAST).exists()


def collapsing(run, since):
    """The run, whose network gives one flat colour from a step on."""
    good = run.recipe.step

    def step(batch, descend):
        terms = good(batch, descend)
        if run.step + 1 >= since and torch.is_grad_enabled():
            with torch.no_grad():
                run.recipe.networks["network"].layer.weight.zero_()
        return terms

    run.recipe.step = step
    return run


@pytest.mark.parametrize("resume", [False, True])
def test_an_output_of_one_flat_colour_that_was_none_before_stops_the_run_at_its_last_good_checkpoint(tmp_path, resume):
    if resume:
        finished(new(tmp_path, ema=0.0, limits=Limits(steps=3)))
    with pytest.raises(Diverged, match="one flat colour"):
        finished(collapsing(new(tmp_path, ema=0.0), 4), resume=resume)
    assert state(tmp_path)["position"]["step"] == 3
    assert weights_metadata.step(tmp_path / "best.safetensors") == 3


def test_a_fresh_network_whose_output_is_flat_has_not_collapsed(tmp_path):
    assert finished(collapsing(new(tmp_path, ema=0.0), 1))[-1].step == 6
    assert state(tmp_path)["position"]["step"] == 6


def test_a_network_that_is_flat_after_many_steps_has_collapsed_and_has_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "YOUNG", 6)
    with pytest.raises(Diverged, match="one flat colour") as caught:
        finished(collapsing(new(tmp_path, ema=0.0, validate_every=6), 1))
    assert "--resume" in caught.value.hint
    assert state(tmp_path)["position"]["step"] == 6


def test_a_killed_run_leaves_its_last_checkpoint_whole_and_drops_what_it_logged_after_it(tmp_path, monkeypatch):
    finished(new(tmp_path, limits=Limits(steps=3)))
    before = (tmp_path / loop.LAST).read_bytes()

    def killed(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        finished(new(tmp_path), resume=True)
    assert (tmp_path / loop.LAST).read_bytes() == before
    monkeypatch.undo()
    with (tmp_path / "log.csv").open("a") as log:
        log.write("6,1.0,tot")  # and a row cut in the middle
    finished(new(tmp_path), resume=True)
    logged = list(csv.reader((tmp_path / "log.csv").read_text().splitlines()))
    assert len([row for row in logged if row[:1] == ["4"] and row[2] == "train_total"]) == 1
    assert all(len(row) == 4 for row in logged)


def test_a_damaged_checkpoint_is_an_error_with_a_way_out(tmp_path):
    finished(new(tmp_path, limits=Limits(steps=1)))
    whole = (tmp_path / loop.LAST).read_bytes()
    (tmp_path / loop.LAST).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LowlightError, match="is damaged, or not a checkpoint") as caught:
        finished(new(tmp_path), resume=True)
    assert "--init" in caught.value.hint


@pytest.mark.parametrize("lost", ["position", "optimizers", "sums"])
def test_a_checkpoint_that_lacks_a_part_is_an_error(tmp_path, lost):
    finished(new(tmp_path, limits=Limits(steps=1)))
    state = torch.load(tmp_path / loop.LAST, weights_only=True)
    (state if lost in state else state["position"]).pop(lost)
    torch.save(state, tmp_path / loop.LAST)
    with pytest.raises(LowlightError, match=r"last\.pt is"):
        finished(new(tmp_path), resume=True)


@pytest.mark.parametrize(("name", "sign"), [("psnr", 1), ("made_ssim", 1), ("mae", -1), ("made_mae", -1)])
def test_the_best_weights_are_those_of_the_best_score(tmp_path, name, sign):
    # A learning rate that ruins the network after the first validation.
    run = new(tmp_path, ema=0.0, validate_every=1, steps=3, best=name)
    scores = iter([20.0, 30.0, 10.0])
    seen = []

    def judged(network):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return {name: sign * next(scores)}

    run.judge.scores = judged
    finished(run)
    best, last = load_weights(tmp_path / "best.safetensors"), load_weights(tmp_path / "last.safetensors")
    assert torch.equal(best["layer.weight"], seen[1]["layer.weight"])
    assert torch.equal(last["layer.weight"], seen[2]["layer.weight"])


@pytest.mark.parametrize("left", [None, b"cut"])
def test_best_weights_that_are_gone_are_made_anew_by_a_run_that_goes_on(tmp_path, left):
    run = new(tmp_path, validate_every=1, steps=1)
    run.judge.scores = lambda _: {"psnr_gtmean": 30.0}
    finished(run)
    best = tmp_path / "best.safetensors"
    best.unlink() if left is None else best.write_bytes(left)
    run = new(tmp_path, validate_every=1, steps=2)
    run.judge.scores = lambda _: {"psnr_gtmean": 20.0}
    finished(run, resume=True)
    assert best.read_bytes() == (tmp_path / "last.safetensors").read_bytes()
    assert told_scores(rows(tmp_path / "log.csv"), "psnr_gtmean", 2)["psnr_gtmean"] == 20.0


def test_what_is_told_of_weights_are_the_scores_of_their_own_step(tmp_path):
    run = new(tmp_path, validate_every=2, steps=5)
    found = iter([30.0, 20.0, 10.0])
    run.judge.scores = lambda _: {"psnr_gtmean": next(found)}
    finished(run)
    logged = rows(tmp_path / "log.csv")
    steps = [weights_metadata.step(tmp_path / f"{name}.safetensors") for name in ("best", "last")]
    assert steps == [2, 5]
    told = [told_scores(logged, "psnr_gtmean", step) for step in (*steps, 4, 1, None)]
    assert [one.get("psnr_gtmean") for one in told] == [30.0, 10.0, 20.0, None, 30.0]
    assert [one.get("step") for one in told] == [2, 5, 4, None, 2]


def test_where_only_darkened_photos_have_truths_they_choose(tmp_path):
    run = new(tmp_path, ema=0.0, validate_every=1, steps=2, best="psnr")
    scores = iter([20.0, 10.0])
    run.judge.scores = lambda _: {"made_psnr": next(scores)}
    finished(run)
    assert (tmp_path / "best.safetensors").read_bytes() != (tmp_path / "last.safetensors").read_bytes()
    assert told_scores(rows(tmp_path / "log.csv"), "psnr", None) == {"step": 1, "made_psnr": 20.0}


def test_a_loss_of_other_weights_does_not_compare_with_the_best_so_far(tmp_path):
    told = iter([9.0, 2.0, 7.0, 8.0, 6.0])
    for steps, loss, kept in ((1, {"mse": 1.0}, 1), (3, {"mse": 3.0}, 2), (4, {"mse": 3.0}, 4)):
        run = new(tmp_path, validate_every=1, steps=steps, best="loss", loss=loss)
        run.judge.losses = lambda *_: {"loss_total": next(told)}
        finished(run, resume=steps > 1)
        assert weights_metadata.step(tmp_path / "best.safetensors") == kept


def test_losses_are_those_of_the_average_that_is_deployed(tmp_path):
    run = new(tmp_path, ema=0.9, validate_every=1, steps=2)
    seen = []
    run.judge.losses = lambda recipe, _: seen.append(recipe.networks[recipe.deploy]) or {"loss_total": 1.0}
    finished(run)
    assert run.deployed is not run.recipe.networks[run.recipe.deploy]
    assert seen[1:] == [run.deployed] * 2


def test_with_nothing_held_out_the_last_weights_are_the_best(tmp_path):
    run = new(tmp_path, pictures=[], steps=2, ema=0.0)
    run.held_out = []
    finished(run)
    assert (tmp_path / "best.safetensors").read_bytes() == (tmp_path / "last.safetensors").read_bytes()


def test_without_truth_the_least_loss_is_the_best(tmp_path):
    run = new(tmp_path, pictures=[Pair(p.name, p.low, None) for p in PICTURES])
    told = [progress.values["loss_total"] for progress in finished(run) if "loss_total" in progress.values]
    assert len(told) == 3  # the first of them before any step
    assert run.best == -min(told[1:])


@pytest.mark.parametrize("truths", [True, False])
def test_the_least_loss_chooses_where_it_is_asked_to_or_alone_and_is_found_in_the_log(tmp_path, truths):
    name = "loss" if truths else "psnr"
    pictures = PICTURES if truths else [Pair(p.name, p.low, None) for p in PICTURES]
    run = new(tmp_path, pictures=pictures, validate_every=1, steps=3, best=name)
    losses = iter([9.0, 2.0, 3.0, 4.0])
    run.judge.losses = lambda *_: {"loss_total": next(losses), "loss_critic": 0.1}
    finished(run)
    assert run.best == -3 + 1  # the second, of the first step: that of before it does not count
    found = told_scores(rows(tmp_path / "log.csv"), name, None)
    assert found["step"] == 1
    assert ("psnr" in found) == truths
    assert ("loss_total" in found) != truths


def test_a_name_with_folders_in_it_makes_no_folder_of_strips(tmp_path):
    finished(new(tmp_path, pictures=[Pair(f"a/b/{p.name}", p.low, p.high) for p in PICTURES]))
    assert "0000003-real-a_b_0.png" in {path.name for path in (tmp_path / "samples").iterdir()}


def test_who_hears_of_a_validation_finds_its_checkpoint(tmp_path):
    run = new(tmp_path)
    prepare(run, resume=False)
    heard = next(progress for progress in train(run) if "psnr" in progress.values and progress.step)
    assert state(tmp_path)["position"]["step"] == heard.step == 3
    assert not heard.complete
    assert finished(new(tmp_path), resume=True)[-1].complete


def test_validation_changes_nothing(tmp_path):
    finished(new(tmp_path / "a", validate_every=6))
    finished(new(tmp_path / "b", validate_every=1))
    one, other = (state(tmp_path / name) for name in "ab")
    one["position"] = other["position"] = {}
    assert_equal(one, other)


def test_a_network_has_to_beat_its_input_which_is_scored_first(tmp_path):
    first = finished(new(tmp_path))[0]
    assert first.step == 0
    assert first.values["input_psnr"] == pytest.approx(
        np.mean([-10 * math.log10(np.mean((p.low / 255 - p.high / 255) ** 2)) for p in PICTURES]), abs=0.01
    )


def test_strips_and_scalars_are_kept_to_look_at(tmp_path):
    finished(new(tmp_path))
    names = {path.name for path in (tmp_path / "samples").iterdir()}
    assert {"0000003-real-0.png", "0000006-real-2.png"} <= names
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert {"train_total", "train_critic", "psnr", "data_seconds"} <= set(board.Tags()["scalars"])
    assert "real-0" in board.Tags()["images"]


def test_data_are_drawn_ahead_in_order_and_the_wait_is_told():
    drawn = []

    def slow(step):
        drawn.append(step)
        return step

    batches = ahead(slow, range(3, 9))
    assert next(batches)[0] == 3
    assert [step for step, _ in batches] == [4, 5, 6, 7, 8]
    assert sorted(drawn) == [3, 4, 5, 6, 7, 8]
    assert [*ahead(slow, range(2, 2))] == []


def test_what_goes_wrong_in_drawing_reaches_the_loop():
    def broken(step):
        raise LowlightError("gone", "")

    with pytest.raises(LowlightError, match="gone"):
        next(ahead(broken, range(3)))


def test_the_gradient_is_clipped_as_a_whole():
    recipe = GainRecipe(Settings(lr=0.0))
    seen = []
    optimizer = recipe.optimizers["network"]
    optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in recipe.networks["network"].parameters()]).norm())
    )
    batch = {"low": torch.ones(2, 3, 8, 8), "high": torch.full((2, 3, 8, 8), 100.0)}
    recipe.step(batch, Descent(recipe, Accelerator(cpu=True), clip=0.5))
    recipe.step(batch, Descent(recipe, Accelerator(cpu=True), clip=0.0))
    assert float(seen[0]) == pytest.approx(0.5, abs=1e-4)
    assert float(seen[1]) > 10


def test_a_journal_that_is_opened_anew_keeps_what_is_not_after_the_step(tmp_path):
    with Journal(tmp_path) as journal:
        journal.scalars(1, 0.5, {"total": 3.0})
        journal.scalars(2, 0.7, {"total": 2.0})
    with Journal(tmp_path, step=1):
        pass
    assert (tmp_path / "log.csv").read_text() == "step,seconds,name,value\n1,0.5,total,3\n"
