"""How to train: a frozen record, checked field by field, in and out of YAML."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowlight_cli.choices import MIXED, PERCEPTUAL, PRESETS
from lowlight_cli.errors import OptionError
from lowlight_cli.plausible import MOST_VALUES, clipped

SCORES = {"psnr_gtmean": 1, "psnr": 1, "ssim": 1, "mae": -1, "loss": -1}
"""What may choose the best weights: 1, the larger the better; -1, the smaller."""
SMALLEST_CROP = 16
LIMITS: Sequence[tuple[Sequence[str], Callable[[Any], bool], str]] = (
    (("steps", "batch", "accumulate", "log_every", "validate_every"), lambda v: v >= 1, "a whole number from 1 on"),
    (("crop",), lambda v: v >= SMALLEST_CROP, f"a whole number of pixels, {SMALLEST_CROP} or more"),
    (("lr", "lr_discriminator", "clip", "minutes"), lambda v: 0 <= v < math.inf, "a number from 0 on"),
    (("pool",), lambda v: v >= 0, "a whole number from 0 on"),
    (("ema",), lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    (("synth", "shuffle"), lambda v: 0 <= v <= 1, "a share from 0 to 1"),
    (("seed",), lambda v: 0 <= v < 2**63, "a whole number from 0 to 2^63 - 1"),
)
"""Names of settings, whether a value is valid, and what is."""

WORDS: Mapping[str, Sequence[str]] = {
    "optimizer": ("adam", "muon"),
    "decay": ("cosine", "linear", "paper", "none"),
    "preset": (*PRESETS, MIXED),
    "perceptual": PERCEPTUAL,
    "best": (*SCORES, *(f"made_{name}" for name in SCORES if name != "loss")),
}
"""What settings take that take one of some words."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; a network's module says in `DEFAULTS` what its paper asks for."""

    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the network, such as its widths."""
    discriminator: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the discriminators, where there are any."""
    steps: int = 10_000
    """Optimizer steps of the whole recipe; schedules stretch over them."""
    minutes: float = 0.0
    """Minutes that the recipe lasts instead, validations among them, if it has not come to `steps` before; schedules
    stretch over them. For machines that are rented by time: a run is then not repeatable. 0: `steps` alone count."""
    batch: int = 8
    """Pictures in a step, of all processes together."""
    accumulate: int = 1
    """Parts that a process computes its share of the batch in, one after the other, to save memory."""
    crop: int = 256
    """Side in pixels of the squares that are cut at random places; smaller pictures are refused."""
    optimizer: str = "adam"
    """Of the network or the generators; discriminators have Adam. `adam`: the papers'. `muon`: steps of convolutions of
    16 or more channels are made orthogonal, for the same `lr`; it gets as far in a fraction of the steps."""
    lr: float = 1e-4
    """Learning rate at the start, of the network or the generators; `decay` lowers it."""
    lr_discriminator: float = 1e-4
    """The same of the discriminators."""
    betas: Sequence[float] = (0.9, 0.999)
    """Adam's, of all optimizers; Muon has a momentum of 0.95 for what it turns."""
    decay: str = "cosine"
    """How learning rates fall. `cosine`: up for 200 steps, then smoothly to a hundredth at the last step. `linear`:
    constant for one half, then straight to zero. `paper`: to a tenth after a quarter and again after a half (`neid`;
    the papers of the others have no such drops). `none`: constant."""
    clip: float = 1.0
    """Largest norm of an optimizer's gradient, which is made shorter if it is longer; 0: no limit."""
    ema: float = 0.0
    """Decay of a moving average of the weights, such as 0.999: it is then what is validated and deployed; 0: none."""
    pool: int = 50
    """The CycleGANs' image pool: how many of the generators' pictures are kept, to be shown to the discriminators
    again, so that they do not forget. Once it is full, half of the made pictures they see come from it; 0: none."""
    synth: float = 0.5
    """Share of a batch's pictures that come from darkened photos (--synth), where --data gives real pictures as well.
    With 1 all do, and --data is for validation only."""
    preset: str = MIXED
    """How photos are darkened: `paper`, `camera` or `night`, as `lowlight synth` does it, or `mixed`: `camera` and
    `night`, with some left as they are."""
    shuffle: float = 0.0
    """Share of pictures, each with its truth, whose colour channels change places: a small data set knows few pink or
    purple things."""
    loss: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Weights of the terms of the loss, by name; a term of weight 0 is left out."""
    perceptual: str = "auto"
    """What the loss's term `perceptual` compares, if it has a weight. `required`: features of VGG16. `auto`: these, or
    image gradients where its weights cannot be had. `off`: the term is left out."""
    best: str = "psnr_gtmean"
    """The score that chooses `best.safetensors`: `psnr_gtmean`, `psnr`, `ssim`, `mae`, one of them on darkened photos
    (`made_psnr`), or `loss`, the total on held-out crops. Where the score cannot be had, that of darkened photos stands
    in, and where there are none either, the loss."""
    log_every: int = 50
    """Steps from one line of means in the log to the next."""
    validate_every: int = 500
    """Steps from one validation to the next; a checkpoint is written then, too."""
    seed: int = 0
    """Of the weights at the start and of everything drawn; not of what is held out."""

    def __post_init__(self) -> None:
        for name, allowed in WORDS.items():
            if getattr(self, name) not in allowed:
                raise unfit(name, getattr(self, name), one_of(allowed))
        for names, fits, wanted in LIMITS:
            for name in names:
                if not fits(getattr(self, name)):
                    raise unfit(name, getattr(self, name), f"It takes {wanted}.")
        if len(self.betas) != 2 or not all(isinstance(beta, float | int) and 0 <= beta < 1 for beta in self.betas):
            raise unfit("betas", self.betas, "It takes two numbers from 0 to below 1.")
        for name, weight in self.loss.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise unfit(f"loss.{name}", weight, "It takes a number of 0 or more.")

    def override(self, values: Mapping[str, Any]) -> Settings:
        """A copy with other values. Mappings are merged into what is there, `loss.ssim` names one entry of `loss`.

        An unknown name is an OptionError that names the nearest one, and so is an unknown term of the loss.
        """
        for name, value in values.items():
            refuse_absurd(name, value)
        changed = dict(vars(self))
        for name, value in values.items():
            field, dot, entry = name.partition(".")
            known(field, changed, "training setting")
            value = {entry: value} if dot else value
            if field == "perceptual" and value is False:
                value = "off"  # YAML reads the bare word as false
            checked(field, value, KINDS[field])
            if isinstance(value, Mapping):
                if field == "loss":
                    for term, weight in value.items():
                        known(term, changed[field], "term of this loss")
                        checked(f"loss.{term}", weight, 1.0)
                value = {**changed[field], **value}
            changed[field] = value
        return dataclasses.replace(self, **changed)


KINDS = dict(vars(Settings()))
"""A value of each setting, of the kind that it takes; what a run's file holds may be a whole number by chance."""


def one_of(words: Sequence[str]) -> str:
    """The remedy for a word that is none of these."""
    return f"One of: {', '.join(words)}."


def unfit(name: str, value: Any, hint: str) -> OptionError:
    """The error for a value that a setting does not take."""
    return OptionError(f"{clipped(value)} is not valid for {name}.", hint)


def refuse_absurd(setting: str, value: Any) -> None:
    """An OptionError for a value that no setting has, before anything is copied or shown: tables with more than a
    thousand values (a few lines of YAML make billions), numbers of more than 64 bits, names that are not texts."""
    waiting, left = [value], MOST_VALUES
    while waiting and left >= 0:
        found = waiting.pop()
        if isinstance(found, Mapping):
            if not all(isinstance(name, str) for name in found):
                raise unfit(clipped(setting), found, "Names must be texts.")
            found = [*found.values()]
        if isinstance(found, list | tuple):
            left -= len(found)
            waiting += found[:MOST_VALUES]
        elif isinstance(found, int) and found.bit_length() > 64:
            raise unfit(clipped(setting), found, "No setting takes such a number.")
    if left < 0:
        raise OptionError(f"{clipped(setting)} has more than {MOST_VALUES} values.", "Settings have few.")


def known(name: str, names: Collection[str], what: str) -> None:
    """Refuse a name that is not among the known ones."""
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(names))}."
        raise OptionError(f"There is no {what} {clipped(name)}.", hint)


def checked(name: str, value: Any, default: Any) -> None:
    """Refuse a value of another kind than the setting has; whole numbers are numbers."""
    kinds: Any = type(default)
    if isinstance(default, float):
        kinds = (float, int)
    elif isinstance(default, Mapping):
        kinds = Mapping
    elif isinstance(default, Sequence) and not isinstance(default, str):
        kinds = (list, tuple)
    if not isinstance(value, kinds) or isinstance(value, bool):
        wanted = "a whole number" if isinstance(default, int) else f"something like {json.dumps(default, default=dict)}"
        raise unfit(name, value, one_of(WORDS[name]) if name in WORDS else f"It takes {wanted}.")


def merit(scores: Mapping[str, float], name: str) -> float | None:
    """A number that is larger for better weights: of the score that `chooser` finds; None without any."""
    found = chooser(scores, name)
    return None if found is None else SCORES.get(found.removeprefix("made_"), -1) * scores[found]


def chooser(scores: Mapping[str, float], name: str) -> str | None:
    """The score of that name, without it that on darkened photos, without either the total loss, which is the first."""
    losses = (one for one in scores if one.startswith("loss_"))
    return next((one for one in (name, f"made_{name}", *losses) if one in scores), None)


def basis(scores: Mapping[str, float], settings: Settings) -> str:
    """What the score is that chooses the best weights. Losses compare only where the loss and the crops are equal."""
    if not (chooser(scores, settings.best) or "").startswith("loss_"):
        return settings.best
    parts = ("loss", "perceptual", "discriminator", "crop")
    return json.dumps([settings.best, *(getattr(settings, part) for part in parts)], sort_keys=True, default=dict)
