"""The data of a training: what is recognised, the cache, what is held out, and how batches are drawn."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lowlight_cli import picture
from lowlight_cli.color import luma
from lowlight_cli.data import cache, copies, intake, scenes, sensor, sources
from lowlight_cli.data.cache import Decoded, Entry
from lowlight_cli.data.crops import Window
from lowlight_cli.data.darken import PRESETS, Paper
from lowlight_cli.data.pairs import SWAPPED, eight_bit, matched
from lowlight_cli.data.sources import Request
from lowlight_cli.data.training_data import TrainingData, open_data
from lowlight_cli.errors import NoInput, OptionError, PictureError
from lowlight_cli.thumbnail import thumbnail


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(picture.from_array(pixels.astype(np.uint8)), path)
    return path


def flat(value: float, height: int = 40, width: int = 48) -> np.ndarray:
    return np.full((height, width, 3), value)


def textured(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Blocks of colours, all even, so that they can be halved."""
    return np.kron(
        np.random.default_rng(seed).integers(20, 120, (height // 8, width // 8, 3)) * 2, np.ones((8, 8, 1), np.uint8)
    )


def flat_pairs(root: Path, count: int = 6, low: str = "low", high: str = "high") -> Path:
    """Pair k is of one value each: 10 + 10 k, and 100 more."""
    for number in range(count):
        save(root / low / f"{number}.png", flat(10 + 10 * number))
        save(root / high / f"{number}.png", flat(110 + 10 * number))
    return root


def textured_pairs(root: Path, count: int = 4) -> Path:
    for number in range(count):
        save(root / "high" / f"{number}.png", textured(number))
        save(root / "low" / f"{number}.png", textured(number) // 2)
    return root


def photos(root: Path, count: int = 3) -> Path:
    for number in range(count):
        save(root / f"{number}.png", textured(100 + number))
    return root


def opened(tmp_path: Path, heard: list[str] | None = None, **changes: Any) -> TrainingData:
    """Data of small crops; `heard` gets what was announced."""
    small = {"kind": "paired", "cache": tmp_path / "cache", "crop": 16, "thumbnail": 8, "validation": 1, "copies": 2}
    small |= {"data": None, "photos": None, "scenes": None, "preset": "mixed", "seed": 0, "synth": 1.0, "shuffle": 0.0}
    return open_data(Request(**{**small, **changes}), (heard if heard is not None else []).append)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def levels(data: TrainingData, side: str = "low", steps: int = 30) -> set[int]:
    """The values of flat pictures that are drawn."""
    return {round(float(v) * 255) for step in range(steps) for v in data.draw(step, range(8))[side][:, 0, 0, 0]}


# What is recognised


def test_pairs_are_matched_by_name_strictly(tmp_path: Path) -> None:
    root = textured_pairs(tmp_path / "d")
    assert [name for name, *_ in matched(root / "low", root / "high")] == ["0", "1", "2", "3"]
    (root / "low" / "old.png").mkdir()
    assert len(matched(root / "low", root / "high")) == 4
    (root / "low" / "3.png").rename(root / "low" / "4.png")
    with pytest.raises(PictureError, match="no partner, among them 3, 4"):
        opened(tmp_path, data=root)
    with pytest.raises(NoInput, match="no folder"):
        opened(tmp_path, data=tmp_path / "nope")


@pytest.mark.parametrize(
    ("low", "high", "given", "title"),
    [
        ("LOL/our485/low", "LOL/our485/high", "LOL", "LOL/train"),
        ("LOL/our485/low", "LOL/our485/high", "LOL/our485", "LOL/train"),
        ("LOL-v2/Real_captured/Train/Low", "LOL-v2/Real_captured/Train/Normal", "LOL-v2", "LOL-v2-real/train"),
        ("own/train/low", "own/train/high", "own", "synth/train"),
        ("own/low", "own/high", "own", "low/ and high/, made by lowlight synth"),
        ("mine/Low", "mine/HIGH", "mine", "low/ and high/"),
    ],
)
def test_layouts_of_pairs_are_recognised_and_named(tmp_path, low, high, given, title) -> None:
    flat_pairs(tmp_path, low=low, high=high)
    if low.startswith("own"):
        (tmp_path / "own" / "synth.jsonl").touch()
    heard: list[str] = []
    data = opened(tmp_path, heard, data=tmp_path / given)
    assert data.fingerprint["set"] == title
    assert title in data.summary
    assert len(data.crops.real.low) == 5
    assert any("expected, 6 found" in line for line in heard) == title.startswith("LOL")


def test_a_folder_of_two_sets_is_refused_with_both_names(tmp_path: Path) -> None:
    flat_pairs(tmp_path / "all", low="LOL/our485/low", high="LOL/our485/high")
    flat_pairs(tmp_path / "all", low="LOL-v2/Synthetic/Train/Low", high="LOL-v2/Synthetic/Train/Normal")
    with pytest.raises(OptionError, match=r"holds LOL and LOL-v2-syn.*our485 or .*Train"):
        opened(tmp_path, data=tmp_path / "all")


@pytest.mark.parametrize("kind", ["paired", "unpaired", "low"])
def test_nothing_usable_says_what_was_looked_for(tmp_path: Path, kind: sources.Kind) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInput, match=r"Looked for low/ with high/.* and the training data of LOL, "):
        opened(tmp_path, kind=kind, data=tmp_path / "empty")
    with pytest.raises(NoInput, match="nothing to train on"):
        opened(tmp_path, kind=kind)


def test_dark_pictures_alone_are_nothing_to_train_pairs_on(tmp_path: Path) -> None:
    photos(tmp_path / "dark")
    with pytest.raises(NoInput, match="low/ with high/"):
        opened(tmp_path, data=tmp_path / "dark")
    with pytest.raises(NoInput, match="no well-lit pictures"):
        opened(tmp_path, kind="unpaired", data=tmp_path / "dark")


@pytest.mark.parametrize("folders", [("low", "high"), ("low", "normal"), ("trainA", "trainB")])
def test_unpaired_heaps_need_no_common_names_or_sizes(tmp_path: Path, folders: tuple[str, str]) -> None:
    for number in range(3):
        save(tmp_path / "d" / folders[0] / f"a{number}.png", flat(10 + number))
        save(tmp_path / "d" / folders[1] / f"b{number}.png", flat(200 + number, 64, 64))
    data = opened(tmp_path, kind="unpaired", data=tmp_path / "d")
    assert len(data.validation) == 1
    assert data.validation[0].high is None
    assert levels(data, "high") == {200, 201, 202} - {int(data.validation[0].bright[0, 0, 0])}
    assert levels(data) == {10, 11, 12} - {int(data.validation[0].low[0, 0, 0])}


def test_equal_names_of_unequal_sizes_are_no_pairs_where_none_are_needed(tmp_path: Path) -> None:
    flat_pairs(tmp_path / "d")
    save(tmp_path / "d" / "high" / "2.png", flat(130, 64, 64))
    heard: list[str] = []
    data = opened(tmp_path, heard, kind="unpaired", data=tmp_path / "d")
    assert any("not taken for pairs" in line for line in heard)
    assert len(data.crops.real.high) == 5
    assert data.validation[0].high is None
    apart = opened(tmp_path, heard, kind="unpaired", data=tmp_path / "d", validation=tmp_path / "d")
    assert len(apart.crops.real.high) == len(apart.validation) == 6
    assert {shown.high is None for shown in apart.validation} == {True}


@pytest.mark.parametrize("folder", ["", "low"])
def test_dark_pictures_alone_have_no_well_lit_side(tmp_path: Path, folder: str) -> None:
    photos(tmp_path / "d" / folder)
    data = opened(tmp_path, kind="low", data=tmp_path / "d")
    assert data.draw(0, range(2)).keys() == {"low", "low_thumbnail"}
    assert len(data.validation) == 1
    assert data.validation[0].high is None


def test_pairs_serve_a_training_on_dark_pictures_and_keep_their_truth_for_validation(tmp_path: Path) -> None:
    data = opened(tmp_path, kind="low", data=flat_pairs(tmp_path / "d"))
    assert data.draw(0, range(2)).keys() == {"low", "low_thumbnail"}
    assert data.validation[0].high is not None
    assert int(data.validation[0].high[0, 0, 0]) == int(data.validation[0].low[0, 0, 0]) + 100


# Files that cannot be used


def test_all_pictures_that_cannot_be_used_are_named_together(tmp_path: Path) -> None:
    root = flat_pairs(tmp_path / "d", 7)
    (root / "low" / "0.png").write_text("no picture")
    whole = (root / "high" / "1.png").read_bytes()
    (root / "high" / "1.png").write_bytes(whole[: len(whole) // 2])
    save(root / "low" / "2.png", flat(9, 40, 40))
    for side in ("low", "high"):
        save(root / side / "3.png", flat(9, 12, 48))
    normal = photos(tmp_path / "p")
    (normal / "1.png").write_bytes(b"")
    with pytest.raises(NoInput) as caught:
        opened(tmp_path, data=root, photos=normal)
    message = str(caught.value)
    assert "6 pictures cannot be used" in message
    for path in ("d/low/0.png", "d/high/1.png", "d/low/2.png", "d/low/3.png", "d/high/3.png", "p/1.png"):
        assert f"{tmp_path / path}: " in message
    assert f"It is 40x40, {root / 'high' / '2.png'} is 48x40." in message
    assert "It is 48x12, smaller than the crop of 16." in message
    for path in ("d/low/4.png", "p/0.png"):
        assert path not in message
    assert message.endswith("Repair or remove them; a partner goes, too. What is too small fits --set crop=12.")


@pytest.mark.parametrize(("sizes", "crop"), [([(48, 40)], 40), ([(48, 40), (30, 60)], 30)])
def test_where_pictures_are_small_a_smaller_crop_is_the_remedy(
    tmp_path: Path, sizes: list[tuple[int, int]], crop: int
) -> None:
    for number, size in enumerate(sizes):
        for side in ("low", "high"):
            save(tmp_path / "d" / side / f"{number}.png", flat(9, *size))
    save(tmp_path / "d" / "low" / "9.png", flat(9, 64, 64))
    save(tmp_path / "d" / "high" / "9.png", flat(9, 64, 64))
    with pytest.raises(NoInput, match=rf"Take a smaller crop: --set crop={crop}; or remove them") as caught:
        opened(tmp_path, data=tmp_path / "d", crop=64)
    assert "Repair" not in str(caught.value)
    opened(tmp_path, data=tmp_path / "d", crop=crop)


def test_of_many_bad_pictures_ten_are_named_and_all_counted(tmp_path: Path) -> None:
    root = flat_pairs(tmp_path / "d", 13)
    for number in range(12):
        (root / "low" / f"{number}.png").write_bytes(b"x")
    with pytest.raises(NoInput, match=r"12 pictures cannot be used(?s:.*)and 2 more"):
        opened(tmp_path, data=root)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(("low", "."))]


# The cache


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Grows by one for every file that is decoded."""
    seen: list[bytes] = []

    def counted(data: bytes) -> np.ndarray:
        seen.append(data)
        return eight_bit(data)

    monkeypatch.setattr(intake, "eight_bit", counted)
    return seen


def test_every_file_is_decoded_once_and_kept_as_it_was(tmp_path: Path, decoded: list[bytes]) -> None:
    root = textured_pairs(tmp_path / "d")
    first = opened(tmp_path, data=root)
    assert len(decoded) == 8
    again = opened(tmp_path, data=root, crop=24, seed=5, validation=2, kind="unpaired")
    assert len(decoded) == 8
    assert again.fingerprint["sha256"] == first.fingerprint["sha256"]
    kept = first.crops.real.low.pictures
    assert [*kept.names] == ["0", "1", "2", "3"]
    for number in range(4):
        assert np.array_equal(kept[number], textured(number) // 2)
        assert np.allclose(kept.means[number], textured(number).mean(axis=(0, 1)) / 510, atol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        kept[0][:] = 0


def test_a_file_that_changed_is_decoded_again_and_the_old_pixels_are_removed(
    tmp_path: Path, decoded: list[bytes]
) -> None:
    root = flat_pairs(tmp_path / "d")
    before = opened(tmp_path, data=root)
    save(root / "low" / "3.png", flat(7))
    os.utime(root / "low" / "3.png", ns=(1, 1))
    after = opened(tmp_path, data=root)
    assert len(decoded) == 12 + 6
    assert after.fingerprint["sha256"] != before.fingerprint["sha256"]
    assert int(after.crops.real.low.pictures[3][0, 0, 0]) == 7
    names = [path.name for path in (tmp_path / "cache").iterdir()]
    assert len(names) == 2
    assert int(before.crops.real.low.pictures[3][0, 0, 0]) == 40


def test_the_fingerprint_follows_names_and_contents_not_places(tmp_path: Path) -> None:
    root = flat_pairs(tmp_path / "d")
    first = opened(tmp_path, data=root).fingerprint
    assert first == json.loads(json.dumps(first))
    assert (first["files"], first["training"], len(first["held_out"])) == (12, 5, 1)
    shutil.copytree(root, tmp_path / "copy")
    assert opened(tmp_path, data=tmp_path / "copy").fingerprint["sha256"] == first["sha256"]
    for side in ("low", "high"):
        (root / side / "5.png").rename(root / side / "9.png")
    assert opened(tmp_path, data=root).fingerprint["sha256"] != first["sha256"]


@pytest.mark.parametrize("damage", ["short", "long", "index", "other"])
def test_a_damaged_entry_is_built_anew(tmp_path: Path, decoded: list[bytes], damage: str) -> None:
    root = flat_pairs(tmp_path / "d")
    folder = opened(tmp_path, data=root).crops.real.low.pictures.folder
    pixels = (folder / cache.PIXELS).read_bytes()
    if damage == "short":
        (folder / cache.PIXELS).write_bytes(pixels[:-1])
    elif damage == "long":
        (folder / cache.PIXELS).write_bytes(pixels + b"x")
    elif damage == "index":
        (folder / cache.INDEX).write_text("{")
    else:
        index = json.loads((folder / cache.INDEX).read_text())
        (folder / cache.INDEX).write_text(json.dumps({**index, "key": "another"}))
    assert levels(opened(tmp_path, data=root)) <= {10, 20, 30, 40, 50, 60}
    assert len(decoded) == 12 + 6


@pytest.mark.parametrize("content", [b"", b"no array", "shape"])
def test_damaged_thumbnails_are_made_anew(tmp_path: Path, content: bytes | str) -> None:
    kept = opened(tmp_path, data=flat_pairs(tmp_path / "d")).crops.real.low.pictures
    before, path = kept.thumbnails(8).copy(), kept.folder / "thumbnails-8.npy"
    if content == "shape":
        np.save(path, before[:-1])
    else:
        path.write_bytes(content)
    assert np.array_equal(kept.thumbnails(8), before)
    assert np.array_equal(np.load(path), before)


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from lowlight_cli.data.cache import Decoded, Entry, obtain

def work(job):
    if job == 5:
        os._exit(9)
    return [Decoded(str(job), np.full((40, 48, 3), job, np.uint8))]

obtain(Path(sys.argv[1]), Entry(title="t", label="low", place=["p"], facts=[]), range(9), work, print, threads=1)
"""


def test_a_builder_that_was_killed_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, check=False)
    assert killed.returncode == 9, killed.stderr
    (left,) = folder.iterdir()
    assert left.name.startswith(".lowlight-")
    entry = Entry(title="t", label="low", place=["p"], facts=[])

    def build(facts: list[int]) -> cache.Pictures:
        changed = Entry(title="t", label="low", place=["p"], facts=facts)
        return cache.obtain(folder, changed, range(9), lambda job: [Decoded(str(job), np.uint8(flat(job)))], print)

    assert len(build([])) == 9
    assert left.exists(), "it may be at work"
    long_ago = time.time() - 2 * cache.QUIET
    for path in (*left.iterdir(), left):
        os.utime(path, (long_ago, long_ago))
    assert len(build([1])) == 9
    assert not left.exists()
    assert not (folder / entry.name).exists()


def test_two_builders_at_once_do_each_other_no_harm(tmp_path: Path) -> None:
    entry = Entry(title="t", label="low", place=[], facts=[])
    inner: list[cache.Pictures] = []

    def one(job: int) -> list[Decoded]:
        return [Decoded(str(job), np.uint8(flat(job)))]

    def slow(job: int) -> list[Decoded]:
        if job == 2:
            inner.append(cache.obtain(tmp_path, entry, range(4), one, print))
        return one(job)

    outer = cache.obtain(tmp_path, entry, range(4), slow, print)
    assert len(inner) == 1
    assert outer.folder == inner[0].folder
    assert [int(outer[number][0, 0, 0]) for number in range(4)] == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == [entry.name]


def test_a_full_disk_is_told_with_a_remedy_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = flat_pairs(tmp_path / "d")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(cache.os, "fsync", full)
        with pytest.raises(OptionError, match=r"the disk is full.*--cache"):
            opened(tmp_path, data=root)
    assert [*(tmp_path / "cache").iterdir()] == []
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda _: SimpleNamespace(free=7000))
    with pytest.raises(OptionError, match=r"copies take 34560 bytes.*7000 left.*--cache"):
        opened(tmp_path, photos=photos(tmp_path / "p"), preset="camera")


def test_a_cache_that_cannot_be_made_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"cannot be written.*--cache"):
        opened(tmp_path, data=flat_pairs(tmp_path / "d"), cache=tmp_path / "file" / "cache")


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_swapped_folders_are_noticed(tmp_path: Path, kind: str) -> None:
    root, heard = flat_pairs(tmp_path / "d"), []
    opened(tmp_path, heard, kind=kind, data=root)
    assert SWAPPED not in heard
    (root / "low").rename(root / "dark")
    (root / "high").rename(root / "low")
    (root / "dark").rename(root / "high")
    opened(tmp_path, heard, kind=kind, data=root)
    assert heard.count(SWAPPED) == 1


# What is held out


def test_no_scene_is_on_both_sides_of_the_split(tmp_path: Path) -> None:
    root = flat_pairs(tmp_path / "d", 12)
    listed = [[0, 1, 2], [3, 4], [5], [6, 7, 8, 9]]
    (tmp_path / "scenes.json").write_text(json.dumps({"our485_scenes": listed}))
    heard: list[str] = []
    for kind in ("paired", "unpaired", "low"):
        data = opened(tmp_path, heard, kind=kind, data=root, validation=3)
        held = {int(shown.name) for shown in data.validation}
        assert data.fingerprint["held_out"] == [str(n) for n in sorted(held)]
        assert data.fingerprint["held_out_scenes"] == 3
        for scene in [*listed, [10], [11]]:
            assert len(held & {*scene}) in (0, len(scene))
        assert levels(data) == {10 + 10 * n for n in range(12) if n not in held}
        if kind != "low":
            assert levels(data, "high") == {110 + 10 * n for n in range(12) if n not in held}
    assert f"Scenes from {tmp_path / 'scenes.json'}." in heard


@pytest.mark.parametrize(("folder", "given"), [("", ""), ("train", ""), ("train", "train")])
def test_pairs_that_lowlight_synth_made_of_one_photo_show_one_scene(tmp_path: Path, folder: str, given: str) -> None:
    textured_pairs(tmp_path / "d" / folder)
    records = [{"name": f"{number}.png", "photo_sha256": f"{number // 2}"} for number in range(4)]
    lines = [*map(json.dumps, records), "torn {", json.dumps({"name": 3})]
    (tmp_path / "d" / "synth.jsonl").write_text("\n".join(lines))
    heard: list[str] = []
    held = opened(tmp_path, heard, data=tmp_path / "d" / given).fingerprint["held_out"]
    assert held in (["0", "1"], ["2", "3"])
    assert heard[-1] == f"Scenes from {tmp_path / 'd' / 'synth.jsonl'}."


def test_pictures_with_one_truth_show_one_scene(tmp_path: Path) -> None:
    root = flat_pairs(tmp_path / "d", 4)
    for number in (2, 3):
        shutil.copy(root / "high" / "0.png", root / "high" / f"{number}.png")
    for count in (1, 0):
        data = opened(tmp_path, data=root, validation=count)
        assert {shown.name for shown in data.validation} in ([{"1"}, {"0", "2", "3"}] if count else [set()])
    assert scenes.grouped("abcd", [["c", "d"]], ["1213"]) == [[0, 2, 3], [1]]
    assert scenes.grouped(["001", "2", "x"], [["2", "1"]]) == [[0, 1], [2]]
    assert scenes.grouped("1234", [["1", "2"], ["2", "3"]]) == [[0, 1, 2], [3]]


@pytest.mark.parametrize(("pictures", "held"), [(2, 1), (6, 1), (11, 2), (200, 20)])
def test_where_nobody_says_how_many_twenty_scenes_are_held_out_or_a_fifth_of_few(pictures: int, held: int) -> None:
    assert len(scenes.drawn([[number] for number in range(pictures)], None)) == held


def test_a_single_scene_cannot_be_held_out_of_training_and_the_error_says_how_to_go_on(tmp_path: Path) -> None:
    root = flat_pairs(tmp_path / "d", 1)
    with pytest.raises(OptionError, match=r"1 scene\(s\) .* out of 1\. Add pictures of other scenes, or .*--val 0"):
        opened(tmp_path, data=root, validation=None)
    assert levels(opened(tmp_path, data=root, validation=0)) == {10}


def test_that_scenes_are_not_known_is_said_once_and_only_where_they_are_held_out_by_number(tmp_path: Path) -> None:
    root = flat_pairs(tmp_path / "d")
    (tmp_path / "names").write_text("1")

    def said(**changes: Any) -> int:
        heard: list[str] = []
        opened(tmp_path, heard, **changes)
        return len([line for line in heard if "both sides" in line and "--scenes" in line])

    for kind in ("paired", "unpaired", "low"):
        assert said(kind=kind, data=root) == said(kind=kind, data=root, validation=None) == 1
    for validation in (0, tmp_path / "names", flat_pairs(tmp_path / "apart", 2)):
        assert said(data=root, validation=validation) == 0
    for number in range(3):
        save(tmp_path / "dark" / f"{number}.png", flat(10 + number))
        save(tmp_path / "unp" / "trainA" / f"{number}.png", flat(10 + number))
        save(tmp_path / "unp" / "trainB" / f"{number}.png", flat(200 + number))
    assert said(kind="low", data=tmp_path / "dark") == said(kind="unpaired", data=tmp_path / "unp") == 0
    assert said(photos=photos(tmp_path / "p"), preset="paper") == 0
    (root / "scenes.json").write_text('{"scenes": [[4, 5]]}')
    assert said(data=root) == 0
    (root / "scenes.json").write_text('{"scenes": [[77, 78]]}')
    assert said(data=root) == 1


def test_more_scenes_than_there_are_cannot_be_held_out(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"6 scene\(s\) cannot be held out of 6\. --val takes 0 to 5"):
        opened(tmp_path, data=flat_pairs(tmp_path / "d"), validation=6)


@pytest.mark.parametrize("text", ["1\n\n 4 \n", '["1", 4]'])
def test_names_in_a_file_are_held_out_with_their_scenes(tmp_path: Path, text: str) -> None:
    root = flat_pairs(tmp_path / "d")
    (tmp_path / "names").write_text(text)
    (root / "scenes.json").write_text('{"scenes": [[4, 5]]}')
    heard: list[str] = []
    data = opened(tmp_path, heard, data=root, validation=tmp_path / "names")
    assert [shown.name for shown in data.validation] == ["1", "4", "5"]
    assert levels(data) == {10, 30, 40}
    assert any(line.endswith("same scenes: 5.") for line in heard)


def test_a_name_that_no_picture_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("night-11\n")
    for number in (10, 12):
        save(tmp_path / "p" / f"night-{number}.png", textured(number))
    with pytest.raises(OptionError, match=r"names 'night-11'.*Did you mean 'night-1"):
        opened(tmp_path, photos=tmp_path / "p", preset="paper", validation=tmp_path / "names")
    (tmp_path / "names").write_text("\n")
    with pytest.raises(OptionError, match="names no picture"):
        opened(tmp_path, photos=tmp_path / "p", preset="paper", validation=tmp_path / "names")
    with pytest.raises(NoInput, match="--val takes"):
        opened(tmp_path, photos=tmp_path / "p", preset="paper", validation=tmp_path / "nope")


def test_a_folder_for_validation_alone_takes_nothing_from_training(tmp_path: Path) -> None:
    root, apart = flat_pairs(tmp_path / "d"), tmp_path / "apart"
    for side in ("low", "high"):
        save(apart / side / "x.png", flat(99))
        shutil.copy(root / side / "2.png", apart / side)
    heard: list[str] = []
    data = opened(tmp_path, heard, data=root, validation=apart)
    assert [shown.name for shown in data.validation] == ["2", "x"]
    assert levels(data) == {10, 20, 30, 40, 50, 60}
    assert any("2 files of" in line and "training data, too" in line for line in heard)
    assert data.fingerprint["validation"] == str(apart)


def test_scenes_of_other_pictures_are_refused_if_named_and_passed_over_if_found(tmp_path: Path) -> None:
    root = flat_pairs(tmp_path / "d")
    (tmp_path / "scenes.json").write_text("[[77, 78]]")
    heard: list[str] = []
    opened(tmp_path, heard, data=root)
    assert not any("Scenes" in line for line in heard)
    with pytest.raises(OptionError, match="names no picture"):
        opened(tmp_path, data=root, scenes=tmp_path / "scenes.json")
    for wrong in ('{"our485_scenes": 3}', '{"scenes": [1, 2]}', "{}", "["):
        (tmp_path / "scenes.json").write_text(wrong)
        with pytest.raises(OptionError, match="cannot be read as scenes"):
            opened(tmp_path, data=root, scenes=tmp_path / "scenes.json")
    (tmp_path / "scenes.json").write_bytes(bytes(range(256)) * 1000)
    with pytest.raises(OptionError, match="it is not text") as caught:
        opened(tmp_path, data=root, scenes=tmp_path / "scenes.json")
    assert len(str(caught.value)) < 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
@pytest.mark.parametrize("option", ["scenes", "validation"])
def test_a_pipe_or_a_device_holds_no_scenes_and_no_names(tmp_path: Path, name: str, option: str) -> None:
    root = flat_pairs(tmp_path / "d")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OptionError, match="it is not a regular file"):
        opened(tmp_path, data=root, **{option: tmp_path / name})


# Darkened photos


@pytest.mark.parametrize("preset", ["paper", "camera", "night", "mixed"])
def test_photos_alone_are_enough_and_whole_ones_are_held_out(tmp_path: Path, preset: str) -> None:
    folder = photos(tmp_path / "p", 3)
    for kind in ("paired", "unpaired", "low"):
        data = opened(tmp_path, kind=kind, photos=folder, preset=preset)
        assert data.crops.real is None
        assert [shown.name for shown in data.made_validation] == ["2"]
        assert len(data.crops.made.low) == (2 if preset == "paper" else 4)
        low = data.crops.made.low
        assert {low.pictures.names[number].split("-")[0] for number in low.numbers} == {"0", "1"}
        if preset != "mixed":
            assert np.array_equal(data.made_validation[0].high, textured(102))
        batch = data.draw(0, range(4))
        assert batch["low"].shape == (4, 3, 16, 16)
        assert ("high" in batch) == (kind != "low")


@pytest.mark.parametrize("preset", ["paper", "mixed"])
def test_a_photo_that_is_there_twice_is_not_both_held_out_and_trained_on(tmp_path: Path, preset: str) -> None:
    folder = photos(tmp_path / "p", 4)
    shutil.copy(folder / "3.png", folder / "1_copy.png")
    data = opened(tmp_path, photos=folder, preset=preset)
    assert [shown.name for shown in data.made_validation] == ["3"]
    low = data.crops.made.low
    assert {low.pictures.names[number].rsplit("-", 1)[0] for number in low.numbers} == {"0", "1", "2"}


def test_copies_are_made_once_the_same_for_the_same_seed_and_anew_for_another_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, made = photos(tmp_path / "p"), []

    def counted(photo: np.ndarray, preset: str, rng: np.random.Generator) -> list[np.ndarray]:
        made.append(copies_made(photo, preset, rng))
        return made[-1]

    copies_made = copies.made_from
    monkeypatch.setattr(copies, "made_from", counted)
    request = {"photos": folder, "preset": "camera"}
    first = opened(tmp_path, **request)
    assert len(made) == 7  # one of that which is held out, two of each
    assert same(opened(tmp_path, **request).draw(3, range(8)), first.draw(3, range(8)))
    assert len(made) == 7
    other = opened(tmp_path, **request, seed=1)
    assert len(made) == 13
    # Runs with several seeds are to be compared.
    assert np.array_equal(other.made_validation[0].low, first.made_validation[0].low)
    fresh = opened(tmp_path, **{**request, "cache": tmp_path / "other"})
    assert np.array_equal(fresh.made_validation[0].low, first.made_validation[0].low)
    save(folder / "1.png", textured(55))
    assert not same(opened(tmp_path, **request).draw(3, range(8)), first.draw(3, range(8)))
    assert len(made) == 27
    names = tmp_path / "held.txt"
    names.write_text("0\n")
    opened(tmp_path, **request, validation=names)
    assert len(made) == 28  # of those that are trained on none is made anew


def test_mixed_copies_are_darker_and_some_are_left_as_they_are(tmp_path: Path) -> None:
    made = opened(tmp_path, photos=photos(tmp_path / "p", 6), copies=6, preset="mixed").crops.made
    pairs = [
        (made.low.pictures[a], made.high.pictures[b]) for a, b in zip(made.low.numbers, made.high.numbers, strict=True)
    ]
    kept = [low for low, high in pairs if np.array_equal(low, high)]
    assert 0 < len(kept) < len(pairs) / 2
    darker = [low.mean() < high.mean() for low, high in pairs if not np.array_equal(low, high)]
    assert sum(darker) > 0.9 * len(darker)  # noise can brighten what is black


def test_the_paper_preset_darkens_each_crop_anew_below_its_photo(tmp_path: Path) -> None:
    data = opened(tmp_path, photos=photos(tmp_path / "p"), preset="paper", crop=32)
    one, other = data.draw(0, range(8)), data.draw(1, range(8))
    assert not torch.equal(one["low"], other["low"])
    assert (one["low"].mean(dim=(1, 2, 3)) < one["high"].mean(dim=(1, 2, 3))).float().mean() > 0.7
    # However dark and noisy, low follows high: with a straight line through them something is explained.
    fits = [np.corrcoef(low.flatten(), high.flatten())[0, 1] for low, high in zip(one["low"], one["high"], strict=True)]
    assert np.median(fits) > 0.3


@pytest.mark.parametrize("seed", range(6))
def test_what_is_darkened_for_a_crop_is_what_darkening_the_whole_photo_gives(seed: int) -> None:
    photo = np.kron(np.random.default_rng(seed).integers(0, 255, (16, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    preset = PRESETS["paper"]
    how = preset.draw(np.random.default_rng(seed), preset.ranges)
    assert isinstance(how, Paper)
    whole = how.darken(picture.to_float(photo))
    crop = copies.darkened_crop(how, photo, np.random.default_rng(seed + 99)) / 255
    assert crop.mean() == pytest.approx(whole.mean(), abs=2e-3)
    assert crop.std() == pytest.approx(whole.std(), abs=2e-3)
    expected = thumbnail(picture.to_integers(whole, 16), 16)
    small = thumbnail(photo, 16).astype(np.float16)
    drawn = copies.darkened_thumbnail(how, small, photo.shape[0] * photo.shape[1], np.random.default_rng(seed + 98))
    assert drawn.mean() == pytest.approx(expected.mean(), abs=2e-3)
    assert np.abs(drawn - expected).max() < 0.08
    noise = np.std(drawn - expected) / 2**0.5
    assert noise == pytest.approx(how.noise**0.5 / 20, rel=0.5)


def test_own_dark_pictures_are_trained_unpaired_with_photos(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "d" / "low" / f"{number}.png", flat(10 + number))
    request = {"kind": "unpaired", "data": tmp_path / "d", "photos": photos(tmp_path / "p"), "preset": "camera"}
    data = opened(tmp_path, **request, synth=0.0)
    assert levels(data) == {10, 11, 12, 13} - {int(shown.low[0, 0, 0]) for shown in data.validation}
    assert float(data.draw(0, range(8))["high"].std()) > 0.1
    dark = opened(tmp_path, **request, synth=1.0).draw(0, range(8))["low"]
    assert float(dark.std(dim=(1, 2, 3)).min()) > 0, "a flat picture is not from a photo"


def test_the_share_of_darkened_photos_is_as_asked(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "p" / f"{number}.png", flat(250 + number))
    root = flat_pairs(tmp_path / "d", 3)
    for share, least, most in ((0.0, 0, 0), (0.4, 0.28, 0.52), (1.0, 1, 1)):
        data = opened(tmp_path, data=root, photos=tmp_path / "p", preset="camera", synth=share)
        drawn = torch.cat([data.draw(step, range(8))["high"][:, 0, 0, 0] for step in range(25)])
        assert least <= float((drawn > 0.9).float().mean()) <= most


def test_a_wish_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    folder = photos(tmp_path / "p")
    for changes, message in (({"preset": "fog"}, "no preset 'fog'"),):
        with pytest.raises(OptionError, match=message):
            opened(tmp_path, photos=folder, **changes)
    (tmp_path / "names").write_text("0\n1\n2\n")
    with pytest.raises(OptionError, match="All photos are held out"):
        opened(tmp_path, photos=folder, preset="paper", validation=tmp_path / "names")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInput, match="no photos"):
        opened(tmp_path, photos=tmp_path / "empty")


def test_the_last_twentieth_of_the_photos_is_held_out() -> None:
    counts = {1: 0, 2: 1, 29: 1, 31: 2, 100: 5, 1000: 10}
    assert {count: len(scenes.last_photos(count)) for count in counts} == counts
    assert [*scenes.last_photos(31)] == [29, 30]


# Drawing


@pytest.fixture(scope="module")
def textured_data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """Pairs in which low is half of high, and half of the samples have their channels shuffled."""
    root = tmp_path_factory.mktemp("textured")
    return opened(root, data=textured_pairs(root / "d", 8), crop=24, shuffle=0.5)


def test_a_batch_is_what_recipes_expect(textured_data: TrainingData) -> None:
    batch = textured_data.draw(0, range(8))
    shapes = {name: tuple(value.shape) for name, value in batch.items()}
    small, crop = (8, 3, 8, 8), (8, 3, 24, 24)
    thumbnails = {"low_thumbnail": small, "high_thumbnail": small}
    assert shapes == {"low": crop, "high": crop, **thumbnails, "brightness": (8,)}
    for value in batch.values():
        assert value.dtype == torch.float32
        assert 0 <= float(value.min()) <= float(value.max()) <= 1
    for name in ("low", "high"):
        assert batch[name].is_contiguous(memory_format=torch.channels_last)
        values = batch[name] * 255
        assert torch.allclose(values, values.round(), atol=1e-4)


def test_crops_of_a_pair_are_aligned_however_they_are_turned_and_shuffled(textured_data: TrainingData) -> None:
    for step in range(10):
        batch = textured_data.draw(step, range(8))
        assert torch.allclose(batch["high"], 2 * batch["low"], atol=1e-6)
        assert torch.allclose(batch["high_thumbnail"], 2 * batch["low_thumbnail"], atol=2e-3)


def test_thumbnails_and_brightness_are_those_of_the_whole_picture_that_was_drawn(textured_data: TrainingData) -> None:
    numbers = textured_data.crops.real.high.numbers
    wholes = [textured_data.crops.real.high.pictures[number] for number in numbers]
    orders = [(a, b, 3 - a - b) for a in range(3) for b in range(3) if a != b]
    brightness_of = lambda whole: round(float(luma(whole.mean(axis=(0, 1)) / 255)), 5)  # noqa: E731
    turned = [whole[..., order] for whole in wholes for order in orders]
    known = {brightness_of(whole): thumbnail(whole, 8) for whole in turned}
    shuffled = 0
    for step in range(8):
        batch = textured_data.draw(step, range(8))
        for small, brightness in zip(batch["high_thumbnail"], batch["brightness"], strict=True):
            value = min(known, key=lambda one: abs(one - float(brightness)))
            assert value == pytest.approx(float(brightness), abs=2e-5)
            assert np.allclose(small.permute(1, 2, 0).numpy(), known[value], atol=1e-3)
            shuffled += value not in {brightness_of(whole) for whole in wholes}
    assert 15 < shuffled < 40  # five of six orders change something


def test_a_sample_depends_on_seed_step_and_index_alone(textured_data: TrainingData, tmp_path: Path) -> None:
    whole = textured_data.draw(5, range(6))
    parts = [textured_data.draw(5, part) for part in ((4, 5), (0, 1), (2, 3))]
    put = {name: torch.cat([parts[1][name], parts[2][name], parts[0][name]]) for name in whole}
    assert same(put, whole)
    assert len({whole["low"][index].numpy().tobytes() for index in range(6)}) == 6
    assert not same(textured_data.draw(6, range(6)), whole)
    root = textured_pairs(tmp_path / "d", 8)
    assert same(opened(tmp_path, data=root, crop=24, shuffle=0.5).draw(5, range(6)), whole)
    assert not same(opened(tmp_path, data=root, crop=24, shuffle=0.5, seed=1).draw(5, range(6)), whole)


def test_any_thread_may_draw_and_torch_keeps_its_random_numbers(textured_data: TrainingData) -> None:
    before = torch.get_rng_state()
    alone = [textured_data.draw(step, range(4)) for step in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda step: textured_data.draw(step, range(4)), range(12)))
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_unpaired_draws_are_independent(tmp_path: Path) -> None:
    data = opened(tmp_path, kind="unpaired", data=textured_pairs(tmp_path / "d", 8), crop=24)
    aligned = total = 0
    for step in range(10):
        batch = data.draw(step, range(8))
        aligned += sum(torch.allclose(a, 2 * b, atol=1e-6) for a, b in zip(batch["high"], batch["low"], strict=True))
        total += len(batch["low"])
    assert aligned < total / 20


def test_all_turns_and_flips_are_drawn_and_every_place(tmp_path: Path) -> None:
    pixels = np.arange(5 * 7 * 3).reshape(5, 7, 3).astype(np.uint8)
    rng = np.random.default_rng(0)
    windows = {Window.drawn(np.array([5, 7]), 3, rng) for _ in range(2000)}
    assert len(windows) == 3 * 5 * 8
    for window in windows:
        part = np.rot90(pixels[window.top : window.top + 3, window.left : window.left + 3], window.turns)
        assert np.array_equal(window.of(pixels), part[::-1] if window.flipped else part)


def test_the_inverse_tone_curve_is_that_of_bisection() -> None:
    def bisected(linear: np.ndarray, amount: float) -> np.ndarray:
        low, high = np.zeros_like(linear), np.ones_like(linear)
        for _ in range(12):
            middle = (low + high) / 2
            below = sensor.tone(middle, amount) < linear
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2

    values = np.random.default_rng(0).random(50_000, np.float32)
    borders = (np.arange(4097) / 4096).astype(np.float32)
    for amount in (0.0, 0.123, 0.5, 0.9, 1.0):
        linear = np.concatenate([values, borders, sensor.tone(borders, amount), np.float32([-0.1, 1.2])])
        found = sensor.untone(linear.reshape(-1, 2, 1)[:, :, 0], amount)
        assert found.dtype == np.float32
        assert np.array_equal(found.ravel(), bisected(linear, amount))
