"""LPIPS against torchmetrics, the files that it needs, and files pinned as assets in general."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import REPO, REVISION, Hub, quick_hub, weight_file
from safetensors.torch import load_file, save_file
from skimage import data

from lowlight_cli import assets, weights
from lowlight_cli import hub as hub_module
from lowlight_cli.assets import Asset
from lowlight_cli.errors import ModelUnavailable, PictureError
from lowlight_cli.metrics import METRICS, open_metric, perceptual
from lowlight_cli.metrics.perceptual import Lpips, read_heads

TRUTH = data.chelsea()[40:104, 80:160]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    """A file of random VGG16 weights with the names of the real one, and a classifier that nobody needs."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "model.safetensors"
    save_file(Lpips().vgg.state_dict() | {"head.fc.weight": torch.zeros(10, 512)}, path)
    return path


@pytest.fixture(scope="module")
def lpips(backbone):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assets, "find", lambda name, **_: {"vgg16": backbone}[name])
        return open_metric("lpips")


@pytest.fixture(scope="module")
def theirs(backbone):
    """The net of torchmetrics with layers as torchvision builds them, and the same weights."""
    from torchmetrics.functional.image import lpips as original

    layers, depth = [], 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width:
            layers += [torch.nn.Conv2d(depth, width, 3, padding=1), torch.nn.ReLU(inplace=True)]
            depth = width
        else:
            layers.append(torch.nn.MaxPool2d(2, 2))
    features = torch.nn.Sequential(*layers)
    table = load_file(backbone)
    features.load_state_dict({name: table[f"features.{name}"] for name in features.state_dict()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(original, "_get_tv_model_features", lambda *_: features)
        return original._NoTrainLpips(net="vgg")


def noisy(level):
    noise = np.random.default_rng(0).normal(0, level, TRUTH.shape)
    return np.clip(TRUTH + noise, 0, 255).astype(np.uint8)


def tensor(picture):
    return torch.tensor(picture).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("crop", [np.s_[:], np.s_[:49, :37], np.s_[:16, :16]])
def test_lpips_is_that_of_torchmetrics(lpips, theirs, crop):
    for other in (noisy(10), noisy(60), 255 - TRUTH):
        image, truth = np.ascontiguousarray(other[crop]), np.ascontiguousarray(TRUTH[crop])
        with torch.no_grad():
            expected = float(theirs(tensor(image), tensor(truth), normalize=True))
        assert expected > 1e-4
        assert lpips(image, truth) == pytest.approx(expected, rel=1e-5)


def test_lpips_is_zero_for_equal_pictures_and_grows_with_noise(lpips):
    scores = [lpips(noisy(level), TRUTH) for level in (0, 5, 20, 80)]
    assert scores[0] == 0
    assert scores == sorted(scores)
    assert len({*scores}) == 4


def test_lpips_names_its_net_and_the_bytes_it_read(lpips, backbone):
    assert "VGG16" in METRICS["lpips"].definition
    assert {*lpips.files.values()} == {weights.sha256_of(backbone), perceptual.HEADS_SHA256}


def test_the_heads_weigh_every_channel_and_never_reward_a_difference():
    heads = read_heads()
    assert [len(head) for head in heads.values()] == [64, 128, 256, 512, 512]
    assert all((head >= 0).all() and head.sum() > 0 for head in heads.values())


def test_a_picture_too_small_for_lpips_is_an_error(lpips):
    with pytest.raises(PictureError, match="20x15; LPIPS needs 16x16"):
        lpips(TRUTH[:15, :20], TRUTH[:15, :20])


def test_without_torchmetrics_lpips_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match=r'pip install -e "\.\[benchmark\]" -c constraints'):
        open_metric("lpips")


def test_heads_with_other_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(perceptual, "HEADS_SHA256", "0" * 64)
    with pytest.raises(ModelUnavailable, match="is not the heads of LPIPS"):
        open_metric("lpips")


def test_offline_lpips_says_which_file_is_missing_and_where_it_goes():
    with pytest.raises(ModelUnavailable) as caught:
        open_metric("lpips", offline=True)
    file = assets.assets()["vgg16"].file
    assert "VGG16" in caught.value.message
    assert all(word in caught.value.hint for word in (file.sha256, file.repo, str(weights.store_path(file))))


GOOD = bytes(range(256)) * 8
FILE = weight_file("asset", GOOD, path="deep/net.bin")


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[Hub]:
    tiny = Asset(name="tiny", what="tiny net", licence="MIT", file=FILE)
    monkeypatch.setattr(assets, "assets", lambda: {"tiny": tiny})
    with quick_hub(monkeypatch, tmp_path) as server:
        server.add(REPO, REVISION, FILE.path, GOOD)
        yield server


def test_an_asset_is_fetched_once_and_found_offline_after(hub):
    path = assets.find("tiny")
    assert path.read_bytes() == GOOD
    asked = len(hub.requests)
    assert assets.find("tiny") == assets.find("tiny", offline=True) == path
    assert len(hub.requests) == asked


def test_offline_an_asset_asks_no_server(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelUnavailable, match="no tiny net on this disk, and offline nothing is fetched"):
        assets.find("tiny")
    assert not hub.requests


def test_wrong_bytes_of_an_asset_are_never_handed_out_and_do_not_stay(hub):
    hub.fault("wrong")
    with pytest.raises(ModelUnavailable, match="serves wrong bytes; they are deleted"):
        assets.find("tiny")
    assert hub.count("GET") == 2
    assert not hub_module.cached_path(FILE).exists()


def test_a_damaged_asset_in_the_cache_is_fetched_anew(hub):
    path = assets.find("tiny")
    path.resolve().write_bytes(GOOD[:-1] + b"!")
    with pytest.raises(ModelUnavailable, match="not the file that the manifest states"):
        assets.find("tiny", offline=True)
    assert assets.find("tiny").read_bytes() == GOOD


def test_a_copy_put_by_hand_is_checked_and_comes_first(hub):
    place = weights.store_path(FILE)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    with pytest.raises(ModelUnavailable, match=r"manifest states.*Delete it\. A copy of"):
        assets.find("tiny")
    place.write_bytes(GOOD)
    assert assets.find("tiny") == place
    assert not hub.requests


def test_a_server_without_the_asset_is_told_with_the_way_out(hub):
    hub.fault("missing", method="HEAD")
    with pytest.raises(ModelUnavailable) as caught:
        assets.find("tiny")
    assert "no such file" in caught.value.message
    assert str(weights.store_path(FILE)) in caught.value.hint


def test_an_asset_of_the_package_that_is_gone_asks_for_a_new_installation(monkeypatch):
    lost = weight_file("asset", GOOD, path="lost.npz", bundled=True, repo=None, revision=None)
    monkeypatch.setattr(assets, "assets", lambda: {"lost": Asset(name="lost", what="table", licence="MIT", file=lost)})
    with pytest.raises(ModelUnavailable, match=r"no table on this disk\. Reinstall lowlight"):
        assets.find("lost")


def test_a_file_that_is_not_there_offline_is_told_in_whole_sentences(hub):
    with pytest.raises(ModelUnavailable, match=r"offline nothing is fetched .*\. A copy of .* may be put at"):
        assets.find("tiny", offline=True)
