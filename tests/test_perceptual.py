"""The perceptual loss with a VGG16 of random weights in a file where the pinned one belongs, and its substitute."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hub_server import weight_file
from safetensors.torch import load_file, save, save_file
from skimage import data
from torch import Tensor

from lowlight_cli import assets, weights
from lowlight_cli.assets import Asset
from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.nn.perceptual import MEAN, SPREAD, Substitute, VGGPerceptual, open_perceptual
from lowlight_cli.nn.vgg import VGG16

PHOTO = torch.tensor(data.astronaut()[20:68, 180:244]).permute(2, 0, 1)[None].float() / 255


def silent(words: str) -> None:
    raise AssertionError(f"announced: {words}")


@pytest.fixture(scope="module")
def random_file() -> bytes:
    """A whole VGG16 as timm names it, classifier and all."""
    torch.manual_seed(0)
    return save(VGG16(["relu5_3"]).state_dict() | {"head.fc.weight": torch.zeros(10, 512)})


@pytest.fixture
def place(monkeypatch, random_file) -> Path:
    """Where a pinned file put by hand belongs; the pin is that of the random file."""
    file = weight_file("asset", random_file, path="model.safetensors")
    pinned = Asset(name="vgg16", what="VGG16 for tests", licence="MIT", file=file)
    monkeypatch.setattr(assets, "assets", lambda: {"vgg16": pinned})
    path = weights.store_path(file)
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def perceptual(place, random_file) -> VGGPerceptual:
    place.write_bytes(random_file)
    return open_perceptual("required", announce=silent, offline=True)


@pytest.fixture(scope="module")
def wild() -> VGGPerceptual:
    """Random weights without a file."""
    torch.manual_seed(1)
    return VGGPerceptual()


@pytest.fixture(params=["vgg", "substitute"])
def distance(request, wild):
    return wild if request.param == "vgg" else Substitute()


def reference(table: dict[str, Tensor], pixels: Tensor) -> list[Tensor]:
    """The four activations, layer by layer with the file's tensors."""
    pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SPREAD).view(3, 1, 1)
    found = []
    for stage in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21)):
        pixels = F.max_pool2d(pixels, 2) if found else pixels
        for number in stage:
            weight, bias = table[f"features.{number}.weight"], table[f"features.{number}.bias"]
            pixels = F.conv2d(pixels, weight, bias, padding=1).clamp(min=0)
        found.append(pixels)
    return found


def test_the_distance_is_that_of_the_activations_of_the_weights_in_the_file(perceptual, place):
    table = load_file(place)
    other = (PHOTO * 0.6 + 0.1).flip(3)
    pairs = zip(reference(table, PHOTO), reference(table, other), strict=True)
    expected = sum((a - b).abs().mean() for a, b in pairs) / 4
    assert expected > 1e-3
    assert float(perceptual(PHOTO, other)) == pytest.approx(float(expected), rel=1e-4)
    assert [
        tuple(weight.shape) for name, weight in perceptual.state_dict().items() if "vgg" in name and weight.ndim == 1
    ]
    assert max(int(name.split(".")[2]) for name in perceptual.state_dict()) == 21


def test_it_is_zero_for_equal_pictures_and_grows_with_blur(perceptual):
    blurred = [F.avg_pool2d(F.pad(PHOTO, (k, k, k, k), mode="replicate"), 2 * k + 1, 1) for k in (1, 3, 6)]
    distances = [float(perceptual(picture, PHOTO)) for picture in (PHOTO, *blurred)]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert len({*distances}) == 4


def test_the_gradient_goes_into_the_output_alone(distance):
    output, truth = (PHOTO * 0.5).requires_grad_(), PHOTO.clone().requires_grad_()
    distance(output, truth).backward()
    assert torch.isfinite(output.grad).all()
    assert output.grad.abs().sum() > 0
    assert truth.grad is None
    assert not [p for p in distance.parameters() if p.requires_grad or p.grad is not None]


def test_autocast_changes_nothing(distance):
    plain = distance(PHOTO * 0.5, PHOTO)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = distance(PHOTO * 0.5, PHOTO)
        half = distance((PHOTO * 0.5).bfloat16(), PHOTO)
    assert mixed.dtype == half.dtype == torch.float32
    assert torch.equal(plain, mixed)
    assert float(half) == pytest.approx(float(plain), rel=0.05)


def test_large_pictures_are_looked_at_in_their_middle(wild):
    small = VGGPerceptual(largest=32)
    small.load_state_dict(wild.state_dict())
    other = PHOTO.flip(2)
    inner = (slice(None), slice(None), slice(8, 40), slice(16, 48))
    assert float(small(PHOTO, other)) == pytest.approx(float(wild(PHOTO[inner], other[inner])), rel=1e-5)
    assert float(small(PHOTO[..., :20], other[..., :20])) > 0


def test_it_goes_to_the_device_of_what_it_is_asked_about(monkeypatch, wild):
    """`meta` stands for a device that is not the CPU; it only lacks autocast."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    distance = copy.deepcopy(wild)
    picture = torch.zeros(1, 3, 16, 16, device="meta")
    assert distance(picture, picture).device.type == "meta"
    assert {tensor.device.type for tensor in (*distance.buffers(), *distance.parameters())} == {"meta"}


def test_a_wrong_file_is_never_trained_with(place, random_file):
    place.write_bytes(random_file[:-1] + bytes([random_file[-1] ^ 1]))
    with pytest.raises(ModelUnavailable, match="not the file that the manifest states"):
        open_perceptual("required", announce=silent, offline=True)
    told: list[str] = []
    assert isinstance(open_perceptual("auto", announce=told.append, offline=True), Substitute)
    assert len(told) == 1
    assert "not the file that the manifest states" in told[0]


@pytest.mark.parametrize("fault", ["no safetensors", "a tensor is missing", "a tensor has another shape"])
def test_a_pinned_file_that_holds_no_vgg16_is_an_error_in_words(fault, tmp_path):
    path, table = tmp_path / "model.safetensors", {"features.0.weight": torch.zeros(64, 3, 3, 3)}
    if fault == "no safetensors":
        path.write_bytes(b"weights")
    else:
        table |= {"features.0.bias": torch.zeros(63 if "shape" in fault else 64)}
        save_file(table, path)
    net = VGG16(["relu1_2"] if "missing" in fault else ["relu1_1"])
    with pytest.raises(ModelUnavailable, match="does not hold the weights of VGG16"):
        net.load_weights(path)


def test_required_says_what_is_missing_and_the_ways_out(place):
    with pytest.raises(ModelUnavailable) as caught:
        open_perceptual("required", announce=silent, offline=True)
    assert "no VGG16 for tests on this disk" in caught.value.message
    assert str(place) in caught.value.hint
    assert "--perceptual auto" in caught.value.hint


def test_auto_says_once_what_it_trains_with_instead_and_why(place):
    told: list[str] = []
    found = open_perceptual("auto", announce=told.append, offline=True)
    assert isinstance(found, Substitute)
    assert len(told) == 1
    assert "image gradients at 3 scales" in told[0]
    assert "no VGG16 for tests on this disk" in told[0]


def test_auto_takes_vgg16_where_it_is(place, random_file):
    place.write_bytes(random_file)
    assert isinstance(open_perceptual("auto", announce=silent, offline=True), VGGPerceptual)


def test_off_drops_the_term_and_looks_for_nothing(monkeypatch):
    monkeypatch.setattr(assets, "find", lambda *_, **__: pytest.fail("looked for weights"))
    assert open_perceptual("off", announce=silent) is None


def test_the_pinned_file_is_that_of_the_issue():
    file = assets.assets()["vgg16"].file
    assert file.repo == "timm/vgg16.tv_in1k"
    assert file.sha256 == "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8"


def test_the_substitute_is_blind_to_brightness_and_sees_structure():
    distance = Substitute()
    moved = PHOTO.roll(2, dims=3)
    blurred = F.avg_pool2d(F.pad(PHOTO, (1, 1, 1, 1), mode="replicate"), 3, 1)
    assert float(distance(PHOTO + 0.2, PHOTO)) == pytest.approx(0, abs=1e-5)
    flat = float(distance(torch.full_like(PHOTO, 0.5), PHOTO))
    assert 0.01 < float(distance(blurred, PHOTO)) < float(distance(moved, PHOTO)) < 2 * flat


def test_the_substitute_is_the_sum_of_gradient_differences_at_three_scales():
    """A step of 1 in the middle of 32 columns: one of 31 differences, then of 15, then of 7."""
    step = torch.zeros(1, 1, 32, 32)
    step[..., 16:] = 1
    expected = 1 / 31 + 1 / 15 + 1 / 7
    assert float(Substitute()(step, torch.zeros_like(step))) == pytest.approx(expected, rel=1e-5)


def test_the_substitute_sees_blotches_that_the_finest_scale_cannot():
    """Of a faint wave and of noise with the same mean gradient, the wave outlives averaging."""
    torch.manual_seed(0)
    noise = torch.randn(1, 3, 64, 64) * 0.01
    wave = 0.5 * torch.sin(torch.arange(64) / 5).expand(1, 3, 64, 64)
    wave = wave * (noise.diff(dim=3).abs().mean() + noise.diff(dim=2).abs().mean()) / wave.diff(dim=3).abs().mean()
    distance, nothing = Substitute(), torch.zeros_like(noise)
    assert float(distance(wave, nothing)) > 1.5 * float(distance(noise, nothing))


def test_descending_either_distance_brings_edges_back(distance):
    truth = PHOTO[..., :24, :24]
    output = F.avg_pool2d(F.pad(truth, (2, 2, 2, 2), mode="replicate"), 5, 1).requires_grad_()
    optimizer = torch.optim.Adam([output], lr=0.01)

    def lost() -> float:
        return float(F.mse_loss(output.detach().diff(dim=3), truth.diff(dim=3)))

    first = lost()
    for _ in range(12):
        optimizer.zero_grad()
        distance(output, truth).backward()
        optimizer.step()
    assert lost() < 0.9 * first
