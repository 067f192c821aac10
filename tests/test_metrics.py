"""Metrics against scikit-image and published values, and the table that names them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from skimage import color
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lowlight_cli.errors import OptionError, PictureError
from lowlight_cli.metrics import METRICS, find, open_metric
from lowlight_cli.metrics.difference import ciede2000, delta_e, to_lab
from lowlight_cli.metrics.fidelity import at_mean_of, mae, psnr, psnr_gtmean, ssim, ssim_gtmean

PLAIN = [name for name, metric in METRICS.items() if not metric.opens]
"""Metrics that load no file."""


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
    assert psnr_gtmean(darker, truth) > 40
    assert ssim_gtmean(darker, truth) > 0.99 > ssim(darker, truth)


def test_gtmean_figures_are_those_of_the_picture_at_the_mean_of_the_truth(pictures):
    image, truth = pictures
    grey = np.array([0.299, 0.587, 0.114])
    lifted = np.clip(np.rint(image * ((truth @ grey).mean() / (image @ grey).mean())), 0, 255).astype(np.uint8)
    assert np.abs(at_mean_of(image, truth).astype(int) - lifted).max() <= 1  # sums in another order
    assert psnr_gtmean(image, truth) == pytest.approx(peak_signal_noise_ratio(truth, lifted), abs=1e-3)


def test_mae_is_the_mean_distance_in_levels(pictures):
    image, truth = pictures
    assert mae(image, truth) == pytest.approx(np.abs(image.astype(int) - truth).mean(), abs=1e-9)
    assert mae(truth, truth) == 0


SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 73 25 -18 27.1492
50 2.5 0 56 -27 -3 31.9030
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
"""Pairs of CIELAB colours and their difference, from the test data of Sharma et al. 2005."""


def test_ciede2000_gives_the_published_differences():
    table = np.array([line.split() for line in SHARMA.strip().splitlines()], float)
    assert delta_e(table[:, :3], table[:, 3:6]) == pytest.approx(table[:, 6], abs=5e-5)


def test_ciede2000_is_that_of_scikit_image_over_the_whole_gamut(pictures):
    image, truth = pictures
    reference = color.deltaE_ciede2000(color.rgb2lab(image), color.rgb2lab(truth))
    assert ciede2000(image, truth) == pytest.approx(reference.mean(), abs=1e-3)
    levels = np.random.default_rng(1).integers(0, 256, (2, 90, 100, 3), np.uint8)
    labs = color.rgb2lab(levels)
    assert delta_e(labs[0], labs[1]) == pytest.approx(color.deltaE_ciede2000(labs[0], labs[1]), abs=1e-9)
    assert to_lab(levels[0]) == pytest.approx(labs[0], abs=0.02)


def test_greys_have_no_colour_and_equal_pictures_no_difference():
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    lab = to_lab(greys)
    assert np.abs(lab[..., 1:]).max() < 1e-3
    assert lab[0, [0, 255], 0] == pytest.approx([0, 100], abs=1e-3)
    assert ciede2000(greys, greys) == 0


def test_unequal_sizes_and_depths_are_errors(pictures):
    image, truth = pictures
    with pytest.raises(PictureError, match="Cannot compare"):
        psnr(image[:-1], truth)
    with pytest.raises(PictureError, match="uint16"):
        ssim(image.astype(np.uint16), truth)


@pytest.mark.parametrize("name", PLAIN)
def test_every_metric_opens_scores_and_refuses_unequal_sizes(name, pictures):
    image, truth = pictures
    metric = open_metric(name)
    assert isinstance(metric(image, truth, image // 8), float)
    with pytest.raises(PictureError, match="Cannot compare"):
        metric(image[:-1], truth, truth)


@pytest.mark.parametrize("name", [name for name in PLAIN if METRICS[name].higher_is_better is not None])
def test_every_metric_that_has_a_better_side_ranks_noise_there_where_the_table_says(name):
    from skimage import data

    truth = data.chelsea()[:120, :160] // 4 + 16
    noise = np.random.default_rng(0).normal(0, 1, truth.shape)
    noise[..., 0] += 0.5  # and a cast
    noise[:8] *= 9  # and some clipping
    good, bad = (np.clip(truth + level * noise, 0, 255).astype(np.uint8) for level in (2, 30))
    metric = open_metric(name)
    better, worse = metric(good, truth, truth), metric(bad, truth, truth)
    assert better > worse if METRICS[name].higher_is_better else better < worse


def test_only_pcqi_takes_the_source_where_there_is_no_truth(pictures):
    image, truth = pictures
    pcqi = open_metric("pcqi")
    assert pcqi(image, None, truth) == pcqi(image, truth, image) != pcqi(image, image, truth)
    assert [name for name, metric in METRICS.items() if metric.needs_either] == ["pcqi"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_metric_says_what_it_lacks(name, pictures):
    with pytest.raises(OptionError, match=f"{name} needs the (ground truth|source picture)"):
        open_metric(name)(pictures[0])


def test_a_misspelt_metric_is_an_error_that_names_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'ciede2000'"):
        open_metric("CIEDE200")
    with pytest.raises(OptionError, match="Known metrics: psnr, ssim"):
        find("sharpness")


def test_definitions_are_sentences_of_their_own():
    texts = [metric.definition for metric in METRICS.values()]
    assert all(text.endswith(".") and len(text) > 40 for text in texts)
    assert len({*texts}) == len(texts) == len(METRICS)
    assert all(name == metric.name for name, metric in METRICS.items())


def test_the_table_of_metrics_imports_nothing_heavy():
    code = "import sys, lowlight_cli.metrics; print({'numpy', 'torch', 'scipy', 'cv2'} & {*sys.modules} or 'light')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "light"
