"""The training loop: get a batch, step, log, validate, save, stop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lowlight_cli.errors import Diverged, ModelUnavailable
from lowlight_cli.nn.state import load_weights, save_weights
from lowlight_cli.training import checkpoint
from lowlight_cli.training.descent import Descent
from lowlight_cli.training.journal import Journal
from lowlight_cli.training.prefetch import ahead
from lowlight_cli.training.run import Progress, Run
from lowlight_cli.training.settings import basis, merit
from lowlight_cli.training.validation import FLAT_KEPT, KEPT

LAST, BEST, DEPLOYED = "last.pt", "best.safetensors", "last.safetensors"
TIMES = ("data_seconds", "step_seconds")


def train(run: Run) -> Iterator[Progress]:
    """Train a prepared run to its last step or a limit; yields progress, in the first process alone. Files: see the
    names above."""
    settings, accelerator = run.settings, run.accelerator
    descent = Descent(run.recipe, accelerator, clip=settings.clip, parts=settings.accumulate)
    last = run.last
    started, before = time.monotonic(), run.seconds
    run.began = run.step, run.seconds
    with Journal(run.folder, step=run.step) if accelerator.is_main_process else contextlib.nullcontext() as journal:
        if run.step == 0:
            yield from tell(run, journal, lambda: untrained(run))
        for parts, waited in ahead(lambda step: parts_of(run, step), range(run.step, last)):
            one_step(run, descent, parts, waited)
            seconds = agreed(run, time.monotonic() - started)
            run.seconds = before + seconds
            look_at_the_clock(run)
            stop = run.complete or run.step == last or wants_to_stop(run, seconds)
            if run.step % settings.log_every == 0:
                yield from tell(run, journal, lambda: means(run))
                run.sums, run.counted = {}, 0
            if run.step % settings.validate_every == 0 or stop:
                check(run)
                told = [*tell(run, journal, lambda: validate(run, journal))]
                # Of a network that has collapsed, an earlier checkpoint is the better one to go on from.
                collapsed = anywhere(run, run.collapsed)
                if not (collapsed and (run.folder / LAST).exists()):
                    save(run)
                yield from told
                if collapsed:
                    what = f"its output for {run.judge.flat or 'a picture'} is one flat colour"
                    raise Diverged(f"The network has collapsed: {what}.", FLAT_KEPT)
            if stop:
                break


def prepare(run: Run, *, resume: bool) -> None:
    """Put the networks where they run, make the moving average, go back to the last checkpoint."""
    device = run.accelerator.device
    for network in run.recipe.networks.values():
        network.to(device, memory_format=torch.channels_last)
    if run.settings.ema:
        deployed = run.recipe.networks[run.recipe.deploy]
        run.averaged = AveragedModel(deployed, multi_avg_fn=get_ema_multi_avg_fn(run.settings.ema))
    if resume:
        position = checkpoint.restore(run.folder / LAST, run.recipe, run.averaged, run.accelerator)
        for name, value in position.items():
            setattr(run, name, value)
        if not readable(run.folder / BEST):
            run.best = -math.inf  # of weights that are gone
        look_at_the_clock(run)
        for schedule in run.recipe.schedules.values():
            checkpoint.set_rates(schedule, checkpoint.rates(schedule))


def readable(path: Path) -> bool:
    """Whether there are whole weights."""
    with contextlib.suppress(ModelUnavailable):
        load_weights(path)
        return True
    return False


def parts_of(run: Run, step: int) -> list[dict[str, Tensor]]:
    """This process' share of the batch of a step, in the parts that are computed one after the other."""
    own = range(run.settings.batch)[run.accelerator.process_index :: run.accelerator.num_processes]
    parts = [run.draw(step, own[part :: run.settings.accumulate]) for part in range(run.settings.accumulate)]
    if run.accelerator.device.type != "cuda":
        return parts
    return [{name: value.pin_memory() for name, value in part.items()} for part in parts]


def one_step(run: Run, descent: Descent, parts: Sequence[Mapping[str, Tensor]], waited: float) -> None:
    """One step of the recipe; its terms and times are added up."""
    started = time.perf_counter()
    # Whatever a step draws depends on the seed, the step and the process alone: a resume needs no state of it.
    entropy = (run.settings.seed, run.step, run.accelerator.process_index)
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))
    for number, part in enumerate(parts, 1):
        descent.last_part = number == len(parts)
        batch = {name: value.to(run.accelerator.device, non_blocking=True) for name, value in part.items()}
        with run.accelerator.autocast():
            terms = run.recipe.step(batch, descent)
        for name, value in terms.items():
            run.sums[name] = run.sums.get(name, 0.0) + value / len(parts)
    if run.averaged is not None:
        run.averaged.update_parameters(run.recipe.networks[run.recipe.deploy])
    times = (waited, waited + time.perf_counter() - started)
    for name, value in zip(TIMES, times, strict=True):
        run.sums[name] = run.sums.get(name, 0.0) + value
    run.step, run.counted = run.step + 1, run.counted + 1


def look_at_the_clock(run: Run) -> None:
    """Tell the schedules of a recipe of minutes how many are behind."""
    if run.settings.minutes:
        for schedule in run.recipe.schedules.values():
            schedule.part = run.seconds / (60 * run.settings.minutes)


def agreed(run: Run, seconds: float) -> float:
    """The mean of all processes' clocks, where they must do the same."""
    if run.settings.minutes and run.accelerator.num_processes > 1:
        seconds = float(run.accelerator.reduce(torch.tensor(seconds, device=run.accelerator.device), reduction="mean"))
    return seconds


def wants_to_stop(run: Run, seconds: float) -> bool:
    """Whether a limit is reached or somebody asks; all processes agree."""
    return anywhere(run, seconds > 60 * run.limits.minutes or run.limits.asked())


def anywhere(run: Run, flag: bool) -> bool:
    """Whether a flag is set in any of the processes; all ask together."""
    if run.accelerator.num_processes > 1:
        number = torch.tensor([float(flag)], device=run.accelerator.device)
        flag = bool(run.accelerator.reduce(number, reduction="sum") > 0)
    return flag


def check(run: Run) -> None:
    """Anything not finite stops the training, in every process, with the last checkpoint untouched."""
    values = {name: float(value) for name, value in run.sums.items()}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    weights = [
        p.detach().float().square().sum() for network in run.recipe.networks.values() for p in network.parameters()
    ]
    if not bad and not math.isfinite(float(sum(weights))):
        bad = ["a weight"]
    if bad:
        raise Diverged(f"The training diverged before step {run.step}: {', '.join(bad)} is not finite.", KEPT)


def means(run: Run) -> dict[str, float]:
    """Means of the terms (of the first process' share) as `train_...` and of the times since the last call, and the
    learning rates."""
    check(run)
    values = {
        name if name in TIMES else f"train_{name}": float(value) / run.counted for name, value in run.sums.items()
    }
    return values | {f"lr_{name}": schedule.get_last_lr()[0] for name, schedule in run.recipe.schedules.items()}


def untrained(run: Run) -> dict[str, float]:
    """What training has to beat: scores of the dark pictures themselves, and the losses before the first step."""
    with judged(run):
        return run.judge.inputs() | run.judge.losses(run.recipe, run.held_out)


@contextlib.contextmanager
def judged(run: Run) -> Iterator[None]:
    """All networks as they are used, not trained; of the deployed one the average, if there is one."""
    networks, name = run.recipe.networks, run.recipe.deploy
    training = [network for network in (run.deployed, *networks.values()) if network.training]
    for network in training:
        network.eval()
    own, networks[name] = networks[name], run.deployed
    try:
        yield
    finally:
        networks[name] = own
    for network in training:
        network.train()


def validate(run: Run, journal: Journal) -> dict[str, float]:
    """Scores of the deployed network; the best one's weights and some strips are kept."""
    with judged(run):
        scores = run.judge.scores(run.deployed) | run.judge.losses(run.recipe, run.held_out)
        journal.pictures(run.step, run.judge.strips(run.deployed))
    if run.collapsed:
        return scores
    run.lit = run.lit or run.judge.flat is None
    score, of = merit(scores, run.settings.best), basis(scores, run.settings)
    if score is None or score > run.best or of != (run.best_of or of):  # with nothing held out, the last are the best
        run.best_of = of
        run.best = -math.inf if score is None else score
        write_weights(run, BEST)
    return scores


def write_weights(run: Run, name: str) -> None:
    """The weights to deploy, as they are now; `step` in the file tells of which step they are."""
    save_weights(run.folder / name, run.deployed, {**run.metadata, "step": str(run.step)})


def save(run: Run) -> None:
    """Write the checkpoint and the weights to deploy."""
    position = {name: getattr(run, name) for name in checkpoint.POSITION}
    position["sums"] = {name: float(value) for name, value in run.sums.items()}
    checkpoint.save(run.folder / LAST, run.recipe, run.averaged, position, run.accelerator)
    if run.accelerator.is_main_process:
        write_weights(run, DEPLOYED)


def tell(run: Run, journal: Journal, measure: Callable[[], dict[str, float]]) -> Iterator[Progress]:
    """Log what `measure` gives, and pass it on; only the first process does either."""
    if run.accelerator.is_main_process:
        values = measure()
        journal.scalars(run.step, run.seconds, values)
        yield Progress(run.step, values, run.seconds, run.complete, run.rate, run.left)
