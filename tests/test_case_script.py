"""docs/case.sh, what an analyst runs from intake to report: it works, goes on, and sees what was tampered with."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lowlight_cli import evidence

SCRIPT = Path(__file__).resolve().parent.parent / "docs" / "case.sh"
TOOLS = ("sh", "sha256sum", "find", "sort", "sed")
Photo = Callable[..., Path]

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="needs a POSIX shell and sha256sum"
)


def run(*words: object, model: str = "gamma") -> subprocess.CompletedProcess[str]:
    """The script, with a quick model and the `lowlight` of this Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "MODEL": model}
    return subprocess.run(["sh", SCRIPT, *map(str, words)], env=env, capture_output=True, text=True, check=False)


def test_from_intake_to_report_and_on_after_a_stop(tmp_path: Path, photo: Photo) -> None:
    source, case = tmp_path / "from card", tmp_path / "case 17"
    for name in ("a.png", "hall/b c.jpg"):
        photo(source / name, 30, 40)
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in source.rglob("*.*")}
    first = run(source, case, "17/4", "M. Roe")
    assert first.returncode == 0, first.stdout + first.stderr
    head = first.stdout.splitlines()[-1]
    assert head == evidence.head_path(case / "log.jsonl").read_text().split()[0]
    assert {path.relative_to(case / "enhanced").as_posix() for path in (case / "enhanced").rglob("*.png")} == {
        *("a.png", "a-clahe.png", "hall/b c.jpg.png", "hall/b c.jpg-clahe.png"),
    }
    assert "17/4" in (case / "report.html").read_text(encoding="utf-8")
    (case / "enhanced" / "a.png").unlink()
    again = run(source, case, "17/4", "M. Roe")
    assert again.returncode == 0, again.stdout + again.stderr
    assert (case / "enhanced" / "a.png").exists()
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in source.rglob("*.*")} == before
    photo(source / "late.png")
    late = run(source, case, "17/4", "M. Roe")
    assert late.returncode == 1
    assert "other files than at intake" in late.stderr


def test_links_are_followed_at_intake_and_hidden_files_are_told(tmp_path: Path, photo: Photo) -> None:
    source = tmp_path / "in"
    photo(source / "a.png", 30, 40)
    photo(source / ".secret" / "b.png", 30, 40)
    photo(tmp_path / "elsewhere" / "c.png", 30, 40)
    (source / "far").symlink_to("../elsewhere")
    done = run(source, tmp_path / "case", "1", "R")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 files, the same here and there\n1 hidden files among them" in done.stdout
    kept = tmp_path / "case" / "originals" / "far" / "c.png"
    assert kept.is_file()
    assert not kept.parent.is_symlink()
    assert (tmp_path / "case" / "enhanced" / "far" / "c.png").is_file()


def test_the_method_that_stands_beside_results_may_be_the_model(tmp_path: Path, photo: Photo) -> None:
    photo(tmp_path / "in" / "a.png", 30, 40)
    done = run(tmp_path / "in", tmp_path / "case", "1", "R", model="clahe")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "case" / "enhanced").glob("*.png")} == {"a.png", "a-gamma.png"}


def test_what_was_tampered_with_is_told(tmp_path: Path, photo: Photo) -> None:
    source, case = tmp_path / "in", tmp_path / "case"
    photo(source / "a.png", 30, 40)
    assert run(source, case, "1", "R").returncode == 0
    photo(case / "enhanced" / "a.png", 30, 40, value=200)
    done = run(source, case, "1", "R")
    assert done.returncode == 1
    assert "was changed after record 2" in done.stderr
    assert "was changed: " in done.stdout
    photo(source / "a.png", 30, 40, value=9)
    done = run(source, case, "1", "R")
    assert done.returncode == 1
    assert "a.png" in done.stdout + done.stderr


def test_an_empty_source_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, tmp_path / "case", "1", "R")
    assert done.returncode == 3
    assert not (tmp_path / "case").exists()


def test_a_case_within_its_source_is_refused(tmp_path: Path, photo: Photo) -> None:
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "link").symlink_to("in")
    for case in (tmp_path / "in" / "case", tmp_path / "in", tmp_path / "link" / "case"):
        done = run(tmp_path / "in", case, "1", "R")
        assert done.returncode == 2
        assert "which is only read" in done.stderr
    assert [path.name for path in (tmp_path / "in").rglob("*")] == ["a.png"]


@pytest.mark.parametrize("inside", ["originals", "originals/card", "card"])
def test_a_source_within_its_case_is_refused_and_left_alone(tmp_path: Path, photo: Photo, inside: str) -> None:
    kept = photo(tmp_path / "case" / inside / "a.png")
    done = run(tmp_path / "case" / inside, tmp_path / "case", "1", "R")
    assert done.returncode == 2
    assert "choose another folder for the case" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


def test_originals_that_it_did_not_copy_are_left_alone(tmp_path: Path, photo: Photo) -> None:
    photo(tmp_path / "in" / "a.png")
    kept = photo(tmp_path / "case" / "originals" / "precious.png")
    done = run(tmp_path / "in", tmp_path / "case", "1", "R")
    assert done.returncode == 2
    assert "originals is of no intake of this script" in done.stderr
    assert [path for path in (tmp_path / "case").rglob("*") if path.is_file()] == [kept]


@pytest.mark.parametrize("hashed", [False, True])
def test_an_intake_that_was_stopped_goes_on(tmp_path: Path, photo: Photo, hashed: bool) -> None:
    source, case = tmp_path / "in", tmp_path / "case"
    photo(source / "a.png")
    if hashed:
        shutil.copytree(source, case / "originals.copying")
        digest = hashlib.sha256((source / "a.png").read_bytes()).hexdigest()
        (case / "originals.sha256").write_text(f"{digest}  ./a.png\n")
    else:
        photo(case / "originals.copying" / "half.png")
    done = run(source, case, "1", "R")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in case.glob("originals*/*")] == ["a.png"]
    assert not (case / "originals.copying").exists()


def test_without_its_words_it_says_how_to_use_it() -> None:
    done = run("only one")
    assert done.returncode == 2
    assert "sh docs/case.sh SOURCE CASE_FOLDER CASE_ID EXAMINER" in done.stderr
