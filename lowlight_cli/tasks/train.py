"""Train a network: settings, data, validation on scenes that training never sees, then the loop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lowlight_cli import models
from lowlight_cli.data.crops import Crops, Drawing, mean_luma, tensor
from lowlight_cli.data.pairs import Pair, darkened, load_pairs, split_by_scene
from lowlight_cli.errors import OptionError
from lowlight_cli.nn.brightness import luma_mean
from lowlight_cli.thumbnail import thumbnail
from lowlight_cli.training.loop import LAST, Limits, Progress, train
from lowlight_cli.training.recipe import Recipe, Settings

THUMBNAIL = 112
"""Side of the thumbnails that guided networks are trained with; their manifest rows repeat it."""
MOST_VALIDATED = 30
"""Pictures of either kind that one validation looks at."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What `lowlight train` can be told."""

    arch: str
    out: Path
    data: Path
    scenes: Path | None = None
    photos: Path | None = None
    init: Path | None = None
    """Weights to start from."""
    copies: int = 6
    held_out: int = 20
    overrides: Mapping[str, Any] = field(default_factory=dict)
    minutes: float = float("inf")
    precision: str = "no"
    threads: int = 0
    resume: bool = False


def run(options: TrainOptions) -> Iterator[Progress]:
    """Train; yields progress. Files in `options.out`: see `training.loop`."""
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    module = models.module(options.arch)
    settings = Settings(**module.DEFAULTS).override({**earlier(options), **options.overrides})
    training, validation, made, made_validation = data(options)
    torch.manual_seed(settings.seed)
    recipe: Recipe = module.recipe(settings)
    if options.init and not options.resume:
        models.load_into(recipe.networks[recipe.deploy], options.init, options.arch)
    prepare_folder(options, settings)
    drawing = Drawing(
        crop=settings.crop,
        batch=settings.batch,
        seed=settings.seed,
        thumbnail=THUMBNAIL,
        made=settings.synth,
        shuffle=settings.shuffle,
    )
    draw = Crops(training, made, drawing)
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=options.precision)
    yield from train(
        recipe,
        settings,
        draw,
        lambda network: score(recipe, network, validation, made_validation, accelerator),
        options.out,
        limits=Limits(minutes=options.minutes),
        accelerator=accelerator,
        resume=options.resume,
    )


def earlier(options: TrainOptions) -> dict[str, Any]:
    """The settings of the run that is resumed; none for a new one, which must not write over an old one."""
    kept = options.out / "settings.json"
    if not options.resume:
        if kept.exists():
            raise OptionError(f"{options.out} holds a run already.", "Use --resume, or another --out.")
        return {}
    if not (options.out / LAST).exists() or not kept.exists():
        raise OptionError(f"{options.out} holds no checkpoint to resume from.", "Leave out --resume.")
    settings = json.loads(kept.read_text(encoding="utf-8"))
    if settings.pop("arch") != options.arch:
        raise OptionError(f"{options.out} holds a run of another network than {options.arch}.", "Use its --model.")
    return settings


def prepare_folder(options: TrainOptions, settings: Settings) -> None:
    """Make the run's folder and keep its settings there."""
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"arch": options.arch, **vars(settings)}, indent=2)
    (options.out / "settings.json").write_text(text, encoding="utf-8")


def data(options: TrainOptions) -> tuple[list[Pair], list[Pair], list[Pair], list[Pair]]:
    """(real training, real validation, made training, made validation); photos are held out whole, too."""
    scenes = read_scenes(options.scenes) if options.scenes else []
    real = load_pairs(options.data / "low", options.data / "high")
    training, validation = split_by_scene(real, scenes, held_out=options.held_out, seed=0)
    if not options.photos:
        return training, validation, [], []
    made = darkened(options.photos, copies=options.copies, seed=0)
    kept = 10 * options.copies
    return training, validation, made[:-kept], made[-kept :: options.copies]


def read_scenes(path: Path) -> list[list[object]]:
    """Lists of names that show one scene, from a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["our485_scenes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"{path} cannot be read as scenes: {error!r}.", 'It holds {"our485_scenes": [[2], [5, 6]]}.'
        ) from error


def score(
    recipe: Recipe, network: nn.Module, real: Sequence[Pair], made: Sequence[Pair], accelerator: Accelerator
) -> dict[str, float]:
    """Mean PSNR in dB over validation pictures: at ground-truth mean (chooses the best), plain, on made pairs."""
    network.eval()
    aligned, plain, synth = [], [], []
    with torch.inference_mode(), accelerator.autocast():
        for pair in real[:MOST_VALIDATED]:
            output, truth = whole(recipe, network, pair, accelerator.device)
            plain.append(psnr(output, truth))
            gain = luma_mean(truth) / luma_mean(output).clamp(min=1e-6)
            aligned.append(psnr((output * gain[:, None, None, None]).clamp(0, 1), truth))
        for pair in made[:MOST_VALIDATED]:
            synth.append(psnr(*whole(recipe, network, pair, accelerator.device)))
    network.train()
    scores = {"psnr_gtmean": aligned, "psnr": plain, "psnr_synth": synth}
    return {name: sum(values) / len(values) for name, values in scores.items() if values}


def whole(recipe: Recipe, network: nn.Module, pair: Pair, device: torch.device) -> tuple[Tensor, Tensor]:
    """Output and truth of a pair, cut to sides that are multiples of 16."""
    height, width = (side // 16 * 16 for side in pair.low.shape[:2])
    small = thumbnail(pair.low, THUMBNAIL).transpose(2, 0, 1)[None].copy()
    batch = {
        "low": tensor([pair.low[:height, :width]]),
        "high": tensor([pair.high[:height, :width]]),
        "thumbnail": torch.from_numpy(small),
        "brightness": torch.tensor([mean_luma(pair.high)]),
    }
    batch = {name: value.to(device) for name, value in batch.items()}
    return recipe.enhance(network, batch).float(), batch["high"]


def psnr(output: Tensor, truth: Tensor) -> float:
    """In dB, data range 1."""
    return float(-10 * torch.log10((output - truth).square().mean().clamp(min=1e-10)))


def architecture(name: str) -> ModuleType:
    """A network that can be trained; an unknown one is an error."""
    try:
        return models.module(name.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise OptionError(f"There is no network {name!r}.", "See `lowlight models list`.") from error
