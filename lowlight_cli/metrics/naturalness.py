"""NIQE: how far a picture's statistics are from those of pristine photos (Mittal, Soundararajan, Bovik, SPL 2013).

The authors' released code, in NumPy: grey values of MATLAB's `rgb2gray`, every whole 96x96 patch at full and at half
size, no overlap. Their sharpness threshold (0.75) chose patches for the pristine model; none is left out of a test
picture. That model, a mean and a covariance of 36 features, is theirs too and comes as a file.
"""

from __future__ import annotations

import functools
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_cli import assets, weights
from lowlight_cli.color import grey
from lowlight_cli.errors import ModelUnavailable, PictureError
from lowlight_cli.packages import install_extras
from lowlight_cli.places import expanded

PATCH = 96
FEATURES = 36
HALVING = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
"""MATLAB's `imresize` by 0.5: Keys' cubic (a = -0.5) stretched twice against aliasing."""

ROUNDING = 1e-10
"""A flat area is 0 once normalised, but for rounding. Left in, such noise counts as signal on both sides of 0 and moves
the score of a clipped picture, otherwise on every machine; the authors' code leaves it in."""

ASSET = "niqe"
VARIABLE = "LOWLIGHT_NIQE_MODEL"
"""Names the model file in place of the one that the manifest pins."""
NAMES = (("mu_prisparam", "cov_prisparam"), ("mu_pris_param", "cov_pris_param"))
"""Mean and covariance in the authors' .mat and in BasicSR's .npz."""

Floats = NDArray[np.float64]


class Niqe:
    """Scores pictures against a pristine model: mean (36,) and covariance (36, 36). `files`: name -> sha256."""

    def __init__(self, mean: Floats, covariance: Floats, files: Mapping[str, str] = MappingProxyType({})) -> None:
        self.mean, self.covariance, self.files = mean, covariance, files

    def score(self, image: NDArray[np.uint8]) -> float:
        """NIQE of (H, W, 3) uint8 RGB; lower is more natural, 2 to 5 for good photos."""
        rows = features(grey(image))
        whole = rows[~np.isnan(rows).any(axis=1)]
        if len(whole) < 2:
            raise PictureError(
                f"NIQE needs two patches of {PATCH}x{PATCH} pixels that are not flat; this picture of "
                f"{image.shape[1]}x{image.shape[0]} has {len(whole)}.",
                "Leave niqe out for such pictures.",
            )
        away = self.mean - np.nanmean(rows, axis=0)
        spread = (self.covariance + np.cov(whole, rowvar=False)) / 2
        inverse = np.linalg.pinv(spread, rcond=FEATURES * np.finfo(float).eps)  # MATLAB's tolerance
        return float(np.sqrt(away @ inverse @ away))


def features(image: Floats) -> Floats:
    """(patches, 36) of a grey picture (H, W) in 0 to 255: 18 at full size, 18 at half; NaN where a patch is flat."""
    height, width = (side // PATCH * PATCH for side in image.shape)
    image = image[:height, :width]
    if not image.size:
        return np.empty((0, FEATURES))
    sizes = ((image, PATCH), (halved(image), PATCH // 2))
    return np.concatenate([_statistics(_patches(normalised(picture), side)) for picture, side in sizes], axis=1)


def normalised(image: Floats) -> Floats:
    """Mean subtracted, contrast normalised (Eq. 1 to 3): a Gaussian window 7x7 of sigma 7/6, edges repeated."""
    taps = cv2.getGaussianKernel(7, 7 / 6, cv2.CV_64F)
    blur = functools.partial(
        cv2.sepFilter2D, ddepth=cv2.CV_64F, kernelX=taps, kernelY=taps, borderType=cv2.BORDER_REPLICATE
    )
    mean = blur(image)
    values = (image - mean) / (np.sqrt(np.abs(blur(image * image) - mean * mean)) + 1)
    return np.where(np.abs(values) < ROUNDING, 0, values)


def halved(image: Floats) -> Floats:
    """MATLAB's `imresize(image, 0.5)` of even sides."""
    for axis in (0, 1):
        lines = np.pad(np.moveaxis(image, axis, 0), ((3, 3), (0, 0)), mode="symmetric")
        count = len(lines) - 6
        image = np.moveaxis(sum(tap * lines[k : k + count : 2] for k, tap in enumerate(HALVING)), 0, axis)
    return image


def _patches(image: Floats, side: int) -> Floats:
    """(patches, side, side), row by row."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    return image.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def _statistics(patches: Floats) -> Floats:
    """(patches, 18): shape and scale of the values, then shape, mean and scales of products with four neighbours."""
    shape, left, right = fitted(patches)
    found = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
        shape, left, right = fitted(patches * np.roll(patches, shift, axis=(1, 2)))
        with np.errstate(invalid="ignore"):
            mean = (right - left) * _gamma_ratio(2 / shape, 1 / shape)  # Eq. 8
        found += [shape, mean, left, right]
    return np.stack(found, axis=1)


def fitted(patches: Floats) -> tuple[Floats, Floats, Floats]:
    """Shape and left and right scale (patches,) of an asymmetric generalised Gaussian, by moments (Lasmar, 2009)."""
    shapes, ratios = _shapes()
    values = patches.reshape(len(patches), -1)
    squares = values * values
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (np.sqrt((squares * side).sum(axis=1) / side.sum(axis=1)) for side in (values < 0, values > 0))
        skew = left / right
        ratio = np.abs(values).mean(axis=1) ** 2 / squares.mean(axis=1)
        ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    above = np.clip(np.searchsorted(ratios, ratio), 1, len(ratios) - 1)
    nearest = above - (ratio - ratios[above - 1] <= ratios[above] - ratio)
    # MATLAB's least of nothing but NaN is the first, and so that of the authors' patches without values on one side.
    shape = np.where(np.isnan(ratio), shapes[0], shapes[nearest])
    scale = np.sqrt(_gamma_ratio(1 / shape, 3 / shape))
    return shape, left * scale, right * scale


@functools.cache
def _shapes() -> tuple[Floats, Floats]:
    """Shapes 0.2 to 10 by 0.001, and the moment ratio that each has, which grows with it."""
    shapes = np.arange(0.2, 10.001, 0.001)
    ratios = [math.gamma(2 / s) ** 2 / (math.gamma(1 / s) * math.gamma(3 / s)) for s in shapes]
    return shapes, np.array(ratios)


def _gamma_ratio(above: Floats, below: Floats) -> Floats:
    """Gamma(above) / Gamma(below), element by element; NaN stays."""
    return np.array([math.gamma(a) / math.gamma(b) for a, b in zip(above, below, strict=True)])


def open_niqe(path: Path | None = None, *, offline: bool = False) -> Niqe:
    """NIQE with the pristine model of a file: this one, else `LOWLIGHT_NIQE_MODEL`, else the manifest's."""
    if path is None and (chosen := os.environ.get(VARIABLE)):
        path = expanded(chosen)
    if path is None:
        path = _pinned(offline)
    return Niqe(*read_model(path), files={path.name: weights.sha256_of(path)})


def _pinned(offline: bool) -> Path:
    """The file that the manifest pins; where it cannot be had, a user may name another."""
    try:
        return assets.find(ASSET, offline=offline)
    except ModelUnavailable as error:
        others = (
            f"{VARIABLE} may name a copy, or basicsr/metrics/niqe_pris_params.npz of the package basicsr; --metric can "
            "leave niqe out."
        )
        raise ModelUnavailable(error.message, f"{error.hint} {others}") from error


def read_model(path: Path) -> tuple[Floats, Floats]:
    """Mean (36,) and covariance (36, 36) of a .mat or .npz; anything else is a ModelUnavailable."""
    hint = f"Set {VARIABLE} to niqe_modelparameters.mat or niqe_pris_params.npz."
    try:
        table = _read_npz(path) if path.suffix.lower() == ".npz" else _read_mat(path)
        mean, covariance = next((table[m], table[c]) for m, c in NAMES if m in table and c in table)
        mean, covariance = np.asarray(mean, float).ravel(), np.asarray(covariance, float)
    except (OSError, ValueError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelUnavailable(f"{path} cannot be read as a NIQE model: {error}.", hint) from error
    except StopIteration:
        raise ModelUnavailable(f"{path} holds no NIQE model: no {NAMES[0][0]} and {NAMES[0][1]}.", hint) from None
    if mean.shape != (FEATURES,) or covariance.shape != (FEATURES, FEATURES):
        raise ModelUnavailable(f"{path} has {mean.shape} and {covariance.shape}, not 36 features.", hint)
    return mean, covariance


def _read_npz(path: Path) -> Mapping[str, NDArray]:
    with np.load(path, allow_pickle=False) as table:
        return {name: table[name] for name in table.files}


def _read_mat(path: Path) -> Mapping[str, NDArray]:
    try:
        from scipy.io import loadmat, matlab
    except ImportError as error:
        raise ModelUnavailable(
            f"SciPy, which reads {path.name}, is not installed.",
            f"In your clone of lowlight: {install_extras('benchmark')}",
        ) from error
    try:
        return loadmat(path)
    except matlab.MatReadError as error:
        raise ValueError(str(error)) from error
