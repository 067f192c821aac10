"""Pairs of low-light and normal-light pictures, decoded once and kept in memory as 8-bit integers."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture
from lowlight_cli.data.darken import darken, draw, night
from lowlight_cli.errors import NoInput, OptionError, PictureError


@dataclass(frozen=True)
class Pair:
    """Two pictures of one scene, (H, W, 3) uint8, of equal size."""

    name: str
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Pictures in `folder` by name without suffix; two of one stem are an error."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in picture.SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise PictureError(f"{folder} holds both {found[path.stem].name} and {path.name}.", "Remove one.")
            found[path.stem] = path
    return found


def matched(low: Path, high: Path) -> list[tuple[str, Path, Path]]:
    """(stem, low, high) of two folders, paired by stem, strictly: an unpaired file is an error."""
    for folder in (low, high):
        if not folder.is_dir():
            raise NoInput(f"There is no folder {folder}.", "Pairs lie in two folders, low/ and high/, by equal names.")
    lows, highs = files_by_stem(low), files_by_stem(high)
    if alone := sorted(lows.keys() ^ highs.keys()):
        raise PictureError(
            f"{len(alone)} pictures of {low} and {high} have no partner, among them {', '.join(alone[:5])}.",
            "A pair has equal names (suffixes may differ).",
        )
    if not lows:
        raise NoInput(f"There are no pictures in {low}.", "")
    return [(stem, lows[stem], highs[stem]) for stem in sorted(lows, key=natural)]


def natural(text: str) -> tuple[int, str]:
    """Sort key that puts 9 before 10."""
    return (int(text), "") if text.isdigit() else (1 << 60, text)


def eight_bit(path: Path) -> NDArray[np.uint8]:
    """Pixels of a file as (H, W, 3) uint8."""
    return picture.to_integers(picture.to_float(picture.load(path).pixels), 8)


def load_pair(stem: str, low: Path, high: Path) -> Pair:
    """Decode one pair; unequal sizes are an error."""
    pair = Pair(stem, eight_bit(low), eight_bit(high))
    if pair.low.shape != pair.high.shape:
        raise PictureError(f"{low} is {pair.low.shape[:2]}, {high} is {pair.high.shape[:2]}.", "A pair has one size.")
    return pair


def load_pairs(low: Path, high: Path) -> list[Pair]:
    """All pairs of two folders."""
    return [load_pair(*names) for names in matched(low, high)]


def photos(folder: Path) -> Iterable[tuple[str, NDArray[np.uint8]]]:
    """All pictures of a folder as (stem, (H, W, 3) uint8)."""
    for stem, path in files_by_stem(folder).items():
        yield stem, eight_bit(path)


def darkened(folder: Path, *, copies: int, seed: int, untouched: float = 0.2, nights: float = 0.3) -> list[Pair]:
    """Pairs made from normal photos: `copies` darkened versions of each.

    A share is left `untouched`: a bright picture is to stay. Another share has `nights` as targets.
    """
    pairs = []
    for number, (stem, photo) in enumerate(photos(folder)):
        for copy in range(copies):
            rng = np.random.default_rng([seed, number, copy])
            kind = rng.random()
            high, low = photo, photo
            if kind >= 1 - nights:
                target = night(picture.to_float(photo), rng)
                high = picture.to_integers(target, 8)
                low = picture.to_integers(darken(target, draw(rng, even=True)), 8)
            elif kind >= untouched:
                low = picture.to_integers(darken(picture.to_float(photo), draw(rng)), 8)
            pairs.append(Pair(f"{stem}-{copy}", low, high))
    return pairs


def split_by_scene(
    pairs: Sequence[Pair], scenes: Sequence[Sequence[object]], *, held_out: int, seed: int
) -> tuple[list[Pair], list[Pair]]:
    """(training, validation): the pairs of `held_out` scenes, drawn with `seed`, go to validation.

    `scenes` lists stems that show one scene; a pair in none of them is its own scene.
    """
    listed = [{str(stem) for stem in scene} for scene in scenes]
    known = set().union(*listed) if listed else set()
    listed += [{pair.name} for pair in pairs if pair.name not in known]
    if held_out >= len(listed):
        raise OptionError(f"{held_out} scenes cannot be held out of {len(listed)}.", "Use a smaller --held-out.")
    chosen = random.Random(seed).sample(listed, held_out)
    names = set().union(*chosen) if chosen else set()
    return [p for p in pairs if p.name not in names], [p for p in pairs if p.name in names]
