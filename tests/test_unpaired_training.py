"""Training on dark and bright pictures of other scenes, from files to weights, on pictures small enough for seconds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowlight_cli import picture, weights_metadata
from lowlight_cli.data.sources import Request
from lowlight_cli.data.training_data import TrainingData, open_data
from lowlight_cli.errors import LowlightError, OptionError
from lowlight_cli.tasks.train import TrainOptions, held_out_batches, run
from lowlight_cli.training.run import Progress
from lowlight_cli.training.settings import Settings

TINY = {
    "params": {"width": 4, "downsample": 2},
    "discriminator": {"width": 4},
    "crop": 64,
    "steps": 2,
    "log_every": 1,
    "validate_every": 1,
}
TERMS = {"generators", "adversarial_high", "adversarial_low", "cycle", "identity"}
TERMS |= {"discriminator_high", "discriminator_low"}


def heap(folder: Path, name: str, count: int, brightest: int, seed: int) -> None:
    """Pictures of coloured blocks, 72x80, called `name` and a number."""
    folder.mkdir(parents=True)
    for number in range(count):
        blocks = np.random.default_rng([seed, number]).integers(0, brightest, (9, 10, 3))
        pixels = np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)
        picture.save(picture.from_array(pixels), folder / f"{name}{number}.png")


def trained(out: Path, heard: list[str] | None = None, **changes: Any) -> list[Progress]:
    """A few steps of a tiny drs-cyclegan; `heard` gets what was announced."""
    options = {"model": "drs-cyclegan", "out": out, "threads": 1, "device": "cpu", "cache": out.parent / "cache"}
    overrides = {**TINY, **changes.pop("overrides", {})}
    announce = (heard if heard is not None else []).append
    return [*run(TrainOptions(**{**options, **changes}, overrides=overrides), announce)]


def flat_heaps(root: Path, dark: int = 5, bright: int = 10, folders: tuple[str, str] = ("low", "normal")) -> Path:
    """Pictures of one value each: 10, 11, ... and 200, 201, ..."""
    for folder, name, first, count in ((folders[0], "d", 10, dark), (folders[1], "b", 200, bright)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((40, 48, 3), first + number, np.uint8)
            picture.save(picture.from_array(pixels), root / folder / f"{name}{number}.png")
    return root


def opened(tmp_path: Path, **changes: Any) -> TrainingData:
    small: dict[str, Any] = {"kind": "unpaired", "cache": tmp_path / "cache", "crop": 16, "thumbnail": 8, "copies": 6}
    small |= {"data": None, "photos": None, "scenes": None, "validation": None, "preset": "mixed"}
    small |= {"seed": 0, "synth": 1.0, "shuffle": 0.0}
    return open_data(Request(**{**small, **changes}), lambda _: None)


def level(pixels: np.ndarray | None) -> int:
    """The value of a flat picture."""
    assert pixels is not None
    return int(pixels[0, 0, 0])


def drawn(data: TrainingData, side: str) -> set[int]:
    """The values of flat pictures that training draws."""
    return {round(float(v) * 255) for step in range(40) for v in data.draw(step, range(8))[side][:, 0, 0, 0]}


# Through the whole of a training


@pytest.mark.parametrize("folders", [("low", "normal"), ("trainA", "trainB")])
def test_heaps_train_and_the_least_of_their_own_loss_is_the_best(tmp_path: Path, folders: tuple[str, str]) -> None:
    heap(tmp_path / "unp" / folders[0], "dark", 5, 40, 0)
    heap(tmp_path / "unp" / folders[1], "lit", 5, 256, 1)
    heard: list[str] = []
    seen = trained(tmp_path / "run", heard, data=tmp_path / "unp")
    title = f"{folders[0]}/ and {folders[1]}/"
    assert f"4 dark and 4 bright pictures from {tmp_path / 'unp'} ({title}), 1 dark and 1 bright held out" in heard
    assert not [line for line in heard if "--scenes" in line]
    assert seen[-1].step == 2
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} >= {f"{kind}_{name}" for name in TERMS for kind in ("train", "loss")}
    assert not [row["name"] for row in rows if any(word in row["name"] for word in ("psnr", "ssim", "mae"))]
    totals = [float(row["value"]) for row in rows if row["name"] == "loss_generators"]
    assert len(totals) == 3  # the first of them before any step
    best = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["position"]["best"]
    assert -best == pytest.approx(min(totals[1:]), rel=1e-4)
    origin = weights_metadata.read(tmp_path / "run" / "best.safetensors")
    assert origin.params == TINY["params"]


def test_dark_pictures_train_with_the_bright_ones_of_photos(tmp_path: Path) -> None:
    heap(tmp_path / "own" / "low", "dark", 3, 40, 0)
    heap(tmp_path / "photos", "lit", 3, 256, 1)
    options = {"data": tmp_path / "own", "photos": tmp_path / "photos", "copies": 1}
    seen = trained(tmp_path / "run", **options, overrides={"preset": "camera", "synth": 0.5, "steps": 1})
    scores = seen[-1].values
    assert "loss_generators" in scores
    assert "made_psnr" in scores
    assert "psnr" not in scores
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_heaps_train_without_validation(tmp_path: Path) -> None:
    heap(tmp_path / "unp" / "low", "dark", 1, 40, 0)
    heap(tmp_path / "unp" / "normal", "lit", 1, 256, 1)
    heard: list[str] = []
    seen = trained(tmp_path / "run", heard, data=tmp_path / "unp", validation=0)
    assert f"1 dark and 1 bright pictures from {tmp_path / 'unp'} (low/ and normal/)" in heard
    assert seen[-1].step == 2
    assert not [name for one in seen for name in one.values if name.startswith("loss_")]


# What is held out


@pytest.mark.parametrize(
    ("asked", "dark", "bright"), [(None, 1, 2), (1, 1, 1), (2, 2, 2), (4, 4, 2)]
)  # no more than a fifth of the bright ones
def test_bright_pictures_are_held_out_beside_the_dark_ones(
    tmp_path: Path, asked: int | None, dark: int, bright: int
) -> None:
    data = opened(tmp_path, data=flat_heaps(tmp_path / "d"), validation=asked)
    held = {level(shown.bright) for shown in data.validation}
    assert (len(data.validation), len(data.fingerprint["held_out_bright"])) == (dark, bright)
    assert held <= {200 + int(name[1:]) for name in data.fingerprint["held_out_bright"]}
    assert len(held) == min(dark, bright)
    assert all(shown.high is None for shown in data.validation), "no score may take a bright picture for the truth"
    kept = {200 + number for number in range(10) if f"b{number}" not in data.fingerprint["held_out_bright"]}
    assert drawn(data, "high") == kept
    assert drawn(data, "low") == {*range(10, 15)} - {level(shown.low) for shown in data.validation}
    assert data.fingerprint["training_bright"] == 10 - bright


def test_held_out_crops_have_dark_and_bright_pictures(tmp_path: Path) -> None:
    data = opened(tmp_path, data=flat_heaps(tmp_path / "d"), validation=4)
    batches = held_out_batches(data, Settings(crop=16, batch=2), 8)
    found = [(batch, name) for batch in batches for name in ("low", "high")]
    assert len(batches) == 2
    for batch, name in found:
        assert batch[name].shape == (2, 3, 16, 16)
        assert batch[f"{name}_thumbnail"].shape == (2, 3, 8, 8)
    lit = [round(float(value) * 255) for batch in batches for value in batch["high"][:, 0, 0, 0]]
    assert lit == [level(shown.bright) for shown in data.validation]
    assert [round(float(value) * 255) for batch in batches for value in batch["brightness"]] == lit


def test_equal_bright_files_are_held_out_together(tmp_path: Path) -> None:
    root = flat_heaps(tmp_path / "d", bright=4)
    for number in range(1, 4):
        (root / "normal" / f"b{number}.png").write_bytes((root / "normal" / "b1.png").read_bytes())
    data = opened(tmp_path, data=root)
    assert len({level(shown.bright) for shown in data.validation} | drawn(data, "high")) == 2
    assert not {level(shown.bright) for shown in data.validation} & drawn(data, "high")


def test_a_file_may_name_bright_pictures_to_hold_out(tmp_path: Path) -> None:
    root = flat_heaps(tmp_path / "d")
    (tmp_path / "names").write_text("d1\nd2\nb7\n")
    data = opened(tmp_path, data=root, validation=tmp_path / "names")
    assert [level(shown.bright) for shown in data.validation] == [207, 207]
    assert drawn(data, "high") == {*range(200, 210)} - {207}
    (tmp_path / "names").write_text("d1\n")
    some = opened(tmp_path, data=root, validation=tmp_path / "names")
    assert level(some.validation[0].bright) not in drawn(some, "high")
    (tmp_path / "names").write_text("\n".join(f"b{number}" for number in range(10)))
    with pytest.raises(OptionError, match="All bright pictures are held out"):
        opened(tmp_path, data=root, validation=tmp_path / "names")


def test_a_folder_that_validates_brings_its_own_bright_pictures(tmp_path: Path) -> None:
    root = flat_heaps(tmp_path / "d", 3, 3)
    apart = flat_heaps(tmp_path / "apart", 5, 2, ("trainA", "trainB"))
    data = opened(tmp_path, data=root, validation=apart)
    assert [level(shown.bright) for shown in data.validation] == [200, 201, 200, 201, 200]
    assert drawn(data, "high") == {200, 201, 202}
    for path in (apart / "trainB").iterdir():
        path.unlink()
    with pytest.raises(OptionError, match=r"No bright picture.*folder of --val.*--val 0"):
        opened(tmp_path, data=root, validation=apart)


def test_the_only_bright_picture_is_not_taken_from_training(tmp_path: Path) -> None:
    root = flat_heaps(tmp_path / "d", 3, 1)
    with pytest.raises(OptionError, match=r"No bright picture.*Add some.*--val 0"):
        opened(tmp_path, data=root)
    assert drawn(opened(tmp_path, data=root, validation=0), "high") == {200}


def pairs(root: Path) -> Path:
    """Dark and bright pictures of equal names."""
    for folder, brightest in (("low", 60), ("high", 250)):
        heap(root / folder, "p", 6, brightest, seed=0)
    return root


def test_params_that_no_reader_of_weights_takes_are_refused_before_training(tmp_path: Path) -> None:
    overrides = {"params": {**TINY["params"], "exposure": 1}}
    with pytest.raises(OptionError, match="exposure 1"):
        trained(tmp_path / "run", data=pairs(tmp_path / "pairs"), overrides=overrides)
    assert not (tmp_path / "run").exists()


def test_a_run_with_a_target_brightness_ends_in_weights_that_take_one(tmp_path: Path) -> None:
    overrides = {"params": {**TINY["params"], "exposure": True}, "loss": {"cycle": 0.0, "paired": 1.0}}
    told = trained(tmp_path / "run", data=pairs(tmp_path / "pairs"), validation=1, overrides=overrides)
    assert {"train_exposure", "train_paired"} <= told[1].values.keys()
    origin = weights_metadata.read(tmp_path / "run" / "best.safetensors")
    assert origin is not None
    assert origin.geometry["exposure"] is True
    with pytest.raises(LowlightError, match="other networks: discriminator_high generator; these settings make back"):
        changed = {**overrides, "steps": 3, "loss": {**overrides["loss"], "cycle": 1.0}}
        trained(tmp_path / "run", data=tmp_path / "pairs", validation=1, resume=True, overrides=changed)
    with pytest.raises(OptionError, match=r"other params\.exposure"):
        plain = {"params": {"exposure": False}}
        start = tmp_path / "run" / "best.safetensors"
        trained(tmp_path / "other", data=tmp_path / "pairs", validation=1, init=start, overrides=plain)
