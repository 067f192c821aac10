"""The data of one training: decoded, parted from what validates it, and drawn from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lowlight_cli.choices import MIXED, PRESETS
from lowlight_cli.data import intake, parts, scenes
from lowlight_cli.data.crops import Crops
from lowlight_cli.data.intake import Contents, Taken
from lowlight_cli.data.parts import HeldOut, Part
from lowlight_cli.data.sources import Announce, Request
from lowlight_cli.errors import NoInput, OptionError


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a training draws from, and what it is validated on."""

    crops: Crops
    validation: tuple[HeldOut, ...]
    made_validation: tuple[HeldOut, ...]
    """Darkened photos that training never sees."""
    fingerprint: dict[str, Any]
    """For the record of a run, as JSON can hold it."""
    summary: str

    def draw(self, step: int, samples: Sequence[int]) -> dict[str, Tensor]:
        """These samples of a step's batch, by their indices in it; see `training.recipe.Batch`.

        Whoever draws a sample, it is the same. Any thread may draw.
        """
        return self.crops.batch(step, samples)


def open_data(request: Request, announce: Announce) -> TrainingData:
    """Find, decode and part the data; whatever is wrong with them is said now, about all files together.

    NoInput for nothing usable and for pictures that cannot be used, `pairs.Unpaired` for those without a partner,
    OptionError for a split that is not possible and for a cache that cannot be written.
    """
    _refuse_nonsense(request)
    taken = intake.take(request, announce)
    names = _names(request, taken)
    own = parts.own(request, taken.data, names, announce) if taken.data else Part()
    made = parts.made(request, taken.photos, names, announce) if taken.photos else Part()
    apart = parts.apart(taken.validation) if taken.validation else Part()
    if request.kind != "low" and not any(part.pool and part.pool.high for part in (own, made)):
        raise NoInput(f"{request.data} holds no well-lit pictures.", "Put them in high/, or name photos with --synth.")
    validation = own.validation + apart.validation
    if request.kind == "unpaired":
        validation = parts.with_bright(validation, apart.bright or own.bright or made.bright)
    _warn_of_leak(taken, announce)
    return TrainingData(
        crops=Crops(own.pool, made.pool, request),
        validation=validation,
        made_validation=made.validation,
        fingerprint={"kind": request.kind, **_files(request, taken), **own.record, **made.record, **apart.record},
        summary="; ".join(part.summary for part in (own, made, apart) if part.summary),
    )


def _refuse_nonsense(request: Request) -> None:
    """Refuse what cannot be asked for, before any work."""
    if request.data is None and request.photos is None:
        raise NoInput("There is nothing to train on.", "Name a folder with --data, or normal photos with --synth.")
    if request.preset not in (*PRESETS, MIXED):
        raise OptionError(f"There is no preset {request.preset!r}.", f"There are {', '.join((*PRESETS, MIXED))}.")
    if isinstance(request.validation, Path) and not request.validation.exists():
        raise NoInput(f"There is no {request.validation}.", "--val takes a number of scenes, a file, or a folder.")


def _names(request: Request, taken: Taken) -> list[str] | None:
    """Names that a file holds out; None: there is no such file."""
    if not isinstance(request.validation, Path) or taken.validation:
        return None
    names = scenes.read_names(request.validation)
    groups = [taken.data.low, taken.data.bright] if taken.data else []
    there = [name for group in (*groups, taken.photos) if group for name in group.names]
    scenes.refuse_unknown(names, there, request.validation)
    return names


def _warn_of_leak(taken: Taken, announce: Announce) -> None:
    """Say that files are on both sides, where a user chose them so."""
    if taken.data and taken.validation:
        both = {*_hashes(taken.data)} & {*_hashes(taken.validation)}
        if both:
            folder = taken.validation.source.folder
            announce(f"{len(both)} files of {folder} are in the training data, too: its scores flatter.")


def _hashes(contents: Contents) -> list[str]:
    """Of all files of a source."""
    return contents.low.sha256 + (contents.high.sha256 if contents.high else [])


def _files(request: Request, taken: Taken) -> dict[str, Any]:
    """Where all files lie, how many they are, and one sha256 over their names and contents."""
    contents = [one for one in (taken.data, taken.validation) if one]
    groups = [group for one in contents for group in (one.low, one.high) if group]
    groups += [taken.photos] if taken.photos else []
    together = "\n".join(group.fingerprint for group in groups)
    return {
        "data": str(taken.data.source.folder) if taken.data else None,
        "set": taken.data.source.title if taken.data else None,
        "photos": str(request.photos) if request.photos else None,
        "files": sum(len(group) for group in groups),
        "sha256": hashlib.sha256(together.encode()).hexdigest(),
    }
