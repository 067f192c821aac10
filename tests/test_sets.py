"""Data sets: found in every published layout, paired strictly, fetched on request only, and compared with training."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import Hub, quick_hub
from PIL import Image

from lowlight_cli import hub as hub_module
from lowlight_cli import weights
from lowlight_cli.data import fetch, sets
from lowlight_cli.data.catalog import LOL_ARCHIVE, SETS
from lowlight_cli.errors import LowlightError, NoInput, OptionError, OutputExists, PictureError
from lowlight_cli.manifest import WeightFile

Photo = Callable[..., Path]
OWN = ("synth", "pairs")
"""Sets of everybody's own: no paper, no published number of pictures."""


def make(root: Path, *files: str) -> Path:
    """Empty files with the names of pictures: finding and pairing look at names only."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pair(low: str, high: str, *names: str) -> list[str]:
    return [f"{folder}/{name}" for folder in (low, high) for name in names]


def names(found: sets.Found) -> list[str]:
    return [item.name for item in found.items]


def failure(do: Callable[[], object], kind: type[LowlightError] = NoInput) -> str:
    with pytest.raises(kind) as caught:
        do()
    return str(caught.value)


# Finding

LAYOUTS = [
    ("LOL", "test", pair("eval15/low", "eval15/high", "1.png")),
    ("LOL", "test", pair("LOLdataset/eval15/low", "LOLdataset/eval15/high", "1.png")),
    ("LOL", "test", pair("lol_dataset/eval15/low", "lol_dataset/eval15/high", "1.png")),
    ("LOL", "test", pair("LOL/lol_dataset/eval15/low", "LOL/lol_dataset/eval15/high", "1.png")),
    ("LOL", "test", pair("LOLv1/Test/input", "LOLv1/Test/target", "1.png")),
    ("LOL", "test", pair("lol/test/low", "lol/test/high", "1.png")),
    ("LOL", "train", pair("LOLdataset/our485/low", "LOLdataset/our485/high", "1.png")),
    ("LOL", "train", pair("LOLv1/Train/input", "LOLv1/Train/target", "1.png")),
    ("LOL-v2-real", "test", pair("Real_captured/Test/Low", "Real_captured/Test/Normal", "1.png")),
    ("LOL-v2-real", "test", pair("LOL-v2/Real_captured/Test/Low", "LOL-v2/Real_captured/Test/Normal", "1.png")),
    ("LOL-v2-real", "test", pair("LOLv2/Real_captured/Test/low", "LOLv2/Real_captured/Test/high", "1.png")),
    ("LOL-v2-real", "test", pair("LOLv2/Real/Test/Low", "LOLv2/Real/Test/Normal", "1.png")),
    ("LOL-v2-real", "train", pair("LOLv2/Real_captured/Train/Low", "LOLv2/Real_captured/Train/Normal", "1.png")),
    ("LOL-v2-real", "test", pair("lol-v2-real/Test/Low", "lol-v2-real/Test/Normal", "1.png")),
    ("LOL-v2-syn", "test", pair("LOLv2/Synthetic/Test/Low", "LOLv2/Synthetic/Test/Normal", "1.png")),
    ("LOL-v2-syn", "train", pair("LOL-v2/LOL-v2/Synthetic/Train/Low", "LOL-v2/LOL-v2/Synthetic/Train/Normal", "1.png")),
    ("LSRW-Huawei", "test", pair("LSRW/Eval/Huawei/low", "LSRW/Eval/Huawei/high", "1.jpg")),
    ("LSRW-Nikon", "test", pair("Eval/Nikon/low", "Eval/Nikon/high", "1.jpg")),
    ("LSRW-Nikon", "train", pair("LSRW/Training data/Nikon/low", "LSRW/Training data/Nikon/high", "1.jpg")),
    ("Brightening", "test", pair("BrighteningTrain/low", "BrighteningTrain/high", "1.png")),
    ("synth", "test", ["synth.jsonl", *pair("low", "high", "1.png")]),
    ("synth", "test", ["synth.jsonl", *pair("test/low", "test/high", "1.png")]),
    ("synth", "train", ["synth.jsonl", *pair("train/low", "train/high", "1.png")]),
    ("pairs", "test", pair("low", "high", "1.png")),
    ("pairs", "test", pair("Low", "HIGH", "1.png")),
    ("pairs", "test", pair("pairs/low", "pairs/high", "1.png")),
    ("MIT-Adobe-5K", "test", pair("FiveK/test/input", "FiveK/test/target", "a4574-DSC_0038.jpg")),
    ("MIT-Adobe-5K", "test", pair("MIT-Adobe-5K-512/test/low", "MIT-Adobe-5K-512/test/high", "a4574.jpg")),
    ("MIT-Adobe-5K", "test", pair("fiveK/input", "fiveK/expertC", "a4574.jpg")),
    ("MIT-Adobe-5K", "test", pair("FiveK/input/JPG/480p", "FiveK/expertC/JPG/480p", "a4574.jpg")),
    ("MIT-Adobe-5K", "test", pair("adobe-fivek/raw", "adobe-fivek/c", "a4574.jpg")),
    ("LIME", "test", ["LIME/1.bmp"]),
    ("DICM", "test", ["no_reference/DICM/01.jpg"]),
    ("NPE", "test", ["Test/NPE/01.jpg"]),
    ("MEF", "test", ["test_data/MEF/01.png"]),
    ("VV", "test", ["vv/low/P1.jpg"]),
]


@pytest.mark.parametrize(("name", "split", "files"), LAYOUTS)
def test_every_published_layout_is_found(name: str, split: str, files: list[str], tmp_path: Path) -> None:
    found = sets.find(name, make(tmp_path / "data", *files), split)
    assert len(found.items) == 1
    item = found.items[0]
    paths = {item.low, item.high} - {None}
    assert paths == {tmp_path / "data" / file for file in files if not file.endswith(".jsonl")}
    assert (item.high is not None) == found.data.truth == (name not in ("LIME", "DICM", "NPE", "MEF", "VV"))
    assert len(found.notices) == (name not in OWN)


def test_every_set_says_what_it_is() -> None:
    assert len(SETS) == 15
    for name, data in SETS.items():
        assert data.name == name
        assert data.title
        assert bool(data.paper) != (name in OWN)
        assert "test" in data.splits or data.parts
        for split in data.splits.values():
            assert bool(split.counts) != (name in OWN)


@pytest.mark.parametrize("root", [".", "LOL", "LOL/eval15", "lol"])
def test_the_root_may_be_above_the_set_or_in_it(root: str, tmp_path: Path) -> None:
    make(tmp_path, *pair("LOL/eval15/low", "LOL/eval15/high", "1.png"))
    if root == "lol":
        (tmp_path / "LOL").rename(tmp_path / "lol")
    assert names(sets.find("LOL", tmp_path / root)) == ["1"]


def test_the_root_may_be_the_folder_of_pictures(tmp_path: Path) -> None:
    make(tmp_path / "DICM", "1.jpg")
    assert names(sets.find("DICM", tmp_path / "DICM")) == ["1"]


def test_the_variable_names_the_root_and_the_argument_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "a" / "LIME", "1.png")
    make(tmp_path / "b" / "LIME", "2.png")
    make(weights.home() / "data" / "LIME", "3.png")
    assert names(sets.find("LIME")) == ["3"]
    monkeypatch.setenv("LOWLIGHT_DATA", str(tmp_path / "a"))
    assert names(sets.find("LIME")) == ["1"]
    assert names(sets.find("LIME", tmp_path / "b")) == ["2"]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("LOL", pair("FiveK/test/low", "FiveK/test/high", "1.png")),
        ("LOL", pair("test/low", "test/high", "1.png")),
        ("LOL", pair("low", "high", "1.png")),
        ("Brightening", pair("low", "high", "1.png")),
        ("synth", pair("low", "high", "1.png")),
        ("LIME", ["1.png"]),
        ("LIME", ["LIME/readme.txt", "LIME/.hidden.png"]),
        ("LOL", pair("our485/low", "our485/high", "1.png")),
        ("pairs", pair("eval15/low", "eval15/high", "1.png")),
        ("pairs", pair("LOL/low", "LOL/high", "1.png")),
        ("pairs", pair("low", "normal", "1.png")),
        ("pairs", ["low/readme.txt", "high/1.png"]),
    ],
)
def test_another_set_is_never_taken_for_it(name: str, files: list[str], tmp_path: Path) -> None:
    assert "There are no test pictures" in failure(lambda: sets.find(name, make(tmp_path, *files)))


@pytest.mark.parametrize("name", [name for name in SETS if name != "pairs"])
def test_pairs_of_a_user_are_no_other_set(name: str, tmp_path: Path) -> None:
    make(tmp_path, *pair("low", "high", "1.png"), *pair("pairs/low", "pairs/high", "2.png"))
    assert "There are no test pictures" in failure(lambda: sets.find(name, tmp_path))


@pytest.mark.parametrize("root", [".", "pairs"])
def test_pairs_of_a_user_are_paired_strictly_and_loaded(root: str, photo: Photo, tmp_path: Path) -> None:
    for folder in ("low", "high"):
        for number in (10, 9):
            photo(tmp_path / "pairs" / folder / f"{number}.png", 6, 8)
    found = sets.find("pairs", tmp_path / root)
    assert names(found) == ["9", "10"]
    assert [pixels.shape for item in found.items for pixels in sets.load(item) if pixels is not None] == [(6, 8, 3)] * 4
    photo(tmp_path / "pairs" / "low" / "11.png", 6, 8)
    assert "1 picture has no partner, among them 11" in failure(lambda: sets.find("pairs", tmp_path), PictureError)


def test_pairs_of_a_user_that_are_not_there_say_what_was_looked_for(tmp_path: Path) -> None:
    text = failure(lambda: sets.find("pairs", tmp_path))
    assert f"in {tmp_path}. Looked for {{low,high}}." in text
    assert "--root" in text
    make(tmp_path, "low/1.png")
    assert f"There is {tmp_path / 'low'}, but no {tmp_path / 'high'}." in failure(lambda: sets.find("pairs", tmp_path))


def test_a_split_is_not_taken_for_the_other(tmp_path: Path) -> None:
    make(tmp_path, *pair("LOL/our485/low", "LOL/our485/high", "1.png"))
    failure(lambda: sets.find("LOL", tmp_path / "LOL" / "our485", "test"))
    assert names(sets.find("LOL", tmp_path / "LOL" / "our485", "train")) == ["1"]


def test_a_set_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    text = failure(lambda: sets.find("LOL", tmp_path))
    layouts = SETS["LOL"].splits["test"].layouts
    for words in (
        str(tmp_path),
        *SETS["LOL"].homes,
        *map(str, layouts),
        "eval15/{low,high}",
        "--root",
    ):
        assert words in text
    assert "LOWLIGHT_DATA" not in text  # --root was given, and goes over it
    assert "--download" in text
    assert "--download" not in failure(lambda: sets.find("LIME", tmp_path))
    assert "beside synth.jsonl" in failure(lambda: sets.find("synth", tmp_path))
    assert "There is no folder" in failure(lambda: sets.find("LOL", tmp_path / "nowhere"))


def test_dark_pictures_without_their_truth_are_named(tmp_path: Path) -> None:
    make(tmp_path, "eval15/low/1.png")
    text = failure(lambda: sets.find("LOL", tmp_path))
    assert f"There is {tmp_path / 'eval15' / 'low'}, but no {tmp_path / 'eval15' / 'high'}." in text


def test_a_folder_that_fails_to_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    make(tmp_path, "LIME/1.png")
    monkeypatch.setattr(Path, "iterdir", fail)
    assert f"{tmp_path / 'LIME'} cannot be read" in failure(lambda: sets.find("LIME", tmp_path))


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("LOL", "LOL"),
        ("lol", "LOL"),
        ("LOLv1", "LOL"),
        ("lol_v2_real", "LOL-v2-real"),
        ("lsrw", "LSRW"),
        ("fivek", "MIT-Adobe-5K"),
        ("BrighteningTrain", "Brightening"),
    ],
)
def test_a_set_is_known_however_it_is_spelled(given: str, known: str) -> None:
    assert sets.lookup(given).name == known


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("LLO", "Did you mean LOL?"),
        ("lol-v2", "Did you mean LOL-v2-real or LOL-v2-syn?"),
        ("cats", "Known sets: LOL, "),
    ],
)
def test_an_unknown_set_names_the_nearest(given: str, words: str) -> None:
    assert words in failure(lambda: sets.lookup(given), OptionError)


def test_a_split_that_a_set_lacks_is_an_error(tmp_path: Path) -> None:
    assert "It has: test." in failure(lambda: sets.find("LIME", tmp_path, "train"), OptionError)


# Pairing


def test_pairs_are_matched_by_stem_in_natural_order(tmp_path: Path) -> None:
    low = [f"eval15/low/{name}" for name in ("10.webp", "9.webp", "photo10.png", "photo9.png")]
    high = [f"eval15/high/{name}" for name in ("9.avif", "10.avif", "photo9.png", "photo10.jpg", "notes.txt")]
    found = sets.find("LOL", make(tmp_path, *low, *high))
    assert names(found) == ["9", "10", "photo9", "photo10"]
    assert [(item.low.name, item.high.name) for item in found.items][:2] == [
        ("9.webp", "9.avif"),
        ("10.webp", "10.avif"),
    ]


def test_prefixes_of_lol_v2_are_stripped(tmp_path: Path) -> None:
    folder = "LOL-v2/Real_captured/Test"
    make(tmp_path, f"{folder}/Low/low00700.png", f"{folder}/Low/low00690.png")
    make(tmp_path, f"{folder}/Normal/normal00690.png", f"{folder}/Normal/normal00700.png")
    found = sets.find("LOL-v2-real", tmp_path)
    assert names(found) == ["00690", "00700"]
    assert {item.high.name for item in found.items} == {"normal00690.png", "normal00700.png"}


def test_a_picture_without_its_partner_is_named(tmp_path: Path) -> None:
    make(tmp_path, *pair("eval15/low", "eval15/high", "1.png"), "eval15/low/2.png", "eval15/high/3.png")
    text = failure(lambda: sets.find("LOL", tmp_path), PictureError)
    for path in (tmp_path / "eval15" / "low" / "2.png", tmp_path / "eval15" / "high" / "3.png"):
        assert str(path) in text


@pytest.mark.parametrize("files", [("LIME/1.png", "LIME/1.bmp"), ("LIME/1.png", "LIME/1.PNG")])
def test_two_pictures_of_one_name_are_named(files: tuple[str, str], tmp_path: Path) -> None:
    make(tmp_path, *files)
    if len([*(tmp_path / "LIME").iterdir()]) == 2:  # one file where case does not count
        text = failure(lambda: sets.find("LIME", tmp_path), PictureError)
        assert all(Path(name).name in text for name in files)


def test_pairs_of_unequal_size_are_an_error_when_they_are_loaded(photo: Photo, tmp_path: Path) -> None:
    for folder, width in (("low", 8), ("high", 9)):
        photo(tmp_path / "eval15" / folder / "1.png", 6, width)
        photo(tmp_path / "eval15" / folder / "2.png", 6, 8)
    first, second = sets.find("LOL", tmp_path).items
    text = failure(lambda: sets.load(first), PictureError)
    assert str(first.low) in text
    assert str(first.high) in text
    low, high = sets.load(second)
    assert low.shape == high.shape == (6, 8, 3)


def test_a_picture_without_truth_is_loaded_alone(photo: Photo, tmp_path: Path) -> None:
    path = photo(tmp_path / "LIME" / "1.png", value=7)
    low, high = sets.load(sets.find("LIME", tmp_path).items[0])
    assert high is None
    assert low.tolist() == [[[7] * 3] * 8] * 6
    assert path.exists()


def test_the_parts_of_lsrw_are_put_together(tmp_path: Path) -> None:
    make(tmp_path, *pair("LSRW/Eval/Huawei/low", "LSRW/Eval/Huawei/high", "2.jpg", "10.jpg"))
    assert "LSRW-Nikon" in failure(lambda: sets.find("LSRW", tmp_path))
    make(tmp_path, *pair("LSRW/Eval/Nikon/low", "LSRW/Eval/Nikon/high", "2.jpg"))
    found = sets.find("LSRW", tmp_path)
    assert names(found) == ["Huawei-2", "Huawei-10", "Nikon-2"]
    assert found.items[2].low == tmp_path / "LSRW" / "Eval" / "Nikon" / "low" / "2.jpg"
    assert len(found.folders) == 4
    assert found.notices == (
        "LSRW-Huawei test: 30 pictures expected, 2 found.",
        "LSRW-Nikon test: 20 pictures expected, 1 found.",
    )


def test_five_thousand_pictures_without_a_split_are_split_by_number(tmp_path: Path) -> None:
    files = [f"a{number:04}-x_{number}.jpg" for number in (1, 4500, 4501, 5000)]
    make(tmp_path, *pair("FiveK/input", "FiveK/expertC", *files))
    assert names(sets.find("FiveK", tmp_path)) == ["a4501-x_4501", "a5000-x_5000"]
    assert names(sets.find("FiveK", tmp_path, "train")) == ["a0001-x_1", "a4500-x_4500"]
    make(tmp_path / "few", *pair("FiveK/input", "FiveK/expertC", "a0001.jpg"))
    assert "no numbers from 4501 to 5000" in failure(lambda: sets.find("FiveK", tmp_path / "few"))


@pytest.mark.parametrize(("count", "notices"), [(63, 1), (64, 0), (65, 1), (69, 0)])
def test_a_number_of_pictures_that_was_not_published_is_told(count: int, notices: int, tmp_path: Path) -> None:
    found = sets.find("DICM", make(tmp_path, *(f"DICM/{number}.jpg" for number in range(count))))
    assert len(found.notices) == notices
    if notices:
        assert found.notices[0] == f"DICM test: 64 or 69 pictures expected, {count} found."


# Overlaps


@pytest.mark.parametrize(
    ("trained", "name", "split", "words"),
    [
        (["LOL/train", "BSDS500/train"], "LOL", "test", "LOL test: 14 of its 15 pictures"),
        (["LOL/train"], "lol-v2-real", "test", "LOL-v2-real test: Most of its 100 pictures"),
        (["LOL/train"], "LOL", "train", "these very pictures"),
        (["LOL-v2-real/train"], "LOL", "test", "12 of its 15"),
        (["LSRW/train"], "LSRW-Nikon", "train", "these very pictures"),
        (["LSRW-Nikon/test"], "LSRW", "test", "these very pictures"),
        (["Brightening/train"], "Brightening", "test", "these very pictures"),
        (["LOL-v2-syn/train"], "Brightening", "test", "RAISE"),
        (["Brightening/train"], "LOL-v2-syn", "test", "RAISE"),
    ],
)
def test_a_report_is_told_what_a_model_has_seen(trained: list[str], name: str, split: str, words: str) -> None:
    for training in (trained, {"data": "LOL our485", "sets": trained}, trained[0]):
        said = sets.overlaps(training, name, split)
        assert said is not None
        assert words in said


@pytest.mark.parametrize(
    ("training", "name", "split"),
    [
        ([], "LOL", "test"),
        ({"data": "LOL our485 (440 of its 485 pairs)"}, "LOL", "test"),
        ("LOL/train", "DICM", "test"),
        ("LSRW-Nikon/train", "LSRW-Huawei", "train"),
        ("LOL-v2-real/train", "LOL-v2-syn", "test"),
        ("synth/train", "synth", "train"),
        ("pairs/test", "pairs", "test"),
        ("BSDS500/train", "LOL", "test"),
    ],
)
def test_nothing_is_said_where_nothing_is_known(training: object, name: str, split: str) -> None:
    assert sets.overlaps(training, name, split) is None


def test_the_names_in_the_table_of_overlaps_are_names_of_splits() -> None:
    for ends in sets.OVERLAPS:
        for end in ends:
            name, _, split = end.partition("/")
            assert split in SETS[name].splits


# Download


@pytest.fixture
def lol_zip(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A tiny LOL archive, which the table states in place of the real one."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for folder in ("eval15/low", "eval15/high", "our485/low", "our485/high"):
            picture = io.BytesIO()
            Image.new("RGB", (4, 3), (len(folder),) * 3).save(picture, "PNG")
            made.writestr(f"lol_dataset/{folder}/1.png", picture.getvalue())
        made.writestr("__MACOSX/lol_dataset/._1.png", b"junk")
    state(monkeypatch, stream.getvalue())
    return stream.getvalue()


def state(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    archive = dataclasses.replace(LOL_ARCHIVE, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(SETS, "LOL", dataclasses.replace(SETS["LOL"], archive=archive))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lol_zip: bytes) -> Iterator[Hub]:
    with quick_hub(monkeypatch, tmp_path) as server:
        server.add(LOL_ARCHIVE.repo, LOL_ARCHIVE.revision, LOL_ARCHIVE.path, lol_zip)
        yield server


def archive() -> WeightFile:
    file = SETS["LOL"].archive
    assert file is not None
    return file


def test_lol_is_fetched_unpacked_and_found_once(hub: Hub, tmp_path: Path) -> None:
    root = tmp_path / "data"
    found = fetch.download("lol", root)
    assert found.folders == (root / "lol_dataset" / "eval15" / "low", root / "lol_dataset" / "eval15" / "high")
    assert sets.load(found.items[0])[0].shape == (3, 4, 3)
    assert [path.name for path in root.iterdir()] == ["lol_dataset"]
    assert {path for _, path, _ in hub.requests} == {
        f"/datasets/geekyrakshit/LoL-Dataset/resolve/{LOL_ARCHIVE.revision}/lol_dataset.zip"
    }
    came = len(hub.requests)
    assert names(fetch.download("LOL", root, "train", offline=True)) == ["1"]
    assert fetch.download("LOL", root) == sets.find("LOL", root) == found
    assert len(hub.requests) == came


def test_the_pinned_archive_is_the_one_that_the_hub_shows() -> None:
    assert (LOL_ARCHIVE.bytes, LOL_ARCHIVE.sha256[:8]) == (347171015, "419fddc4")
    assert len(LOL_ARCHIVE.revision or "") == 40
    assert SETS["LOL"].archive is LOL_ARCHIVE


def test_without_a_root_it_goes_where_it_is_looked_for(hub: Hub, tmp_path: Path) -> None:
    assert fetch.download("LOL").folders[0].is_relative_to(weights.home() / "data")
    assert names(sets.find("LOL")) == ["1"]


def test_finding_never_fetches(hub: Hub, tmp_path: Path) -> None:
    failure(lambda: sets.find("LOL", tmp_path))
    assert hub.requests == []


def test_an_archive_in_the_cache_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    fetch.download("LOL", tmp_path / "a")
    came = len(hub.requests)
    fetch.download("LOL", tmp_path / "b", offline=True)
    assert len(hub.requests) == came


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_opens_no_socket(how: str, lol_zip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = failure(lambda: fetch.download("LOL", tmp_path / "data", offline=how == "argument"))
    for words in ("offline", archive().sha256, "LOWLIGHT_DATA"):
        assert words in text
    assert not (tmp_path / "data").exists()


def test_wrong_bytes_are_fetched_once_more(hub: Hub, tmp_path: Path) -> None:
    hub.fault("wrong", times=1)
    assert names(fetch.download("LOL", tmp_path / "data")) == ["1"]
    assert hub.count("GET") == 2


def test_wrong_bytes_twice_are_an_error_and_are_not_kept(hub: Hub, lol_zip: bytes, tmp_path: Path) -> None:
    hub.fault("wrong")
    text = failure(lambda: fetch.download("LOL", tmp_path / "data"))
    assert archive().sha256 in text
    assert "serves wrong bytes" in text
    assert hub.count("GET") == 2
    assert not (tmp_path / "data").exists()
    kept = [path for path in hub_module.cache().rglob("*") if path.is_file()]
    assert not [path for path in kept if path.stat().st_size == len(lol_zip)]


def test_a_bad_archive_in_the_cache_is_replaced(hub: Hub, tmp_path: Path) -> None:
    fetch.download("LOL", tmp_path / "a")
    cached = hub_module.cached_path(archive())
    assert cached is not None
    cached.resolve().write_bytes(b"bad")
    assert names(fetch.download("LOL", tmp_path / "b")) == ["1"]
    assert hub.count("GET") == 2


@pytest.mark.parametrize(
    ("kind", "method", "words"),
    [
        ("missing", "HEAD", "no such file"),
        ("no repository", "HEAD", "no such repository"),
        ("forbidden", "HEAD", "403"),
        ("busy", "HEAD", "503"),
        ("short", "HEAD", "bytes where"),
        ("stalled", "GET", "timed out"),
        ("truncated", "GET", "ended early"),
    ],
)
def test_a_fault_of_the_hub_is_one_error(kind: str, method: str, words: str, hub: Hub, tmp_path: Path) -> None:
    hub.fault(kind, method=method)
    text = failure(lambda: fetch.download("LOL", tmp_path / "data"))
    for part in (words, "geekyrakshit/LoL-Dataset", archive().revision or "", archive().sha256):
        assert part in text
    assert "models pull" not in text
    assert not (tmp_path / "data").exists()


def test_a_transfer_that_breaks_is_tried_again(hub: Hub, tmp_path: Path) -> None:
    hub.fault("truncated", times=1)
    assert names(fetch.download("LOL", tmp_path / "data")) == ["1"]


def test_an_archive_that_is_not_safe_is_not_unpacked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr("lol_dataset/../../../evil.png", b"x")
    state(monkeypatch, stream.getvalue())
    hub.add(LOL_ARCHIVE.repo, LOL_ARCHIVE.revision, LOL_ARCHIVE.path, stream.getvalue())
    assert "leads out of its folder" in failure(lambda: fetch.download("LOL", tmp_path / "data"))
    assert not [*tmp_path.rglob("evil.png")]


def test_a_cache_that_cannot_be_used_is_an_error(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Path:
        raise OSError(errno.EROFS, "Read-only file system", "the-file")

    monkeypatch.setattr(weights, "obtain", fail)
    text = failure(lambda: fetch.download("LOL", tmp_path / "data"))
    assert "lol_dataset.zip of LOL cannot be used: no permission to write there (the-file)" in text


def test_what_has_the_name_of_the_folder_stays(hub: Hub, tmp_path: Path) -> None:
    make(tmp_path / "data", "lol_dataset/mine.txt")
    assert "holds no LOL" in failure(lambda: fetch.download("LOL", tmp_path / "data"), OutputExists)
    assert [path.name for path in (tmp_path / "data").rglob("*")] == ["lol_dataset", "mine.txt"]
    assert hub.requests == []


def test_other_sets_cannot_be_fetched(tmp_path: Path) -> None:
    assert "only LOL can be" in failure(lambda: fetch.download("LIME", tmp_path), OptionError)


def test_digits_that_are_no_numbers_are_letters(tmp_path: Path) -> None:
    make(tmp_path, *pair("LOL/eval15/low", "LOL/eval15/high", "10.png", "9.png", "²x.png", "².png"))
    assert sorted(names(sets.find("LOL", tmp_path))) == ["10", "9", "²", "²x"]


def test_the_home_of_nobody_is_no_folder() -> None:
    assert "~nosuchuser-here" in failure(lambda: sets.find("LOL", Path("~nosuchuser-here/data")))


def test_names_that_cannot_be_paired_end_with_the_exit_code_of_no_input(tmp_path: Path) -> None:
    make(tmp_path, "LOL/eval15/low/1.png", "LOL/eval15/low/2.png", "LOL/eval15/high/1.png")
    with pytest.raises(PictureError, match="1 picture has no partner, among them 2") as caught:
        sets.find("LOL", tmp_path)
    assert caught.value.exit_code == 3


def test_a_picture_over_the_limit_is_refused_and_can_be_allowed(photo: Photo, tmp_path: Path) -> None:
    item = sets.Item("1", photo(tmp_path / "1.png"), photo(tmp_path / "2.png"))
    for one in (item, item._replace(high=None)):
        assert "--max-pixels 48" in failure(lambda one=one: sets.load(one, max_pixels=47), PictureError)
        assert sets.load(one, max_pixels=48)[0].shape == (6, 8, 3)
