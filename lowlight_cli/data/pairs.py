"""Pairs of low-light and normal-light pictures, decoded once and kept in memory as 8-bit integers."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture
from lowlight_cli.data.darken import PRESETS, Pixels, nightfall, relit
from lowlight_cli.errors import NO_INPUT, NoInput, OptionError, PictureError


class Unpaired(PictureError):
    """Files that cannot be told apart or have no partner: found before any work, so it ends as NoInput does."""

    exit_code = NO_INPUT


@dataclass(frozen=True)
class Pair:
    """Two pictures of one scene, (H, W, 3) uint8, of equal size."""

    name: str
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]


def files_by_stem(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Pictures in `folder` by name without suffix, and without `prefix`; two of one stem are an error."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in picture.SUFFIXES and not path.name.startswith("."):
            stem = path.stem.removeprefix(prefix)
            if stem in found:
                raise Unpaired(f"{folder} holds both {found[stem].name} and {path.name}.", "Remove one.")
            found[stem] = path
    return found


def matched(low: Path, high: Path, prefixes: tuple[str, str] = ("", "")) -> list[tuple[str, Path, Path]]:
    """(stem, low, high) of two folders, paired by stem, strictly: an unpaired file is an error."""
    for folder in (low, high):
        if not folder.is_dir():
            raise NoInput(f"There is no folder {folder}.", "Pairs lie in two folders, low/ and high/, by equal names.")
    lows, highs = files_by_stem(low, prefixes[0]), files_by_stem(high, prefixes[1])
    if alone := sorted(lows.keys() ^ highs.keys()):
        files = ", ".join(str(lows.get(stem) or highs[stem]) for stem in alone[:5])
        lack = "1 picture has" if len(alone) == 1 else f"{len(alone)} pictures have"
        raise Unpaired(
            f"{lack} no partner, among them {', '.join(alone[:5])} ({files}).",
            "A pair has equal names (suffixes may differ).",
        )
    if not lows:
        raise NoInput(f"There are no pictures in {low}.", "")
    return [(stem, lows[stem], highs[stem]) for stem in sorted(lows, key=natural)]


def natural(text: str) -> tuple[int, str]:
    """Sort key that puts 9 before 10."""
    return (int(text), "") if text.isdecimal() else (1 << 60, text)


def eight_bit(path: Path, *, max_pixels: int = picture.MAX_PIXELS) -> NDArray[np.uint8]:
    """Pixels of a file as (H, W, 3) uint8."""
    return picture.to_integers(picture.to_float(picture.load(path, max_pixels=max_pixels).pixels), 8)


def load_pair(stem: str, low: Path, high: Path, *, max_pixels: int = picture.MAX_PIXELS) -> Pair:
    """Decode one pair; unequal sizes are an error."""
    pair = Pair(stem, *(eight_bit(path, max_pixels=max_pixels) for path in (low, high)))
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


def darkened(folder: Path, *, copies: int, seed: int) -> list[Pair]:
    """Pairs made from normal photos: `copies` darkened versions of each."""
    pairs = []
    for number, (stem, photo) in enumerate(photos(folder)):
        for copy in range(copies):
            low, high = made_pair(picture.to_float(photo), np.random.default_rng([seed, number, copy]))
            pairs.append(Pair(f"{stem}-{copy}", picture.to_integers(low, 8), picture.to_integers(high, 8)))
    return pairs


UNTOUCHED, NIGHTS, RELIT = 0.15, 0.25, 0.6
"""Shares of pairs with nothing to do (a bright picture is to stay) and with a night picture as target; share of
photos that are put under coloured light first."""
CAREFUL = {"balance": (0.98, 1.02)}
"""Whoever corrects a white balance that cannot be known turns every evening grey."""


def made_pair(photo: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """(low, high) from one normal photo."""
    kind, high = rng.random(), relit(photo, rng) if rng.random() < RELIT else photo
    if kind < UNTOUCHED:
        return high, high
    if kind < UNTOUCHED + NIGHTS:
        target = nightfall(photo, rng)
        preset = PRESETS["camera"].with_ranges({**CAREFUL, "stops": (0.5, 3.5)})
        return preset.draw(rng, preset.ranges).darken(target), target
    preset = PRESETS["camera" if rng.random() < 0.4 else "night"].with_ranges(CAREFUL)
    return preset.draw(rng, preset.ranges).darken(high), high


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
