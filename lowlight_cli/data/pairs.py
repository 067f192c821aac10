"""Pairs of low-light and normal-light pictures: found by name, decoded to 8-bit integers, made from photos."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture
from lowlight_cli.choices import CAMERA, NIGHT
from lowlight_cli.data.darken import PRESETS, Pixels, nightfall, relit
from lowlight_cli.data.lights import beyond_white, with_lamps
from lowlight_cli.errors import NO_INPUT, NoInput, PictureError
from lowlight_cli.inputs import natural

SWAPPED = "The dark pictures are brighter than the others, on the whole: are low/ and high/ swapped?"


class Unpaired(PictureError):
    """Files that cannot be told apart or have no partner: found before any work, so it ends as NoInput does."""

    exit_code = NO_INPUT


@dataclass(frozen=True)
class Pair:
    """Two pictures of one scene, (H, W, 3) uint8, of equal size."""

    name: str
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, not those below, in natural order."""
    named = (path for path in folder.iterdir() if path.suffix.lower() in picture.SUFFIXES)
    files = (path for path in named if not path.name.startswith(".") and not path.is_dir())
    return sorted(files, key=lambda path: natural(Path(path.name)))


def files_by_stem(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Pictures in `folder` by name without suffix, and without `prefix`; two of one stem are an error."""
    found: dict[str, Path] = {}
    for path in pictures_in(folder):
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
    return [(stem, lows[stem], highs[stem]) for stem in sorted(lows, key=lambda stem: natural(Path(stem)))]


def eight_bit(source: Path | bytes, *, max_pixels: int = picture.MAX_PIXELS) -> NDArray[np.uint8]:
    """Pixels of a file, or of a file's content, as (H, W, 3) uint8."""
    pixels = picture.load(source, max_pixels=max_pixels).pixels
    return pixels if pixels.dtype == np.uint8 else picture.to_integers(picture.to_float(pixels), 8)


def load_pair(stem: str, low: Path, high: Path, *, max_pixels: int = picture.MAX_PIXELS) -> Pair:
    """Decode one pair; unequal sizes are an error."""
    pair = Pair(stem, *(eight_bit(path, max_pixels=max_pixels) for path in (low, high)))
    if pair.low.shape != pair.high.shape:
        (height, width), (high_height, high_width) = pair.low.shape[:2], pair.high.shape[:2]
        told = f"{low} is {width}x{height}, {high} is {high_width}x{high_height}."
        raise PictureError(told, "A pair has one size.")
    return pair


UNTOUCHED, NIGHTS, RELIT = 0.15, 0.25, 0.6
"""Shares of pairs with nothing to do (a bright picture is to stay) and with a night picture as target; share of
photos that are put under coloured light first."""
LAMPS, WHITES = 0.35, 0.25
"""Shares of the others in which things shine that are far brighter than white, or whose whites were."""
SMEARED, SHARPENED, ZOOMED = 0.35, 0.35, 0.3
"""Shares whose grain the camera smeared, whose edges it sharpened, and that were enlarged, grain and all."""
CAREFUL = {"balance": (0.98, 1.02)}
"""Whoever corrects a white balance that nobody can know turns every evening grey."""


def made_pair(photo: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """(low, high) from one normal photo."""
    kind, high = rng.random(), relit(photo, rng) if rng.random() < RELIT else photo
    if kind < UNTOUCHED:
        return high, high
    if kind < UNTOUCHED + NIGHTS:
        high = nightfall(photo, rng)
        preset = PRESETS[CAMERA].with_ranges({**CAREFUL, "stops": (0.5, 3.5)})
    else:
        preset = PRESETS[CAMERA if rng.random() < 0.4 else NIGHT].with_ranges(CAREFUL)
    how = dataclasses.replace(
        preset.draw(rng, preset.ranges),
        smearing=float(rng.uniform(0.3, 1.0)) if rng.random() < SMEARED else 0.0,
        sharpening=float(rng.uniform(0.2, 1.0)) if rng.random() < SHARPENED else 0.0,
    )
    shining, beyond = rng.random(), 1.0
    if shining < LAMPS:
        high, beyond = with_lamps(high, how.exposure(high), how.stops + 1.5, rng)
    elif shining < LAMPS + WHITES:
        beyond = beyond_white(high, rng)
    low = how.darken(high, beyond)
    return zoomed(low, high, rng) if rng.random() < ZOOMED else (low, high)


def zoomed(low: Pixels, high: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """The same part of both, at the size of the whole: grain as coarse as in an enlarged picture."""
    (height, width), factor = high.shape[:2], rng.uniform(1.2, 2.0)
    rows, columns = (max(1, round(side / factor)) for side in (height, width))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    parts = (side[top : top + rows, left : left + columns] for side in (low, high))
    low, high = (cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1) for part in parts)
    return low, high
