"""Data sets on this disk: found under a folder, paired by name, and compared with what a model was trained on."""

from __future__ import annotations

import difflib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture, weights
from lowlight_cli.data import pairs
from lowlight_cli.data.catalog import SETS, DataSet, Layout, Split
from lowlight_cli.errors import NoInput, OptionError, reason_of
from lowlight_cli.inputs import natural
from lowlight_cli.places import expanded

VARIABLE = "LOWLIGHT_DATA"
"""Names the folder of the data sets, in place of --root."""


class Item(NamedTuple):
    """One picture of a set, with its truth if there is one. `name` is what the two files' names have in common."""

    name: str
    low: Path
    high: Path | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """One split of a set on this disk, in natural order."""

    data: DataSet
    split: str
    folders: tuple[Path, ...]
    items: tuple[Item, ...]
    notices: tuple[str, ...]
    """What a user must be told: pictures are missing, or there are too many."""


def lookup(name: str) -> DataSet:
    """The set of that name or folder, however it is spelled (`lolv2real`, `FiveK`); an unknown one is an error."""
    word = _squashed(name)
    known: dict[str, list[str]] = {}
    for data in SETS.values():
        for other in dict.fromkeys(map(_squashed, (data.name, *data.homes))):
            known.setdefault(other, []).append(data.name)
    known |= {_squashed(data): [data] for data in SETS}
    if len(found := known.get(word, ())) == 1:
        return SETS[found[0]]
    near = found or [name for close in difflib.get_close_matches(word, known, n=1) for name in known[close]]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known sets: {', '.join(SETS)}."
    raise OptionError(f"No data set is called {name!r}.", hint)


def _squashed(name: str) -> str:
    """A name without what people spell in many ways."""
    return re.sub(r"[\W_]", "", name).casefold()


def data_root(root: Path | None = None) -> Path:
    """The folder of the data sets: `root`, else `LOWLIGHT_DATA`, else where downloads go."""
    named = root or Path(os.environ.get(VARIABLE) or weights.home() / "data")
    try:
        return expanded(named)
    except OptionError as error:
        hint = f"Name the folder of the data sets with {_ways(root)}."
        raise NoInput(f"There is no folder {named}: nobody here has that name.", hint) from error


def find(name: str, root: Path | None = None, split: str = "test") -> Found:
    """The pictures of a split under `root`, which may be the set's own folder, one in it, or one that holds many sets.

    Nothing there is a NoInput that says where it was looked for. A picture without its partner, or two of one name,
    is an Unpaired.
    """
    data, top = lookup(name), data_root(root)
    if data.parts:
        return _together(data, split, [find(part, root, split) for part in data.parts])
    chosen = _split(data, split)
    if not top.is_dir():
        raise NoInput(f"There is no folder {top}.", f"Name the folder of the data sets with {_ways(root)}.")
    alone = []
    try:
        for layout, low, high in _places(data, chosen, top):
            if not _is_set(data, low):
                continue
            if high is None or high.is_dir():
                items = _items(data, layout, low, high)
                notices = _count(f"{data.name} {split}", chosen, len(items))
                return Found(
                    data=data, split=split, folders=(low, high) if high else (low,), items=items, notices=notices
                )
            alone.append(f" There is {low}, but no {high}.")
    except OSError as error:
        raise NoInput(f"{error.filename} cannot be read: {reason_of(error)}.", "Check its permissions.") from error
    raise _not_found(data, split, root, "".join(alone[:1]))


def load(item: Item, *, max_pixels: int = picture.MAX_PIXELS) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """An item's dark picture and its truth, (H, W, 3); unequal sizes are a PictureError."""
    if item.high is None:
        return pairs.eight_bit(item.low, max_pixels=max_pixels), None
    pair = pairs.load_pair(*item, max_pixels=max_pixels)
    return pair.low, pair.high


def _split(data: DataSet, split: str) -> Split:
    """A set's split, or an error that names those it has."""
    if split not in data.splits:
        raise OptionError(f"{data.name} has no split {split!r}.", f"It has: {', '.join(data.splits)}.")
    return data.splits[split]


def _together(data: DataSet, split: str, parts: Sequence[Found]) -> Found:
    """A set from its parts; names are told apart by the part's own, as in `Huawei-2131`."""
    items = [
        item._replace(name=f"{part.data.name.removeprefix(data.name).strip('-')}-{item.name}")
        for part in parts
        for item in part.items
    ]
    return Found(
        data=data,
        split=split,
        folders=tuple(folder for part in parts for folder in part.folders),
        items=tuple(items),
        notices=tuple(notice for part in parts for notice in part.notices),
    )


def _places(data: DataSet, split: Split, root: Path) -> Iterator[tuple[Layout, Path, Path | None]]:
    """The folders of every layout that may lie under `root`, there or not, those without a home first."""
    bare = [("", layout) for layout in split.layouts if layout.bare]
    for home, layout in [*bare, *itertools.product(data.homes, split.layouts)]:
        low, high = PurePosixPath(home, layout.low).parts, PurePosixPath(home, layout.high).parts
        same = itertools.takewhile(lambda names: names[0] == names[1], zip(low, high, strict=False))
        shared = len(list(same)) if layout.high else len(low)
        for inside in range(shared + 1):
            if _folded(root.parts[len(root.parts) - inside :]) == _folded(low[:inside]):
                yield layout, _spelled(root, low[inside:]), _spelled(root, high[inside:]) if layout.high else None


def _folded(parts: Sequence[str]) -> list[str]:
    """Names by which folders are compared."""
    return [part.casefold() for part in parts]


def _spelled(folder: Path, parts: Iterable[str]) -> Path:
    """A folder below another, in the spelling it has there."""
    for part in parts:
        if not (folder / part).is_dir() and folder.is_dir():
            alike = (path for path in sorted(folder.iterdir()) if path.name.casefold() == part.casefold())
            folder = next((path for path in alike if path.is_dir()), folder / part)
        else:
            folder /= part
    return folder


def _is_set(data: DataSet, low: Path) -> bool:
    """Whether a folder holds dark pictures of that set."""
    marked = not data.marker or any((folder / data.marker).is_file() for folder in low.parents[:2])
    return marked and low.is_dir() and bool(pairs.files_by_stem(low))


def _items(data: DataSet, layout: Layout, low: Path, high: Path | None) -> tuple[Item, ...]:
    """The pictures of two folders, paired; of one folder, alone."""
    if high is None:
        items = [Item(stem, path, None) for stem, path in pairs.files_by_stem(low).items()]
    else:
        items = [Item(*names) for names in pairs.matched(low, high, prefixes=data.prefixes)]
    if layout.numbers is not None:
        items = [item for item in items if int((re.findall(r"\d+", item.name) or "0")[0]) in layout.numbers]
        if not items:
            raise NoInput(f"{low} has no numbers from {layout.numbers[0]} to {layout.numbers[-1]}.", data.note)
    return tuple(sorted(items, key=lambda item: natural(Path(item.name))))


def _count(what: str, split: Split, found: int) -> tuple[str, ...]:
    """A notice where the number of pictures is not a published one."""
    if not split.counts or found in split.counts:
        return ()
    return (f"{what}: {' or '.join(map(str, split.counts))} pictures expected, {found} found.",)


def _ways(root: Path | None) -> str:
    """How to name the folder; not the variable, over which a `root` that was given goes."""
    return f"--root or {VARIABLE}" if root is None else "--root"


def _not_found(data: DataSet, split: str, root: Path | None, alone: str) -> NoInput:
    """The error that says where a set was looked for."""
    layouts = data.splits[split].layouts
    beside = f" beside {data.marker}" if data.marker else ""
    message = f"There are no {split} pictures of {data.name} in {data_root(root)}."
    if bare := [str(layout) for layout in layouts if layout.bare]:
        message += f" Looked for {', '.join(bare)}{beside}."
    if data.homes:
        message += f" Looked in the folders {', '.join(data.homes)} for {', '.join(map(str, layouts))}."
    fetch = f" `lowlight benchmark --dataset {data.name} --download` fetches it." if data.archive else ""
    return NoInput(f"{message}{alone}", f"Name the folder with {_ways(root)}.{fetch}")


SAME = "The model was trained on these very pictures."
OVERLAPS: Mapping[tuple[str, str], str] = {
    ("LOL/train", "LOL/test"): "14 of its 15 pictures show a scene of the training data, as in every paper.",
    ("LOL/train", "LOL-v2-real/test"): "Most of its 100 pictures are in the training data: this is not a test.",
    ("LOL/train", "LOL-v2-real/train"): "LOL is a part of LOL-v2-real: many of its pictures are in the training data.",
    ("LOL-v2-real/train", "LOL/test"): "12 of its 15 pictures, by their numbers, are in the training data: "
    "this is not a test.",
    ("LOL-v2-real/train", "LOL/train"): "LOL is a part of LOL-v2-real: most of its pictures are in the training data.",
    **dict.fromkeys(
        [
            ("Brightening/test", "LOL-v2-syn/test"),
            ("Brightening/test", "LOL-v2-syn/train"),
            ("LOL-v2-syn/train", "Brightening/test"),
        ],
        "Both it and the training data are 1000 pairs made from RAISE photos: they may share pictures.",
    ),
}
"""(trained on, scored on): what a report says."""


def overlaps(training: str | Iterable[str] | Mapping[str, Any], name: str, split: str = "test") -> str | None:
    """What a report must say of a set's figures, given what the model was trained on; None: nothing is known.

    `training` names splits as `LOL/train`: one, several, or a manifest row's `training` under its key `sets`.
    """
    trained = training.get("sets", ()) if isinstance(training, Mapping) else training
    data = lookup(name)
    if not data.paper:  # everybody's own
        return None
    ones = [part for one in ([trained] if isinstance(trained, str) else trained) for part in _parts(one)]
    others = _parts(f"{data.name}/{split}")
    said = dict.fromkeys(SAME if one == other else OVERLAPS.get((one, other)) for other in others for one in ones)
    sentences = [sentence for sentence in said if sentence]
    return f"{data.name} {split}: {' '.join(sentences)}" if sentences else None


def _parts(name: str) -> list[str]:
    """`LSRW/test` as its parts; other names alone. A set with one split is the same whatever the split is called."""
    data_name, _, split = name.partition("/")
    data = SETS.get(data_name)
    if data is None:
        return [name]
    names = data.parts or (data_name,)
    return [f"{part}/{split if len(SETS[part].splits) > 1 else 'test'}" for part in names]
