"""The pictures of `speed.py`: a folder of mixed sizes, many small ones, and two large ones."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli import picture

LARGEST = (4000, 3000)
MIX = (((600, 400), 0.62), ((800, 600), 0.24), ((1200, 800), 0.11), ((2000, 1500), 0.02), ((3000, 2000), 0.01))
"""Sizes of the pictures of a folder beside the largest, and the share of each."""
EVERY = 4
"""Each n-th file of the folder is a fair sample of it."""
QUALITY = 92


def mixed_sizes(files: int) -> list[tuple[int, int]]:
    """Sizes of a folder's pictures in an order without order; one in forty has 12 MP."""
    large = max(1, math.ceil(files / 40))
    rest = [size for size, share in MIX for _ in range(round(share * (files - large)))]
    rest = (rest + [MIX[0][0]] * files)[: files - large]
    sizes = sorted([LARGEST] * large + rest)
    hands = [sizes[start::EVERY] for start in range(EVERY)]
    for number, hand in enumerate(hands):
        random.Random(number).shuffle(hand)
    return [hand[i] for i in range(len(hands[0])) for hand in hands if i < len(hand)]


def make_mixed(folder: Path, files: int, data: str) -> None:
    """A folder of JPEGs of mixed sizes: textured dark pictures, or those of `data`, mirrored until they are large."""
    folder.mkdir()
    photos = (
        sorted(found for found in Path(data).rglob("*") if found.suffix.lower() in picture.SUFFIXES) if data else []
    )
    if data and not photos:
        raise SystemExit(f"There are no pictures in {data}.")
    base = None if photos else texture(*LARGEST)
    for index, (width, height) in enumerate(mixed_sizes(files)):
        if base is None:
            pixels = picture.to_integers(picture.to_float(picture.load(photos[index % len(photos)]).pixels), 8)
            pixels = mirrored(pixels, width, height)
        else:
            pixels = view(base, width, height, index)
        save(pixels, folder / f"{index:03}.jpg")


def texture(width: int, height: int) -> NDArray[np.uint8]:
    """A dark scene with detail of every size, stronger the larger, and noise; (H, W, 3)."""
    rng = np.random.default_rng(0)
    light = np.zeros((height, width), np.float32)
    for octave in range(1, 11):
        coarse = rng.standard_normal((height // 2**octave + 2, width // 2**octave + 2), np.float32)
        light += 2.0 ** (octave / 2) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    light = np.exp(0.45 * (light - light.mean()) / light.std() - 2.2)
    pixels = light[..., None] * np.array([1.0, 0.8, 0.6], np.float32)
    pixels += 0.012 * rng.standard_normal(pixels.shape, np.float32)
    return picture.to_integers(pixels, 8)


def view(base: NDArray[np.uint8], width: int, height: int, index: int) -> NDArray[np.uint8]:
    """A piece of the scene, twice as large where there is room, shrunk; pieces differ by index."""
    rows, columns = base.shape[:2]
    factor = min(2.0, rows / height, columns / width)
    tall, wide = int(height * factor), int(width * factor)
    place = random.Random(index)
    top, left = place.randint(0, rows - tall), place.randint(0, columns - wide)
    piece = base[top : top + tall, left : left + wide]
    if place.random() < 0.5:
        piece = piece[:, ::-1]
    return cv2.resize(np.ascontiguousarray(piece), (width, height), interpolation=cv2.INTER_AREA)


def mirrored(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The upper left of a picture, mirrored at its borders until it is large enough."""
    rows, columns = pixels.shape[:2]
    return np.pad(pixels, ((0, max(0, height - rows)), (0, max(0, width - columns)), (0, 0)), "symmetric")[
        :height, :width
    ]


def repeated(width: int, height: int) -> NDArray[np.uint8]:
    """A picture of any size, made of one of 1200x800 side by side."""
    base = texture(1200, 800)
    return np.ascontiguousarray(np.tile(base, (math.ceil(height / 800), math.ceil(width / 1200), 1))[:height, :width])


def small_sizes(files: int) -> Iterator[tuple[int, int]]:
    """Sizes around 240x160."""
    return (random.Random(index).choice([(240, 160), (200, 150), (320, 200), (160, 240)]) for index in range(files))


def make_small(folder: Path, files: int) -> None:
    """A folder of small JPEGs."""
    folder.mkdir()
    base = texture(1200, 800)
    for index, (width, height) in enumerate(small_sizes(files)):
        save(view(base, width, height, index), folder / f"{index:03}.jpg")


def make_one(path: Path, width: int, height: int) -> None:
    """One JPEG."""
    save(repeated(width, height), path)


def save(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write a JPEG."""
    picture.save(picture.from_array(pixels), path, quality=QUALITY)
