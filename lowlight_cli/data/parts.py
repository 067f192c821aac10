"""The two parts of a training's data, a user's own pictures and darkened photos, each with what is held out of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.choices import MIXED, PAPER
from lowlight_cli.data import copies, scenes
from lowlight_cli.data.cache import Pictures
from lowlight_cli.data.crops import Darkened, Kept, Pool
from lowlight_cli.data.intake import Contents
from lowlight_cli.data.sources import Announce, Request, Source
from lowlight_cli.errors import OptionError

UNKNOWN_SCENES = (
    "No scenes.json lists these pictures: each pair counts as a scene of its own (equal files aside), so that pictures "
    "of one scene may be on both sides of the split; see --scenes."
)


@dataclass(frozen=True)
class HeldOut:
    """A picture for validation: (H, W, 3) uint8 that cannot be written to, with its truth if there is one."""

    name: str
    low: NDArray[np.uint8]
    high: NDArray[np.uint8] | None
    bright: NDArray[np.uint8] | None = None
    """A well-lit picture of another scene, where unpaired training has no truth: for its losses, never for scores."""

    def for_losses(self) -> HeldOut:
        """The same with `bright` where there is no truth, as the losses of unpaired training take it."""
        return self if self.high is not None else dataclasses.replace(self, high=self.bright)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is drawn from, what is held out, a word on both, and what a run's record says of it."""

    pool: Pool | None = None
    validation: tuple[HeldOut, ...] = ()
    bright: tuple[NDArray[np.uint8], ...] = ()
    """Well-lit pictures that are held out and no truth of `validation`."""
    summary: str = ""
    record: dict[str, Any] = field(default_factory=dict)


def apart(contents: Contents) -> Part:
    """Pictures that were given for validation alone."""
    folder = contents.source.folder
    validation = tuple(_held_out(contents, number) for number in range(len(contents.low)))
    record = {"validation": str(folder), "validated": len(validation)}
    told = f"{len(validation)} of {folder} to validate on"
    bright = tuple(contents.bright[number] for number in range(len(contents.bright))) if contents.bright else ()
    return Part(validation=validation, bright=bright, summary=told, record=record)


def own(request: Request, data: Contents, names: Collection[str] | None, announce: Announce) -> Part:
    """A user's own pictures; `names` are held out, None: `request.validation` scenes are, if it is a number."""
    groups = _groups(request, data, announce)
    held = _chosen(request, groups, data, names, announce)
    left = [number for number in range(len(data.low)) if number not in held]
    if not left:
        raise OptionError("All pictures are held out: none is left to train on.", "Hold out fewer with --val.")
    count = sum(group[0] in held for group in groups)
    bright = _chosen_bright(request, data, names) if data.bright else []
    record = {"training": len(left), "held_out_scenes": count, "held_out": [data.low.names[n] for n in sorted(held)]}
    if data.bright:
        record["training_bright"] = len(data.bright) - len(bright)
        record["held_out_bright"] = [data.bright.names[number] for number in bright]
    return Part(
        pool=_pool(request, data, left, bright),
        validation=tuple(_held_out(data, number) for number in sorted(held)),
        bright=tuple(data.bright[number] for number in bright) if data.bright else (),
        summary=_told(data, len(held), count, len(bright)),
        record=record,
    )


def _told(data: Contents, held: int, scenes_held: int, bright: int) -> str:
    """How many pictures there are, and how many of them are held out."""
    left, where = len(data.low) - held, f"from {data.source.folder} ({data.source.title})"
    if data.bright:
        told = f"{left} dark and {len(data.bright) - bright} bright pictures {where}"
        return f"{told}, {held} dark and {bright} bright held out" if held or bright else told
    what = "pairs" if data.source.paired else "dark pictures"
    told = f"{left} {what} {where}"
    return f"{told}, {scenes_held} scenes ({held} {what}) held out" if held else told


def _groups(request: Request, data: Contents, announce: Announce) -> scenes.Groups:
    """The data by scene; equal files show one scene."""
    path = request.scenes or _beside(data.source, scenes.SCENES)
    listed = scenes.read_scenes(path) if path else []
    if path is None and (path := _beside(data.source, scenes.RECORDS)):
        listed = scenes.of_photos(path)
    hits = {name for scene in listed for name in scene} & {scenes.plain(name) for name in data.low.names}
    if request.scenes and not hits:
        raise OptionError(f"{path} names no picture of {data.source.folder}.", "Its names are those of files.")
    if path and hits:
        announce(f"Scenes from {path}.")
    elif _drawn_by_number(request, data):
        announce(UNKNOWN_SCENES)
    alike = [data.low.sha256, *([data.high.sha256] if data.high and data.source.paired else [])]
    return scenes.grouped(data.low.names, listed, alike)


def _drawn_by_number(request: Request, data: Contents) -> bool:
    """Whether what is held out are scenes of pairs that nobody named."""
    by_number = not isinstance(request.validation, Path) and request.validation != 0
    return by_number and data.source.paired and len(data.low) > 1


def _beside(source: Source, name: str) -> Path | None:
    """The file of that name in or beside a data folder."""
    inside = [folder for folder in source.low[0].path.parents if source.folder in folder.parents]
    folders = [source.folder, *inside, source.folder.absolute().parent]
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def _chosen(
    request: Request, groups: scenes.Groups, data: Contents, names: Collection[str] | None, announce: Announce
) -> set[int]:
    """Numbers of the pictures that are held out, scene by scene."""
    if names is None:
        return set() if isinstance(request.validation, Path) else scenes.drawn(groups, request.validation)
    held = scenes.named(groups, data.low.names, names)
    wanted = {scenes.plain(name) for name in names}
    if others := [name for n in sorted(held) if scenes.plain(name := data.low.names[n]) not in wanted]:
        announce(f"Held out besides, for they show the same scenes: {', '.join(others)}.")
    return held


def _chosen_bright(request: Request, data: Contents, names: Collection[str] | None) -> list[int]:
    """Numbers of the well-lit pictures of other scenes that are held out; none where a folder validates."""
    groups = scenes.grouped(data.bright.names, (), [data.bright.sha256])
    if isinstance(request.validation, Path):
        if names is None:
            return []
        return sorted(scenes.named(groups, data.bright.names, names) or scenes.drawn_bright(groups, None))
    return sorted(scenes.drawn_bright(groups, request.validation))


def with_bright(validation: Sequence[HeldOut], bright: Sequence[NDArray[np.uint8]]) -> tuple[HeldOut, ...]:
    """Pictures without a truth, each with one of `bright`, in turn; an error where there is none."""
    if not bright and any(shown.high is None for shown in validation):
        raise OptionError(
            "No bright picture can be held out beside the dark ones that validate.",
            "Add some (to the folder of --val, if you name one), or train without validation: --val 0.",
        )
    return tuple(
        shown if shown.high is not None else dataclasses.replace(shown, bright=bright[number % len(bright)])
        for number, shown in enumerate(validation)
    )


def _held_out(contents: Contents, number: int) -> HeldOut:
    """A picture with its truth, if the source has pairs."""
    truth = contents.high[number] if contents.high and contents.source.paired else None
    return HeldOut(contents.low.names[number], contents.low[number], truth)


def _pool(request: Request, data: Contents, left: Sequence[int], bright: Collection[int]) -> Pool:
    """What is drawn of a user's own pictures; `bright` are held out, of those that are not a truth."""
    high = None
    if data.high and request.kind != "low":
        unseen = [number for number in range(len(data.high)) if number not in bright]
        if not unseen:
            raise OptionError("All bright pictures are held out: none is left to train on.", "Name fewer in --val.")
        high = _kept(data.high, left if data.source.paired else unseen, request)
    return Pool(_kept(data.low, left, request), high, data.source.paired)


def _kept(pictures: Pictures, numbers: Collection[int], request: Request) -> Kept:
    """Some pictures, with thumbnails."""
    return Kept(pictures, np.array([*numbers], np.intp), pictures.thumbnails(request.thumbnail))


@dataclass(frozen=True)
class Copies:
    """Darkened copies of photos: number `lows[i]` of `low` is to become number `highs[i]` of `high`."""

    low: Pictures
    lows: Sequence[int]
    high: Pictures
    highs: Sequence[int]


def made(request: Request, photos: Pictures, names: Collection[str] | None, announce: Announce) -> Part:
    """Darkened photos; whole photos are held out, those in `names` if there are any."""
    held = _held_photos(request, photos, names)
    held_files = {photos.sha256[number] for number in held}
    left = [number for number in range(len(photos)) if photos.sha256[number] not in held_files]
    if not left:
        raise OptionError("All photos are held out: none is left to train on.", "Hold out fewer with --val.")
    if request.preset == PAPER:  # it treats each pixel alone: no copies are needed
        low: Kept = Darkened(photos, np.array(left, np.intp), photos.thumbnails(request.thumbnail))
        high, told = _kept(photos, left, request), f"{len(left)} photos, darkened for each crop"
    else:
        # All photos: another choice of what is held out makes no copies anew.
        jobs = [(number, copy) for number in range(len(photos)) for copy in range(request.copies)]
        copied, wanted = _copied(request, photos, jobs, request.seed, announce), {*left}
        drawn = [index for index, (number, _) in enumerate(jobs) if number in wanted]
        low = _kept(copied.low, [copied.lows[index] for index in drawn], request)
        high = _kept(copied.high, [copied.highs[index] for index in drawn], request)
        told = f"{len(drawn)} darkened copies of {len(left)} photos"
    validation = _shown(request, photos, held, announce)
    return Part(
        pool=Pool(low, None if request.kind == "low" else high, True),
        validation=validation,
        bright=tuple(shown.high for shown in validation if shown.high is not None),
        summary=f"{told} ({request.preset}) from {request.photos}, {len(held)} photos held out",
        record={
            "preset": request.preset,
            "darkened": len(low),
            "darkening": copies.VERSION,
            "held_out_photos": [photos.names[n] for n in held],
        },
    )


def _held_photos(request: Request, photos: Pictures, names: Collection[str] | None) -> list[int]:
    """Numbers of the photos that are held out."""
    wanted = {scenes.plain(name) for name in names or ()}
    if chosen := [number for number, name in enumerate(photos.names) if scenes.plain(name) in wanted]:
        return chosen
    return [] if request.validation == 0 else [*scenes.last_photos(len(photos))]


def _shown(request: Request, photos: Pictures, held: Sequence[int], announce: Announce) -> tuple[HeldOut, ...]:
    """One darkened copy of each photo that is held out, the same whatever the seed of the training."""
    if not held:
        return ()
    copied = _copied(request, photos, [(number, 0) for number in held], scenes.SPLIT_SEED, announce, "held out")
    places = zip(held, copied.lows, copied.highs, strict=True)
    return tuple(HeldOut(photos.names[number], copied.low[low], copied.high[high]) for number, low, high in places)


def _copied(
    request: Request, photos: Pictures, jobs: Sequence[tuple[int, int]], seed: int, announce: Announce, *use: str
) -> Copies:
    """Darkened copies by (number of the photo, number of the copy), made now or before. Those of one `use` take the
    place of each other in the cache."""
    pictures = copies.darkened(
        request.cache,
        photos,
        jobs,
        preset=request.preset,
        seed=seed,
        place=[str(request.photos.absolute()) if request.photos else "", *use],
        announce=announce,
    )
    if request.preset == MIXED:
        both = range(2 * len(jobs))
        return Copies(pictures, both[::2], pictures, both[1::2])
    return Copies(pictures, range(len(jobs)), photos, [number for number, _ in jobs])
