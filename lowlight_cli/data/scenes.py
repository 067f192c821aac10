"""Which pictures are held out of training: whole scenes, or those that a user names."""

from __future__ import annotations

import difflib
import json
import random
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from lowlight_cli import jsonl, regular
from lowlight_cli.errors import OptionError, reason_of
from lowlight_cli.plausible import clipped

SCENES = "scenes.json"
"""The file in or beside a data folder that lists its scenes."""
LARGEST = 10_000_000
"""Bytes of a file of scenes or names."""
RECORDS = "synth.jsonl"
"""The file in which `lowlight synth` keeps a line a pair."""
SPLIT_SEED = 0
"""Of what is held out. It is not the seed of the training: runs with several seeds are to be compared."""
MOST_SCENES, SHARE_OF_SCENES = 20, 0.2
"""Scenes held out where nobody says how many."""
MOST_PHOTOS, SHARE_OF_PHOTOS = 10, 0.05
"""Photos held out."""

Groups = list[list[int]]
"""Indices of pictures of one scene each; every picture is in just one."""


def read_scenes(path: Path) -> list[list[str]]:
    """Lists of names that show one scene, from a JSON file."""
    try:
        content = json.loads(regular.read(path, LARGEST).decode())
        if isinstance(content, dict):
            content = content["our485_scenes"] if "our485_scenes" in content else content["scenes"]
        return [[plain(str(name)) for name in _listed(scene)] for scene in _listed(content)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise OptionError(
            f"{path} cannot be read as scenes: {why(error)}.", 'It holds {"scenes": [[2], [5, 6]]}.'
        ) from error


def of_photos(path: Path) -> list[list[str]]:
    """Lists of names that show one scene, from the records of `lowlight synth`: pairs of one photo do."""
    try:
        regular.refuse_others(path)
        records = [*jsonl.read(path.read_bytes())]
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {why(error)}.", "Name another list with --scenes.") from error
    found: dict[str, list[str]] = {}
    for record in records:
        name, photo = record.get("name"), record.get("photo_sha256")
        if isinstance(name, str) and isinstance(photo, str):
            found.setdefault(photo, []).append(plain(Path(name).stem))
    return [*found.values()]


def why(error: Exception) -> str:
    """What an error says; not the whole text that it is about."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not text ({error.reason})"
    return reason_of(error) if isinstance(error, OSError) else clipped(error)


def _listed(content: object) -> list[object]:
    """The content itself, if it is a list."""
    if not isinstance(content, list):
        raise TypeError(f"{content!r} is not a list")
    return content


def plain(name: str) -> str:
    """A name by which pictures are compared: a number without zeros before it."""
    return str(int(name)) if name.isdecimal() and len(name) < 1000 else name


def read_names(path: Path) -> list[str]:
    """Names from a file: a JSON list, or one a line."""
    try:
        text = regular.read(path, LARGEST).decode("utf-8-sig")
        names = [str(name) for name in _listed(json.loads(text))] if text.lstrip().startswith("[") else text.split("\n")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise OptionError(f"{path} cannot be read as names: {why(error)}.", "Write one name a line.") from error
    if not (found := [name.strip() for name in names if name.strip()]):
        raise OptionError(f"{path} names no picture.", "Write one name a line.")
    return found


def grouped(names: Sequence[str], scenes: Iterable[Iterable[str]], alike: Iterable[Sequence[str]] = ()) -> Groups:
    """Pictures by scene: those in `scenes` first, in its order; one in none of them is its own scene.

    `alike` are columns of hashes, one of each picture: pictures with a common one show one scene, too.
    """
    leader = list(range(len(names)))

    def root(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    def join(index: int, other: int) -> None:
        first, second = sorted((root(index), root(other)))
        leader[second] = first

    at: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        at.setdefault(plain(name), []).append(index)
    scene_of: dict[str, int] = {}
    for number, scene in enumerate(scenes):
        members = [index for name in scene for index in at.get(name, ())]
        for index in members:
            scene_of.setdefault(plain(names[index]), number)
            join(members[0], index)
    for column in (names, *alike):
        first_of: dict[object, int] = {}
        for index, value in enumerate(column):
            join(first_of.setdefault(value, index), index)
    groups: dict[int, list[int]] = {}
    for index in range(len(names)):
        groups.setdefault(root(index), []).append(index)
    return sorted(groups.values(), key=lambda group: (scene_of.get(plain(names[group[0]]), len(names)), group[0]))


def drawn(groups: Groups, count: int | None) -> set[int]:
    """The pictures of `count` scenes, always the same ones; None: of twenty, and of a fifth where scenes are few."""
    if count is None:
        count = min(MOST_SCENES, max(1, round(SHARE_OF_SCENES * len(groups))))
    if not 0 <= count < len(groups):
        hint = f"--val takes 0 to {len(groups) - 1}; 0 trains without validation."
        if len(groups) == 1:
            hint = "Add pictures of other scenes, or train without validation: --val 0."
        raise OptionError(f"{count} scene(s) cannot be held out of {len(groups)}.", hint)
    return {index for group in random.Random(SPLIT_SEED).sample(groups, count) for index in group}


def drawn_bright(groups: Groups, count: int | None) -> set[int]:
    """Well-lit pictures held out beside `count` scenes of dark ones: no more than that, nor than a fifth; the last
    one is left to train on."""
    if len(groups) < 2 or count == 0:
        return set()
    share = max(1, round(SHARE_OF_SCENES * len(groups)))
    return drawn(groups, min(MOST_SCENES if count is None else count, share))


def named(groups: Groups, names: Sequence[str], wanted: Collection[str]) -> set[int]:
    """The pictures with one of these names, and all others of their scenes."""
    chosen = {plain(name) for name in wanted}
    return {index for group in groups if any(plain(names[i]) in chosen for i in group) for index in group}


def refuse_unknown(wanted: Iterable[str], names: Iterable[str], where: Path) -> None:
    """Refuse names that no picture has."""
    known = {plain(name): name for name in names}
    for name in wanted:
        if plain(name) not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {known[near[0]]!r}?" if near else "Names are those of files, without suffix."
            raise OptionError(f"{where} names {name!r}, and there is no such picture.", hint)


def last_photos(count: int) -> range:
    """Which of `count` photos are held out: the last, since a series of shots has names in a row."""
    held = min(MOST_PHOTOS, max(1, round(SHARE_OF_PHOTOS * count))) if count > 1 else 0
    return range(count - held, count)
