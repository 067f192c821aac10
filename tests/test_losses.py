"""Losses and resampling that networks share, against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowlight_cli.nn.losses import angle_loss, color_loss, hue_saturation, ssim_loss
from lowlight_cli.nn.resample import DOUBLE, HALVE, constant, double, halve, kept


def test_halving_and_doubling_are_pillows_bicubic():
    from PIL import Image
    from skimage import data

    photo = data.astronaut()[:128, :160]
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    for ours, size in ((halve(pixels), (80, 64)), (double(pixels), (320, 256))):
        theirs = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC), np.float32)
        inside = np.abs(255 * ours[0].permute(1, 2, 0).numpy().clip(0, 1) - theirs)[8:-8, 8:-8]
        # Pillow rounds to integers after each of its two passes.
        assert inside.mean() < 0.35
        assert inside.max() <= 3.5


def test_ssim_is_that_of_scikit_image():
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    one = rng.random((1, 3, 40, 48)).astype(np.float32)
    other = (one * 0.8 + 0.1 * rng.random(one.shape)).astype(np.float32)
    reference = structural_similarity(
        one[0], other[0], channel_axis=0, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert 1 - float(ssim_loss(torch.from_numpy(one), torch.from_numpy(other))) == pytest.approx(reference, abs=1e-4)


def test_hue_and_saturation_are_those_of_the_standard_library():
    import colorsys

    colours = np.random.default_rng(1).random((20, 3))
    planes = torch.from_numpy(colours).float().T.reshape(1, 3, 4, 5)
    hue, saturation = (plane.flatten().numpy() for plane in hue_saturation(planes, guard=0.0))
    for index, colour in enumerate(colours):
        h, s, _ = colorsys.rgb_to_hsv(*colour)
        assert hue[index] == pytest.approx(h, abs=1e-4)
        assert saturation[index] == pytest.approx(s, abs=1e-4)


def test_the_colour_loss_is_zero_for_equal_pictures_and_has_finite_gradients_on_grey():
    grey = torch.full((1, 3, 8, 8), 0.4, requires_grad=True)
    color_loss(grey, torch.rand(1, 3, 8, 8)).backward()
    assert torch.isfinite(grey.grad).all()
    picture_ = torch.rand(1, 3, 8, 8)
    assert float(color_loss(picture_, picture_)) == pytest.approx(0, abs=1e-5)


def hues(values):
    """A picture (1, 3, 8, 8) whose pixels have these hues, saturation 0.8 and value 0.6."""
    import colorsys

    pixels = [colorsys.hsv_to_rgb(float(h), 0.8, 0.6) for h in np.resize(values, 64)]
    return torch.tensor(pixels).T.reshape(1, 3, 8, 8)


def test_the_angle_of_colours_is_blind_to_brightness_and_has_no_seam_at_red():
    """Noise makes of one red two hues, 0 and 1: the paper's loss of hue planes then likes green better than red."""
    noisy_red, red, green = hues([0.01, 0.99]), hues([0.0]), hues([0.35])
    assert float(color_loss(green, noisy_red)) < float(color_loss(red, noisy_red))
    assert float(angle_loss(red, noisy_red)) < 0.01 < 0.1 < float(angle_loss(green, noisy_red))
    assert float(angle_loss(0.1 * red, red)) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("values", [HALVE, DOUBLE])
def test_kernels_that_are_kept_are_the_same_numbers_and_serve_training_after_inference(values):
    cpu = torch.device("cpu")
    with torch.inference_mode():
        first = kept(values, cpu, torch.float32)
    assert first is kept(values, cpu, torch.float32)
    assert torch.equal(first, constant(values, torch.zeros(1)))
    learned = torch.ones_like(first, requires_grad=True)
    (learned * first).sum().backward()
    assert torch.equal(learned.grad, first)
