"""Metrics against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lowlight_cli.errors import PictureError
from lowlight_cli.metrics.fidelity import at_mean_of, psnr, ssim


@pytest.fixture
def pictures():
    """A photo and a darker, noisier copy."""
    from skimage import data

    truth = data.chelsea()[:90, :120]
    noise = np.random.default_rng(0).normal(0, 8, truth.shape)
    return np.clip(truth * 0.6 + noise, 0, 255).astype(np.uint8), truth


def test_psnr_is_that_of_scikit_image(pictures):
    assert psnr(*pictures) == pytest.approx(peak_signal_noise_ratio(pictures[1], pictures[0]), abs=1e-9)
    assert psnr(pictures[1], pictures[1]) == float("inf")


def test_ssim_is_that_of_scikit_image(pictures):
    reference = structural_similarity(
        *pictures, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(*pictures) == pytest.approx(reference, abs=1e-6)
    assert ssim(pictures[1], pictures[1]) == pytest.approx(1)


def test_an_error_of_brightness_alone_vanishes_at_the_mean_of_the_truth(pictures):
    _, truth = pictures
    darker = (truth // 2).astype(np.uint8)
    assert psnr(darker, truth) < 15
    assert psnr(at_mean_of(darker, truth), truth) > 40


def test_unequal_sizes_and_depths_are_errors(pictures):
    image, truth = pictures
    with pytest.raises(PictureError, match="Cannot compare"):
        psnr(image[:-1], truth)
    with pytest.raises(PictureError, match="uint16"):
        ssim(image.astype(np.uint16), truth)
