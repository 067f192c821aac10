"""Darkened versions of photos: made beforehand into the cache, or for each crop anew."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli import memory, picture
from lowlight_cli.choices import MIXED
from lowlight_cli.data.cache import Decoded, Entry, Pictures, obtain, writing
from lowlight_cli.data.darken import PRESETS, Paper
from lowlight_cli.data.pairs import made_pair
from lowlight_cli.errors import OptionError
from lowlight_cli.machine import cores

VERSION = 3
"""Of the code that darkens; copies of other versions are made anew."""
BYTES_A_PIXEL = 200
"""Memory that darkening takes, measured."""


def darkened(
    cache: Path,
    photos: Pictures,
    jobs: Sequence[tuple[int, int]],
    *,
    preset: str,
    seed: int,
    place: Sequence[object],
    announce: Callable[[str], None],
) -> Pictures:
    """A darkened version of photo `number` for every job (number, copy), in their order.

    `mixed` gives two pictures a job, the darkened one and what it is to become; of others that is the photo.
    """

    def work(job: tuple[int, int]) -> list[Decoded]:
        number, copy = job
        made = made_from(photos[number], preset, np.random.default_rng([seed, number, copy]))
        return [Decoded(f"{photos.names[number]}-{copy}", pixels) for pixels in made]

    facts = [VERSION, photos.fingerprint, seed, [list(job) for job in jobs]]
    entry = Entry(
        title=f"Darkening photos ({preset})",
        label=f"darkened-{preset}",
        place=[*place, seed, len(jobs)],
        facts=facts,
    )
    numbers = [number for number, _ in jobs]
    pixels = photos.sizes.prod(axis=1)
    if not (cache / entry.name).is_dir():
        _refuse_full_disk(cache, int(pixels[numbers].sum()) * 3 * (2 if preset == MIXED else 1))
    threads = min(cores(), memory.available() // (int(pixels.max()) * BYTES_A_PIXEL))
    return obtain(cache, entry, jobs, work, announce, threads=max(1, threads))


def made_from(photo: NDArray[np.uint8], preset: str, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """The darkened photo; with `mixed`, and what it is to become."""
    values = picture.to_float(photo)
    if preset == MIXED:
        return [picture.to_integers(one, 8) for one in made_pair(values, rng)]
    chosen = PRESETS[preset]
    return [picture.to_integers(chosen.draw(rng, chosen.ranges).darken(values), 8)]


def _refuse_full_disk(cache: Path, needed: int) -> None:
    """Say at once what would be found out after minutes."""
    with writing(cache):
        free = shutil.disk_usage(cache).free
    if needed > free:
        raise OptionError(
            f"The darkened copies take {needed} bytes, and the disk of {cache} has {free} left.",
            "Make fewer copies of smaller photos, or choose another folder with --cache.",
        )


NORMAL = np.array([NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)], np.float32)
"""Evenly likely values of a standard normal variable."""
LEVELS = np.linspace(0, 1, 65, dtype=np.float32)
EIGHT_BITS, TEN_BITS = (np.linspace(0, 1, count, dtype=np.float32) for count in (256, 1024))


def darkened_crop(how: Paper, crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What `how.darken` makes of (H, W, 3) uint8, with noise from `rng`; the formula is applied to 256 values."""
    values = rng.standard_normal(crop.shape, dtype=np.float32)
    values *= np.float32(how.noise**0.5)
    values += cv2.LUT(crop, _noiseless(how, EIGHT_BITS))
    return picture.to_integers(values, 8)


def darkened_thumbnail(
    how: Paper, small: NDArray[np.float16], pixels: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The thumbnail of the darkened photo, from that of the photo and the photo's number of pixels.

    Noise that is clipped at black brightens the dark, and its average over many pixels is not quite zero: mean and
    deviation of what is left of it come from a table.
    """
    noisy = np.clip(LEVELS[:, None] + np.float32(how.noise**0.5) * NORMAL, 0, 1)
    curve = _noiseless(how, TEN_BITS)
    mean, deviation = (np.interp(curve, LEVELS, column) for column in (noisy.mean(axis=1), noisy.std(axis=1)))
    averaged = max(1.0, pixels / (small.shape[0] * small.shape[1]))
    level = np.rint(small * np.float32(len(curve) - 1)).astype(np.intp)
    values = rng.standard_normal(small.shape, dtype=np.float32)
    values *= (deviation / averaged**0.5).astype(np.float32)[level]
    values += mean.astype(np.float32)[level]
    return np.clip(values, 0, 1, out=values)


def _noiseless(how: Paper, levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """What becomes of values on average, before clipping of the noise."""
    return dataclasses.replace(how, noise=0.0).darken(levels)
