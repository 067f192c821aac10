"""Train a network: settings, data, validation on scenes that training never sees, then the loop."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from accelerate import Accelerator

from lowlight_cli import manifest, models, weights, weights_metadata
from lowlight_cli.choices import COPIES
from lowlight_cli.data.crops import middles
from lowlight_cli.data.parts import HeldOut
from lowlight_cli.data.sources import Kind, Request
from lowlight_cli.data.training_data import TrainingData, open_data
from lowlight_cli.errors import DeviceUnavailable, ModelUnavailable, NotWritten, OptionError
from lowlight_cli.nn.perceptual import open_perceptual
from lowlight_cli.runners.own_weights import foreign
from lowlight_cli.tasks import train_folder, train_record
from lowlight_cli.training.loop import LAST, Limits, Progress, Run, prepare, train
from lowlight_cli.training.recipe import Batch, Recipe
from lowlight_cli.training.settings import SMALLEST_CROP, Settings, known
from lowlight_cli.training.validation import Judge
from lowlight_cli.weights_metadata import Origin, texts

MOST_VALIDATED = 30
"""Pictures of either kind, real or made, that one validation looks at."""
LOSS_PICTURES = 8
"""Pictures that the validation loss is taken on at most: so many whole batches of them as there are."""
UNSEEN = 8
"""Side of the thumbnails for networks that look at none."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What `lowlight train` can be told, but for how to show it."""

    model: str
    out: Path
    data: Path | None = None
    photos: Path | None = None
    scenes: Path | None = None
    validation: int | Path | None = None
    copies: int = COPIES
    init: Path | None = None
    """Weights to start from."""
    config: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    precision: str = "fp32"
    device: str = "auto"
    threads: int = 0
    resume: bool = False
    cache: Path | None = None
    offline: bool = False


def run(options: TrainOptions, announce: Callable[[str], None] = lambda _: None) -> Iterator[Progress]:
    """Train; yields progress. Files in `options.out`: see `training.loop`, `training.journal`, `tasks.train_record`."""
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    before = train_folder.check(options.out, resume=options.resume)
    arch, module, settings = resolve(options)
    geometry = checked_geometry(module, settings)
    if hasattr(module, "whole_cells"):  # crops are cut to multiples
        refuse_small_crop(arch, settings, geometry["multiple"])
    side = geometry["thumbnail"] or UNSEEN
    accelerator = open_accelerator(options)
    check_batch(settings, accelerator.num_processes)
    say = announce if accelerator.is_main_process else lambda _: None
    recipe = make_recipe(module, settings, options, say)
    with accelerator.main_process_first():
        data = open_data(request(options, settings, recipe.data, side), say)
    say(data.summary)
    say(f"{accelerator.num_processes} process(es) on {accelerator.device}, {options.precision}")
    if options.resume:
        train_record.refuse_other_data(options.out, data.fingerprint)
        for change in train_record.changes(options.out, settings):
            say(f"changed since the run began: {change}")
    accelerator.wait_for_everyone()
    for pictures, which in ((data.validation, "pictures"), (data.made_validation, "darkened photos")):
        if len(pictures) > MOST_VALIDATED:
            say(f"{MOST_VALIDATED} of the {len(pictures)} {which} that are held out are scored")
    judge = Judge(
        scored(data.validation),
        scored(data.made_validation),
        multiple=geometry["multiple"],
        smallest=geometry.get("smallest", 1),
        thumbnail_side=side,
        device=accelerator.device,
        autocast=accelerator.autocast,
    )
    state = Run(
        recipe=recipe,
        settings=settings,
        draw=data.draw,
        judge=judge,
        held_out=held_out_batches(data, settings, side),
        folder=options.out,
        metadata=texts(Origin(arch, settings.params, geometry)),
        limits=options.limits,
        accelerator=accelerator,
    )
    prepare(state, resume=options.resume)
    if state.complete or state.step >= state.last:
        over = f"the {settings.minutes:g} minutes were over before; `--set minutes=` gives more"
        say(f"nothing to do: {over if state.late else 'the last step was reached before'}")
        return
    try:
        # Not before: what is refused, or has nothing to do, leaves a run's folder as it was.
        with train_folder.held(options.out, before) if accelerator.is_main_process else contextlib.nullcontext():
            if accelerator.is_main_process:
                train_record.write(options.out, options.model, settings, data.fingerprint, accelerator)
            yield from train(state)
    except OSError as error:
        told = f"{error.filename or options.out} cannot be written: {error.strerror or error}."
        goes_on = "go on with --resume" if (options.out / LAST).exists() else f"delete {options.out} and start anew"
        raise NotWritten(told, f"Free some space or mend the permissions, then {goes_on}.") from error
    if state.late:
        say(f"the {settings.minutes:g} minutes are over, at step {state.step}")
    elif not state.complete:
        share = f", {state.seconds / 60:.1f} of {settings.minutes:g} minutes" if settings.minutes else ""
        say(f"stopped at step {state.step} of {settings.steps}{share}; go on with the same command and --resume")


def scored(pictures: Sequence[HeldOut]) -> list[HeldOut]:
    """Those that validations look at: all, or so many, spread evenly, as neighbours are often of one scene."""
    count = min(len(pictures), MOST_VALIDATED)
    return [pictures[number * len(pictures) // count] for number in range(count)]


def resolve(options: TrainOptions) -> tuple[str, ModuleType, Settings]:
    """(architecture, its module, the settings): the recipe's, over them the shape of the network whose weights
    `--init` names, the settings of a resumed run, of the configuration file, and of `--set`, in this order.

    The shape in a row of the manifest is of the weights that ship, not of the recipe.
    """
    arch = architecture(options.model)
    module = models.module(arch)
    if options.init and not options.resume and not options.init.is_file():
        raise ModelUnavailable(f"There is no file {options.init}.", "Give a .safetensors or .pt file to --init.")
    origin = weights_metadata.read(options.init) if options.init and not options.resume else None
    if origin and origin.arch != arch:
        raise foreign(manifest.find(options.model), options.init, origin.arch)
    settings = Settings(**module.DEFAULTS).override({"params": origin.params} if origin else {})
    read = {}
    if options.resume:
        read[options.out / train_record.CONFIG] = train_record.kept(options.out)
    if options.config:
        read[options.config] = train_record.read_config(options.config)
    for source, (name, values) in read.items():
        if name is not None and architecture(name) != arch:
            raise OptionError(f"{source} is of {name}, not of {options.model}.", "Name its model with --model.")
        settings = settings.override(values)
    settings = settings.override(options.overrides)
    refuse_small_crop(arch, settings, getattr(module, "SMALLEST_CROP", SMALLEST_CROP))
    return arch, module, settings


def refuse_small_crop(arch: str, settings: Settings, least: int) -> None:
    """The error for crops under `least` pixels."""
    if settings.crop < least:
        raise OptionError(f"A crop of {settings.crop} pixels is too small for {arch}.", f"--set crop={least} or more.")


def architecture(name: str) -> str:
    """The network's file of a row of the manifest that can be trained; any other name is an error."""
    spec = manifest.find(name)
    able = [row.name for row in manifest.models().values() if not row.classical]
    if spec.classical:
        raise OptionError(f"{name} is a classical method: there is nothing to train.", f"Networks: {', '.join(able)}.")
    return spec.arch


def built(build: Callable[..., Any], settings: Settings) -> Any:
    """What a network's function makes of `params`; arguments it does not take are an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # layers of no width are worth no more than one to torch
            return build(**settings.params)
    except (TypeError, ValueError, AssertionError, IndexError, RuntimeError, UserWarning) as error:
        if strange := re.search(r"unexpected keyword argument '(\w+)'", str(error)):
            known(strange[1], [*inspect.signature(type(build()).__init__).parameters][1:], "argument of this network")
        raise unfit("params", settings.params, error) from error


def checked_geometry(module: ModuleType, settings: Settings) -> dict[str, Any]:
    """The facts that follow from `params`, which the files of weights will state: what no reader takes is refused."""
    geometry = built(module.geometry, settings)
    params = json.loads(json.dumps(dict(settings.params)))
    if problem := weights_metadata.problem_of_params(params) or weights_metadata.problem_of_geometry(geometry):
        raise unfit("params", params, ValueError(problem))
    return geometry


def unfit(name: str, values: Mapping[str, Any], error: Exception) -> OptionError:
    """The error for arguments that a network cannot be built with; torch tells of it in many ways."""
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return OptionError(f"{name} {json.dumps(dict(values))} do not fit: {reason}.", "See docs/settings.md.")


def make_recipe(module: ModuleType, settings: Settings, options: TrainOptions, say: Callable[[str], None]) -> Recipe:
    """The recipe with fresh networks, the same for the same seed, or with the weights of `--init`."""
    perceptual = None
    if settings.loss.get("perceptual"):
        perceptual = open_perceptual(settings.perceptual, offline=options.offline, announce=say)
    built(module.build, settings)
    torch.manual_seed(settings.seed)
    try:
        recipe = module.recipe(settings, perceptual)
    except (TypeError, ValueError, AssertionError, IndexError, RuntimeError) as error:
        raise unfit("discriminator", settings.discriminator, error) from error
    if settings.discriminator and not any(name.startswith("discriminator") for name in recipe.networks):
        raise OptionError(f"{options.model} has no discriminator.", "Leave out discriminator.")
    if options.init and not options.resume:
        begin_from(options.init, recipe.networks[recipe.deploy], options.model, settings)
    return recipe


def begin_from(path: Path, network: torch.nn.Module, model: str, settings: Settings) -> None:
    """Fill a network with the weights of `--init`; params that were changed are told where they do not fit."""
    try:
        models.load_into(network, path, model)
    except ModelUnavailable as error:
        origin = weights_metadata.read(path)
        theirs = origin.params if origin else settings.params
        names = [n for n in {**theirs, **settings.params} if theirs.get(n) != settings.params.get(n)]
        if not names:
            raise
        told = ", ".join(f"params.{name}" for name in names)
        raise OptionError(
            f"{path.name} was trained with other {told}.", f"Leave {told} as the weights have it."
        ) from error


def request(options: TrainOptions, settings: Settings, kind: Kind, side: int) -> Request:
    """What to train on."""
    return Request(
        kind=kind,
        thumbnail=side,
        data=options.data,
        photos=options.photos,
        scenes=options.scenes,
        validation=options.validation,
        copies=options.copies,
        cache=options.cache or weights.home() / "training",
        **{name: getattr(settings, name) for name in ("preset", "crop", "seed", "synth", "shuffle")},
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
