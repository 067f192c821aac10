"""How to train: a frozen record, checked field by field, in and out of YAML."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowlight_cli.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; a network's module says in `DEFAULTS` what its paper asks for."""

    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the network's `build`."""
    discriminator: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the discriminators, of recipes that have them."""
    steps: int = 10_000
    """Optimizer steps of the whole recipe; schedules stretch over them."""
    batch: int = 8
    """Pictures in a step, of all processes together."""
    accumulate: int = 1
    """Parts that a process computes its share of the batch in, one after the other, to save memory."""
    crop: int = 256
    lr: float = 1e-4
    lr_discriminator: float = 1e-4
    betas: Sequence[float] = (0.9, 0.999)
    """Adam's."""
    decay: str = "cosine"
    """`cosine`: to a hundredth at the last step. `linear`: constant for one half, then to zero. `paper`: drops to a
    tenth, where the paper says so. `none`."""
    clip: float = 1.0
    """Largest norm of the gradient; 0: no limit."""
    ema: float = 0.0
    """Decay of the moving average of weights that is deployed; 0: none."""
    pool: int = 50
    """Made pictures that discriminators may be shown again; 0: none."""
    synth: float = 1.0
    """Share of pictures drawn from darkened photos, where there are any besides real pairs."""
    preset: str = "mixed"
    """How photos are darkened: `paper`, `camera`, `night`, or `mixed` (camera and night, some left as they are)."""
    shuffle: float = 0.0
    """Share of pictures whose colour channels change places."""
    loss: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Weights of the terms of the loss, by name."""
    perceptual: str = "auto"
    """VGG16 for the perceptual term: `required`, `auto` (a stated substitute where it cannot be had) or `off`."""
    best: str = "psnr_gtmean"
    """The score that chooses `best.safetensors`; `loss` where there is no truth."""
    log_every: int = 50
    validate_every: int = 500
    """Steps; a checkpoint is written then, too."""
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {
            "decay": ("cosine", "linear", "paper", "none"),
            "preset": ("paper", "camera", "night", "mixed"),
            "perceptual": ("required", "auto", "off"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise OptionError(f"{getattr(self, name)!r} is no value for {name}.", f"One of: {', '.join(known)}.")
        for name in ("steps", "batch", "accumulate", "crop", "log_every", "validate_every"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; the least is 1.", f"For example --set {name}=8")

    def override(self, values: Mapping[str, Any]) -> Settings:
        """A copy with other values. Mappings are merged into what is there, `loss.ssim` names one entry of `loss`.

        An unknown name is an OptionError that names the nearest one, and so is an unknown term of the loss.
        """
        changed = dict(vars(self))
        for name, value in values.items():
            field, dot, entry = name.partition(".")
            known(field, changed, "training setting")
            value = {entry: value} if dot else value
            checked(field, value, changed[field])
            if isinstance(value, Mapping):
                if field == "loss":
                    for term, weight in value.items():
                        known(term, changed[field], "term of this loss")
                        checked(f"loss.{term}", weight, 1.0)
                value = {**changed[field], **value}
            changed[field] = value
        return dataclasses.replace(self, **changed)


def known(name: str, names: Collection[str], what: str) -> None:
    """Refuse a name that is not among the known ones."""
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(names))}."
        raise OptionError(f"There is no {what} {name!r}.", hint)


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
        raise OptionError(f"{value!r} is no value for {name}.", f"For example --set {name}={default!r}")
