"""`lowlight verify`: every tampering that is tried is found, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lowlight_cli import evidence, machine
from lowlight_cli.errors import ALL_FAILED, DONE, NO_INPUT, SOME_FAILED, USAGE, ModelUnavailable
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners import Runner, RunnerOptions
from lowlight_cli.runners.classical import ClassicalRunner
from lowlight_cli.tasks import rerun

pytestmark = pytest.mark.usefixtures("here")
Photo = Callable[..., Path]
Run = Callable[..., SimpleNamespace]
LOG = Path("log.jsonl")


@pytest.fixture
def logged(here: Path, run: Run, photo: Photo) -> Path:
    """A log of three pictures with baselines: record 1 is the start, 5 the end."""
    for name in "abc":
        photo(Path(f"in/{name}.png"), 10, ord(name) - 80)
    words = ("--model", "gamma", "--baseline", "clahe", "--evidence", LOG)
    assert run("enhance", "in", "--out", "out", *words).code == DONE
    return LOG


def failed(run: Run, *words: object) -> dict[int, str]:
    """What `lowlight verify` says is wrong, by record; its exit code says the same."""
    done = run("verify", LOG, "--json", *words)
    found = {line["record"]: " ".join(line["problems"]) for line in done.lines[:-1] if line["status"] == "failed"}
    assert done.code == (SOME_FAILED if found else DONE)
    assert done.lines[-1]["summary"]["exit_code"] == done.code
    assert done.lines[-1]["summary"]["failed"] == sum(line["status"] == "failed" for line in done.lines[:-1])
    return found


def lines() -> list[bytes]:
    return LOG.read_bytes().splitlines(keepends=True)


def rewrite(new: Sequence[bytes]) -> None:
    LOG.write_bytes(b"".join(new))


def rechained(documents: Sequence[dict[str, Any]]) -> None:
    """Write records as one would who knows how the chain is made."""
    digest, out = evidence.FIRST, []
    for number, document in enumerate(documents, 1):
        line = json.dumps({**document, "record": number, "previous": digest}, separators=(",", ":")).encode()
        digest = hashlib.sha256(line).hexdigest()
        out.append(line + b"\n")
    rewrite(out)


@pytest.mark.usefixtures("logged")
def test_a_log_that_nobody_touched_is_whole(run: Run) -> None:
    assert failed(run) == {}
    assert failed(run, "--rerun") == {}
    done = run("verify", LOG)
    assert done.code == DONE
    assert b"5 records, all as the log says; head " in done.out


@pytest.mark.usefixtures("logged")
def test_records_are_counted_and_those_that_are_missing_are_not(run: Run) -> None:
    rewrite([*lines()[:2], *lines()[3:]])
    assert b"log.jsonl: 4 records, 2 FAILED; head " in run("verify", LOG).out
    assert run("verify", LOG, "--json").lines[-1]["summary"]["records"] == 4


@pytest.mark.usefixtures("logged")
def test_made_again_every_picture_has_the_same_pixels(run: Run) -> None:
    done = run("verify", LOG, "--rerun", "--json")
    assert [line["difference"] for line in done.lines if line.get("kind") == "picture"] == [0, 0, 0]


@pytest.mark.parametrize("name", ["out/a.png", "out/a-clahe.png", "in/a.png"])
@pytest.mark.usefixtures("logged")
def test_a_changed_file_is_found(run: Run, name: str) -> None:
    data = bytearray(Path(name).read_bytes())
    data[-20] ^= 1
    Path(name).write_bytes(data)
    [text] = failed(run).values()
    assert "was changed" in text
    assert name in text


@pytest.mark.parametrize("name", ["out/b.png", "in/b.png"])
@pytest.mark.usefixtures("logged")
def test_a_file_that_is_gone_is_found(run: Run, name: str) -> None:
    Path(name).unlink()
    [text] = failed(run).values()
    assert f"{name} cannot be read" in text


@pytest.mark.usefixtures("logged")
def test_an_output_with_the_same_pixels_in_other_bytes_is_found(run: Run) -> None:
    Image.open("out/a.png").save("other.png", dpi=(72, 72))
    Path("other.png").replace("out/a.png")
    assert len(failed(run)) == 1


@pytest.mark.parametrize("at", range(5))
@pytest.mark.usefixtures("logged")
def test_any_changed_record_is_found(run: Run, at: int) -> None:
    new = lines()
    new[at] = new[at].replace(b'"time":"20', b'"time":"19')
    rewrite(new)
    assert failed(run)


@pytest.mark.parametrize("at", range(5))
@pytest.mark.usefixtures("logged")
def test_any_removed_record_is_found(run: Run, at: int) -> None:
    new = lines()
    del new[at]
    rewrite(new)
    assert failed(run)


@pytest.mark.parametrize("swap", [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)])
@pytest.mark.usefixtures("logged")
def test_records_in_another_order_are_found(run: Run, swap: tuple[int, int]) -> None:
    new, (first, second) = lines(), swap
    new[first], new[second] = new[second], new[first]
    rewrite(new)
    assert failed(run)


@pytest.mark.usefixtures("logged")
def test_a_log_cut_anywhere_is_found(run: Run) -> None:
    data, first = LOG.read_bytes(), len(lines()[0])
    for left in [*range(first, len(data) - 2, len(data) // 23), len(data) - 2]:
        LOG.write_bytes(data[:left])
        assert failed(run), left
    LOG.write_bytes(data[: first // 2])
    assert failed(run)


@pytest.mark.usefixtures("logged")
def test_whole_runs_cut_off_the_end_are_found_by_the_head(run: Run, photo: Photo) -> None:
    first = lines()
    photo(Path("more/d.png"))
    assert run("enhance", "more", "--out", "out", "--model", "gamma", "--evidence", LOG).code == DONE
    head = run("verify", LOG, "--json").lines[-1]["summary"]["head"]
    assert failed(run, "--head", head.upper()) == {}
    rewrite(first)
    assert "cut off or changed" in failed(run)[5]
    evidence.head_path(LOG).unlink()
    assert failed(run) == {}
    assert b"cannot be told" in run("verify", LOG).out
    assert "cut off or changed" in failed(run, "--head", head)[5]


@pytest.mark.usefixtures("logged")
def test_a_chain_made_anew_is_found_by_the_head(run: Run) -> None:
    documents = [json.loads(line) for line in lines()]
    documents[1]["examiner"] = "somebody else"
    rechained(documents)
    assert "cut off or changed" in failed(run)[5]


@pytest.mark.usefixtures("logged")
def test_a_picture_left_out_of_a_chain_made_anew_is_found_by_the_count(run: Run) -> None:
    documents = [json.loads(line) for line in lines()]
    rechained([*documents[:2], *documents[3:]])
    evidence.head_path(LOG).unlink()
    assert "3 pictures were tried, and the log tells of 2" in failed(run)[4]


@pytest.fixture
def room(run: Run) -> dict[str, Any]:
    """What `--evidence` logs of one picture by `neid`, whose shadows it lifts; the record of that picture."""
    pixels = np.full((96, 128, 3), 20, np.uint8)
    pixels[:, 90:] = 190
    Path("in").mkdir()
    Image.fromarray(pixels).save("in/a.png")
    assert run("enhance", "in", "--out", "out", "--model", "neid", "--evidence", LOG).code == DONE
    return json.loads(lines()[1])


def retold(change: Callable[[dict[str, Any]], object]) -> None:
    """The log as if it had been written so, with a chain of its own."""
    documents = [json.loads(line) for line in lines()]
    for document in documents:
        change(document)
    rechained(documents)
    evidence.head_path(LOG).unlink()


@pytest.mark.parametrize(("name", "least", "forged"), [("shadows", 0.3, 0.0), ("exposure", 0.2, 0.1)])
def test_forged_words_on_shadows_or_brightness_are_found_by_doing_it_again(
    run: Run, room: dict[str, Any], name: str, least: float, forged: float
) -> None:
    assert room[name] > least
    assert failed(run, "--rerun") == {}
    retold(lambda document: document.update({name: forged}) if name in document else None)
    assert f"{name}: {forged:g} as the record says, and {room[name]} this time." in failed(run, "--rerun")[2]


def test_outputs_of_other_weights_are_not_gone_on_with(run: Run, room: dict[str, Any]) -> None:
    again = ("enhance", "in", "--out", "out", "--model", "neid", "--evidence", LOG, "--skip-existing")
    assert run(*again).code == DONE
    assert {file["role"] for file in room["method"]["weights"]} == {"onnx-x1", "onnx-context"}
    retold(lambda document: [file.update(sha256="0" * 64) for file in document.get("method", {}).get("weights", ())])
    done = run(*again)
    assert done.code == ALL_FAILED
    assert "was made with other weights of neid, by record 2 of the log" in done.err


def test_a_log_of_before_there_were_shadows_is_gone_on_with(run: Run, room: dict[str, Any]) -> None:
    def before(document: dict[str, Any]) -> None:
        for name in ("shadows", "exposure"):
            document.pop(name, None)
        document.get("method", {"settings": {}})["settings"].pop("shadows", None)

    retold(before)
    again = ("enhance", "in", "--out", "out", "--model", "neid", "--evidence", LOG, "--skip-existing")
    assert run(*again, "--shadows", 0).code == DONE
    done = run(*again)
    assert done.code == ALL_FAILED
    assert "with another model or other settings" in done.err
    assert room["method"]["settings"]["shadows"] is None


def forged() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All records with what the one of out/a.png says of it, where another picture lies now: all but its pixels."""
    documents = [json.loads(line) for line in lines()]
    Image.fromarray(np.full((10, 17, 3), 99, np.uint8)).save("out/a.png")
    pictures = [document for document in documents if document["kind"] == "picture"]
    output = next(picture["output"] for picture in pictures if picture["output"]["path"].endswith("/a.png"))
    data = Path("out/a.png").read_bytes()
    output |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return documents, output


@pytest.mark.usefixtures("logged")
def test_a_forged_output_with_a_chain_made_anew_is_found_by_doing_it_again(run: Run) -> None:
    documents, output = forged()
    output["pixels_sha256"] = hashlib.sha256(b"\x63" * 510).hexdigest()
    rechained(documents)
    evidence.head_path(LOG).unlink()
    assert failed(run) == {}
    [text] = failed(run, "--rerun").values()
    assert "made again it differs by up to" in text


@pytest.mark.usefixtures("logged")
def test_a_forged_output_is_found_though_the_digest_of_its_pixels_was_left(run: Run) -> None:
    documents, _ = forged()
    rechained(documents)
    evidence.head_path(LOG).unlink()
    [text] = failed(run, "--rerun").values()
    assert "does not hold the picture that its record tells of" in text


@pytest.mark.usefixtures("logged")
def test_other_bytes_under_a_later_record_are_found(run: Run, photo: Photo) -> None:
    Path("out/a.png").unlink()
    photo(Path("in/a.png"), 10, 17, value=90)
    words = ("enhance", "in/a.png", "--out", "out", "--model", "gamma", "--baseline", "clahe")
    Path("out/a-clahe.png").unlink()
    assert run(*words, "--evidence", LOG).code == DONE
    text = " ".join(failed(run).values())
    assert "out/a.png is gone: record 7 tells of other bytes" in text


@pytest.mark.parametrize("head", ["0000", "x" * 64, ""])
@pytest.mark.usefixtures("logged")
def test_what_cannot_be_a_head_is_refused(run: Run, head: str) -> None:
    assert run("verify", LOG, "--head", head).code == USAGE


@pytest.mark.usefixtures("logged")
def test_what_stands_in_the_place_of_the_head_is_looked_at(run: Run) -> None:
    evidence.head_path(LOG).write_text("nonsense")
    assert "is not the head of a log" in failed(run)[5]


def test_a_run_without_end_is_found_until_a_later_run_goes_on(run: Run, photo: Photo) -> None:
    for name in "ab":
        photo(Path(f"in/{name}.png"))
    words = ("enhance", "in", "--out", "out", "--model", "gamma", "--evidence", LOG)
    assert run(*words).code == DONE
    rewrite(lines()[:2])
    evidence.head_path(LOG).write_text(f"{hashlib.sha256(lines()[0].rstrip()).hexdigest()}  1\n")
    assert "has no end" in failed(run)[1]
    assert run(*words, "--skip-existing").code == DONE
    assert failed(run) == {}
    assert b"a later one went on" in run("verify", LOG).out


@pytest.mark.usefixtures("logged")
def test_a_run_killed_just_before_its_end_record_is_closed_by_the_next(run: Run) -> None:
    rewrite(lines()[:-1])
    evidence.head_path(LOG).unlink()
    assert "has no end" in failed(run)[1]
    words = ("--model", "gamma", "--baseline", "clahe", "--evidence", LOG, "--skip-existing", "--json")
    done = run("enhance", "in", "--out", "out", *words)
    assert (done.code, done.lines[-1]["summary"]["skipped"]) == (DONE, 3)
    assert failed(run) == {}


def test_a_picture_made_again_stands_by_its_last_record(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    words = ("enhance", "in", "--out", "out", "--model", "gamma", "--evidence", LOG)
    assert run(*words).code == DONE
    Path("out/a.png").unlink()
    assert run(*words, "--skip-existing").code == DONE
    assert failed(run, "--rerun") == {}
    assert b"made again, with the same bytes, by record 5" in run("verify", LOG).out


def test_failed_pictures_do_not_fail_the_log(run: Run, photo: Photo) -> None:
    photo(Path("in/a.png"))
    Path("in/b.png").write_bytes(b"no picture")
    assert run("enhance", "in", "--out", "out", "--model", "gamma", "--evidence", LOG).code == SOME_FAILED
    assert failed(run, "--rerun") == {}
    photo(Path("in/b.png"))  # mended: nothing rests on what failed
    words = ("enhance", "in", "--out", "out", "--model", "gamma", "--evidence", LOG, "--skip-existing")
    assert run(*words).code == DONE
    assert failed(run, "--rerun") == {}
    assert b"in/b.png was changed" in run("verify", LOG).out


@pytest.mark.usefixtures("logged")
def test_moved_files_are_found_where_they_are_now(run: Run) -> None:
    shutil.move("in", "archive")
    assert len(failed(run)) == 3
    assert failed(run, "--rerun", "--moved", Path("in").absolute(), "archive") == {}
    done = run("verify", LOG, "--moved", "in", "archive")
    assert done.code == USAGE
    assert "not absolute" in done.err


@pytest.mark.usefixtures("logged")
def test_another_result_on_the_same_machine_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    brighter(monkeypatch)
    found = failed(run, "--rerun")
    assert len(found) == 3
    assert "made again it differs by up to 1.00 levels" in found[2]


def test_a_model_that_cannot_be_opened_fails_its_own_pictures_and_all_others_are_closed(
    run: Run, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(Path("in/a.png"), 10, 20)
    for out, model in enumerate(("gamma", "he", "gamma")):
        words = ("--model", model, "--baseline", "clahe", "--evidence", LOG)
        assert run("enhance", "in", "--out", f"out{out}", *words).code == DONE
    opened, closed = [], []
    open_runner, close = rerun.open_runner, ClassicalRunner.close

    def open_all_but_one(spec: ModelSpec, options: RunnerOptions) -> Runner:
        if spec.name == "he":
            raise ModelUnavailable("he is not there.", "")
        opened.append(open_runner(spec, options))
        return opened[-1]

    monkeypatch.setattr(rerun, "open_runner", open_all_but_one)
    monkeypatch.setattr(ClassicalRunner, "close", lambda runner: (closed.append(runner), close(runner)))
    assert failed(run, "--rerun") == {5: "it cannot be checked: he is not there."}
    assert len(opened) == 2
    assert {*map(id, opened)} <= {*map(id, closed)}
    assert len(closed) == 4  # two of clahe besides


@pytest.mark.usefixtures("logged")
def test_other_versions_may_differ_a_little_and_it_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    brighter(monkeypatch)
    here = {**machine.system(), "packages": {**machine.system()["packages"], "numpy": "9.9"}}
    monkeypatch.setattr(machine, "system", lambda: here)
    assert failed(run, "--rerun") == {}
    assert b"the log was made with numpy " in run("verify", LOG, "--rerun").out
    assert len(failed(run, "--rerun", "--tolerance", "0.5")) == 3


def brighter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods give one level more than they should."""
    whole = ClassicalRunner.__call__
    monkeypatch.setattr(ClassicalRunner, "__call__", lambda *words: np.minimum(whole(*words) + np.float32(1 / 255), 1))


@pytest.mark.usefixtures("logged")
def test_a_record_with_nonsense_in_it_stops_no_other(run: Run) -> None:
    documents = [json.loads(line) for line in lines()]
    documents[1]["input"] = 5
    documents[2]["output"] = "x"
    documents[3]["method"]["settings"] = {}
    documents.insert(4, {**documents[3], "maps": True})
    documents[5]["counts"] = "many"
    rechained(documents)
    found = failed(run, "--rerun")
    assert {2, 3, 4, 5, 6} <= {*found}
    assert "its input is not what lowlight writes" in found[2]
    assert "cannot be checked" in found[4]


def test_what_is_no_log_is_told(run: Run, photo: Photo) -> None:
    assert run("verify", "gone.jsonl").code == NO_INPUT
    done = run("verify", photo(Path("a.png")))
    assert done.code == USAGE
    assert "no evidence log" in done.err
