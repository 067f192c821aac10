"""`lowlight report`: what the log says in plain words, proven pictures only, text that stays text, a page or a PDF."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import re
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lowlight_cli.cli import group
from lowlight_cli.errors import DONE, NO_INPUT, SOME_FAILED, USAGE, LogError, LowlightError, OptionError
from lowlight_cli.report import evidence, evidence_pictures, evidence_view, pdf
from lowlight_cli.report.evidence_log import read as read_log
from lowlight_cli.report.evidence_pictures import Recorded, embed, tones
from lowlight_cli.tasks.report import ReportOptions, refuse_files_of_log
from lowlight_cli.tasks.report import run as task

EVIL = "<script>window.planted=1</script>\"' onload='planted=1 {{ 7*7 }} a\u202eb\nforged"
NIGHT = datetime(2026, 11, 22, 0, 30, tzinfo=UTC)
METHOD: dict[str, Any] = {
    "model": "neid",
    "arch": "neid",
    "summary": "Two streams.",
    "paper": {"title": "Bridge", "authors": "Jiang", "venue": "2021"},
    "licence": "MIT",
    "generative": False,
    "allow_generative": False,
    "parameters": 1751642,
    "params": {"widths": [16, 32]},
    "limits": ["Lifts too far."],
    "manifest_sha256": "e" * 64,
    "weights": [{"role": "onnx-x1", "path": "neid-x1.onnx", "bytes": 5548592, "sha256": "a" * 64}],
    "settings": {"strength": 1.0, "exposure": None, "scale": 1, "depth": "keep", "tile": None, "max_pixels": 10**8},
    "backend": "onnx",
    "provider": "CPUExecutionProvider",
    "device": "cpu",
    "device_name": "A Processor",
    "precision": "fp32",
    "threads": 2,
    "deterministic": True,
}
SYSTEM = {
    "lowlight": "0.1.0",
    "python": "3.11",
    "packages": {"numpy": "2.4.6"},
    "os": "Linux",
    "cores": 2,
    "host": "pc",
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Log:
    """Builds a log, chain and all, apart from the program's own code."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "case.jsonl"
        self.records: list[dict[str, Any]] = []
        self.said = {"case": "2026-17", "examiner": "A. Lind", "note": "Camera 2"}
        words = ["lowlight", "enhance", "in dir"]
        self.add("start", argv=words, pictures=3, already_done=0, method=METHOD, system=SYSTEM)

    def add(self, kind: str, **fields: Any) -> dict[str, Any]:
        second = len(self.records)
        chain = {"lowlight_evidence": 1, "record": second + 1, "time": f"2026-11-22T00:00:{second % 60:02}.123456Z"}
        self.records.append({**chain, "kind": kind, "run": "0f" * 16, **self.said, **fields})
        return self.records[-1]

    def picture(self, name: str, *, level: int = 20, baseline: bool = False, **fields: Any) -> dict[str, Any]:
        """A dark square, and a brighter one that was made of it."""
        seed = len(self.records)
        given = self.file(f"in/{name}", level, seed) | {"relative": name, "modified": "2026-11-21T09:00:00.0Z"}
        given["sha256_after"] = given["sha256"]
        other = {"model": "clahe", "params": {"clip": 2.0}} | self.file(f"out/{name}-clahe.png", level + 60, seed)
        return self.add(
            "picture",
            **{
                "status": "done",
                "error": None,
                "hint": None,
                "notices": [],
                "seconds": 1.25,
                "input": given,
                "output": self.file(f"out/{name}.png", level + 100, seed),
                "baseline": other if baseline else None,
                "maps": [],
                "method": METHOD,
                "tiles": {"side": 0, "rows": 1, "columns": 1, "halo": 144, "multiple": 16},
                "system": SYSTEM,
            }
            | fields,
        )

    def file(self, name: str, level: int, seed: int) -> dict[str, Any]:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(level, level + 20, (32, 48, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        facts = {"width": 48, "height": 32, "bits": 8, "format": "png"}
        return facts | {"path": str(path), "pixels_sha256": sha256(pixels.tobytes())} | self.facts(path)

    def facts(self, path: Path) -> dict[str, Any]:
        return {"bytes": path.stat().st_size, "sha256": sha256(path.read_bytes())}

    def failure(self, name: str, error: str, hint: str) -> dict[str, Any]:
        given = dict.fromkeys(("sha256", "sha256_after", "pixels_sha256")) | {"relative": name}
        given |= {"path": str(self.folder / "in" / name)}
        fields = {"status": "failed", "error": error, "hint": hint, "input": given, "output": None}
        return self.add("picture", **fields, method=METHOD, system=SYSTEM, notices=[], maps=[])

    def write(self, *, ended: bool = True) -> Path:
        tried = sum(record["kind"] == "picture" for record in self.records)
        if ended:
            self.add("end", status="finished", counts={"done": tried, "failed": 0, "skipped": 0}, exit_code=0)
        head, lines = "0" * 64, []
        for record in self.records:
            lines.append(json.dumps(record | {"previous": head}, separators=(",", ":")).encode("ascii"))
            head = sha256(lines[-1])
        self.path.write_bytes(b"".join(line + b"\n" for line in lines))
        self.path.with_name("case.jsonl.head").write_text(f"{head}  {len(lines)}\n")
        return self.path


def test_runs_that_nobody_signed_do_not_stand_under_anothers_name(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.add("end", status="done", counts={"done": 0, "failed": 0})
    signed = log.write(ended=False)
    assert evidence_view.examiners(read_log(signed)) == ["A. Lind"]
    log.add("start", argv=[], pictures=0, already_done=0, method=METHOD, system=SYSTEM, run="1a" * 16, examiner="")
    both = log.write(ended=False)
    assert evidence_view.examiners(read_log(both)) == ["A. Lind", "none given for 1 of 2 runs"]


class Page(HTMLParser):
    """Tags with their attributes, and the text without that of the style."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.style, self.inside, self.pieces = "", "", []
        self.feed(source)
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, _: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self.style += data
        else:
            self.pieces.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [own for name, own in self.tags if name == tag]

    def pictures(self) -> dict[str, np.ndarray]:
        """Embedded pictures by their description."""
        coded = {own["alt"]: own["src"].partition(",")[2] for own in self.all("img")}
        return {alt: np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for alt, data in coded.items()}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Writes a report of a log: what it sums up, and the page."""

    def make(path: Path, **options: Any) -> SimpleNamespace:
        out = tmp_path / "report.html"
        done = task(ReportOptions(**{"log": path, "out": out, "overwrite": True, "made": NIGHT} | options))
        return SimpleNamespace(done=done, page=Page(out.read_text(encoding="utf-8")))

    return make


def test_the_heading_has_the_digests_that_standard_tools_give(log: Log, report):
    log.picture("a.png")
    path = log.write()
    page = report(path).page
    last = path.read_bytes().splitlines()[-1]
    assert sha256(last) in page.text
    assert sha256(path.read_bytes()) in page.text
    assert f"tail -n 1 {path} | tr -d '\\n' | sha256sum" in page.text
    assert "✓ The check found no problem" in page.text
    for told in ("Case 2026-17", "A. Lind", "Camera 2", "1 enhanced", "2026-11-22 00:30:00 UTC"):
        assert told in page.text


def test_the_page_loads_nothing_and_runs_nothing(log: Log, report):
    log.picture("a.png", baseline=True)
    page = report(log.write()).page
    policy = next(own["content"] for own in page.all("meta") if own.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not page.all("script")
    images, links = page.all("img"), page.all("a")
    assert images
    assert all(own["src"].startswith("data:image/webp;base64,") for own in images)
    assert links
    assert all(own["href"].startswith("#") for own in links)
    assert not re.search(r"url\(|@import|https?:", page.style)
    assert not [key for _, own in page.tags for key in own if key.startswith("on") or key == "style"]


def test_pictures_are_shown_beside_each_other_with_their_digests(log: Log, report):
    record = log.picture("gate/a.png", baseline=True)
    page = report(log.write()).page
    means = {alt: round(float(pixels.mean()), -1) for alt, pixels in page.pictures().items()}
    assert means == {
        "gate/a.png, Original": 30,
        "gate/a.png, Enhanced (neid)": 130,
        "gate/a.png, Baseline (clahe)": 90,
    }
    for source in ("input", "output", "baseline"):
        for name in ("path", "sha256", "pixels_sha256"):
            assert record[source][name] in page.text
    assert "clip 2.0" in page.text
    assert sha256(log.path.read_bytes().splitlines()[1]) in page.text


def test_every_link_has_its_place(log: Log, report):
    for name in "ab":
        log.picture(f"{name}.png")
    page = report(log.write()).page
    links = {own["href"].removeprefix("#") for own in page.all("a")}
    assert {"picture-1", "picture-2", "method-1", "verify"} <= links
    assert links <= {own.get("id") for _, own in page.tags}


@pytest.mark.parametrize("source", ["input", "output", "baseline"])
def test_a_file_that_was_changed_is_not_shown_as_the_recorded_one(log: Log, report, source: str):
    record = log.picture("a.png", baseline=True)
    path = Path(record[source]["path"])
    Image.new("RGB", (48, 32), "red").save(path, "png")
    made = report(log.write())
    assert len(made.page.pictures()) == 2
    assert not [
        alt for alt in made.page.pictures() if {"input": "Orig", "output": "Enh", "baseline": "Bas"}[source] in alt
    ]
    assert f"not the recorded one any more: its SHA-256 is {sha256(path.read_bytes())}" in made.page.text
    assert not made.done.verified
    assert "✗ The check found a problem" in made.page.text


def test_a_file_that_is_gone_is_told_and_does_not_make_the_others_smaller(log: Log, report):
    records = [log.picture(f"{name}.png") for name in "abc"]
    Path(records[0]["output"]["path"]).unlink()
    for name in ("input", "output"):
        Path(records[1][name]["path"]).unlink()
    made = report(log.write())
    assert len(made.page.pictures()) == 3
    assert {own["width"] for own in made.page.all("img")} == {"48"}
    assert made.page.text.count("Not shown. The file cannot be read: No such file or directory.") == 3
    assert made.done.shown == 2


def test_of_two_records_with_one_path_only_that_of_these_bytes_is_shown(log: Log, report):
    first = log.picture("a.png")
    old = dict(first["output"])
    second = log.picture("a.png", level=40)
    assert old["path"] == second["output"]["path"]
    assert old["sha256"] != second["output"]["sha256"]
    page = report(log.write()).page
    cards = page.source.split("<article")[1:]
    assert [card.count("<img") for card in cards] == [0, 2]


def test_a_file_that_changes_between_two_readings_is_not_shown(tmp_path: Path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8), "gray").save(path)
    readings = []
    read = evidence_pictures.picture.read

    def changing(asked: Path) -> bytes:
        data = read(asked)
        readings.append(data)
        if len(readings) == 2:
            Image.new("RGB", (8, 8), "red").save(asked)
        return data

    monkeypatch.setattr(evidence_pictures.picture, "read", changing)
    gallery = embed({"0": {"input": Recorded(path, sha256(path.read_bytes()))}})
    assert len(readings) > 2
    assert "0" not in gallery.images or not gallery.images["0"]
    assert gallery.problems["0", "input"] == "The file was changed while this report was made."


def test_a_failed_picture_has_its_reason_its_remedy_and_when_it_was_done_later(log: Log, report):
    log.failure("a.png", "The file is damaged.", "Copy it again.")
    log.failure("b.png", "No memory.", "Close something.")
    log.picture("b.png")
    made = report(log.write())
    assert "Not enhanced. The file is damaged. Copy it again." in made.page.text
    assert "It was done later: record 4." in made.page.text
    assert (made.done.enhanced, made.done.failed) == (1, 1)


def test_hostile_words_stay_words(log: Log, report):
    log.said = dict.fromkeys(log.said, EVIL)
    evil = {**METHOD, "model": EVIL, "limits": [EVIL], "summary": EVIL, "params": {EVIL: EVIL}, "provider": EVIL}
    record = log.picture(
        "a.png", baseline=True, notices=[EVIL], method=evil, system={**SYSTEM, "packages": {EVIL: EVIL}}
    )
    record["input"]["relative"] = record["baseline"]["model"] = EVIL
    log.failure(EVIL.replace("/", "_"), EVIL, EVIL)
    page = report(log.write()).page
    allowed = (
        "html head meta title link style body header main nav section article figure figcaption dl dt dd div ul li"
    )
    allowed += " h1 h2 h3 h4 p a b small code pre span time table thead tbody tr th td svg path img input label"
    assert {tag for tag, _ in page.tags} <= {*allowed.split()}
    assert not [key for _, own in page.tags for key in own if key.startswith("on")]
    assert "<script" not in page.source
    assert "\u202e" not in page.source
    assert "{{ 7*7 }} a\\u202eb\\nforged" in page.text


WEIRD = [None, True, 10**30, float("nan"), "\0", "\udc80", [[1]], {"a": {"b": None}}]


@pytest.mark.parametrize("weird", WEIRD, ids=repr)
def test_fields_of_any_other_kind_are_no_reason_to_fail(log: Log, weird: Any):
    log.picture("sound.png")
    fields = [*log.records[-1], "torn"]
    for name in set(fields) - {"lowlight_evidence", "record", "kind", "run", "time"}:
        log.picture("a.png", baseline=True)[name] = weird
    for part in ("input", "output", "baseline", "method", "tiles", "system"):
        record = log.picture("a.png", baseline=True)
        record[part] = dict.fromkeys(record[part], weird)
    log.picture("a.png")["method"] = {**METHOD, "settings": dict.fromkeys(METHOD["settings"], weird)}
    read = evidence.read(log.write())
    refuse_files_of_log(log.folder / "report.html", read)
    made = evidence.account(read, [], NIGHT)
    assert made.listed == len(log.records) - 2
    assert "sound.png, Original" in Page(made.html).pictures()


def test_a_name_that_no_file_can_have_is_no_reason_to_fail(log: Log, tmp_path: Path):
    log.picture("a.png")["input"]["path"] = "/a\ud800.png"
    log.write()
    done = run(log.path, "--out", tmp_path / "r.html")
    assert done.code == SOME_FAILED, done.err
    assert "\\ud800" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_run_that_did_nothing_has_a_page(log: Log, report):
    made = report(log.write(ended=False))
    assert (made.done.listed, made.done.shown) == (0, 0)
    assert "no end recorded: it was cut off, or had not ended" in made.page.text
    assert "neid, a trained network" in made.page.text
    assert not made.done.verified


def test_a_log_cut_off_in_its_first_record_has_nothing_to_report(tmp_path: Path, report):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"lowlight_evidence":1,"rec')
    with pytest.raises(LogError, match="holds no whole record"):
        report(path)


def test_a_very_long_field_is_cut(log: Log, report):
    log.said["note"] = "x" * 100_000
    log.picture("a.png")
    page = report(log.write()).page
    assert "… (100000 characters)" in page.text
    assert "x" * 3000 not in page.source


def test_a_broken_chain_stands_at_the_head(log: Log, report):
    for name in "ab":
        log.picture(f"{name}.png")
    path = log.write()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1].replace(b"A. Lind", b"B. Lind"), *lines[2:]]))
    made = report(path)
    assert not made.done.verified
    heading = made.page.source.partition("In short")[0]
    assert "Record 2 (picture)" in heading
    assert "was changed after it was written" in heading
    assert "The check found:" in made.page.source.split("<article")[1]


def test_the_head_that_was_noted_elsewhere_is_compared(log: Log, report):
    log.picture("a.png")
    path = log.write()
    head = sha256(path.read_bytes().splitlines()[-1])
    assert "not compared with one noted elsewhere" in report(path).page.text
    assert "is the one that was noted elsewhere" in report(path, head=head.upper()).page.text
    earlier = report(path, head=sha256(path.read_bytes().splitlines()[0]))
    assert "is that of an earlier record" in earlier.page.text
    assert not report(path, head="f" * 64).done.verified


def test_files_that_were_moved_are_found_again(log: Log, report, tmp_path: Path):
    log.picture("a.png")
    path = log.write()
    for name in ("in", "out"):
        (tmp_path / name).rename(tmp_path / f"moved-{name}")
    assert not report(path).page.pictures()
    moved = tuple((str(tmp_path / name), str(tmp_path / f"moved-{name}")) for name in ("in", "out"))
    made = report(path, moved=moved)
    assert len(made.page.pictures()) == 2
    assert made.done.verified


def test_the_same_log_gives_the_same_page_but_for_the_date(log: Log, report):
    for name in "abc":
        log.picture(f"{name}.png", baseline=True)
    path = log.write()
    first = report(path).page.source
    assert report(path).page.source == first
    later = report(path, made=datetime(2027, 1, 2, tzinfo=UTC)).page.source
    assert later.replace("2027-01-02 00:00:00", "2026-11-22 00:30:00") == first


METHODS = {
    "A trained network, not a generative one. neid is a neural network with 1 751 642 learned numbers": {},
    "A generative method: it may show what was not there.": {"generative": True, "allow_generative": True},
    "It ran because this was allowed explicitly (--allow-generative).": {"generative": True, "allow_generative": True},
    "The log does not record that this was allowed explicitly.": {"generative": True},
    "A fixed formula; nothing was learned.": {"backend": "classical", "arch": "classical.clahe"},
    "60% of the method’s picture and 40% of the original.": {"settings": {"strength": 0.6}},
    "Of every 4 pixels, 3 were computed and not recorded by a camera.": {"settings": {"scale": 2}},
    "Where a picture holds lights as well, shadows were lifted before the method: light was taken from bright parts": {
        "settings": {"shadows": None}
    },
    "lifted by 40% of the differences of illumination": {"settings": {"shadows": 0.4}},
}


@pytest.mark.parametrize("told", METHODS)
def test_the_method_is_told_in_plain_words(log: Log, report, told: str):
    log.picture("a.png", method=METHOD | METHODS[told])
    page = report(log.write()).page
    assert told in page.text.replace("\u2009", " ")
    assert "Lifts too far." in page.text
    detail = "It may remove real detail, and may add texture." in page.text
    assert detail == (not METHODS[told] or "settings" in METHODS[told])
    for word in ("court-admissible", "admissible", "certified", "compliant"):
        assert word not in page.text.lower()


def test_how_far_shadows_were_lifted_stands_with_each_picture_that_it_was_done_to(log: Log, report):
    log.picture("a.png", shadows=0.35)
    log.picture("b.png", shadows=0.0)
    log.picture("c.png", shadows=0.004)
    page = report(log.write()).page
    assert page.text.count("Shadows lifted by") == 2
    assert "under 1% of the differences of illumination" in page.text
    assert "35% of the differences of illumination" in page.text
    assert "shadows were lifted:" not in page.text  # logs of before know no such setting


def test_the_brightness_that_was_aimed_at_stands_with_each_picture(log: Log, report):
    log.picture("a.png", exposure=0.4321)
    log.picture("b.png", exposure=None)
    log.picture("c.png")
    page = report(log.write()).page
    assert page.text.count("Mean luma aimed at") == 1
    assert "0.43 of 1" in page.text


def test_each_method_of_a_log_is_told_once_and_pictures_refer_to_it(log: Log, report):
    log.picture("a.png")
    log.picture("b.png")
    log.picture("c.png", method={**METHOD, "model": "clahe", "backend": "classical"})
    page = report(log.write()).page
    assert [own["id"] for own in page.all("div") if own.get("class") == "method"] == ["method-1", "method-2"]
    refers = [re.search(r"#method-(\d)", card)[1] for card in page.source.split("<article")[1:]]
    assert refers == ["1", "1", "2"]


def test_deep_and_other_kinds_of_pictures_are_shown(log: Log, report, tmp_path: Path):
    record = log.picture("a.png")
    deep = tmp_path / "in" / "deep.tif"
    Image.fromarray(np.full((32, 48), 20000, np.uint16)).save(deep)
    record["input"] |= {"path": str(deep), "relative": "deep.tif", "bits": 16} | log.facts(deep)
    record["input"]["sha256_after"] = record["input"]["sha256"]
    shown = report(log.write()).page.pictures()
    assert abs(int(shown["deep.tif, Original"].mean()) - 20000 / 257) < 2


def test_tones_count_every_pixel():
    pixels = np.zeros((4, 4, 3), np.uint16)
    pixels[:2] = 65535
    pixels[0, 0] = 32896
    found = tones(pixels)
    assert found.black == 8 / 16
    assert found.white == 7 / 16
    assert found.mean == pytest.approx((7 + 32896 / 65535) / 16)
    assert found.shares[0] == 8 / 16
    assert found.shares[32] == 1 / 16
    assert sum(found.shares) == pytest.approx(1)


def test_the_largest_share_reaches_the_top_of_the_chart():
    found = tones(np.zeros((2, 2, 3), np.uint8))
    path = evidence_view.outline(found, max(found.shares))
    assert path.startswith("M0,72V0.0H4V72.0H8")
    assert path.endswith("V72.0H256V72Z")


def test_a_page_stays_in_its_budget_and_tells_what_it_left_out(log: Log):
    for name in range(6):
        log.picture(f"{name}.png")
    read = evidence.read(log.write())
    whole = evidence.account(read, [], NIGHT)
    room = sum(len(own["src"]) for own in Page(whole.html).all("img")) // 5
    small = evidence.account(read, [], NIGHT, budget=room)
    assert (whole.shown, whole.listed) == (6, 6)
    assert 0 < small.shown < 6 == small.listed
    assert "Left out, so that this report stays small." in html.unescape(small.html)


def test_only_the_pictures_that_are_named_are_listed(log: Log, report):
    for name in ("gate/a.png", "gate/b.png", "hall/a.png"):
        log.picture(name)
    path = log.write()
    made = report(path, pictures=("gate/*",))
    assert made.done.listed == 2
    assert made.done.enhanced == 3
    assert "lists 2 of the 3 records of pictures" in made.page.text
    assert report(path, pictures=("a.png",)).done.listed == 2
    with pytest.raises(OptionError, match=r"No record is of a picture roof\.png"):
        report(path, pictures=("a.png", "roof.png"))


def test_a_log_that_grows_meanwhile_is_not_reported(log: Log, report, monkeypatch):
    log.picture("a.png")
    path = log.write()
    told = evidence.words.nature

    def growing(method: Any) -> Any:
        with path.open("ab") as stream:
            stream.write(b"{}\n")
        return told(method)

    monkeypatch.setattr(evidence.words, "nature", growing)
    with pytest.raises(LogError, match="written to while"):
        report(path)
    assert not (path.parent / "report.html").exists()


def run(*arguments: str) -> SimpleNamespace:
    """The command as `main` runs it."""
    found = CliRunner().invoke(group, ["report", *map(str, arguments)], standalone_mode=True)
    error = found.exception
    code = error.exit_code if isinstance(error, LowlightError) else found.exit_code
    return SimpleNamespace(code=code, out=found.stdout, err=found.stderr + str(error or ""))


def test_the_command_sums_up_and_exits_by_what_the_check_found(log: Log, tmp_path: Path):
    record = log.picture("a.png")
    path, out = log.write(), tmp_path / "r.html"
    done = run(path, "--out", out, "--json")
    assert done.code == DONE
    told = json.loads(done.out)
    assert told["verified"]
    assert told["log_sha256"] == sha256(path.read_bytes())
    assert (told["enhanced"], told["failed"], told["listed"], told["shown"], told["records"]) == (1, 0, 1, 1, 3)
    assert "r.html is written: 1 picture enhanced, 0 failed, no problem found" in done.err
    Path(record["output"]["path"]).write_bytes(b"")
    done = run(path, "--out", out, "--overwrite", "--quiet")
    assert done.code == SOME_FAILED
    assert done.err.startswith("FAILED Record 2 (picture): the output")
    assert out.exists()


def test_an_existing_report_stays_unless_told_otherwise(log: Log, tmp_path: Path):
    log.picture("a.png")
    path, out = log.write(), tmp_path / "r.html"
    out.write_text("mine")
    assert run(path, "--out", out).code == USAGE
    assert out.read_text() == "mine"
    assert run(path, "--out", out, "--overwrite").code == DONE
    assert out.read_text() != "mine"


@pytest.mark.parametrize("kind", ["input", "output", "log"])
def test_a_report_never_takes_the_place_of_evidence(log: Log, tmp_path: Path, kind: str):
    record = log.picture("a.png")
    path = log.write() if kind == "log" else Path(record[kind]["path"])
    link = tmp_path / "link.html"
    link.symlink_to(path)
    if kind != "log":
        log.write()
    before = path.read_bytes()
    done = run(log.path, "--out", link, "--overwrite")
    assert done.code == USAGE
    assert "is the log, or a file that the log names" in done.err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("none.jsonl", "--out", "r.html"), NO_INPUT),
        (("other.jsonl", "--out", "r.html"), USAGE),
        (("case.jsonl", "--out", "r.txt"), USAGE),
        (("case.jsonl", "--out", "in"), USAGE),
        (("case.jsonl", "--out", "nowhere/r.html"), NO_INPUT),
        (("case.jsonl",), USAGE),
    ],
)
def test_what_cannot_be_reported_ends_with_its_code(log: Log, tmp_path: Path, monkeypatch, words, code: int):
    log.picture("a.png")
    log.write()
    (tmp_path / "other.jsonl").write_text('{"status": "done"}\n')
    monkeypatch.chdir(tmp_path)
    assert run(*words).code == code
    assert not (tmp_path / "r.html").exists()


def test_a_real_run_is_reported(tmp_path: Path, monkeypatch, photo):
    monkeypatch.chdir(tmp_path)
    photo(Path("in/a.png"), 24, 40)
    photo(Path("in/b.jpg"), 24, 40)
    words = ["enhance", "in", "--out", "out", "--evidence", "x.jsonl", "--model", "gamma", "--case", "7", "--quiet"]
    assert CliRunner().invoke(group, words).exit_code == DONE
    done = run("x.jsonl", "--out", "r.html", "--json")
    assert done.code == DONE, done.err
    told = json.loads(done.out)
    assert (told["enhanced"], told["shown"], told["verified"]) == (2, 2, True)
    page = Page(Path("r.html").read_text(encoding="utf-8"))
    assert "Case 7" in page.text
    assert "A fixed formula; nothing was learned." in page.text
    assert len(page.pictures()) == 4


def fake_browser(tmp_path: Path, monkeypatch, script: str) -> Path:
    path = tmp_path / "browser"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(pdf.VARIABLE, str(path))
    return path


posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for a browser is a shell script")


@posix
def test_the_browser_gets_no_network_and_a_profile_of_its_own(tmp_path: Path, monkeypatch):
    out = tmp_path / "words"
    script = f"""printf '%s\\n' "$@" > {out}
for word in "$@"; do case $word in --print-to-pdf=*) printf '%%PDF-1.4 %%%%EOF\\n' > "${{word#*=}}";; esac; done"""
    fake_browser(tmp_path, monkeypatch, script)
    assert pdf.printed("<p>ü") == b"%PDF-1.4 %%EOF\n"
    words = out.read_text().splitlines()
    assert f"--proxy-server={pdf.CLOSED}" in words
    assert "--headless" in words
    profile = next(word.partition("=")[2] for word in words if word.startswith("--user-data-dir="))
    assert not Path(profile).parent.exists()
    assert ("--no-sandbox" in words) == (os.geteuid() == 0)


@posix
@pytest.mark.parametrize("on_path", [False, True])
def test_a_browser_may_be_named_from_where_one_is(tmp_path: Path, monkeypatch, on_path: bool):
    script = """for word in "$@"; do case $word in
--print-to-pdf=*) printf '%%PDF-1.4 %%%%EOF\\n' > "${word#*=}";; esac; done"""
    name = fake_browser(tmp_path, monkeypatch, script).name
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(pdf.VARIABLE, name if on_path else f"./{name}")
    if on_path:
        monkeypatch.setenv("PATH", f".{os.pathsep}{os.environ['PATH']}")
    assert pdf.printed("<p>") == b"%PDF-1.4 %%EOF\n"


@posix
def test_a_browser_that_cannot_be_run_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch):
    fake_browser(tmp_path, monkeypatch, "exit 0").write_text("#!/no/such/interpreter\n")
    with pytest.raises(pdf.PrintFailed, match="cannot be run: No such file") as caught:
        pdf.printed("<p>")
    assert "Write the report as .html" in caught.value.hint


@posix
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo it broke; exit 3", "made no PDF: it broke."),
        ("exit 0", "made no PDF."),
        ("sleep 60 & sleep 60", "had not printed after 0.2 s."),
    ],
)
def test_a_browser_that_prints_nothing_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch, script: str, told: str):
    fake_browser(tmp_path, monkeypatch, script)
    with pytest.raises(pdf.PrintFailed) as caught:
        pdf.printed("<p>", timeout=0.2 if "sleep" in script else 20)
    assert caught.value.message.endswith(told)
    assert "Write the report as .html" in caught.value.hint
    assert caught.value.exit_code == SOME_FAILED


def test_without_a_browser_nothing_is_begun(log: Log, tmp_path: Path, monkeypatch):
    log.picture("a.png")
    monkeypatch.delenv(pdf.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(pdf, "PLACES", ())
    done = run(log.write(), "--out", tmp_path / "r.pdf")
    assert done.code == USAGE
    assert "none of them is on PATH" in done.err
    assert pdf.VARIABLE in done.err
    monkeypatch.setenv(pdf.VARIABLE, "no-such-browser")
    assert "no-such-browser, which cannot be run" in run(log.path, "--out", tmp_path / "r.pdf").err


def test_a_pdf_is_printed(log: Log, tmp_path: Path):
    try:
        pdf.browser()
    except OptionError:
        pytest.skip("there is no Chromium, Chrome or Edge on this machine")
    for name in "ab":
        log.picture(f"{name}.png", baseline=True)
    done = run(log.write(), "--out", tmp_path / "r.pdf")
    if done.code != DONE and "made no PDF" in done.err:
        pytest.skip(f"the browser of this machine does not run without a window: {done.err[-200:]}")
    data = (tmp_path / "r.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.count(b"/DCTDecode") == 6
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= 4


def test_for_paper_pictures_are_coded_as_a_browser_keeps_them(log: Log):
    log.picture("a.png")
    page = Page(evidence.account(evidence.read(log.write()), [], NIGHT, form="jpg").html)
    images = page.all("img")
    assert len(images) == len(page.pictures()) == 2
    assert all(own["src"].startswith("data:image/jpeg;base64,/9j/") for own in images)
