"""summary.json, per_image.csv and report.html: figures stay what they are, names stay text, nothing is asked for."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import html
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lowlight_cli import picture
from lowlight_cli.printable import printable
from lowlight_cli.report import Row, published_figures, write_csv, write_json, write_page
from lowlight_cli.report.document import plain
from lowlight_cli.report.embed import RUNGS, embed, shrunk, spaced
from lowlight_cli.report.figures import cells, columns, quantity
from lowlight_cli.report.markdown import markdown, write_markdown
from lowlight_cli.report.plots import plot

INF, NAN = float("inf"), float("nan")
EVIL = ['<script>window.planted=1</script>"', "a&b' onload='planted=1", "</script><b>{{ 7*7 }}", "🌃 noche", "=1+1"]
"""Names of pictures."""


def metric(title: str, unit: str = "", better: bool | None = True) -> dict[str, Any]:
    return {"title": title, "unit": unit, "higher_is_better": better, "definition": f"what {title} is", "files": {}}


METRICS = {
    "psnr": metric("PSNR", "dB"),
    "psnr_gtmean": metric("PSNR at GT mean", "dB"),
    "lpips": metric("LPIPS", better=False),
    "brightness": metric("Brightness change", better=None),
}


def spread(values: list[float | None]) -> dict[str, Any] | None:
    known = [value for value in values if value is not None]
    return {"mean": float(np.mean(known)), "std": float(np.std(known)), "n": len(known)} if known else None


def entry(name: str, rows: list[Row], kind: str = "network", **more: Any) -> dict[str, Any]:
    done = [row for row in rows if row.model == name and not row.error]
    lost = [{"picture": row.picture, "error": row.error} for row in rows if row.model == name and row.error]
    unknown = dict.fromkeys(("parameters", "weights_sha256", "backend", "device", "precision", "overlap", "speed"))
    figures = {key: spread([row.metrics.get(key) for row in done]) for key in METRICS}
    return {**unknown, "model": name, "title": f"{name}, told", "kind": kind, "n": len(done), "failed": lost} | {
        "metrics": figures,
        **more,
    }


def benchmark(models: dict[str, str], pictures: list[str]) -> tuple[dict[str, Any], list[Row]]:
    """A document and its rows with figures that differ everywhere."""
    rng = np.random.default_rng(0)
    rows = [
        Row(
            model,
            name,
            48,
            32,
            0.1,
            {
                "psnr": round(float(rng.uniform(8, 25)), 6),
                "psnr_gtmean": round(float(rng.uniform(18, 30)), 6),
                "lpips": round(float(rng.uniform(0.1, 0.5)), 6),
                "brightness": round(float(rng.uniform(-0.2, 0.5)), 6),
            },
        )
        for model in models
        for name in pictures
    ]
    document = {
        "schema": 1,
        "dataset": "LOL",
        "title": "LOL <real> pairs",
        "split": "test",
        "n": len(pictures),
        "protocol": "8-bit RGB",
        "date": "2026-11-21T09:00:00+00:00",
        "command": "lowlight benchmark --dataset LOL",
        "versions": {"lowlight": "0.1.0", "numpy": "2.3.4"},
        "machine": {"cores": "2"},
        "notices": ["15 expected, 9 found"],
        "metrics": METRICS,
        "models": [entry(name, rows, kind) for name, kind in models.items()],
    }
    return document, rows


@pytest.fixture
def files(tmp_path: Path) -> Callable[[list[str], list[str]], dict[tuple[str, str], Path]]:
    """Makes a small file for each source and picture, 20 levels brighter from source to source."""

    def make(sources: list[str], pictures: list[str]) -> dict[tuple[str, str], Path]:
        rng = np.random.default_rng(1)
        paths = {}
        for i, name in enumerate(pictures):
            for level, source in enumerate(sources):
                path = tmp_path / "pictures" / source.replace("/", "_") / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(20 * level, 20 * level + 40, (32, 48, 3), np.uint8)).save(path)
                paths[source, name] = path
        return paths

    return make


class Page(HTMLParser):
    """Tags with their attributes, and the text of each element that a test asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.inside = ""
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.raw:
            self.inside = tag
            self.raw[tag].append("")

    def handle_endtag(self, _: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.raw[self.inside][-1] += data
        else:
            self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """Attributes of the tags of that kind that have these among theirs."""
        return [own for name, own in self.tags if name == tag and attributes.items() <= own.items()]

    @property
    def table(self) -> list[list[str]]:
        """Texts of the cells of the table of models, row by row."""
        body = self.source.partition("<tbody>")[2].partition("</tbody>")[0]
        rows = body.split("<tr")[1:]
        return [[plain_text(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


def plain_text(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", markup)).split())


@pytest.fixture
def render(tmp_path: Path) -> Callable[..., Page]:
    """Writes a page and parses it."""

    def write(document: dict[str, Any], rows: list[Row], pictures: Any = None, published: Any = None, **more) -> Page:
        write_page(document, rows, pictures or {}, tmp_path / "report.html", published, **more)
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


def test_names_are_text_and_never_markup(render, files):
    models = dict.fromkeys(EVIL, "network")
    document, rows = benchmark(models, EVIL)
    document["notices"] = document["command"] = EVIL[0]
    document["models"][0]["overlap"] = EVIL[0]
    page = render(document, rows, files(["input", *models], EVIL), published_figures("LOL"))
    allowed = "html head meta title link style body header main nav section article figure figcaption script"
    allowed += (
        " h1 h2 h3 p a b small code span br dl dt dd div ul li time table caption colgroup col thead tbody tr th td"
    )
    allowed += " svg desc path g text rect circle img input label select option optgroup"
    assert {tag for tag, _ in page.tags} <= {*allowed.split()}
    assert len(page.raw["script"]) == 2
    assert not [key for _, own in page.tags for key in own if key.startswith("on") or key == "style"]
    assert "<script>window" not in page.source
    for name in EVIL:
        assert name in page.text
        assert [own for own in page.all("img") if own["alt"].startswith(name)]
    assert [name["data-value"] for name in page.all("th", scope="row")[: len(EVIL)]] == EVIL


def test_invisible_characters_of_names_are_spelled_out(render):
    document, rows = benchmark({"a\u202eb": "network", "\udcff": "network"}, ["one\ntwo"])
    page = render(document, rows)
    assert "\u202e" not in page.source
    assert "a\\u202eb" in page.text
    assert "one\\ntwo" in page.text
    assert "\\udcff" in page.text
    assert printable("👩‍🚀 a\u2009b") == "👩‍🚀 a\u2009b"


def test_nothing_outside_the_page_is_referred_to(render, files):
    document, rows = benchmark({"input": "input", "neid": "network"}, ["1", "2"])
    page = render(document, rows, files(["input", "truth", "neid"], ["1", "2"]), published_figures("LOL"))
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|@import|url\(", page.source)
    links = [own[key] for _, own in page.tags for key in ("src", "href", "srcset", "data", "action") if key in own]
    assert links
    assert not [link for link in links if not link.startswith(("data:", "#"))]


def test_the_policy_allows_the_pages_own_style_and_script_by_their_hash_and_pictures_in_it(render):
    page = render(*benchmark({"neid": "network"}, ["1"]))
    told = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    policy = dict(part.split(" ", 1) for part in told.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "data:"
    for kind, text in (("style-src", page.raw["style"][0]), ("script-src", page.raw["script"][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[kind] == f"'sha256-{digest}'"


def test_the_table_prints_the_documents_figures_and_marks_the_best(render):
    document, rows = benchmark({"input": "input", "one": "network", "two": "classical"}, ["1", "2", "3"])
    for model, psnr, lpips in zip(document["models"], (30.0, 19.756, 21.344), (0.1, 0.456, 0.123), strict=True):
        model["metrics"]["psnr"] = {"mean": psnr, "std": 3.004, "n": 3}
        model["metrics"]["lpips"] = {"mean": lpips, "std": 0.05, "n": 3}
    page = render(document, rows)
    names = ["psnr", "lpips", "brightness", "psnr_gtmean"]  # those at the truth's mean are last
    assert page.table[0][4] == "30.00 ± 3.00"
    assert page.table[1][:2] == ["one", "network"]
    assert page.table[1][4] == "19.76 ± 3.00"
    assert page.table[2][4:6] == ["21.34 ± 3.00 best", "0.123 ± 0.050 best"]
    for row, model in zip(page.table, document["models"], strict=True):
        for cell, name in zip(row[4:], names, strict=True):
            mean, _, std = cell.removesuffix(" best").replace("−", "-").partition(" ± ")
            assert float(mean) == pytest.approx(model["metrics"][name]["mean"], abs=0.0051)
            assert float(std) == pytest.approx(model["metrics"][name]["std"], abs=0.0051)


def test_means_stand_with_their_unit_and_those_at_the_truths_mean_apart(render):
    page = render(*benchmark({"neid": "network", "he": "classical"}, ["1", "2"]))
    heads = re.findall(r"<th[^>]*data-sort[^>]*>.*?</th>", page.source, re.DOTALL)
    assert plain_text(heads[4]) == "PSNRdB ↑, higher is better"
    assert plain_text(heads[5]) == "LPIPS ↓, lower is better"
    assert ["at-mean" in head.partition(">")[0] for head in heads] == [False] * 7 + [True]
    groups = page.all("th", scope="colgroup")
    assert [(group["colspan"], "at-mean" in group["class"]) for group in groups[:2]] == [("3", False), ("1", True)]
    assert "Mean ± standard deviation" in page.text


def test_models_that_lack_pictures_and_the_input_are_never_best():
    document, _ = benchmark({"input": "input", "few": "network", "a": "network", "b": "network"}, ["1", "2"])
    for model, mean, n in zip(document["models"], (40, 30, 20.004, 20.001), (2, 1, 2, 2), strict=True):
        model["metrics"]["psnr"] = {"mean": mean, "std": 1.0, "n": n}
    column = next(column for column in columns(document) if column.name == "psnr")
    assert [cell.best for cell in cells(document, column)] == [False, False, True, True]  # both print 20.00
    change = next(column for column in columns(document) if column.better is None)
    assert not any(cell.best for cell in cells(document, change))


def test_a_page_is_written_without_pictures_with_failed_models_and_with_infinite_figures(render):
    document, rows = benchmark({"neid": "network", "he": "classical"}, ["1", "2"])
    rows = [row for row in rows if row.model == "neid"]
    rows[0].metrics.update(psnr=INF, lpips=None)
    document["models"] = [entry("neid", rows[1:]), entry("he", [])]
    document["models"][0]["metrics"]["psnr"] = {"mean": INF, "std": 0.0, "n": 2}
    rows += [Row("he", name, None, None, None, {}, "It <broke>.") for name in ("1", "2")]
    document["models"][1] = entry("he", rows)
    page = render(document, rows, lambda model, name: None)
    assert page.table[0][4] == "∞"
    assert page.table[1][4:] == ["–"] * 4
    assert "It <broke>." in page.text
    assert "all 2" in page.text
    assert "There are no files of 2 of the 2 pictures." in page.text
    assert "Infinite, so not drawn: 1." in page.text
    told = json.loads(page.raw["script"][0])
    assert told["values"][0][0][:2] == ["inf", None]


def test_a_page_is_written_of_nothing_at_all(render):
    document, rows = benchmark({}, [])
    assert render(document, rows).table == []


def test_a_picture_that_cannot_be_read_is_told_and_costs_no_page(render, files, tmp_path):
    document, rows = benchmark({"neid": "network"}, ["1"])
    paths = files(["input", "neid"], ["1"])
    (tmp_path / "torn.png").write_bytes(paths["neid", "1"].read_bytes()[:60])
    page = render(document, rows, paths | {("neid", "1"): tmp_path / "torn.png", ("truth", "1"): tmp_path / "none.png"})
    assert "torn.png: " in page.text
    assert "none.png: " in page.text
    assert [own["data-of"] for own in page.all("img")] == ["input"]


def test_of_what_stands_beside_the_pixels_pictures_in_a_page_keep_the_profile_alone():
    source = picture.from_array(np.zeros((40, 30, 3), np.uint8))
    kept = {"icc": b"profile"}
    told = {"exif": b"e", "xmp": b"x", "iptc": b"i", "texts": (("Comment", "who"),), "dpi": (300.0, 300.0)}
    for side in (10, 100):
        small = dataclasses.replace(shrunk(dataclasses.replace(source, **kept, **told), side), pixels=source.pixels)
        assert small == dataclasses.replace(source, **kept)


def test_pictures_lie_in_the_page_and_the_first_model_against_the_input_is_shown(render, files):
    document, rows = benchmark({"input": "input", "neid": "network"}, ["1"])
    paths = files(["input", "truth", "neid"], ["1"])
    page = render(document, rows, lambda model, name: paths.get((model, name)))
    images = {own["data-of"]: own for own in page.all("img")}
    assert {key: own["class"] for key, own in images.items()} == {"input 0": "left", "truth": "", "1": "right"}
    data = base64.b64decode(images["1"]["src"].removeprefix("data:image/webp;base64,"))
    shown, file = Image.open(io.BytesIO(data)), Image.open(paths["neid", "1"])
    assert shown.size == file.size
    assert np.asarray(shown).mean() == pytest.approx(np.asarray(file).mean(), abs=5)
    sliders = page.all("input", type="range")
    assert len(sliders) == 1
    assert sliders[0]["aria-label"].startswith("1:")


def test_fewer_pictures_are_embedded_where_the_budget_is_small_and_the_page_says_so(render, files):
    names = [str(i) for i in range(8)]
    document, rows = benchmark({"neid": "network"}, names)
    paths = files(["input", "neid"], names)
    whole = embed(names, ["neid"], paths)
    assert len(whole.images) == 8
    small = embed(names, ["neid"], paths, rungs=[(48, 62)])
    part = embed(names, ["neid"], paths, budget=small.bytes // 2, rungs=[(640, 90), (48, 62)])
    assert 2 <= len(part.images) <= 4
    assert part.bytes <= small.bytes // 2
    assert (part.side, part.quality) == (48, 62)
    page = render(document, rows, paths, budget=small.bytes // 2, rungs=[(640, 90), (48, 62)])
    assert f"{len(part.images)} of 8 pictures are embedded" in page.text
    assert len(page.all("article")) == 8
    assert spaced(list("abcdefg"), 2) == ["b", "f"]


def test_large_pictures_are_made_smaller_before_any_is_left_out(files, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (200, 300, 3), np.uint8)).save(tmp_path / "large.png")
    paths = {("input", "1"): tmp_path / "large.png"}
    large = embed(["1"], [], paths, rungs=[(640, 80)])
    small = embed(["1"], [], paths, budget=large.bytes // 2, rungs=[(640, 80), (120, 80)])
    assert (small.images["1"]["input"].width, small.images["1"]["input"].height) == (120, 80)
    assert small.reduced
    assert not large.reduced


def test_a_picture_that_cannot_be_read_makes_the_others_no_smaller(files):
    paths = files(["input"], ["1", "2"])
    paths["input", "2"].write_bytes(b"torn")
    found = embed(["1", "2"], [], paths)
    assert (found.side, found.quality) == RUNGS[0]
    assert (len(found.images), found.available, len(found.problems)) == (1, 2, 1)


def test_the_budget_holds_where_the_pictures_that_were_tried_first_are_the_small_ones(tmp_path):
    names = [str(i) for i in range(8)]
    for name in names:
        top = 1 if name in spaced(names, 3) else 255
        noise = np.random.default_rng(int(name)).integers(0, top, (64, 96, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    paths = {("input", name): tmp_path / f"{name}.png" for name in names}
    rungs = [(96, 90), (48, 62)]
    low = embed(names, [], paths, rungs=rungs[1:]).bytes
    tight = embed(names, [], paths, budget=low, rungs=rungs)
    assert (tight.side, len(tight.images), tight.bytes) == (48, 8, low)
    tighter = embed(names, [], paths, budget=low - 1, rungs=rungs)
    assert len(tighter.images) < 8
    assert 0 < tighter.bytes < low


def test_no_metadata_of_a_picture_goes_into_the_page(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    image = embed(["1"], [], {("input", "1"): tmp_path / "a.jpg"}).images["1"]["input"]
    assert b"taken at home" not in base64.b64decode(image.uri.partition(",")[2])


def test_plots_have_names_and_a_dot_for_every_picture_and_model(render):
    names = [str(i) for i in range(5)]
    document, rows = benchmark({"neid": "network", "he": "classical"}, names)
    page = render(document, rows)
    plots = page.all("svg", role="img")
    assert len(plots) == len(METRICS)
    ids = {own["id"] for _, own in page.tags if own.get("id")}
    assert all({*own["aria-labelledby"].split()} <= ids for own in plots)
    assert len(page.all("circle")) == 5 * 2 * len(METRICS)
    row = next(row for row in rows if row.model == "he" and row.picture == "3")
    assert f"he, 3: {row.metrics['psnr']:.2f}" in page.text


def test_dots_stand_in_the_order_of_their_values_and_the_best_median_is_on_top():
    rows = [Row(m, str(i), 8, 8, 0.1, {"psnr": v}) for m, values in (("a", (10, 12, 20)), ("b", (14, 16, 15)))
            for i, v in enumerate(values)]  # fmt: skip
    document = {"metrics": {"psnr": METRICS["psnr"]}, "models": [], "n": 3}
    drawn = plot(columns(document)[0], ["a", "b"], ["0", "1", "2"], rows)
    assert [line.name for line in drawn.lines] == ["b", "a"]
    line = drawn.lines[1]
    assert [dot.picture for dot in line.dots] == [0, 1, 2]
    assert [dot.x for dot in line.dots] == sorted(dot.x for dot in line.dots)
    assert line.middle == line.dots[1].x
    ticks = [float(text) for _, text in drawn.ticks]
    assert ticks == sorted(ticks)
    assert min(ticks) >= 10
    assert max(ticks) <= 20
    assert plot(columns(document)[0], ["a"], ["0"], [Row("a", "0", 8, 8, 0.1, {"psnr": INF})]) is None


def test_published_figures_are_marked_and_stand_beside_what_was_measured(render):
    document, rows = benchmark({"neid": "network"}, ["1", "2"])
    page = render(document, rows, None, published_figures("LOL"))
    assert "Stated by the papers, not measured here." in page.text
    table = page.source.partition('<table class="figures stated">')[2].partition("</table>")[0]
    own = next(row for row in table.split("<tr")[1:] if "the paper’s own, here neid" in row)
    texts = [plain_text(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", own, re.DOTALL)]
    assert texts[1:3] == ["22.83", "0.78"]
    assert f"{document['models'][0]['metrics']['psnr']['mean']:.2f}" in texts
    assert "22.83" not in " ".join(cell for row in page.table for cell in row)
    assert "Stated by the papers" not in render(document, rows).text


def test_every_published_figure_has_a_paper_and_a_table():
    found = {
        name: published_figures(name) for name in ("LOL", "LSRW", "lsrw-nikon", "LOL-v2-real", "Brightening", "synth")
    }
    assert all(found.values())
    assert {row["model"] for rows in found.values() for row in rows if row["ours"]} == {
        "neid",
        "ba-gan",
        "ema-cyclegan",
        "drs-cyclegan",
        "aux-retinex",
    }
    for row in (row for rows in found.values() for row in rows):
        assert row["paper"]
        assert row["table"].startswith("Table")
        assert 5 < row["psnr"] < 40
    kind = {row["method"]: row["psnr"] for row in found["LOL"] if row["paper"].startswith("Jiang")}
    assert kind["KinD"] == 20.87
    assert published_figures("DICM") == []
    assert [row["dataset"] for row in found["lsrw-nikon"]] == ["LSRW"] * 6


def test_overlap_failures_speed_and_the_record_are_in_the_page(render):
    document, rows = benchmark({"neid": "network"}, ["1"])
    document["models"][0] |= {
        "overlap": "trained on this set",
        "weights_sha256": "ab" * 32,
        "parameters": 1751642,
        "speed": [
            {"backend": "onnx", "size": "600x400", "latency_median_ms": 12.345, "peak_memory_mb": None},
            {"backend": "torch", "error": "it stopped"},
        ],
    }
    page = render(document, rows)
    words = (document["dataset"], document["command"], document["protocol"], "numpy\u00a02.3.4", "15 expected, 9 found")
    for word in (
        *words,
        "trained on this set",
        "ab" * 32,
        "1\u2009751\u2009642",
        "what PSNR is",
        "12.35",
        "it stopped",
        "n = 1",
    ):
        assert word in page.text, word
    assert quantity("latency_median_ms", 12.345) == ("latency median", "ms", "12.35")
    assert quantity("peak_memory_mib", 1300) == ("peak memory", "MiB", "1\u2009300")


def test_json_is_valid_with_infinite_missing_and_numpy_numbers(tmp_path):
    told = {"inf": INF, "minus": -INF, "nan": NAN, "none": None, "f": np.float32(0.5), "i": np.int64(3), "é": (1, "🌃")}
    write_json(told, tmp_path / "summary.json")
    read = json.loads((tmp_path / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert read == {"inf": "inf", "minus": "-inf", "nan": None, "none": None, "f": 0.5, "i": 3, "é": [1, "🌃"]}
    assert float(read["inf"]) == INF
    assert plain({"a": Path("b")}) == {"a": "b"}


def test_csv_comes_back_as_it_was(tmp_path):
    _, rows = benchmark({"neid": "network", 'a "b", c': "network"}, [*EVIL, "two\nlines", "'quoted"])
    rows[0].metrics.update(psnr=INF, lpips=None, brightness=-0.25)
    rows.append(Row("neid", "lost", None, None, None, {}, "-broke"))
    write_csv(rows, METRICS, tmp_path / "a.csv")
    data = (tmp_path / "a.csv").read_bytes()
    assert data.count(b"\r\n") == len(rows) + 1
    read = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert list(read[0]) == ["model", "picture", "width", "height", "seconds", *METRICS, "error"]
    back = [
        Row(
            line["model"].removeprefix("'"),
            line["picture"].removeprefix("'"),
            int(line["width"]) if line["width"] else None,
            int(line["height"]) if line["height"] else None,
            float(line["seconds"]) if line["seconds"] else None,
            {name: float(line[name]) if line[name] else None for name in METRICS},
            line["error"].removeprefix("'") or None,
        )
        for line in read
    ]
    rows[-1] = Row("neid", "lost", None, None, None, dict.fromkeys(METRICS), "-broke")
    assert back == rows


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝"])
def test_a_spreadsheet_runs_no_formula_from_a_name(tmp_path, start):
    write_csv([Row(start + "1", f"{start}cmd|' /C calc'!A0", 1, 1, 1.0)], [], tmp_path / "a.csv")
    line = list(csv.reader(io.StringIO((tmp_path / "a.csv").read_bytes().decode(), newline="")))[1]
    assert line[0] == "'" + (start + "1")
    assert line[1].startswith("'" + start)


def test_csv_tells_the_run_where_the_document_is_given(tmp_path):
    document, rows = benchmark({"neid": "network"}, ["1"])
    document["models"][0]["weights_sha256"] = "ab" * 32
    write_csv(rows, METRICS, tmp_path / "a.csv", document)
    read = next(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text(), newline="")))
    assert read["weights_sha256"] == "ab" * 32
    assert read["command"] == document["command"]
    assert read["versions"] == "lowlight 0.1.0, numpy 2.3.4"


def test_a_report_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")
    document, rows = benchmark({"neid": "network"}, ["1"])
    with pytest.raises(KeyError):
        write_page({key: value for key, value in document.items() if key != "n"}, rows, {}, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"


# Markdown


def lines_of(text: str) -> list[list[str]]:
    """Cells of the lines of the tables, bars in names put back."""
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def test_the_markdown_table_is_that_of_the_document_and_the_best_is_bold():
    document, _ = benchmark({"input": "input", "one": "network", "two": "classical"}, ["1", "2", "3"])
    for model, psnr, lpips, n in zip(
        document["models"], (30, 19.756, 21.344), (0.1, 0.456, 0.123), (3,) * 3, strict=True
    ):
        model["metrics"]["psnr"] = {"mean": psnr, "std": 3.004, "n": n}
        model["metrics"]["lpips"] = {"mean": lpips, "std": 0.05, "n": n}
    heads, rule, *rows = lines_of(markdown(document))
    assert heads[:3] == ["model", "PSNR ↑ (dB)", "LPIPS ↓"]
    assert set(rule) == {"---"}
    assert [row[:3] for row in rows] == [
        ["`input`", "30.00 ± 3.00", "0.100 ± 0.050"],
        ["`one`", "19.76 ± 3.00", "0.456 ± 0.050"],
        ["`two`", "**21.34 ± 3.00**", "**0.123 ± 0.050**"],
    ]
    order = [column.name for column in columns(document)]
    for row, model in zip(rows, document["models"], strict=True):
        for text, name in zip(row[1:], order, strict=True):
            mean = float(text.strip("*").partition(" ± ")[0].replace("−", "-"))
            assert mean == pytest.approx(model["metrics"][name]["mean"], abs=0.0051)


def test_markdown_tells_of_how_many_pictures_all_means_are_and_why():
    document, rows = benchmark({"one": "network", "two": "network"}, ["1", "2", "3"])
    rows[:] = [dataclasses.replace(row, error="not whole") if row.picture == "3" else row for row in rows]
    names = [model["model"] for model in document["models"]]
    document["models"] = [entry(name, rows) for name in names]
    counted = [row[1] for row in lines_of(markdown(document))[2:]]
    assert len(counted) == len(names)
    assert all(text.endswith(("(n = 2)", "(n = 2)**")) for text in counted)
    told = [line for line in markdown(document).splitlines() if "failed" in line]
    assert told == [f"- {name} failed on 1 of 3 pictures (3): not whole" for name in names]


def test_markdown_names_all_errors_of_a_model_each_with_its_pictures():
    document, rows = benchmark({"one": "network"}, list("123456789"))
    rows[:] = [dataclasses.replace(row, error="too dark" if row.picture > "2" else "not whole") for row in rows]
    document["models"] = [entry("one", rows)]
    assert [line for line in markdown(document).splitlines() if "failed" in line] == [
        "- one failed on 2 of 9 pictures (1, 2): not whole",
        "- one failed on 7 of 9 pictures (3, 4, 5, 6, 7 and 2 more): too dark",
    ]


def test_markdown_tells_a_smaller_number_and_never_ranks_it_and_prints_no_deviation_of_infinity():
    document, _ = benchmark({"few": "network", "one": "network", "two": "network"}, ["1", "2", "3"])
    for model, mean, n in zip(document["models"], (40.0, 20.0, INF), (2, 3, 3), strict=True):
        model["metrics"]["psnr"] = {"mean": mean, "std": None if mean == INF else 1.0, "n": n}
    rows = lines_of(markdown(document))[2:]
    assert [row[1] for row in rows] == ["40.00 ± 1.00 (n = 2)", "20.00 ± 1.00", "**∞**"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", "`a|b`"),
        ("one\n# two", "`one\\n# two`"),
        ("a`b", "`` a`b ``"),
        ("a\u202eb", "`a\\u202eb`"),
    ],
)
def test_a_name_breaks_no_line_and_no_column_of_markdown(name: str, shown: str):
    document, _ = benchmark({name: "network", "other": "network"}, ["1", "2"])
    document["models"][0]["overlap"] = "It was trained on\n# these"
    text = markdown(document)
    table = lines_of(text)
    assert {len(row) for row in table} == {len(document["metrics"]) + 1}
    assert [row[0] for row in table] == ["model", "---", shown, "`other`"]
    assert not [line for line in text.splitlines() if line.startswith("#")]


def test_speed_stands_in_a_table_of_its_own():
    document, _ = benchmark({"one": "network", "two": "network"}, ["1"])
    document["models"][0]["speed"] = [
        {"backend": "onnx", "latency_median_ms": 12.5},
        {"backend": "torch", "error": "no"},
    ]
    assert lines_of(markdown(document))[4:] == [
        ["model", "backend", "latency median (ms)", "error"],
        ["---"] * 4,
        ["`one`", "onnx", "12.50", "–"],
        ["`one`", "torch", "–", "no"],
    ]


def test_names_that_are_no_text_are_written_into_markdown(tmp_path: Path):
    document, _ = benchmark({"a\udcff": "network"}, ["1"])
    document["command"] = document["notices"][0] = "b\udcfe"
    document["title"] = document["protocol"] = "c\udcfd"
    write_markdown(document, tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    for spelled in ("`a\\udcff`", "b\\udcfe", "c\\udcfd"):
        assert spelled in text
