"""The training loop, its data and its checkpoints, on pictures small enough for a second."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lowlight_cli import picture
from lowlight_cli.cli import group
from lowlight_cli.data.crops import Crops, Drawing
from lowlight_cli.data.pairs import Pair, darkened, load_pairs, split_by_scene
from lowlight_cli.errors import LowlightError, ModelUnavailable, NoInput, OptionError, OutputExists, PictureError
from lowlight_cli.nn.losses import angle_loss, color_loss, hue_saturation, ssim_loss
from lowlight_cli.nn.resample import double, halve
from lowlight_cli.nn.state import load_weights
from lowlight_cli.tasks.train import TrainOptions, run
from lowlight_cli.training.recipe import Settings


@pytest.fixture
def lol(tmp_path):
    """Four pairs of 72x80 in low/ and high/."""
    for number in range(4):
        rng = np.random.default_rng(number)
        high = np.kron(rng.integers(40, 250, (9, 10, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        for folder, pixels in (("low", high // 10), ("high", high)):
            (tmp_path / "lol" / folder).mkdir(parents=True, exist_ok=True)
            picture.save(picture.from_array(pixels), tmp_path / "lol" / folder / f"{number}.png")
    return tmp_path / "lol"


def options(lol, out, **changes):
    """A training of a few steps of a tiny neid."""
    small = {"params": {"widths": [16, 16]}, "crop": 64, "batch": 2, "ema": 0.9, "lr": 1e-3}
    chosen = {"arch": "neid", "data": lol, "out": out, "held_out": 1}
    overrides = {**small, **changes.pop("overrides", {})}
    return TrainOptions(**{**chosen, **changes, "overrides": overrides})


def test_a_resumed_training_is_bit_equal_to_one_that_never_stopped(lol, tmp_path):
    for _ in run(options(lol, tmp_path / "a", overrides={"steps": 6})):
        pass
    stopped = run(options(lol, tmp_path / "b", overrides={"steps": 6}, minutes=0.0))
    assert [progress.step for progress in stopped] == [1]
    for _ in run(options(lol, tmp_path / "b", overrides={"steps": 6}, resume=True)):
        pass
    one, other = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in "ab")
    assert one["step"] == other["step"] == 6
    for group_ in ("networks", "averaged"):
        first = one[group_]["network"] if group_ == "networks" else one[group_]
        second = other[group_]["network"] if group_ == "networks" else other[group_]
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_is_not_written_over(lol, tmp_path):
    for _ in run(options(lol, tmp_path / "a", overrides={"steps": 1})):
        pass
    with pytest.raises(OptionError, match="holds a run"):
        next(run(options(lol, tmp_path / "a")))


def test_a_training_that_diverges_stops_and_keeps_its_checkpoint(lol, tmp_path):
    good = options(lol, tmp_path / "a", overrides={"steps": 1})
    for _ in run(good):
        pass
    before = (tmp_path / "a" / "last.pt").read_bytes()
    bad = options(lol, tmp_path / "a", overrides={"steps": 60, "lr": 1e30, "clip": 0}, resume=True)
    state = torch.load(tmp_path / "a" / "last.pt", weights_only=True)
    state["networks"]["network"]["le.tail.bias"].fill_(float("nan"))
    torch.save(state, tmp_path / "a" / "last.pt")
    poisoned = (tmp_path / "a" / "last.pt").read_bytes()
    with pytest.raises(LowlightError, match="diverged"):
        for _ in run(bad):
            pass
    assert (tmp_path / "a" / "last.pt").read_bytes() == poisoned != before


def test_the_command_trains_logs_and_writes_weights_that_load(lol, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "run"
    photos.mkdir()
    for number in range(12):
        picture.save(picture.from_array(np.full((72, 80, 3), 9 * number + 30, np.uint8)), photos / f"{number}.png")
    arguments = ["train", "--model", "aux-retinex", "--data", str(lol), "--out", str(out), "--photos", str(photos)]
    arguments += ["--held-out", "1", "--set", "steps=2", "--set", "crop=64", "--set", "synth=0.5", "--json"]
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["step"] == 2
    assert load_weights(out / "best.safetensors").keys() >= {"theta.0.weight"}
    assert json.loads((out / "settings.json").read_text())["steps"] == 2
    logged = csv.reader((out / "log.csv").read_text().splitlines())
    assert {row[2] for row in logged} >= {"psnr_gtmean", "psnr", "psnr_synth"}


def test_an_unknown_setting_names_the_nearest_one():
    with pytest.raises(OptionError, match="'steps'"):
        Settings().override({"step": 3})


def test_pairs_are_matched_by_name_strictly(lol):
    assert [pair.name for pair in load_pairs(lol / "low", lol / "high")] == ["0", "1", "2", "3"]
    (lol / "low" / "3.png").rename(lol / "low" / "4.png")
    with pytest.raises(PictureError, match="no partner, among them 3, 4"):
        load_pairs(lol / "low", lol / "high")
    with pytest.raises(NoInput, match="no folder"):
        load_pairs(lol / "lwo", lol / "high")


def test_pairs_of_unequal_size_are_an_error(lol):
    picture.save(picture.from_array(np.zeros((10, 10, 3), np.uint8)), lol / "low" / "2.png")
    with pytest.raises(PictureError, match=r"\(10, 10\)"):
        load_pairs(lol / "low", lol / "high")


def test_no_scene_is_on_both_sides_of_the_split():
    pairs = [Pair(str(n), np.zeros((1, 1, 3)), np.zeros((1, 1, 3))) for n in range(12)]
    scenes = [[0, 1, 2], [3, 4], [5], [6, 7, 8, 9]]
    training, validation = split_by_scene(pairs, scenes, held_out=3, seed=1)
    assert len(training) + len(validation) == 12
    assert training
    assert validation
    for scene in scenes:
        assert len({str(n) in {p.name for p in validation} for n in scene}) == 1


def test_a_batch_depends_on_the_seed_and_the_step_alone(lol):
    pairs = load_pairs(lol / "low", lol / "high")
    make = lambda seed: Crops(pairs, [], Drawing(crop=64, batch=3, seed=seed, thumbnail=16))  # noqa: E731
    one, other = make(1), make(1)
    one(0)
    assert torch.equal(one(5)["low"], other(5)["low"])
    assert not torch.equal(make(2)(5)["low"], other(5)["low"])


def test_crops_of_low_and_high_are_aligned(lol):
    pairs = [Pair(p.name, p.high // 2, p.high) for p in load_pairs(lol / "low", lol / "high")]
    batch = Crops(pairs, [], Drawing(crop=64, batch=8, seed=0, thumbnail=16, shuffle=0.5))(0)
    assert (batch["high"] / 2 - batch["low"]).abs().max() < 1.01 / 255


def test_darkened_photos_are_the_same_for_the_same_seed_and_darker(lol):
    made = darkened(lol / "high", copies=5, seed=3)
    again = darkened(lol / "high", copies=5, seed=3)
    assert all(np.array_equal(a.low, b.low) for a, b in zip(made, again, strict=True))
    kept = [pair for pair in made if np.array_equal(pair.low, pair.high)]
    assert 0 < len(kept) < len(made)
    darker = [pair.low.mean() < pair.high.mean() for pair in made if not np.array_equal(pair.low, pair.high)]
    assert sum(darker) > 0.9 * len(darker)  # noise can brighten what is black


def test_halving_and_doubling_are_pillows_bicubic():
    from PIL import Image
    from skimage import data

    photo = data.astronaut()[:128, :160]
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    for ours, size in ((halve(pixels), (80, 64)), (double(pixels), (320, 256))):
        theirs = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC), np.float32)
        inside = np.abs(ours[0].permute(1, 2, 0).numpy().clip(0, 255) - theirs)[8:-8, 8:-8]
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


def test_a_resumed_run_keeps_its_settings_and_needs_a_checkpoint(lol, tmp_path):
    for _ in run(options(lol, tmp_path / "a", overrides={"steps": 2, "lr": 5e-4})):
        pass
    plain = TrainOptions(arch="neid", data=lol, out=tmp_path / "a", held_out=1, resume=True)
    assert [*run(plain)] == []
    kept = json.loads((tmp_path / "a" / "settings.json").read_text())
    assert (kept["steps"], kept["lr"]) == (2, 5e-4)
    with pytest.raises(OptionError, match="no checkpoint"):
        next(run(options(lol, tmp_path / "b", resume=True)))


def test_a_run_that_cannot_start_leaves_no_folder_behind(lol, tmp_path):
    for wrong in ({"data": lol / "nope"}, {"held_out": 600}, {"scenes": lol / "low" / "0.png"}):
        with pytest.raises(LowlightError):
            next(run(options(lol, tmp_path / "a", **wrong)))
    assert not (tmp_path / "a").exists()


def test_a_setting_of_the_wrong_kind_is_refused():
    with pytest.raises(OptionError, match="'abc' is no value for steps"):
        Settings().override({"steps": "abc"})
    assert Settings().override({"lr": 1}).lr == 1


def test_export_writes_all_files_or_none_and_never_over_others(tmp_path):
    from lowlight_cli import manifest, weights
    from lowlight_cli.tasks.export import run as export

    spec = manifest.find("aux-retinex")
    source = weights.find(spec, "torch")
    files = export(spec, source, tmp_path, "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(file["path"] for file in files)
    assert {file["role"] for file in files} == {"torch", "onnx-context", "onnx-x1"}
    assert load_weights(tmp_path / "mine.safetensors").keys() == load_weights(source).keys()
    with pytest.raises(OutputExists, match="mine"):
        export(spec, source, tmp_path, "mine")
    with pytest.raises(OptionError, match="classical"):
        export(manifest.find("clahe"), source, tmp_path, "clahe")


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


def test_a_run_can_start_from_weights(lol, tmp_path):
    first = [*run(options(lol, tmp_path / "a", overrides={"steps": 2}))]
    assert first
    best = tmp_path / "a" / "last.safetensors"
    for _ in run(options(lol, tmp_path / "b", init=best, overrides={"steps": 1, "lr": 0.0})):
        pass
    one, other = load_weights(best), load_weights(tmp_path / "b" / "last.safetensors")
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ModelUnavailable, match="does not fit"):
        next(run(options(lol, tmp_path / "c", init=best, overrides={"params": {"widths": [16, 32]}})))
    assert not (tmp_path / "c").exists()
