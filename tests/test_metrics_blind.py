"""Metrics of contrast, of what an enhancer did to its source, and of naturalness, each against the slow definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hub_server import REPO, REVISION, quick_hub, weight_file
from PIL import Image
from scipy.io import savemat
from skimage import data

from lowlight_cli import assets, hub, weights
from lowlight_cli.color import grey
from lowlight_cli.errors import ModelUnavailable, PictureError
from lowlight_cli.metrics import blind, open_metric
from lowlight_cli.metrics.contrast import pcqi
from lowlight_cli.metrics.naturalness import Niqe, features, fitted, halved, normalised, open_niqe


@pytest.fixture
def photo_pixels():
    return data.chelsea()[40:150, 60:190]


def curve(image, gamma):
    return np.rint(255 * (image / 255) ** gamma).astype(np.uint8)


def test_grey_is_rounded_bt601_luma(photo_pixels):
    values = grey(photo_pixels)
    assert np.abs(values - photo_pixels @ [0.299, 0.587, 0.114]).max() < 0.51
    assert (values == np.rint(values)).all()
    assert grey(np.full((1, 1, 3), 255, np.uint8)) == 255


def slow_pcqi(image, reference):
    """PCQI of the authors' code, one patch at a time, with covariances as defined."""
    x, y = grey(reference), grey(image)
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    scores = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            da, db = a - mean_a, b - mean_b
            var_a, var_b, shared = (window * da**2).sum(), (window * db**2).sum(), (window * da * db).sum()
            contrast = 4 / math.pi * math.atan((shared + 3) / (var_a + 3))
            structure = (shared + 3) / (math.sqrt(var_a) * math.sqrt(var_b) + 3)
            scores.append(contrast * structure * math.exp(-abs(mean_a - mean_b) / 256))
    return sum(scores) / len(scores)


def test_pcqi_is_the_mean_over_patches_of_its_definition(photo_pixels):
    small = photo_pixels[:40, :50]
    noise = np.random.default_rng(0).normal(0, 12, small.shape)
    for other in (curve(small, 0.5), np.clip(small + noise, 0, 255).astype(np.uint8), 255 - small):
        assert pcqi(other, small) == pytest.approx(slow_pcqi(other, small), abs=1e-9)


def test_pcqi_is_one_for_equal_pictures_more_for_contrast_and_less_for_noise(photo_pixels):
    middle = photo_pixels.mean()
    stronger = np.clip(middle + 1.5 * (photo_pixels - middle), 0, 255).astype(np.uint8)
    weaker = (middle + 0.5 * (photo_pixels - middle)).astype(np.uint8)
    assert pcqi(photo_pixels, photo_pixels) == pytest.approx(1, abs=1e-12)
    assert pcqi(stronger, photo_pixels) > 1.05
    assert pcqi(weaker, photo_pixels) < 0.8


def test_a_picture_too_small_for_pcqi_is_an_error(photo_pixels):
    with pytest.raises(PictureError, match="12x10; PCQI needs 11x11"):
        pcqi(photo_pixels[:10, :12], photo_pixels[:10, :12])


def slow_loe(image, source):
    """LOE of the authors' code: local maxima with mirrored edges, every n-th of them, all pairs."""
    height, width = source.shape[:2]
    step = min(height, width) // 50
    samples = []
    for picture in (source, image):
        mirrored = np.pad(picture.max(axis=2), 7, mode="reflect")
        at = [(i * step - 1, j * step - 1) for i in range(1, height // step + 1) for j in range(1, width // step + 1)]
        samples.append(np.array([mirrored[i : i + 15, j : j + 15].max() for i, j in at]))
    old, new = samples
    changed = [((old >= old[k]) != (new >= new[k])).sum() for k in range(len(old))]
    return sum(changed) / len(changed)


@pytest.mark.parametrize("size", [(110, 130), (99, 120), (150, 109)])
def test_loe_counts_the_pairs_whose_order_changed(size):
    rng = np.random.default_rng(0)
    source = data.chelsea()[: size[0], : size[1]] // 3
    image = np.clip(source * 2.5 + rng.normal(0, 20, source.shape), 0, 255).astype(np.uint8)
    assert blind.loe(image, source) == pytest.approx(slow_loe(image, source), abs=1e-9)
    assert blind.loe(image, source) > 10


def test_loe_is_zero_for_a_curve_and_grows_with_disorder(photo_pixels):
    dark = photo_pixels // 2
    assert blind.loe(dark, dark) == blind.loe(dark + 60, dark) == 0
    halo, inverted = dark.copy(), 255 - dark
    halo[:, :30] += 60
    assert 0 < blind.loe(halo, dark) < blind.loe(inverted, dark)


def test_brightness_is_the_change_of_the_mean_luma():
    source = np.full((20, 30, 3), (10, 20, 30), np.uint8)
    image = np.full((20, 30, 3), (110, 120, 130), np.uint8)
    assert blind.brightness(image, source) == pytest.approx(100 / 255, abs=1e-6)
    assert blind.brightness(source, image) == pytest.approx(-100 / 255, abs=1e-6)


def test_clipped_is_the_share_of_newly_clipped_pixels():
    source = np.full((10, 10, 3), 90, np.uint8)
    source[0, 0] = 255
    image = np.full((10, 10, 3), 253, np.uint8)
    image[:3, :, 2] = 254
    assert blind.clipped(image, source) == pytest.approx(0.30 - 0.01)
    assert blind.clipped(source, source) == 0


def test_cast_is_the_largest_log_ratio_of_shares_in_the_shadows():
    source = np.full((10, 10, 3), 200, np.uint8)
    source[:2] = (10, 20, 30)
    image = np.full((10, 10, 3), 90, np.uint8)
    image[5:] = (255, 0, 0)  # not in the shadows
    assert blind.cast(image, source) == pytest.approx(math.log(2), abs=1e-6)
    image[:2] = (40, 80, 120)
    assert blind.cast(image, source) == pytest.approx(0, abs=1e-6)
    image[:2] = (0, 80, 120)
    assert 2 < blind.cast(image, source) < 10


@pytest.mark.parametrize("shadow", [(60, 60, 60), (12, 0, 12)])
def test_cast_is_not_a_number_without_shadows_or_with_a_black_channel(shadow):
    source = np.full((10, 10, 3), shadow, np.uint8)
    assert math.isnan(blind.cast(source + 20, source))
    bright = np.full((10, 10, 3), 90, np.uint8)
    bright[0, 0] = 5  # one pixel in a hundred
    assert math.isnan(blind.cast(bright, bright))


MEAN = 0.5 + 0.05 * np.arange(36)
COVARIANCE = np.diag(0.1 + 0.01 * np.arange(36)) + 0.02
"""A pristine model of no picture."""


def noisy_cat():
    cat = data.chelsea()
    return np.clip(cat + np.random.default_rng(0).normal(0, 20, cat.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (data.chelsea, 14.15913122),
        (data.coffee, 14.71397280),
        (data.rocket, 14.61015695),
        (noisy_cat, 18.58504529),
        (lambda: data.chelsea()[:100, :200], 13.92344734),
    ],
)
def test_niqe_is_that_of_basicsr(picture, expected):
    """Its `niqe` (version 1.4.2) of the same grey values and model; it halves in single precision."""
    assert Niqe(MEAN, COVARIANCE).score(picture()) == pytest.approx(expected, rel=1e-5)


def test_shape_and_scales_of_a_patch_are_the_best_of_the_whole_grid():
    patch = np.random.default_rng(2).laplace(0.02, 0.5, (1, 24, 24))
    values = patch.ravel()
    left = math.sqrt(np.mean([v * v for v in values if v < 0]))
    right = math.sqrt(np.mean([v * v for v in values if v > 0]))
    skew = left / right
    ratio = np.abs(values).mean() ** 2 / np.mean(values**2) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    grid = [0.2 + 0.001 * k for k in range(9801)]
    shape = min(grid, key=lambda g: (math.gamma(2 / g) ** 2 / (math.gamma(1 / g) * math.gamma(3 / g)) - ratio) ** 2)
    scale = math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
    assert np.ravel(fitted(patch)) == pytest.approx([shape, left * scale, right * scale], abs=1e-9)


def test_halving_is_an_antialiased_bicubic():
    image = grey(data.chelsea()[:120, :160])
    other = np.asarray(Image.fromarray(image.astype(np.float32)).resize((80, 60), Image.Resampling.BICUBIC))
    assert halved(image).shape == (60, 80)
    assert halved(image)[2:-2, 2:-2] == pytest.approx(other[2:-2, 2:-2], abs=1e-3)  # other edges
    assert halved(np.full((8, 8), 7.0)) == pytest.approx(np.full((4, 4), 7.0))


def test_rounding_in_a_flat_area_is_no_signal():
    for level in np.linspace(1, 255, 40):
        image = np.full((40, 50), level)
        image[:20, :20] = 0
        values = normalised(image)
        assert (values[24:, 24:] == 0).all()
        assert np.abs(values[:24, :24]).max() > 0.1


def test_a_flat_patch_is_left_out_and_niqe_wants_two_others():
    photo = data.chelsea()[:192, :288].copy()
    photo[:96, :96] = 255
    rows = features(grey(photo))
    assert rows.shape == (6, 36)
    assert np.isnan(rows).any(axis=1).tolist() == [True] + [False] * 5
    assert rows[0, [0, 2, 6, 10, 14]].tolist() == [pytest.approx(0.2)] * 5, "MATLAB's least of nothing but NaN"
    assert np.isnan(rows[0, 1])
    niqe = Niqe(MEAN, COVARIANCE)
    assert np.isfinite(niqe.score(photo))
    with pytest.raises(PictureError, match="has 1"):
        niqe.score(photo[:100, :200])
    with pytest.raises(PictureError, match="90x300 has 0"):
        niqe.score(data.chelsea()[:300, :90])


def test_niqe_takes_the_authors_file_and_that_of_basicsr(tmp_path, monkeypatch):
    authors, basicsr = tmp_path / "niqe_modelparameters.mat", tmp_path / "niqe_pris_params.npz"
    savemat(authors, {"mu_prisparam": MEAN[None], "cov_prisparam": COVARIANCE})
    np.savez(basicsr, mu_pris_param=MEAN[None], cov_pris_param=COVARIANCE, gaussian_window=np.ones((7, 7)))
    picture = data.chelsea()
    for path in (authors, basicsr):
        monkeypatch.setenv("LOWLIGHT_NIQE_MODEL", str(path))
        niqe = open_metric("niqe", offline=True)
        assert niqe(picture) == Niqe(MEAN, COVARIANCE).score(picture)
        assert niqe.files == {path.name: weights.sha256_of(path)}


def test_niqe_finds_a_model_that_the_manifest_pins(tmp_path, monkeypatch):
    path = tmp_path / "niqe_modelparameters.mat"
    savemat(path, {"mu_prisparam": MEAN[None], "cov_prisparam": COVARIANCE})
    pinned = weight_file("asset", path.read_bytes(), path=path.name)
    monkeypatch.setattr(assets, "assets", lambda: {"niqe": assets.Asset(name="niqe", what="", licence="", file=pinned)})
    place = weights.store_path(pinned)
    place.parent.mkdir(parents=True)
    path.rename(place)
    assert open_niqe(offline=True).files == {path.name: pinned.sha256}


def test_without_a_model_niqe_says_where_to_get_one():
    with pytest.raises(ModelUnavailable, match="no NIQE model of its authors") as caught:
        open_metric("niqe", offline=True)
    file = assets.assets()["niqe"].file
    places = ("LOWLIGHT_NIQE_MODEL", "niqe_pris_params.npz", file.repo, file.revision, str(weights.store_path(file)))
    assert all(word in caught.value.hint for word in places)


def test_niqe_is_fetched_from_its_commit_and_known_by_how_its_sha256_begins(tmp_path, monkeypatch):
    path = tmp_path / "niqe_modelparameters.mat"
    savemat(path, {"mu_prisparam": MEAN[None], "cov_prisparam": COVARIANCE})
    good = path.read_bytes()
    row = {"what": "model", "licence": "MIT", "path": path.name, "bytes": None, "repo": REPO, "revision": REVISION}
    asset = assets.asset_from_row("niqe", row | {"sha256": weights.sha256_of(path)[:16]})
    monkeypatch.setattr(assets, "assets", lambda: {"niqe": asset})
    with quick_hub(monkeypatch, tmp_path) as server:
        server.add(REPO, REVISION, path.name, good)
        assert open_niqe().files == {path.name: weights.sha256_of(path)}
        asked = len(server.requests)
        assert open_niqe().files == open_niqe(offline=True).files
        assert len(server.requests) == asked
        hub.cached_path(asset.file).resolve().write_bytes(good[:-1] + b"!")
        with pytest.raises(ModelUnavailable, match=f"expected a sha256 that begins with {asset.file.sha256}"):
            open_niqe(offline=True)
        server.fault("wrong", times=2)
        with pytest.raises(ModelUnavailable, match="serves wrong bytes; they are deleted"):
            open_niqe()
        assert open_niqe().files == {path.name: weights.sha256_of(path)}


@pytest.mark.parametrize("name", ["absent.mat", "text.mat", "text.npz", "other.mat", "small.mat"])
def test_a_file_that_is_no_model_of_niqe_is_told(name, tmp_path):
    path = tmp_path / name
    if name.startswith("text"):
        path.write_text("<html>not found</html>" * 20)
    if name == "other.mat":
        savemat(path, {"x": 1})
    if name == "small.mat":
        savemat(path, {"mu_prisparam": MEAN[:18], "cov_prisparam": COVARIANCE[:18, :18]})
    with pytest.raises(ModelUnavailable, match=str(path)):
        open_niqe(path)
