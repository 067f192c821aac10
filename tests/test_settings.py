"""The settings of a training: checked field by field."""

from __future__ import annotations

import math

import pytest

from lowlight_cli.errors import OptionError
from lowlight_cli.training.settings import Settings


def test_an_unknown_setting_names_the_nearest_one():
    with pytest.raises(OptionError, match="Did you mean 'steps'"):
        Settings().override({"step": 3})
    with pytest.raises(OptionError, match="Known: "):
        Settings().override({"qqqq": 3})


def test_an_unknown_term_of_the_loss_names_the_nearest_one():
    settings = Settings(loss={"huber": 1.0, "ssim": 0.0})
    for values in ({"loss.hubert": 1}, {"loss": {"hubert": 1}}):
        with pytest.raises(OptionError, match=r"term of this loss 'hubert'\. Did you mean 'huber'"):
            settings.override(values)


def test_the_bare_word_off_which_yaml_reads_as_false_is_off_for_perceptual_alone():
    assert Settings().override({"perceptual": False}).perceptual == "off"
    for value in (True, 0, "of"):
        with pytest.raises(OptionError, match="not valid for perceptual") as caught:
            Settings().override({"perceptual": value})
        assert caught.value.hint == "One of: required, auto, off."
    with pytest.raises(OptionError, match=r"False is not valid for decay\. One of: cosine"):
        Settings().override({"decay": False})


def test_one_entry_of_a_mapping_is_set_and_the_others_stay():
    settings = Settings(loss={"huber": 1.0, "ssim": 0.0}, params={"widths": [1, 2]})
    assert settings.override({"loss.ssim": 0.5}).loss == {"huber": 1.0, "ssim": 0.5}
    assert settings.override({"loss": {"ssim": 2}}).loss == {"huber": 1.0, "ssim": 2}
    assert settings.override({"params.detail": False}).params == {"widths": [1, 2], "detail": False}
    assert settings.loss == {"huber": 1.0, "ssim": 0.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("steps", "abc"), ("steps", 1.5), ("steps", True), ("steps", 0), ("lr", "fast"), ("decay", "slow")),
        *(("preset", "day"), ("perceptual", "maybe"), ("betas", "0.9"), ("loss", 3), ("batch", 0), ("best", 1)),
        *(
            ("loss.huber", "much"),
            ("loss.huber", math.nan),
            ("loss.huber", -1),
            ("lr", -1),
            ("lr", math.nan),
            ("lr", math.inf),
        ),
        *(("betas", [0.9]), ("betas", [0.9, 1]), ("betas", ["a", "b"]), ("ema", 1.5), ("ema", -0.1), ("clip", -1)),
        *(("seed", -1), ("seed", 2**64), ("crop", 1), ("pool", -5), ("synth", 5), ("shuffle", -1), ("best", "psnrr")),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name, value):
    with pytest.raises(OptionError, match=name.partition(".")[0]):
        Settings(loss={"huber": 1.0}).override({name: value})


def test_a_whole_number_is_a_number():
    assert Settings().override({"lr": 1, "betas": [0.5, 0.99]}).betas == [0.5, 0.99]
