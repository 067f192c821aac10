"""`lowlight enhance --evidence`: what is logged, what is refused, and how a run that was cut goes on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lowlight_cli import evidence, manifest, network, picture
from lowlight_cli.errors import ALL_FAILED, DONE, SOME_FAILED, USAGE
from lowlight_cli.evidence import read
from lowlight_cli.runners.classical import ClassicalRunner
from lowlight_cli.tasks import unwitnessed
from lowlight_cli.tasks.witness import Witness

pytestmark = pytest.mark.usefixtures("here")
Photo = Callable[..., Path]
Run = Callable[..., SimpleNamespace]
LOG = Path("log.jsonl")
GAMMA = ("enhance", "in", "--out", "out", "--model", "gamma", "--evidence", LOG)


def records(kind: str = "picture") -> list[dict]:
    """Of one kind; the chain is whole."""
    lines = list(read(LOG))
    assert not [line.problems for line in lines if line.problems]
    return [dict(line.record) for line in lines if line.record and line.record["kind"] == kind]


def killed_after(count: int) -> None:
    """The log and its head as they are when the first run is killed after so many records."""
    lines = LOG.read_bytes().splitlines(keepends=True)
    LOG.write_bytes(b"".join(lines[:count]))
    evidence.head_path(LOG).write_text(f"{hashlib.sha256(lines[0].rstrip()).hexdigest()}  1\n")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_record_tells_all_of_a_picture(run: Run, photo: Photo) -> None:
    source = photo(Path("in/sub/a.png"), 20, 30)
    done = run(*GAMMA, "--case", "17/4", "--examiner", "Ö. Roe", "--note", "door camera", "--json")
    assert done.code == DONE
    [start], [record], [end] = (records(kind) for kind in ("start", "picture", "end"))
    target = Path("out/sub/a.png")
    expected = {"path": str(source.absolute()), "relative": "sub/a.png", "bytes": source.stat().st_size}
    expected |= {"width": 30, "height": 20, "bits": 8, "format": "png", "sha256": sha256(source)}
    assert record["input"].items() >= (expected | {"sha256_after": sha256(source)}).items()
    assert record["output"].items() >= {"path": str(target.absolute()), "sha256": sha256(target), "width": 30}.items()
    assert record["input"]["pixels_sha256"] == hashlib.sha256(np.asarray(Image.open(source)).tobytes()).hexdigest()
    assert record["output"]["pixels_sha256"] == hashlib.sha256(np.asarray(Image.open(target)).tobytes()).hexdigest()
    assert (record["case"], record["examiner"], record["note"]) == ("17/4", "Ö. Roe", "door camera")
    assert record["status"] == "done"
    method = record["method"]
    assert (method["model"], method["backend"], method["device"], method["precision"]) == (
        *("gamma", "classical", "cpu", "fp32"),
    )
    assert method["manifest_sha256"] == sha256(manifest.manifest_path())
    assert record["system"]["packages"]["numpy"] == np.__version__
    assert start["pictures"] == 1
    assert start["argv"][0] == "lowlight"
    assert (end["status"], end["counts"]) == ("finished", {"done": 1})
    assert {start["run"], record["run"]} == {end["run"]}
    summary, head = done.lines[-1]["summary"]["evidence"], evidence.head_path(LOG).read_text().split()[0]
    assert summary == {"log": "log.jsonl", "records": 3, "head": head, "error": None}
    assert summary["head"] in done.err


def test_weights_back_end_and_tiles_of_a_network_are_recorded(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"), 70, 90)
    words = ("--model", "aux-retinex", "--tile", "48", "--exposure", "auto")
    assert run("enhance", "in", "--out", "out", "--evidence", LOG, *words).code == DONE
    [record] = records()
    rows = {file.role: file.sha256 for file in manifest.find("aux-retinex").files}
    assert {file["role"]: file["sha256"] for file in record["method"]["weights"]}.items() <= rows.items()
    assert {"onnx-x1", "onnx-context"} == {file["role"] for file in record["method"]["weights"]}
    assert record["method"]["provider"] == "CPUExecutionProvider"
    assert record["method"]["threads"] >= 1
    assert (record["tiles"]["side"], record["tiles"]["rows"], record["tiles"]["columns"]) == (48, 2, 2)
    assert (record["method"]["settings"]["shadows"], record["shadows"]) == (0, 0)  # auto: its row lifts none
    assert (record["method"]["settings"]["exposure"], record["exposure"]) == (None, pytest.approx(0.4, abs=0.05))


def test_each_picture_of_a_batch_has_the_shadows_of_its_own(run: Run) -> None:
    room = np.full((96, 128, 3), 20, np.uint8)
    room[:, 90:] = 190
    Path("in").mkdir()
    for name, pixels in (("a", room), ("b", room // 8), ("c", room)):
        Image.fromarray(pixels).save(Path("in") / f"{name}.png")
    assert run("enhance", "in", "--out", "out", "--evidence", LOG, "--model", "neid", "--batch-size", "3").code == DONE
    lifted = {Path(record["input"]["path"]).stem: record["shadows"] for record in records()}
    most = manifest.find("neid").shadows
    assert lifted == {"a": pytest.approx(most, rel=0.1), "b": 0, "c": lifted["a"]}
    assert {record["method"]["settings"]["shadows"] for record in records()} == {None}
    assert run("verify", LOG, "--rerun").code == DONE


def test_a_record_of_maps_alone_tells_of_the_work_on_its_own_picture(run: Run, photo: Photo) -> None:
    names = [photo(Path(f"in/{name}.png"), *size) for name, size in (("a", (20, 70)), ("b", (40, 40)), ("c", (9, 9)))]
    words = ("enhance", *names, "--out", "out", "--evidence", LOG, "--model", "aux-retinex", "--tile", 32)
    words += ("--shadows", 0.5)
    assert run(*words).code == run(*words, "--skip-existing", "--save-maps", "maps").code == DONE
    first, again = (sorted(part, key=lambda r: r["input"]["path"]) for part in (records()[:3], records()[3:]))
    assert [(r["tiles"]["rows"], r["tiles"]["columns"]) for r in first] == [(1, 3), (2, 2), (1, 1)]
    for name in ("tiles", "shadows"):
        assert [record[name] for record in again] == [record[name] for record in first]
    assert {record["shadows"] for record in again} == {0.5}
    assert [record["output"] for record in again] == [None] * 3


def test_a_map_that_was_changed_is_found_also_where_it_was_made_later_than_the_output(run: Run, photo: Photo) -> None:
    for name in "ab":
        photo(Path(f"in/{name}.png"), 20, 70)
    words = ("enhance", "in", "--out", "out", "--evidence", LOG, "--model", "aux-retinex", "--skip-existing")
    assert run(*words).code == run(*words, "--save-maps", "maps").code == DONE
    assert run(*words, "--save-maps", "maps").code == DONE
    with Path("maps/b-illumination.png").open("ab") as file:
        file.write(b"x")
    done = run(*words, "--save-maps", "maps", "--json")
    assert done.code == SOME_FAILED
    [error] = [line["error"] for line in done.lines[:-1] if line["status"] == "failed"]
    assert re.search(r"b-illumination.png was changed after record [67] of the log", error)
    assert run(*words, "--save-maps", "others").code == DONE


@pytest.mark.parametrize("beside", [("--baseline", "clahe"), ("--save-maps", "in")])
def test_a_run_beside_its_inputs_goes_on(run: Run, photo: Photo, beside: tuple[str, str]) -> None:
    for name in "ab":
        photo(Path(f"in/{name}.png"), 20, 70)
    model = "gamma" if "--baseline" in beside else "aux-retinex"
    words = ("enhance", "in", "--out", "in", "--suffix", "_b", "--evidence", LOG, "--model", model, *beside)
    assert run(*words).code == DONE
    Path("in/b_b.png").unlink()
    made = {path.name for path in Path("in").iterdir()}
    done = run(*words, "--skip-existing", "--json")
    assert done.code == DONE, done.err
    assert [line["status"] for line in done.lines[:-1]] == ["skipped", "done"]
    assert {path.name for path in Path("in").iterdir()} == made | {"b_b.png"}


@pytest.mark.parametrize(("suffix", "lost"), [(".bmp", "16 bit"), (".ppm", "alpha")])
def test_a_format_that_would_lose_samples_is_refused(run: Run, suffix: str, lost: str) -> None:
    Path("in").mkdir()
    if lost == "alpha":
        Image.fromarray(np.full((5, 6, 4), 50, np.uint8)).save("in/a.png")
    else:
        Image.fromarray(np.full((5, 6), 2000, np.uint16)).save("in/a.png")
    words = ("enhance", "in/a.png", "--model", "gamma", "--evidence", LOG, "--out", f"b{suffix}", "--json")
    done = run(*words)
    assert done.code == ALL_FAILED
    assert done.lines[0]["error"] == f"{suffix} cannot hold: {lost}; with a log nothing is lost."
    assert not Path(f"b{suffix}").exists()
    if lost == "16 bit":
        assert run(*words, "--depth", 8).code == DONE


def test_files_that_are_not_taken_are_told_and_logged(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"), 20, 30)
    Path("in/loop.txt").symlink_to("loop.txt")
    for name in ("b.mp4", "noext", ".hidden/c.png", "sub/d.txt"):
        photo(Path("in/a.png")).parent.joinpath(name).parent.mkdir(exist_ok=True)
        Path("in", name).write_bytes(b"x")
    words = ("enhance", "in", "--out", "in/out", "--model", "gamma", "--evidence", "in/log.jsonl")
    done = run(*words)
    assert done.code == DONE
    assert "the log names them: in/.hidden/c.png, in/b.mp4, in/loop.txt, in/noext, in/sub/d.txt" in done.err
    start = json.loads(Path("in/log.jsonl").read_bytes().splitlines()[0])
    names = [".hidden/c.png", "b.mp4", "loop.txt", "noext", "sub/d.txt"]
    assert start["not_taken"] == {"count": 5, "files": [str(Path("in", name).absolute()) for name in names]}
    assert run(*words, "--skip-existing").code == DONE
    assert run("report", "in/log.jsonl", "--out", "page.html").code == DONE
    page = Path("page.html").read_text(encoding="utf-8")
    assert "5 other files not taken: see the runs" in page
    assert str(Path("in/sub/d.txt").absolute()) in page


def test_jpeg_comes_out_as_png_and_16_bits_stay(run: Run, photo: Photo) -> None:
    photo(Path("in/a.jpg"))
    Image.fromarray(np.full((5, 6), 2000, np.uint16)).save(Path("in/b.tif"))
    assert run(*GAMMA).code == DONE
    first, second = sorted(records(), key=lambda record: record["input"]["path"])
    assert Path("out/a.jpg.png").exists()
    assert (first["input"]["format"], first["output"]["format"]) == ("jpg", "png")
    assert (second["output"]["format"], second["output"]["bits"]) == ("tiff", 16)


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_every_kind_of_picture_is_read_back_as_it_was_written(
    run: Run, format: str, alpha: bool, gray: bool, bits: int
) -> None:
    kind, top = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    values = np.random.default_rng(5).integers(0, top, (6, 7, 4), kind, endpoint=True)
    pixels = values[..., :1].repeat(3, axis=2) if gray else values[..., :3]
    made = picture.Picture(pixels=pixels, alpha=values[..., 3] if alpha else None, gray=gray)
    Path("in").mkdir()
    picture.save(made, Path("in/a.png"))
    assert run(*GAMMA, "--format", format).code == DONE
    [record] = records()
    assert (record["status"], record["output"]["bits"]) == ("done", bits)
    assert run("verify", LOG, "--rerun").code == DONE


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--overwrite",), "--overwrite"),
        (("--format", "jpg"), "--format jpg"),
        (("--out", "a.jpg"), ".jpg loses something"),
        (("--precision", "bf16", "--model", "neid"), "--precision bf16"),
        (("--model", "ema-cyclegan"), "generative"),
        (("--baseline", "neid"), "no classical method"),
        (("--baseline", "gamma"), "the model itself"),
        (("--evidence", "gone/log.jsonl"), "no folder gone"),
        (("--evidence", "in/a.png"), "no evidence log"),
    ],
)
def test_what_contradicts_evidence_is_refused_before_any_work(
    run: Run, photo: Photo, words: tuple[str, ...], text: str
) -> None:
    source = photo(Path("in/a.png"))
    before = source.read_bytes()
    done = run("enhance", source, *GAMMA[2:], *words)
    assert done.code == USAGE
    assert text in done.err
    assert source.read_bytes() == before
    assert not LOG.exists()
    assert not Path("out").exists()


@pytest.mark.parametrize("flag", [("--case", "1"), ("--baseline", "clahe"), ("--allow-generative",)])
def test_flags_of_the_log_ask_for_a_log(run: Run, photo: Photo, flag: tuple[str, ...]) -> None:
    photo(Path("in/a.png"))
    done = run("enhance", "in", "--out", "out", *flag)
    assert done.code == USAGE
    assert "goes with --evidence" in done.err


def test_a_pipe_is_refused(run: Run) -> None:
    done = run("enhance", "-", "--out", "a.png", "--evidence", LOG)
    assert done.code == USAGE
    assert "--evidence" in done.err


def test_a_generative_model_runs_where_it_is_allowed_and_the_record_says_so(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"), 32, 32)
    words = ("--model", "ema-cyclegan", "--allow-generative")
    assert run("enhance", "in", "--out", "out", "--evidence", LOG, *words).code == DONE
    [record] = records()
    assert record["method"]["generative"]
    assert record["method"]["allow_generative"]


def test_a_baseline_is_written_beside_each_output_and_recorded(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(ClassicalRunner, "close", lambda runner: closed.append(runner.spec.name))
    photo(Path("in/a.jpg"), 20, 20)
    assert run(*GAMMA, "--baseline", "clahe").code == DONE
    assert closed == ["clahe", "gamma"]
    [record] = records()
    target = Path("out/a.jpg-clahe.png")
    assert record["baseline"]["model"] == "clahe"
    assert record["baseline"]["sha256"] == sha256(target)
    assert run("enhance", "in", "--out", "plain", "--model", "clahe", "--format", "png").code == DONE
    np.testing.assert_array_equal(picture.load(target).pixels, picture.load(Path("plain/a.png")).pixels)


def test_a_jpeg_and_a_png_of_one_name_have_outputs_of_their_own(run: Run, photo: Photo) -> None:
    photo(Path("in/a.jpg"))
    photo(Path("in/a.png"))
    assert run(*GAMMA).code == DONE
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.jpg.png", "a.png"]
    done = run(*GAMMA)
    assert done.code == USAGE
    assert "Use --skip-existing." in done.err


def test_a_run_that_finds_all_done_is_logged_with_its_examiner(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    assert run(*GAMMA, "--examiner", "A").code == DONE
    assert run(*GAMMA, "--examiner", "B", "--skip-existing").code == DONE
    assert [(record["examiner"], record["pictures"]) for record in records("start")] == [("A", 1), ("B", 0)]
    assert [record["status"] for record in records("end")] == ["finished"] * 2


def test_a_baseline_that_would_collide_with_an_output_is_refused(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/a-clahe.png"))
    done = run(*GAMMA, "--baseline", "clahe")
    assert done.code == USAGE
    assert "a-clahe.png" in done.err


def test_failed_pictures_are_recorded_with_their_error(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    Path("in/b.png").write_bytes(b"no picture")
    assert run(*GAMMA).code == SOME_FAILED
    failed = next(record for record in records() if record["status"] == "failed")
    assert failed["input"]["sha256"] == sha256(Path("in/b.png"))
    assert failed["input"]["pixels_sha256"] is None
    assert failed["output"] is None
    assert "not a picture" in failed["error"]
    assert failed["hint"]
    assert records("end")[0]["counts"] == {"done": 1, "failed": 1}


def test_maps_are_recorded_too(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"), 32, 32)
    words = ("--model", "aux-retinex", "--save-maps", "maps")
    assert run("enhance", "in", "--out", "out", "--evidence", LOG, *words).code == DONE
    [record] = records()
    assert {Path(file["path"]).name: file["sha256"] for file in record["maps"]} == {
        path.name: sha256(path) for path in Path("maps").iterdir()
    }
    assert record["maps"]


@pytest.mark.parametrize("stranger", [False, True])
def test_maps_without_record_are_made_again_compared_and_recorded(run: Run, photo: Photo, stranger: bool) -> None:
    photo(Path("in/a.png"), 32, 32)
    words = ("--model", "aux-retinex", "--save-maps", "maps")
    assert run("enhance", "in", "--out", "out", "--evidence", LOG, *words).code == DONE
    killed_after(1)
    [path] = Path("maps").iterdir()
    if stranger:
        photo(path, value=9)
    before = sha256(path)
    done = run("enhance", "in", "--out", "out", "--evidence", LOG, *words, "--skip-existing")
    assert done.code == (ALL_FAILED if stranger else DONE)
    [record] = records()
    assert [Path(file["path"]).name for file in record["maps"]] == ([] if stranger else [path.name])
    assert ("is another picture" in (record["error"] or "")) == stranger
    assert sha256(path) == before


def test_an_input_that_changes_during_the_work_fails_and_leaves_no_output(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = photo(Path("in/a.png"))
    photo(Path("in/b.png"))
    write = picture.write

    def grow(data: bytes, path: Path, **options: bool) -> None:
        write(data, path, **options)
        if path.name == "a.png":
            source.write_bytes(source.read_bytes() + b"more")

    monkeypatch.setattr(picture, "write", grow)
    assert run(*GAMMA).code == SOME_FAILED
    assert [path.name for path in Path("out").iterdir()] == ["b.png"]
    failed = next(record for record in records() if record["status"] == "failed")
    assert "changed or vanished" in failed["error"]
    assert failed["input"]["sha256"] != failed["input"]["sha256_after"] == sha256(source)
    assert failed["output"] is None


def test_a_file_that_does_not_give_back_its_pixels_is_an_error(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(Path("in/a.png"))
    encode = picture.encode

    def spoiled(made: picture.Picture, *words: object, **options: object) -> bytes:
        return encode(picture.from_array(made.pixels ^ 1), *words, **options)

    monkeypatch.setattr(picture, "encode", spoiled)
    done = run(*GAMMA)
    assert done.code == ALL_FAILED
    assert "does not give back the pixels" in done.err
    assert not [*Path("out").iterdir()]


def test_a_log_that_cannot_be_written_stops_the_run_and_leaves_no_output_without_record(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        photo(Path(f"in/{number}.png"))
    append, count = evidence.Log.append, [0]

    def full(log: evidence.Log, fields: dict) -> dict:
        count[0] += 1
        if count[0] > 4:
            raise evidence.LogError("log.jsonl cannot be written: No space left on device.", "Free some space.")
        return dict(append(log, fields))

    monkeypatch.setattr(evidence.Log, "append", full)
    done = run(*GAMMA, "--json")
    assert done.code == SOME_FAILED
    assert "No space left" in done.err
    assert done.lines[-1]["summary"]["not_tried"] > 0
    assert {record["output"]["path"] for record in records()} == {str(p.absolute()) for p in Path("out").iterdir()}
    assert len(records()) == 3


def test_the_end_counts_no_picture_whose_record_could_not_be_written(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full for a moment is no mark on the log: `verify` would find it for ever."""
    photo(Path("in/a.png"))
    append = evidence.Log.append

    def full(log: evidence.Log, fields: dict) -> dict:
        if fields["kind"] == "picture":
            raise evidence.LogError("log.jsonl cannot be written: No space left on device.", "Free some space.")
        return dict(append(log, fields))

    with monkeypatch.context() as patch:
        patch.setattr(evidence.Log, "append", full)
        assert run(*GAMMA).code == ALL_FAILED
    assert [(record["status"], record["counts"]) for record in records("end")] == [("interrupted", {})]
    assert run("verify", LOG).code == DONE
    assert run(*GAMMA, "--skip-existing").code == DONE
    assert run("verify", LOG).code == DONE


def test_an_output_that_cannot_be_taken_away_again_is_told_and_ends_no_run(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        photo(Path(f"in/{name}.png"))
    whole, unlink = Witness.hash_again, Path.unlink

    def changed(self: Witness, item: object) -> None:
        if item.job.source.name == "b.png":
            item.job.source.write_bytes(b"another")
        whole(self, item)

    def refused(path: Path, **options: object) -> None:
        if path == Path("out/b.png"):
            raise OSError(30, "Read-only file system")
        unlink(path, **options)

    monkeypatch.setattr(Witness, "hash_again", changed)
    monkeypatch.setattr(Path, "unlink", refused)
    done = run(*GAMMA, "--json")
    assert done.code == SOME_FAILED
    found = {Path(record["input"]["path"]).name: record for record in records()}
    assert {name: record["status"] for name, record in found.items()} == {
        "a.png": "done",
        "b.png": "failed",
        "c.png": "done",
    }
    assert found["b.png"]["notices"] == ["b.png could not be taken away again: Read-only file system."]
    assert len(records("end")) == 1


def test_an_empty_part_of_a_shard_makes_no_folder_of_the_one_output(run: Run, photo: Photo) -> None:
    photo(Path("a.png"))
    for out, parts in (("b.png", "12"), ("c.png", "21")):
        for part in parts:
            assert run("enhance", "a.png", "--out", out, *GAMMA[4:], "--shard", f"{part}/2").code == DONE
        assert Path(out).is_file()


@pytest.mark.parametrize("change", ["cut", "emptied", "replaced"])
def test_a_log_that_was_cut_or_replaced_is_not_gone_on_with(run: Run, photo: Photo, change: str) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/b.png"))
    assert run("enhance", "in/a.png", "--out", "out", *GAMMA[4:]).code == DONE
    first = LOG.read_bytes()
    assert run("enhance", "in/b.png", "--out", "out", *GAMMA[4:]).code == DONE
    if change == "replaced":
        Path("other").mkdir()
        assert run("enhance", "in/b.png", "--out", "other", *GAMMA[4:6], "--evidence", "other/log.jsonl").code == DONE
    LOG.write_bytes({"cut": first, "emptied": b""}.get(change) or b"" if change != "replaced" else
                    Path("other/log.jsonl").read_bytes())  # fmt: skip
    before = {path: path.read_bytes() for path in (LOG, evidence.head_path(LOG))}
    done = run(*GAMMA, "--skip-existing")
    assert done.code == USAGE
    assert "was cut or replaced" in done.err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("lost", ["record", "head"])
def test_an_end_that_cannot_be_recorded_is_told_and_fails_the_run(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    photo(Path("in/a.png"))
    append, seal = evidence.Log.append, evidence.Log.seal

    def full(log: evidence.Log, fields: dict) -> dict:
        if lost == "record" and fields["kind"] == "end":
            raise evidence.LogError("log.jsonl cannot be written: No space left on device.", "Free some space.")
        return dict(append(log, fields))

    def sealed(log: evidence.Log) -> None:
        if lost == "head" and log.number > 2:
            raise evidence.LogError("log.jsonl.head cannot be written: No space left on device.", "Free some space.")
        seal(log)

    monkeypatch.setattr(evidence.Log, "append", full)
    monkeypatch.setattr(evidence.Log, "seal", sealed)
    done = run(*GAMMA, "--json")
    assert done.code == SOME_FAILED == done.lines[-1]["summary"]["exit_code"]
    assert "cannot be written: No space left on device. Free some space." in done.err
    assert "No space left" in done.lines[-1]["summary"]["evidence"]["error"]
    assert done.lines[-1]["summary"]["done"] == len(records()) == 1


def test_a_head_that_cannot_be_written_stops_a_run_before_its_start_is_told(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(Path("in/a.png"))
    photo(Path("in/b.png"))
    assert run(*GAMMA, "--limit", "1").code == DONE
    before, whole = LOG.read_bytes(), evidence.atomic.write

    def write(path: Path, *words: object, **options: object) -> None:
        if path == evidence.head_path(LOG):
            raise OSError(30, "Read-only file system")
        whole(path, *words, **options)

    monkeypatch.setattr(evidence.atomic, "write", write)
    done = run(*GAMMA, "--skip-existing")
    assert done.code == USAGE
    assert "log.jsonl.head cannot be written: Read-only file system" in done.err
    assert LOG.read_bytes() == before


def test_a_log_that_cannot_be_begun_stops_the_run_before_any_work(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    LOG.mkdir()
    done = run(*GAMMA)
    assert done.code == USAGE
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["pic.png", "pic.png.head"])
def test_neither_log_nor_head_is_ever_an_input(run: Run, photo: Photo, name: str) -> None:
    photo(Path("elsewhere.png")).rename(name)
    before = Path(name).read_bytes()
    done = run("enhance", name, "--out", "out.png", "--model", "gamma", "--evidence", "pic.png")
    assert done.code == USAGE
    assert Path(name).read_bytes() == before


def test_an_empty_input_is_no_log(run: Run) -> None:
    Path("in").mkdir()
    Path("in/empty.jpg").touch()
    done = run("enhance", "in", "--out", "out", "--model", "gamma", "--evidence", "in/empty.jpg")
    assert done.code == USAGE
    assert "is an input" in done.err
    assert not Path("in/empty.jpg").stat().st_size


def test_paths_behind_links_are_recorded_as_the_system_takes_them(run: Run, photo: Photo) -> None:
    real = photo(Path("A/p.png"), value=10)
    photo(Path("B/p.png"), value=50)
    Path("A/real").mkdir()
    Path("B/link").symlink_to("../A/real")
    words = ("--out", "out", "--model", "gamma", "--evidence", LOG)
    assert run("enhance", "B/link/../p.png", *words).code == DONE
    assert records()[0]["input"]["path"] == str(real.resolve())
    assert run("verify", LOG).code == DONE


def test_other_weights_or_another_baseline_do_not_count_as_done(run: Run, photo: Photo, tmp_path: Path) -> None:
    photo(Path("in/a.png"), 32, 32)
    own = Path("own.safetensors")
    own.write_bytes((manifest.PACKAGE / "bundled" / "aux-retinex.safetensors").read_bytes())
    words = ("enhance", "in", "--out", "out", "--model", "aux-retinex", "--evidence", LOG)
    assert run(*words).code == DONE
    for more in (("--weights", own), ("--baseline", "clahe"), ("--backend", "torch")):
        done = run(*words, "--skip-existing", *more)
        assert done.code == ALL_FAILED
        assert "other settings" in done.err


def test_a_baseline_that_fails_fails_its_picture_and_no_other(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(Path("in/a.png"), 8, 8)
    photo(Path("in/b.png"), 9, 9)
    seen = Witness.enhanced

    def enhanced(self: Witness, item: SimpleNamespace, *words: object) -> None:
        if item.job.source.name == "a.png":
            raise MemoryError
        seen(self, item, *words)

    monkeypatch.setattr(Witness, "enhanced", enhanced)
    assert run(*GAMMA, "--baseline", "clahe").code == SOME_FAILED
    assert sorted(path.name for path in Path("out").iterdir()) == ["b-clahe.png", "b.png"]


def test_a_time_that_no_calendar_has_is_left_out(run: Run, photo: Photo) -> None:
    source = photo(Path("in/a.png"))
    os.utime(source, (253402300900, 253402300900))
    if source.stat().st_mtime < 253402300900:
        pytest.skip("this file system holds no such time")
    assert run(*GAMMA).code == DONE
    assert records()[0]["input"]["modified"] is None


def test_a_second_run_goes_on_where_the_first_was_cut(run: Run, photo: Photo) -> None:
    for name in "abc":
        photo(Path(f"in/{name}.png"), 8, 8 + ord(name))
    assert run(*GAMMA).code == DONE
    whole = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    killed_after(3)  # start and two pictures: before the third one's record
    Path("out/c.png").unlink()
    lost = {Path(record["output"]["path"]).name for record in records()} ^ {*"abc"}
    assert lost
    done = run(*GAMMA, "--skip-existing", "--json")
    assert done.code == DONE
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == whole
    assert {Path(record["output"]["path"]).name for record in records()} == {*whole}
    assert [record["already_done"] for record in records("start")] == [0, done.lines[-1]["summary"]["skipped"]]


def test_an_output_without_record_is_made_again_compared_and_recorded(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    assert run(*GAMMA).code == DONE
    killed_after(1)  # between the output and its record
    stamp = Path("out/a.png").stat().st_mtime_ns
    assert run(*GAMMA, "--skip-existing").code == DONE
    [record] = records()
    assert "was there already" in record["notices"][0]
    assert Path("out/a.png").stat().st_mtime_ns == stamp


def test_a_stranger_in_the_place_of_an_output_is_no_result(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    photo(Path("out/a.png"), value=9)
    before = sha256(Path("out/a.png"))
    assert run(*GAMMA, "--skip-existing").code == ALL_FAILED
    assert sha256(Path("out/a.png")) == before
    assert "another picture" in records()[0]["error"]


@pytest.mark.parametrize("changed", ["out/a.png", "in/a.png"])
def test_a_run_does_not_go_on_over_files_that_are_not_as_logged(run: Run, photo: Photo, changed: str) -> None:
    photo(Path("in/a.png"))
    assert run(*GAMMA).code == DONE
    photo(Path(changed), value=7)
    done = run(*GAMMA, "--skip-existing")
    assert done.code == ALL_FAILED
    assert "was changed after record 2" in done.err


@pytest.mark.parametrize("method", [{}, {"settings": 1}, {"weights": [5]}])
def test_a_record_of_another_making_does_not_count_as_done(run: Run, photo: Photo, method: dict) -> None:
    photo(Path("in/a.png"))
    assert run(*GAMMA).code == DONE
    told = [dict(line.record) for line in read(LOG)]
    LOG.unlink()
    evidence.head_path(LOG).unlink()
    log = evidence.Log(LOG)
    for record in told:
        fields = {name: value for name, value in record.items() if name not in ("record", "previous", "time")}
        if record["kind"] == "picture":
            fields["method"] = record["method"] | method if method else {}
        log.append(fields)
    log.seal()
    done = run(*GAMMA, "--skip-existing")
    assert done.code == DONE
    assert "was there already" in records()[-1]["notices"][0]


def test_other_settings_do_not_count_as_done(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    assert run(*GAMMA).code == DONE
    done = run(*GAMMA, "--skip-existing", "--strength", "0.5")
    assert done.code == ALL_FAILED
    assert "other settings" in done.err


def test_inputs_keep_their_bytes_and_their_time(run: Run, photo: Photo) -> None:
    source = photo(Path("in/a.png"))
    os.utime(source, ns=(10**18, 10**18))
    before = source.read_bytes()
    assert run(*GAMMA).code == DONE
    assert source.read_bytes() == before
    assert source.stat().st_mtime_ns == 10**18
    assert records()[0]["input"]["modified"] == "2001-09-09T01:46:40.000000Z"


def test_names_that_are_no_text_are_logged(run: Run, photo: Photo) -> None:
    try:
        photo(Path("in/a.png")).rename(os.fsdecode(b"in/\xff\n.png"))
    except OSError:
        pytest.skip("this file system takes only text as names")
    assert run(*GAMMA).code == DONE
    assert Path(records()[0]["output"]["path"]).exists()


def test_the_network_is_closed_while_a_log_is_kept(run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(Path("in/a.png"))
    told = []

    def call(self: Witness, item: object, data: bytes) -> None:
        try:
            socket.create_connection(("127.0.0.1", 9))
        except PermissionError as error:
            told.append(str(error))
        record(self, item, data)

    record = Witness.read
    monkeypatch.setattr(Witness, "read", call)
    assert run(*GAMMA).code == DONE
    assert "closed in evidence mode" in told[0]


def test_the_network_opens_again_behind_the_block() -> None:
    with network.closed(), network.closed(), pytest.raises(PermissionError):
        socket.getaddrinfo("localhost", 80)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def test_without_a_log_nothing_is_watched(run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(Path("in/a.jpg"))
    monkeypatch.delattr("lowlight_cli.tasks.witness.Witness")
    assert run("enhance", "in", "--out", "out", "--model", "gamma").code == DONE
    assert Path("out/a.jpg").exists()
    assert unwitnessed.Unwitnessed.stopped is False
    assert not json.dumps([str(path) for path in Path().iterdir()]).count("jsonl")
