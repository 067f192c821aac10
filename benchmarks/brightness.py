"""How well the brightness of LOL's true pictures can be known from the dark ones: the limit of every plain PSNR.

python benchmarks/brightness.py --pairs LOL/our485 --scenes LOL/scenes.json --out benchmarks/results

Errors are those of guesses of the mean luma, in [0, 1], five-fold: by scene, no picture of a scene that is guessed was
seen; by picture, other exposures of its scene may have been, as with eval15 and everybody's weights. PSNR is the mean
over the pictures with such a guess of a network that is `--best` dB from every truth of its own brightness.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
import torch
from numpy.typing import NDArray

from lowlight_cli.data.pairs import eight_bit, matched
from lowlight_cli.data.scenes import grouped, read_scenes
from lowlight_cli.nn.brightness import ExposureHead, luma_mean
from lowlight_cli.thumbnail import thumbnail

SIDE = 112
FOLDS = 5
REACH, RIDGE = 0.01, 0.3
"""Of the kernel exp(-reach d^2) on standardised statistics, and what is added to its diagonal."""

Values = NDArray[np.float64]
Guess = Callable[[Values, Values, Values], Values]
"""Statistics and truths of known pictures, statistics of others -> guesses for these."""


def measured(pairs: list[tuple[str, Path, Path]]) -> tuple[Values, Values, Values]:
    """What the exposure head sees of the dark pictures (n, k); mean luma (n,) and mean square (n,) of the true ones."""
    head, seen, truths, squares = ExposureHead(), [], [], []
    for _, low, high in pairs:
        dark, bright = (torch.from_numpy(thumbnail(eight_bit(p), SIDE).transpose(2, 0, 1)[None]) for p in (low, high))
        seen.append(head.statistics(dark)[0].numpy())
        truths.append(float(luma_mean(bright)))
        squares.append(float(bright.square().mean()))
    return np.array(seen, np.float64), np.array(truths), np.array(squares)


def constant(_: Values, truths: Values, others: Values) -> Values:
    """The mean of what is known."""
    return np.full(len(others), truths.mean())


def kernel(known: Values, truths: Values, others: Values) -> Values:
    """Kernel ridge regression, Gaussian."""
    mean, spread = known.mean(0), known.std(0) + 1e-6
    known, others = ((part - mean) / spread for part in (known, others))

    def near(a: Values, b: Values) -> Values:
        return np.exp(-REACH * ((a[:, None] - b[None]) ** 2).sum(-1))

    weights = np.linalg.solve(near(known, known) + RIDGE * np.eye(len(known)), truths - truths.mean())
    return near(others, known) @ weights + truths.mean()


def guessed(guess: Guess, statistics: Values, truths: Values, groups: NDArray[np.intp]) -> Values:
    """Errors (n,), five-fold; what has one group is guessed at once."""
    order = np.random.default_rng(0).permutation(np.unique(groups))
    wrong = np.empty_like(truths)
    for fold in range(FOLDS):
        out = np.isin(groups, order[fold::FOLDS])
        wrong[out] = guess(statistics[~out], truths[~out], statistics[out]) - truths[out]
    return wrong


def from_siblings(truths: Values, scenes: NDArray[np.intp]) -> Values:
    """Errors (n,) of the mean of the true pictures of the same scene's other exposures, NaN where there are none."""
    wrong = np.full_like(truths, np.nan)
    for at, scene in enumerate(scenes):
        others = (scenes == scene) & (np.arange(len(scenes)) != at)
        if others.any():
            wrong[at] = truths[others].mean() - truths[at]
    return wrong


def summary(wrong: Values, truths: Values, squares: Values, best: float) -> dict[str, float]:
    """Root mean square and median of the errors, and PSNR: too bright by a tenth is so everywhere."""
    plain = -10 * np.log10(10 ** (-best / 10) + (wrong / truths) ** 2 * squares)
    rms = float(np.sqrt(np.mean(np.square(wrong))))
    return {"rms": rms, "median": float(np.median(np.abs(wrong))), "psnr": float(plain.mean())}


def main() -> None:
    """Write brightness.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--best", type=float, default=25.57)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pairs = matched(options.pairs / "low", options.pairs / "high")
    statistics, truths, squares = measured(pairs)
    scenes = np.zeros(len(pairs), np.intp)
    for number, group in enumerate(grouped([name for name, *_ in pairs], read_scenes(options.scenes))):
        scenes[group] = number
    by_picture = np.arange(len(pairs))
    siblings = from_siblings(truths, scenes)
    among = ~np.isnan(siblings)
    errors = {
        "constant, by scene": guessed(constant, statistics, truths, scenes),
        "kernel regression on the head's statistics, by scene": guessed(kernel, statistics, truths, scenes),
        "kernel regression on the head's statistics, by picture": guessed(kernel, statistics, truths, by_picture),
        "mean of the true pictures of the scene's other exposures": siblings,
    }
    document = {
        "pairs": int(among.sum()),
        "mean": float(truths.mean()),
        "errors": {
            name: summary(wrong[among], truths[among], squares[among], options.best) for name, wrong in errors.items()
        },
        "machine": machine.about({"folds": FOLDS, "reach": REACH, "ridge": RIDGE, "best": options.best}),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "brightness.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for name, value in document["errors"].items():
        print(*(f"{figure:.3f}" for figure in value.values()), name)


if __name__ == "__main__":
    main()
