"""benchmarks/campaign.py: what is packed comes out again, and wrong input does not pass for success."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def campaign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.chdir(tmp_path)
    for path in ("LOL/our485/low/1.png", "LOL/our485/high/1.png", "LOL/scenes.json", "some/b.jpg", "some/more/c.jpg"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(path.encode() * 3000)
    return importlib.import_module("campaign")


def run(campaign: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["campaign.py", *words])
    campaign.main()


def test_what_is_packed_comes_out_again(campaign, monkeypatch):
    for size in ("0.05", "0.1"):  # the second has fewer parts, and none of the first are left
        run(campaign, monkeypatch, "pack", "--data", "LOL", "--photos", "some", "--out", "parts", "--part-mb", size)
    parts = sorted(Path("parts").iterdir())
    assert [part.name for part in parts] == ["part-00.tar", "part-01.tar", "part-02.tar"]
    run(campaign, monkeypatch, "unpack", *map(str, parts), "--to", "there")
    found = {str(path.relative_to("there")): path.read_bytes() for path in Path("there").rglob("*") if path.is_file()}
    names = {"LOL/our485/low/1.png", "LOL/our485/high/1.png", "LOL/scenes.json"}
    assert found == {name: Path(name).read_bytes() for name in names} | {
        "photos/b.jpg": Path("some/b.jpg").read_bytes()
    }


def test_what_a_run_made_comes_home_in_pieces_without_what_is_not_wanted(campaign, monkeypatch):
    monkeypatch.setattr(campaign, "PIECE_MB", 0.05)
    plan = {"a": {"model": "neid"}, "b": {"model": "neid", "weights": False}}
    for name in plan:
        for file in (*campaign.WEIGHTS, *campaign.RECORDS, "last.pt"):
            Path("runs", name).mkdir(parents=True, exist_ok=True)
            Path("runs", name, file).write_bytes(file.encode() * 2000)
    assert len(campaign.bring_home(plan, Path("runs"), Path("out"))) > 2
    run(campaign, monkeypatch, "join", "out", "--to", "home")
    assert {path.name for path in Path("home/a").iterdir()} == {*campaign.WEIGHTS, *campaign.RECORDS}
    assert {path.name for path in Path("home/b").iterdir()} == {*campaign.RECORDS}
    assert Path("home/a/best.safetensors").read_bytes() == Path("runs/a/best.safetensors").read_bytes()


def test_a_run_goes_on_from_its_checkpoint_and_begins_anew_without_one(campaign):
    folder = Path("runs/a")
    folder.mkdir(parents=True)
    (folder / "last.pt").touch()
    (folder / "config.yaml").touch()
    given = ("a", {"model": "neid", "set": {"minutes": 2}}, Path("data"), Path("runs"), "cpu")
    words = campaign.command(*given)
    assert "--resume" in words
    assert "--set=minutes=2" in words
    (folder / "last.pt").unlink()
    assert "--resume" not in campaign.command(*given)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pack", "--data", "nowhere", "--out", "parts"), "nothing to pack"),
        (("join", "nowhere", "--to", "home"), "no pieces"),
        (
            ("run", "plan.yaml", "--only", "c", "--data", "LOL", "--runs", "runs", "--out", "out"),
            "no c. It has a",
        ),
    ],
)
def test_wrong_input_is_told(campaign, monkeypatch, words, told):
    Path("plan.yaml").write_text("a: {model: neid}")
    with pytest.raises(SystemExit, match=told):
        run(campaign, monkeypatch, *words)
