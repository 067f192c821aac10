"""Train a network: settings, data, validation on scenes that training never sees, then the loop."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from lowlight_cli import weights
from lowlight_cli.data.crops import middles
from lowlight_cli.data.parts import HeldOut
from lowlight_cli.data.sources import Kind, Request
from lowlight_cli.data.training_data import TrainingData, open_data
from lowlight_cli.errors import DeviceUnavailable, NotWritten, OptionError, reason_of
from lowlight_cli.tasks import train_folder, train_record
from lowlight_cli.tasks.train_plan import Plan, TrainOptions, make_recipe, resolve
from lowlight_cli.training.loop import LAST, prepare, train
from lowlight_cli.training.recipe import Batch, Recipe
from lowlight_cli.training.run import Progress, Run
from lowlight_cli.training.settings import Settings
from lowlight_cli.training.validation import Judge
from lowlight_cli.weights_metadata import Origin, texts

MOST_VALIDATED = 30
"""Pictures of either kind, real or made, that one validation looks at."""
LOSS_PICTURES = 8
"""Pictures that the validation loss is taken on at most: so many whole batches of them as there are."""


def run(options: TrainOptions, announce: Callable[[str], None] = lambda _: None) -> Iterator[Progress]:
    """Train; yields progress. Files in `options.out`: see `training.loop`, `training.journal`, `tasks.train_record`."""
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    before = train_folder.check(options.out, resume=options.resume)
    plan, accelerator = resolve(options), open_accelerator(options)
    check_batch(plan.settings, accelerator.num_processes)
    say = announce if accelerator.is_main_process else lambda _: None
    recipe = make_recipe(plan, options, say)
    with accelerator.main_process_first():
        data = open_data(request(options, plan, recipe.data), say)
    for text in told_before(options, plan.settings, data, accelerator):
        say(text)
    accelerator.wait_for_everyone()
    state = ready(options, plan, recipe, data, accelerator)
    if state.complete or state.step >= state.last:
        say(f"nothing to do: {why_nothing(state)}")
        yield Progress(state.step, {}, state.seconds, complete=True)
        return
    options.limits.listen()  # before anything is written: what is begun gets a checkpoint
    with recorded(options, state, data.fingerprint, before):
        yield from train(state)
    if text := cut_short(state):
        say(text)


def told_before(
    options: TrainOptions, settings: Settings, data: TrainingData, accelerator: Accelerator
) -> Iterator[str]:
    """What a user should know before the first step; other data than a resumed run began with are an error."""
    yield data.summary
    yield f"{accelerator.num_processes} process(es) on {accelerator.device}, {options.precision}"
    if options.resume:
        train_record.refuse_other_data(options.out, data.fingerprint)
        for change in train_record.changes(options.out, settings):
            yield f"changed since the run began: {change}"
    for pictures, which in ((data.validation, "pictures"), (data.made_validation, "darkened photos")):
        if len(pictures) > MOST_VALIDATED:
            yield f"{MOST_VALIDATED} of the {len(pictures)} {which} that are held out are scored"


def ready(options: TrainOptions, plan: Plan, recipe: Recipe, data: TrainingData, accelerator: Accelerator) -> Run:
    """The run, at the beginning or at its last checkpoint."""
    judge = Judge(
        scored(data.validation),
        scored(data.made_validation),
        multiple=plan.geometry["multiple"],
        smallest=plan.geometry["smallest"],
        thumbnail_side=plan.side,
        device=accelerator.device,
        autocast=accelerator.autocast,
    )
    state = Run(
        recipe=recipe,
        settings=plan.settings,
        draw=data.draw,
        judge=judge,
        held_out=held_out_batches(data, plan.settings, plan.side),
        folder=options.out,
        metadata=texts(Origin(plan.arch, plan.settings.params, plan.geometry)),
        limits=options.limits,
        accelerator=accelerator,
    )
    prepare(state, resume=options.resume)
    return state


@contextlib.contextmanager
def recorded(options: TrainOptions, state: Run, data: Mapping[str, Any], before: train_folder.Stamps) -> Iterator[None]:
    """Hold the run's folder and add this start to its record; what the disk refuses meanwhile is a NotWritten.

    Not before there is something to do: what is refused leaves a run's folder as it was.
    """
    first = state.accelerator.is_main_process
    try:
        with train_folder.held(options.out, before) if first else contextlib.nullcontext():
            if first:
                starts = train_record.read_record(options.out) if options.resume else []
                train_record.write(options.out, options.model, state.settings, data, starts, state.accelerator)
            yield
    except OSError as error:
        told = f"{error.filename or options.out} cannot be written: {reason_of(error)}."
        goes_on = "go on with --resume" if (options.out / LAST).exists() else f"delete {options.out} and start anew"
        raise NotWritten(told, f"Free some space or mend the permissions, then {goes_on}.") from error


def why_nothing(state: Run) -> str:
    """Why a run that was over before has nothing to do."""
    if state.late:
        return f"the {state.settings.minutes:g} minutes were over before; `--set minutes=` gives more"
    return "the last step was reached before"


def cut_short(state: Run) -> str:
    """What a user is told of a run that has ended before its last step; empty: it has not."""
    settings = state.settings
    if state.late:
        return f"the {settings.minutes:g} minutes are over, at step {state.step}"
    if state.complete:
        return ""
    share = f", {state.seconds / 60:.1f} of {settings.minutes:g} minutes" if settings.minutes else ""
    return f"stopped at step {state.step} of {settings.steps}{share}; go on with the same command and --resume"


def scored(pictures: Sequence[HeldOut]) -> list[HeldOut]:
    """Those that validations look at: all, or so many, spread evenly, as neighbours are often of one scene."""
    count = min(len(pictures), MOST_VALIDATED)
    return [pictures[number * len(pictures) // count] for number in range(count)]


def request(options: TrainOptions, plan: Plan, kind: Kind) -> Request:
    """What to train on."""
    return Request(
        kind=kind,
        thumbnail=plan.side,
        data=options.data,
        photos=options.photos,
        scenes=options.scenes,
        validation=options.validation,
        copies=options.copies,
        cache=options.cache or weights.home() / "training",
        **{name: getattr(plan.settings, name) for name in ("preset", "crop", "seed", "synth", "shuffle")},
    )


def open_accelerator(options: TrainOptions) -> Accelerator:
    """Processes and device, as the launcher and `--device` say; a device that is not there is an error."""
    kind, _, number = options.device.partition(":")
    there = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind) or (number and int(number) >= max(1, torch.cuda.device_count())):
        raise DeviceUnavailable(
            f"--device {options.device} cannot be had here.", "Run `lowlight doctor`, or use --device cpu or auto."
        )
    if number:
        os.environ["ACCELERATE_TORCH_DEVICE"] = options.device
    none = kind == "auto" and not there["cuda"] and not there["mps"]
    precision = "bf16" if options.precision == "bf16" else "no"
    return Accelerator(cpu=kind == "cpu" or none, mixed_precision=precision)


def check_batch(settings: Settings, processes: int) -> None:
    """A batch must split evenly, so that every picture counts the same."""
    if settings.batch % (processes * settings.accumulate):
        raise OptionError(
            f"A batch of {settings.batch} does not split into {processes} processes times {settings.accumulate} parts.",
            f"For example --set batch={processes * settings.accumulate}",
        )


def held_out_batches(data: TrainingData, settings: Settings, side: int) -> list[Batch]:
    """The middles of held-out pictures, real ones if there are any."""
    pictures = [shown.for_losses() for shown in (data.validation or data.made_validation)[:LOSS_PICTURES]]
    size = max(1, min(settings.batch, len(pictures)))
    lows, highs = [shown.low for shown in pictures], [shown.high for shown in pictures if shown.high is not None]
    parts = [slice(at, at + size) for at in range(0, len(pictures) - size + 1, size)]
    known = len(highs) == len(pictures)
    return [middles(lows[part], highs[part] if known else None, settings.crop, side) for part in parts]
