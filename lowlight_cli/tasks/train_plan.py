"""What a training trains: the network, its settings, the recipe with its weights at the start."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from lowlight_cli import manifest, models, weights_metadata
from lowlight_cli.choices import COPIES
from lowlight_cli.errors import ModelUnavailable, OptionError
from lowlight_cli.nn.perceptual import open_perceptual
from lowlight_cli.plausible import problem_of_geometry, problem_of_params
from lowlight_cli.runners.own_weights import foreign
from lowlight_cli.tasks import train_record
from lowlight_cli.training.recipe import Recipe
from lowlight_cli.training.run import Limits
from lowlight_cli.training.settings import SMALLEST_CROP, Settings, known

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


@dataclass(frozen=True)
class Plan:
    """What is trained, and how."""

    arch: str
    module: ModuleType
    """The file of the network."""
    settings: Settings
    geometry: Mapping[str, Any]
    """The facts that follow from `settings.params`, which the files of weights will state."""

    @property
    def side(self) -> int:
        """Of the thumbnails, in pixels."""
        return self.geometry["thumbnail"] or UNSEEN


def resolve(options: TrainOptions) -> Plan:
    """What the options ask for; a network that cannot be built or trained so is an error."""
    arch = architecture(options.model)
    module = models.module(arch)
    settings = layered(options, arch, Settings(**module.DEFAULTS))
    geometry = checked_geometry(module, settings)
    if settings.crop < (least := smallest_crop(module, geometry)):
        raise OptionError(f"A crop of {settings.crop} pixels is too small for {arch}.", f"--set crop={least} or more.")
    return Plan(arch, module, settings, geometry)


def layered(options: TrainOptions, arch: str, settings: Settings) -> Settings:
    """The settings of a recipe, over them the shape of the network whose weights `--init` names, the settings of a
    resumed run, of the configuration file, and of `--set`, in this order.

    The shape in a row of the manifest is of the weights that ship, not of the recipe.
    """
    if options.init and not options.resume:
        settings = settings.override({"params": shape_of(options.init, arch, options.model)})
    read = {}
    if options.resume:
        read[options.out / train_record.CONFIG] = train_record.kept(options.out)
    if options.config:
        read[options.config] = train_record.read_config(options.config)
    for source, (name, values) in read.items():
        if name is not None and architecture(name) != arch:
            raise OptionError(f"{source} is of {name}, not of {options.model}.", "Name its model with --model.")
        settings = settings.override(values)
    return settings.override(options.overrides)


def shape_of(path: Path, arch: str, model: str) -> Mapping[str, Any]:
    """The `params` of weights to start from, as far as their file tells; those of another network are an error."""
    if not path.is_file():
        raise ModelUnavailable(f"There is no file {path}.", "Give a .safetensors or .pt file to --init.")
    origin = weights_metadata.read(path)
    if origin and origin.arch != arch:
        raise foreign(manifest.find(model), path, origin.arch)
    return origin.params if origin else {}


def smallest_crop(module: ModuleType, geometry: Mapping[str, Any]) -> int:
    """Side in pixels of the smallest crop that a network can be trained on."""
    least = getattr(module, "SMALLEST_CROP", SMALLEST_CROP)
    return max(least, geometry["multiple"]) if getattr(module, "CROPS_ARE_CUT", False) else least


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
    if problem := problem_of_params(params) or problem_of_geometry(geometry):
        raise unfit("params", params, ValueError(problem))
    return geometry


def unfit(name: str, values: Mapping[str, Any], error: Exception) -> OptionError:
    """The error for arguments that a network cannot be built with; torch tells of it in many ways."""
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    if isinstance(error, UserWarning):
        reason = "a layer would have no channels"
    return OptionError(f"{name} {json.dumps(dict(values))} do not fit: {reason}.", "See docs/settings.md.")


def make_recipe(plan: Plan, options: TrainOptions, say: Callable[[str], None]) -> Recipe:
    """The recipe with fresh networks, the same for the same seed, or with the weights of `--init`."""
    module, settings, perceptual = plan.module, plan.settings, None
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
