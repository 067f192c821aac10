"""`lowlight enhance` as a shell and a script see it: words in, bytes, lines and an exit code out."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fake_runner import FakeRunner

from lowlight_cli import cli, picture
from lowlight_cli.cli import console as console_module
from lowlight_cli.cli.enhance import command
from lowlight_cli.cli.results import Tally
from lowlight_cli.errors import (
    ALL_FAILED,
    DONE,
    INTERRUPTED,
    NO_DEVICE,
    NO_INPUT,
    NO_MODEL,
    SOME_FAILED,
    USAGE,
    OutOfMemory,
    exit_code,
)
from lowlight_cli.runners.driver import cuda_devices
from lowlight_cli.tasks.results import Result

pytestmark = pytest.mark.usefixtures("here")
Photo = Callable[..., Path]
Run = Callable[..., SimpleNamespace]

FIELDS = {
    *("source", "target", "status", "seconds", "width", "height", "tile", "notices", "error", "hint"),
    *("model", "scale", "weights_sha256", "backend", "device", "precision", "maps", "development"),
    *("exposure", "shadows"),
}


@pytest.mark.usefixtures("fakes")
def test_a_folder_of_pictures_becomes_bright(run: Run, photo: Photo) -> None:
    source = photo(Path("in/sub/Grüße 🌃.png"))
    given = source.read_bytes(), source.stat().st_mtime_ns
    done = run("enhance", "in", "--out", "out")
    assert done.code == DONE
    assert (source.read_bytes(), source.stat().st_mtime_ns) == given
    assert done.out == b""
    assert done.err.splitlines()[0] == "neid: fake on cpu, fp32, weights 000000000000, 1 picture"
    assert done.err.splitlines()[1].startswith("1 done in ")
    bright = picture.load(Path("out/sub/Grüße 🌃.png")).pixels
    np.testing.assert_array_equal(bright, 2 * picture.load(source).pixels)


@pytest.mark.usefixtures("fakes")
def test_exit_codes_tell_some_failed_from_all_failed(run: Run, photo: Photo) -> None:
    Path("in").mkdir()
    Path("in/a.png").write_bytes(b"")
    failed = run("enhance", "in", "--out", "out")
    assert failed.code == ALL_FAILED
    assert failed.err.splitlines()[1].startswith("FAILED in/a.png: ")
    photo(Path("in/b.png"))
    assert run("enhance", "in", "--out", "out").code == SOME_FAILED
    Path("in/a.png").unlink()
    assert run("enhance", "in", "--out", "out", "--overwrite").code == DONE
    assert run("enhance", "in", "--out", "out").code == USAGE
    assert run("enhance", "in", "--out", "out", "--skip-existing").code == DONE


def test_exit_codes_by_counts() -> None:
    assert exit_code(1, others=2) == SOME_FAILED
    assert exit_code(3, others=0) == ALL_FAILED
    assert exit_code(3, others=0, interrupted=True) == INTERRUPTED
    assert exit_code(0, others=0) == DONE


def test_files_that_were_skipped_or_not_tried_did_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    def code(*statuses: str, left: int = 0) -> int:
        tally = Tally(console_module.Console(3, quiet=True), None)
        for status in statuses:
            tally.add(
                Result(source=Path("a"), target=Path("b"), status=status, error="" if status == "failed" else None)
            )
        return tally.end(left=left)

    assert code("skipped", "failed") == SOME_FAILED
    assert code("failed", left=2) == SOME_FAILED  # --fail-fast
    assert code("failed", "failed") == ALL_FAILED


@pytest.mark.parametrize("name", ["nowhere", "empty", "*.jpg"])
def test_no_input_is_exit_code_3(run: Run, name: str) -> None:
    Path("empty").mkdir()
    done = run("enhance", name, "--out", "out")
    assert done.code == NO_INPUT
    assert done.err.startswith("Error: There ")
    assert not Path("out").exists()


@pytest.mark.usefixtures("fakes")
def test_a_name_that_is_not_there_stops_all_and_a_pattern_that_fits_nothing_does_not(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    done = run("enhance", "in", "gone.png", "--out", "out")
    assert (done.code, Path("out").exists()) == (NO_INPUT, False)
    assert "There is no file or folder gone.png" in done.err
    assert run("enhance", "in", "gone*.png", "--out", "out").code == DONE
    words = " ".join(command.help.split())
    assert "a file or folder does not, the run stops before any work" in words


def test_an_unknown_model_suggests_the_nearest_name(run: Run, photo: Photo) -> None:
    done = run("enhance", photo(Path("a.png")), "--out", "out", "--model", "nied")
    assert done.code == NO_MODEL
    assert done.err == "Error: No model is called 'nied'.\n  Did you mean 'neid'?\n"
    assert "Did you mean 'neid'?" in run("enhance", "a.png", "--out", "out", "--model", "NEID").err


def test_an_unknown_models_error_comes_before_stdin_is_read(run: Run) -> None:
    assert run("enhance", "-", "--out", "-", "--model", "nied").code == NO_MODEL


@pytest.mark.skipif(cuda_devices() > 0, reason="there is a CUDA device here")
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_cuda_where_there_is_none_is_exit_code_5(run: Run, photo: Photo, backend: str) -> None:
    done = run("enhance", photo(Path("a.png")), "--out", "out", "--device", "cuda", "--backend", backend)
    assert done.code == NO_DEVICE
    assert "device cuda:0 cannot be had" in done.err
    assert not Path("out").exists()


@pytest.mark.usefixtures("fakes")
def test_ctrl_c_is_exit_code_130_with_a_count(run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        photo(Path(f"in/{name}.png"), 6, 8 + ord(name))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeRunner, "__call__", interrupt)
    done = run("enhance", "in", "--out", "out", "-q")
    assert done.code == INTERRUPTED
    assert done.err.startswith("Interrupted: 3 not tried in ")
    assert not list(Path("out").iterdir())
    monkeypatch.setattr("lowlight_cli.tasks.enhance.open_runner", interrupt)
    assert run("enhance", "in", "--out", "out").code == INTERRUPTED


@pytest.mark.parametrize("words", [("in", "--out", "out"), ("-", "--out", "-")])
def test_a_model_is_closed_at_the_end_and_when_it_is_interrupted(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch, fakes: list[FakeRunner], words: tuple[str, ...]
) -> None:
    data = photo(Path("in/a.png")).read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    assert run("enhance", *words, stdin=data).code == DONE
    monkeypatch.setattr(FakeRunner, "__call__", interrupt)
    assert run("enhance", *words, "--overwrite", stdin=data).code == INTERRUPTED
    assert [fake.closed for fake in fakes] == [True, True]


def test_what_could_forge_a_line_is_spelled_out_and_all_that_is_seen_stays() -> None:
    names = {"a\nb": r"a\nb", "a\u202eb": r"a\u202eb", "a\udcffb": r"a\udcffb"}
    names |= {name: name for name in ("夜\u3000景", "10\u00a0m", "👩\u200d💻")}
    assert {name: console_module.shown(Path(name)) for name in names} == names


@pytest.mark.usefixtures("fakes")
def test_json_is_one_line_per_file_with_all_fields_and_a_summary(run: Run, photo: Photo) -> None:
    photo(Path("in/Grüße 🌃.png"), 6, 8)
    Path("in/b.png").write_bytes(b"")
    photo(Path("in/c.png"))
    photo(Path("out/c.png"))
    done = run("enhance", "in", "--out", "out", "--json", "--skip-existing", "-v")
    *lines, last = done.lines
    assert [{*line} for line in lines] == [FIELDS] * 3
    by_status = {line["status"]: line for line in lines}
    good = by_status["done"]
    expected = {"source": "in/Grüße 🌃.png", "target": "out/Grüße 🌃.png", "width": 8, "height": 6, "tile": 0}
    expected |= {"model": "neid", "scale": 1, "weights_sha256": "0" * 64, "backend": "fake", "device": "cpu"}
    expected |= {"precision": "fp32", "error": None, "hint": None, "notices": []}
    assert {name: good[name] for name in expected} == expected
    assert good["seconds"] > 0
    assert by_status["failed"]["error"]
    assert by_status["failed"]["width"] is None
    assert by_status["skipped"]["error"] is None
    counts = {"done": 1, "failed": 1, "skipped": 1, "planned": 0, "not_tried": 0, "exit_code": SOME_FAILED}
    counts |= {"passed_over": {}, "empty_inputs": []}
    assert last == {"summary": counts | {"seconds": last["summary"]["seconds"]}}
    names = ["done", "failed", "skipped", "planned", "not_tried", "passed_over"]
    names += ["empty_inputs", "seconds", "exit_code"]
    assert [*last["summary"]] == names
    assert done.code == SOME_FAILED
    assert "neid: fake on cpu" in done.err


@pytest.mark.usefixtures("fakes")
def test_json_does_not_say_what_made_an_output_that_was_there(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/b.png"))
    photo(Path("out/a.png"))
    skipped, done, _ = run("enhance", "in", "--out", "out", "--skip-existing", "--json").lines
    assert (skipped["status"], done["status"]) == ("skipped", "done")
    names = ("model", "scale", "weights_sha256", "backend", "device", "precision")
    assert [skipped[name] for name in names] == [None] * len(names)
    assert None not in [done[name] for name in names]


def test_pictures_of_kinds_that_are_not_read_are_counted(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    for name in ("in/b.GIF", "in/c/d.gif", "in/e.jxl", "in/notes.txt", "in/.hidden.gif"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    done = run("enhance", "in", "--out", "out", "--json")
    assert done.code == DONE
    assert done.lines[-1]["summary"]["passed_over"] == {".gif": 2, ".jxl": 1}
    assert "passed over, as these kinds are not read: 2 .gif, 1 .jxl\n" in done.err


def test_inputs_that_give_nothing_are_told_and_none_is_a_forgotten_variable(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    done = run("enhance", "in", "nope/*.png", "--out", "out", "--json")
    assert (done.code, done.lines[-1]["summary"]["empty_inputs"]) == (DONE, ["nope/*.png"])
    assert "note: nothing was taken from: nope/*.png" in done.err
    done = run("enhance", "", "--out", "out2")
    assert done.code == USAGE
    assert "the path is empty" in done.err
    assert not Path("out2").exists()


def test_the_shell_completes_names_of_models() -> None:
    from lowlight_cli.cli.options import complete_model

    assert "neid" in complete_model(None, None, "ne")
    assert "neid" not in complete_model(None, None, "cl")


def test_json_holds_names_that_are_no_text(run: Run, photo: Photo) -> None:
    name = os.fsdecode(b"bad\xff.png")
    photo(Path("in/a.png")).rename(Path("in") / name)
    done = run("enhance", "in", "--out", "out", "--json", "-v")
    assert done.code == DONE
    assert done.lines[0]["source"] == f"in/{name}"
    assert Path("out", name).exists()


@pytest.mark.usefixtures("fakes")
def test_json_in_click_runner_is_on_stdout_and_talk_on_stderr(photo: Photo) -> None:
    photo(Path("in/a.png"))
    done = CliRunner().invoke(command, ["in", "--out", "out", "--json"])
    assert done.exit_code == DONE
    assert [next(iter(json.loads(line))) for line in done.stdout.splitlines()] == ["source", "summary"]
    assert "1 done" in done.stderr


@pytest.mark.usefixtures("fakes")
def test_a_quality_that_nothing_is_written_with_is_refused_or_noted(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    done = run("enhance", "in/a.png", "--out", "b.png", "--quality", "50")
    assert (done.code, "png loses nothing, and --quality 50 is asked for" in done.err) == (USAGE, True)
    assert "note: --quality is not used" in run("enhance", "in", "--out", "out", "--quality", "50").err
    photo(Path("in/b.jpg"))
    assert "--quality" not in run("enhance", "in", "--out", "out2", "--quality", "50").err


@pytest.mark.usefixtures("fakes")
def test_two_files_of_one_name_are_told_how_to_be_kept_apart(run: Run, photo: Photo) -> None:
    photo(Path("a/x.png"))
    photo(Path("b/x.png"))
    assert "Name a folder that holds both" in run("enhance", "a/x.png", "b/x.png", "--out", "out").err
    assert "Leave out --flatten, or" in run("enhance", ".", "--out", "out", "--flatten").err


@pytest.mark.usefixtures("fakes")
def test_quiet_says_nothing_but_errors(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    assert run("enhance", "in", "--out", "out", "-q").err == ""
    Path("in/b.png").write_bytes(b"")
    done = run("enhance", "in", "--out", "out2", "-q")
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["FAILED in/b.png"]


@pytest.mark.usefixtures("fakes")
def test_verbose_says_one_line_for_every_file(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"), 60, 80)
    err = run("enhance", "in", "--out", "out", "-v", "--tile", 64).err
    assert "done in/a.png -> out/a.png 80x60, tiles of 64, " in err


def test_exposure_and_shadows_that_were_chosen_are_told_for_each_picture(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"), 24, 40)
    words = ("enhance", "in", "--device", "cpu", "--threads", 1, "--json", "-v", "--out")
    done = run(*words, "auto")
    line = done.lines[0]
    assert 0.2 < line["exposure"] < 0.6
    assert line["shadows"] == 0
    assert f" 40x24, exposure {line['exposure']:.3g}, " in done.err
    done = run(*words, "told", "--exposure", "0.3", "--shadows", "0.4")
    assert (done.lines[0]["exposure"], done.lines[0]["shadows"]) == (0.3, 0.4)
    assert " 40x24, exposure 0.3, shadows 0.4, " in done.err
    done = run("enhance", "in", "--model", "gamma", "--json", "-v", "--out", "gamma")
    assert (done.lines[0]["exposure"], done.lines[0]["shadows"]) == (None, 0)
    assert "exposure" not in done.err
    done = run(*words, "auto", "--skip-existing")
    assert (done.lines[0]["exposure"], done.lines[0]["shadows"]) == (None, None)
    words = ("--device", "cpu", "--threads", 1, "--json", "--out", "piped.png")
    piped = run("enhance", "-", *words, stdin=Path("in/a.png").read_bytes()).lines[0]
    assert (piped["exposure"], piped["shadows"]) == (line["exposure"], line["shadows"])


def test_dry_run_writes_nothing_and_opens_no_model(run: Run, photo: Photo, fakes: list[FakeRunner]) -> None:
    path = photo(Path("in/a.png"))
    done = run("enhance", "in", "--out", "out", "--dry-run", "--json")
    assert done.code == DONE
    assert [line.get("status") for line in done.lines] == ["planned", None]
    assert "planned in/a.png -> out/a.png" in done.err
    piped = run("enhance", "-", "--out", "b.png", "--dry-run", "--json", stdin=path.read_bytes())
    assert (piped.code, [line.get("status") for line in piped.lines]) == (DONE, ["planned", None])
    assert run("enhance", "-", "--out", "-", "--dry-run", stdin=path.read_bytes()).out == b""
    assert [child.name for child in Path().iterdir() if not child.name.startswith(".")] == ["in"]
    assert fakes == []


@pytest.mark.parametrize("source", ["in", "-"])
@pytest.mark.parametrize(
    "words",
    [
        ("--model", "gamma", "--precision", "int8"),
        ("--model", "gamma", "--backend", "torch"),
        ("--model", "aux-retinex", "--precision", "int8"),
        ("--model", "aux-retinex", "--scale", "2"),
        ("--model", "neid", "--precision", "int8", "--backend", "torch"),
        ("--model", "neid", "--precision", "bf16", "--device", "cpu"),
        ("--model", "he", "--exposure", "0.3"),
        ("--model", "clahe", "--shadows", "0.3", "--exposure", "0.4"),
        ("--model", "he", "--tile", "64"),
    ],
)
def test_dry_run_refuses_options_that_the_run_would_refuse(
    run: Run, photo: Photo, source: str, words: tuple[str, ...]
) -> None:
    data = photo(Path("in/a.png")).read_bytes()
    dry, wet = (run("enhance", source, "--out", "out", *words, *more, stdin=data) for more in (["--dry-run"], []))
    assert (dry.code, dry.err) == (wet.code, wet.err)
    assert dry.code == USAGE
    assert "Error: " in dry.err


def test_a_format_that_cannot_hold_the_depth_fails_before_any_work(
    run: Run, photo: Photo, fakes: list[FakeRunner]
) -> None:
    for name in ("a.jpg", "b.png"):
        photo(Path("in") / name)
    planned = run("enhance", "in", "--out", "out", "--depth", 16, "--dry-run", "--json")
    assert [line["status"] for line in planned.lines[:-1]] == ["failed", "planned"]
    done = run("enhance", "in", "--out", "out", "--depth", 16)
    assert done.code == SOME_FAILED
    assert ".jpg holds 8 bits per channel, and --depth 16 is asked for. Add --format png" in done.err
    assert [path.name for path in sorted(Path("out").glob("*.*g"))] == ["b.png"]
    assert [shape[0] for shape in fakes[0].batches] == [1]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("in", "--out", "out", "--format", "jpg"), USAGE),
        (("in/a.png", "--out", "out.webp"), USAGE),
        (("in/a.png", "--out", "out.jpg", "--dry-run"), USAGE),
        (("-", "--out", "out.jpg"), USAGE),
        (("-", "--out", "-", "--format", "jpg"), USAGE),
        (("in", "--out", "out", "--watch", "--format", "jpg"), USAGE),
        (("in", "--out", "folder.jpg"), DONE),
        (("in/a.png", "--out", "folder.jpg"), DONE),
        (("in/a.png", "--out", "out.png"), DONE),
        (("-", "--out", "-"), DONE),
        (("nothing.png", "--out", "out.jpg"), NO_INPUT),
    ],
)
def test_one_format_that_cannot_hold_the_depth_is_wrong_use(
    run: Run, photo: Photo, fakes: list[FakeRunner], words: tuple[str, ...], code: int
) -> None:
    data = photo(Path("in/a.png")).read_bytes()
    Path("folder.jpg").mkdir()
    done = run("enhance", *words, "--depth", 16, stdin=data)
    assert done.code == code, done.err
    if code == USAGE:
        assert "holds 8 bits per channel, and --depth 16 is asked for" in done.err
        assert not fakes
        assert not [*Path().glob("out*")]


@pytest.mark.parametrize("part", ["1/" + "9" * 5000, "0/2", "3/2", "1", "1/2/3", "-1/2"])
def test_a_part_that_is_none_is_wrong_use(run: Run, part: str) -> None:
    done = run("enhance", "in", "--out", "out", "--shard", part)
    assert done.code == USAGE
    assert "is not a part such as 2/4" in done.err


@pytest.mark.usefixtures("fakes")
def test_a_bitmap_is_taken_from_a_folder_and_videos_are_told(run: Run) -> None:
    Path("in").mkdir()
    Path("in/a.pbm").write_text("P1\n2 2\n1 0 0 1\n")
    Path("in/b.mp4").touch()
    done = run("enhance", "in", "--out", "out", "--json")
    assert done.code == DONE
    assert done.lines[-1]["summary"]["passed_over"] == {".mp4": 1}
    assert picture.load(Path("out/a.png")).pixels[..., 0].tolist() == [[0, 255], [255, 0]]


@pytest.mark.usefixtures("fakes")
def test_an_empty_shard_is_no_error_and_told_as_what_it_is(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    parts = [run("enhance", "in", "--out", f"out{part}", "--shard", f"{part}/3", "--json") for part in (1, 2, 3)]
    assert [done.code for done in parts] == [DONE] * 3
    assert len(list(Path().glob("out*/a.png"))) == 1
    for part, done in enumerate(parts, 1):
        empty = not Path(f"out{part}").exists()
        assert (f"part {part} of 3 of the pictures is empty: nothing to do" in done.err) == empty
        assert "nothing done" not in done.err
        assert done.lines[-1]["summary"]["done"] == (not empty)


@pytest.mark.usefixtures("fakes")
class TestPipe:
    def test_it_goes_to_stdout_in_the_format_of_the_input(self, run: Run, photo: Photo) -> None:
        path = photo(Path("a.png"))
        done = run("enhance", "-", "--out", "-", stdin=path.read_bytes())
        assert done.code == DONE
        np.testing.assert_array_equal(picture.load(done.out).pixels, 2 * picture.load(path).pixels)
        assert picture.load(done.out).format == "png"
        assert "1 done" in done.err

    def test_it_goes_to_stdout_in_the_format_asked_for(self, run: Run, photo: Photo) -> None:
        done = run("enhance", "-", "--out", "-", "--format", "webp", stdin=photo(Path("a.png")).read_bytes())
        assert picture.load(done.out).format == "webp"

    def test_it_goes_to_a_file_and_makes_its_folder(self, run: Run, photo: Photo) -> None:
        done = run("enhance", "-", "--out", "new/b.jpg", "--json", stdin=photo(Path("a.png")).read_bytes())
        assert done.code == DONE
        assert picture.load(Path("new/b.jpg")).format == "jpg"
        line, last = done.lines
        assert {*line} == FIELDS
        assert (line["source"], line["target"], line["width"], line["height"]) == ("-", "new/b.jpg", 8, 6)
        assert last["summary"]["done"] == 1

    def test_json_and_a_picture_do_not_share_stdout(self, run: Run) -> None:
        done = run("enhance", "-", "--out", "-", "--json")
        assert done.code == USAGE
        assert "stdout cannot hold both" in done.err

    @pytest.mark.parametrize("words", [("--suffix", "_b"), ("--shard", "2/3"), ("--evidence", "log.jsonl")])
    def test_what_needs_a_name_is_refused(self, run: Run, photo: Photo, words: tuple[str, str]) -> None:
        done = run("enhance", "-", "--out", "b.png", *words, stdin=photo(Path("a.png")).read_bytes())
        assert done.code == USAGE
        assert words[0] in done.err
        assert not Path("b.png").exists()

    @pytest.mark.parametrize("data", [b"", b"no picture"])
    def test_bad_bytes_are_all_failed(self, run: Run, data: bytes) -> None:
        done = run("enhance", "-", "--out", "b.png", "--json", stdin=data)
        assert done.code == ALL_FAILED
        assert (done.lines[0]["status"], done.lines[1]["summary"]["failed"]) == ("failed", 1)
        assert done.err.splitlines()[-2].startswith("FAILED -: ")
        assert not Path("b.png").exists()
        assert run("enhance", "-", "--out", "-", stdin=data).out == b""

    def test_an_existing_file_is_kept_unless_told_otherwise(self, run: Run, photo: Photo) -> None:
        data, old = photo(Path("a.png")).read_bytes(), photo(Path("b.png"), 3, 3).read_bytes()
        assert run("enhance", "-", "--out", "b.png", stdin=data).code == USAGE
        skipped = run("enhance", "-", "--out", "b.png", "--skip-existing", "--json", stdin=data)
        assert (skipped.code, skipped.lines[0]["status"]) == (DONE, "skipped")
        assert Path("b.png").read_bytes() == old
        assert run("enhance", "-", "--out", "b.png", "--overwrite", stdin=data).code == DONE
        assert Path("b.png").read_bytes() != old

    @pytest.mark.parametrize("words", [("b.gif",), ("b",), ("b.png", "--format", "jpg"), (".",)])
    def test_a_file_that_cannot_be_written_is_refused(self, run: Run, photo: Photo, words: tuple[str, ...]) -> None:
        done = run("enhance", "-", "--out", *words, stdin=photo(Path("a.png")).read_bytes())
        assert done.code == USAGE
        assert not Path("b.gif").exists()

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("-", "a.png", "--out", "b"), "stdin gives one picture, and -, a.png are several."),
            (("-", "-", "--out", "-"), "stdout takes one picture, and -, - are several."),
            (("a.png", "a.png", "--out", "-"), "stdout takes one picture, and a.png, a.png are several."),
            ((".", "--out", "-"), "stdout takes one picture, and . may be several."),
            (("*.png", "--out", "-"), "stdout takes one picture, and *.png may be several."),
            (("a.png", "--out", "-", "--save-maps", "m"), "--save-maps names maps after files"),
            (("a.png", "--out", "-", "--evidence", "e.jsonl"), "--evidence tells of files"),
            (("a.png", "--out", "-", "--json"), "stdout cannot hold both"),
            (("a.png", "--out", "-", "--watch"), "--watch watches folders"),
        ],
    )
    def test_it_takes_one_picture(self, run: Run, photo: Photo, words: tuple[str, ...], told: str) -> None:
        photo(Path("a.png"))
        done = run("enhance", *words)
        assert done.code == USAGE
        assert told in done.err

    def test_a_file_goes_to_stdout_in_its_own_format_and_nothing_else_does(self, run: Run, photo: Photo) -> None:
        photo(Path("a.jpg"))
        done = run("enhance", "a.jpg", "--out", "-")
        assert (done.code, done.out[:2]) == (DONE, b"\xff\xd8")
        assert done.out == run("enhance", "-", "--out", "-", stdin=Path("a.jpg").read_bytes()).out
        assert run("enhance", "a.jpg", "--out", "-", "--format", "png").out.startswith(b"\x89PNG")
        assert [path.name for path in Path().iterdir()] == ["a.jpg"]
        assert run("enhance", "b.jpg", "--out", "-").code == NO_INPUT

    @pytest.mark.parametrize("out", ["./-", ".//-"])
    def test_a_folder_called_dash_is_no_stream(self, run: Run, photo: Photo, out: str) -> None:
        photo(Path("a.png"))
        done = run("enhance", "a.png", "--out", out)
        assert (done.code, done.out) == (DONE, b"")
        assert Path("-/a.png").is_file()

    def test_a_name_without_suffix_is_refused_with_one_that_could_be(self, run: Run, photo: Photo) -> None:
        done = run("enhance", "-", "--out", "day2", stdin=photo(Path("a.png")).read_bytes())
        assert "Give a file name such as out.png" in done.err

    def test_nothing_on_stdin_is_told_as_that(self, run: Run) -> None:
        assert "Nothing came on stdin." in run("enhance", "-", "--out", "b.png", stdin=b"").err

    def test_a_quality_that_the_source_has_not_is_noted(self, run: Run, photo: Photo) -> None:
        done = run("enhance", photo(Path("a.png")), "--out", "-", "--quality", "50")
        assert "--quality is not used: png has none." in done.err

    def test_memory_that_runs_out_is_a_failed_picture(
        self, run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OutOfMemory("There is not enough memory.", "Use a smaller --tile.")

        monkeypatch.setattr(FakeRunner, "__call__", fail)
        done = run("enhance", "-", "--out", "b.png", stdin=photo(Path("a.png")).read_bytes())
        assert done.code == ALL_FAILED
        assert "not enough memory. Use a smaller --tile" in done.err


@pytest.mark.usefixtures("fakes")
def test_scale_2_doubles_the_size(run: Run, photo: Photo) -> None:
    done = run("enhance", photo(Path("a.png"), 6, 8), "--out", "out", "--scale", 2, "--json")
    assert (done.lines[0]["width"], done.lines[0]["height"], done.lines[0]["scale"]) == (16, 12, 2)
    assert picture.load(Path("out/a.png")).pixels.shape == (12, 16, 3)


def test_the_bundled_network_brightens_doubles_and_leaves_alone(run: Run, photo: Photo) -> None:
    dark = picture.load(photo(Path("in/a.png"), 24, 40)).pixels
    words = ("enhance", "in", "--backend", "onnx", "--device", "cpu", "--threads", 1, "--json", "--offline", "--out")
    plain = run(*words, "plain")
    assert plain.code == DONE
    assert (plain.lines[0]["backend"], plain.lines[0]["device"]) == ("onnx", "cpu")
    assert len(plain.lines[0]["weights_sha256"]) == 64
    assert picture.load(Path("plain/a.png")).pixels.mean() > 1.5 * dark.mean()
    assert run(*words, "big", "--scale", 2).code == DONE
    assert picture.load(Path("big/a.png")).pixels.shape == (48, 80, 3)
    assert run(*words, "same", "--strength", 0).code == DONE
    np.testing.assert_array_equal(picture.load(Path("same/a.png")).pixels, dark)
    means = []
    for exposure in (0.2, 0.6):
        assert run(*words, f"e{exposure}", "--exposure", exposure).code == DONE
        means.append(picture.load(Path(f"e{exposure}/a.png")).pixels.mean() / 255)
    assert means[1] - means[0] > 0.15


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--overwrite", "--skip-existing"), "contradict"),
        (("--strength", 2), "--strength"),
        (("--strength", "nan"), "nan is not a number of its range"),
        (("--save-maps", ""), "the path is empty"),
        (("--suffix", "--overwrite"), "--overwrite is the next option: the text is missing"),
        (("--evidence", "log", "--case", "--examiner"), "--examiner is the next option"),
        (("--exposure", 0), "between 0.02 and 0.98"),
        (("--exposure", "nan"), "between 0.02 and 0.98"),
        (("--tile", -1), "at least 0"),
        (("--tile", "big"), "neither 'auto' nor a number"),
        (("--batch-size", 0), "at least 1"),
        (("--shard", "0/4"), "not a part"),
        (("--shard", "5/4"), "not a part"),
        (("--device", "gpu"), "none of auto, cpu"),
        (("--scale", 3), "--scale"),
        (("--suffix", "a/b"), "--suffix"),
        (("--qualty", 90), "'--quality'"),
        (("--model", "ba-gan", "--precision", "int8"), "does not run in int8"),
        (("--evidence", "-q"), "-q looks like an option. For a path of that name write ./-q"),
        (("--weights", "missing.pt", "--device", "cpu"), "missing.pt"),
    ],
)
def test_wrong_options_are_told_with_the_value_and_what_is_allowed(
    run: Run, photo: Photo, words: tuple[Any, ...], text: str
) -> None:
    photo(Path("in/a.png"))
    done = run("enhance", "in", "--out", "out", *words)
    assert done.code == (NO_MODEL if "--weights" in words else USAGE)
    assert text in done.err
    assert not Path("out").exists()


def test_a_misspelt_command_gets_a_suggestion(run: Run) -> None:
    done = run("enhanse", "in")
    assert done.code == USAGE
    assert done.err.startswith("Usage: lowlight [OPTIONS]")
    assert "No such command 'enhanse'. Did you mean 'enhance'?" in done.err


def test_no_arguments_show_the_help(run: Run) -> None:
    done = run()
    assert done.code == USAGE
    assert "lowlight enhance photos/ --out bright/" in done.err


def test_the_groups_help_repeats_the_first_line_of_each_commands_help() -> None:
    for name, line in cli.COMMANDS.items():
        command = importlib.import_module(f"lowlight_cli.cli.{name}").command
        assert command.help.strip().splitlines()[0] == line, name


def test_the_help_of_enhance_lists_every_exit_code() -> None:
    help_text = command.help
    for code in (DONE, SOME_FAILED, USAGE, NO_INPUT, NO_MODEL, NO_DEVICE, ALL_FAILED, INTERRUPTED):
        assert f"{code} " in help_text.partition("Exit codes:")[2]


def test_without_a_terminal_progress_is_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console_module, "PLAIN_EVERY", -1.0)
    with console_module.Console(3) as console:
        for _ in range(3):
            console.advance()
    err = capsys.readouterr().err
    assert [line.split(",")[0] for line in err.splitlines()] == ["1 of 3", "2 of 3"]


def test_on_a_terminal_there_is_a_bar_and_lines_above_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with console_module.Console(2) as console:
        console.say("[bold]a[1].jpg")
        console.advance()
    captured = capsys.readouterr()
    assert "[bold]a[1].jpg" in captured.err
    assert "1/2" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout_is_an_error_without_traceback(
    photo: Photo, monkeypatch: pytest.MonkeyPatch, unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    path = photo(Path("a.png"))
    words = [sys.executable, "-m", "lowlight_cli", "enhance", str(path), "--out", "out", "--dry-run", "--json"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == SOME_FAILED
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_real_process_pipes_a_picture_through_the_bundled_network(photo: Photo) -> None:
    path = photo(Path("🌃.png"), 24, 40)
    words = [sys.executable, "-m", "lowlight_cli", "enhance", "-", "--out", "-", "--device", "cpu", "--threads", "1"]
    done = subprocess.run(words, input=path.read_bytes(), capture_output=True, check=False)
    assert done.returncode == DONE, done.stderr
    assert picture.load(done.stdout).pixels.mean() > picture.load(path).pixels.mean()


def test_a_real_process_gives_the_exit_code_of_the_error() -> None:
    words = [sys.executable, "-m", "lowlight_cli", "enhance", "nowhere", "--out", "out"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (NO_INPUT, "")
    assert done.stderr == "Error: There is no file or folder nowhere.\n  Check the name; quote patterns.\n"
