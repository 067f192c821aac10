"""What fuzzing and its reading found: hostile files cost neither crash, nor minutes, nor memory, nor a write elsewhere.

See benchmarks/fuzz.py. `in_time` is the promise of ten seconds; what it guards against took minutes or hours.
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import picture_files
import pytest
import torch
import yaml
from click.testing import CliRunner
from picture_files import chunk, pillow
from PIL import Image, JpegImagePlugin, PngImagePlugin

from lowlight_cli import (
    assets,
    cli,
    hub,
    jobs,
    manifest,
    picture,
    plausible,
    weights,
)
from lowlight_cli.cli.train import setting
from lowlight_cli.data import cache, scenes
from lowlight_cli.errors import ModelUnavailable, OptionError, OutputExists
from lowlight_cli.nn.state import load_weights
from lowlight_cli.picture import avif, tiff
from lowlight_cli.picture import file as picture_file
from lowlight_cli.tasks import synth_records, train_record, verify
from lowlight_cli.training import journal
from lowlight_cli.training.settings import Settings

SMALL = np.full((8, 8, 3), 40, np.uint8)
JPEG = pillow(SMALL, "JPEG")
PNG = pillow(SMALL, "PNG")
DEEPER = "[" * 100_000
"""More brackets than Python's own parsers follow."""
LONG = "9" * 5000
"""More digits than Python makes a number of."""


@pytest.fixture
def in_time() -> Iterator[None]:
    """Ends a test after ten seconds."""
    if not hasattr(signal, "SIGALRM"):
        pytest.skip("no alarm on this system")

    def late(*_: object) -> None:
        pytest.fail("more than ten seconds")  # no Exception: those are caught where a file may be anything

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refusal(data: bytes, **options: int) -> str:
    return picture_files.refusal(data, **options).message


def segment(kind: int, body: bytes) -> bytes:
    return bytes([255, kind]) + struct.pack(">H", len(body) + 2) + body


def most_memory(work: Callable[[], object]) -> int:
    """Bytes that Python's own objects take at once while `work` runs."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Pictures: time


@pytest.mark.usefixtures("in_time")
def test_fill_bytes_in_a_jpeg_are_not_searched_once_for_each_of_them() -> None:
    at = len(JPEG) - 2
    assert picture.load(JPEG[:at] + b"\xff" * 1_000_000 + b"\0" + JPEG[at:]).width == 8


@pytest.mark.usefixtures("in_time")
def test_a_jpeg_whose_header_is_mostly_fill_bytes_is_refused() -> None:
    assert "stand between its parts" in refusal(JPEG[:2] + b"\xff" * 20_000_000 + b"\0" + JPEG[2:])


@pytest.mark.usefixtures("in_time")
def test_counting_the_pixels_of_such_a_jpeg_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_file, "HEADER", 0.1)
    monkeypatch.setattr(picture_file, "patiently", lambda work, _: work(lambda: None))
    (tmp_path / "a.jpg").write_bytes(JPEG[:2] + b"\xff" * 20_000_000 + b"\0" + JPEG[2:])
    assert picture.pixel_count(tmp_path / "a.jpg") == 0


def progressive(scans: int) -> bytes:
    """A black progressive JPEG that has its last scan many times."""
    whole = pillow(np.zeros((400, 400, 3), np.uint8), "JPEG", progressive=True)
    starts = [found.start() for found in re.finditer(b"\xff\xda", whole)]
    return whole[:-2] + whole[starts[-1] : -2] * (scans - len(starts)) + whole[-2:]


def test_a_jpeg_of_hundreds_of_scans_is_refused_and_one_of_many_is_read() -> None:
    assert picture.load(progressive(40)).width == 400
    assert "scans" in refusal(progressive(500))


def test_a_jpeg_of_thousands_of_pieces_of_exif_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JpegImagePlugin, "APP", None)  # Pillow copies all pieces for each
    monkeypatch.setattr(JpegImagePlugin, "MARKER", {})
    assert "other parts" in refusal(JPEG[:2] + segment(0xE1, b"Exif\0\0x") * 10_000 + JPEG[2:])


@pytest.mark.usefixtures("in_time")
def test_thumbnails_opened_in_xmp_and_never_closed_are_not_searched_once_for_each() -> None:
    opened = zlib.compress(b"<xmp:Thumbnails>" * 60_000)
    found = picture.load(PNG[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + opened) + PNG[33:])
    assert found.xmp == b"<xmp:Thumbnails>" * 60_000


def test_thumbnails_in_xmp_are_left_out_each_up_to_its_end() -> None:
    one = b"<xmp:Thumbnails>dark</xmp:Thumbnails>"
    xmp = b"<x>" + one + b"<kept/>" + one + b"</x><xmp:Thumbnails>"
    found = picture.load(PNG[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + PNG[33:])
    assert found.xmp == b"<x><kept/></x><xmp:Thumbnails>"


@pytest.mark.parametrize(("kind", "count"), [(b"tEXt", 20_000), (b"iCCP", 17)])
def test_a_png_of_thousands_of_parts_is_refused_before_pillow(
    monkeypatch: pytest.MonkeyPatch, kind: bytes, count: int
) -> None:
    monkeypatch.setattr(PngImagePlugin, "PngImageFile", None)
    body = {b"tEXt": b"a\0", b"iCCP": b"a\0\0" + zlib.compress(bytes(1_000_000))}[kind]
    assert f"{count + 2} parts" in refusal(PNG[:33] + chunk(kind, body) * count + PNG[33:])


def test_a_png_with_its_pixels_in_pieces_of_300_bytes_is_read() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    whole = pillow(noise, "PNG")
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise))
    pieces = b"".join(chunk(b"IDAT", packed[at : at + 300]) for at in range(0, len(packed), 300))
    assert np.array_equal(picture.load(whole[:33] + pieces + whole[-12:]).pixels, noise)


def pages(count: int, entries: int) -> bytes:
    """A TIFF of which each of `count` pages says it is a preview; directories overlap, and all values are one place."""
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, 1) for tag in (254, *range(1000, 999 + entries)))
    whole = bytearray(pillow(SMALL, "TIFF"))
    start = struct.unpack_from("<I", whole, 4)[0]
    link = start + 2 + 12 * struct.unpack_from("<H", whole, start)[0]
    for _ in range(count):
        struct.pack_into("<I", whole, link, len(whole))
        whole += struct.pack("<H", entries) + rows + bytes(4)
        link = len(whole) - 4
    return bytes(whole)


def test_a_preview_is_no_page_of_its_own_and_a_directory_of_thousands_of_tags_is_damage() -> None:
    assert picture.load(pages(1, 10)).width == 8
    assert "directory of 5000 entries" in refusal(pages(1, 5000))


def test_a_ring_of_pages_ends() -> None:
    ring = bytearray(pages(1, 10))
    struct.pack_into("<I", ring, len(ring) - 4, len(ring) - 126)
    assert picture.load(bytes(ring)).width == 8


@pytest.mark.usefixtures("in_time")
def test_a_text_of_one_endless_number_is_refused() -> None:
    assert "5000000 digits" in refusal(b"P3 8 8 255\n" + b"9" * 5_000_000)
    assert "other characters" in refusal(b"P2 2 1 255\n1 -2")


def test_numbers_of_a_text_picture_are_read_whatever_stands_between_them() -> None:
    found = picture.load(b"P2 3 2 # night\n99\n0\t33\r\n#99 98\n66 99\v250 00001")
    assert found.pixels[..., 0].tolist() == [[0, 85, 170], [255, 255, 3]]
    many = np.arange(120_000).reshape(200, 200, 3) % 251
    text = b"P3 200 200 255\n" + b" ".join(str(value).encode() for value in many.ravel())
    assert np.array_equal(picture.load(text).pixels, many)


# Pictures: memory


def overlapping(entries: int) -> bytes:
    """An EXIF block of which each value is nearly the whole block."""
    size = 12 * entries
    rows = b"".join(struct.pack("<HHII", 300 + tag, 7, size, 8) for tag in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + rows + bytes(4)


def test_values_that_all_point_to_one_place_are_not_all_copied() -> None:
    block = overlapping(4000)
    entries, _ = tiff.directory(block, 8)
    assert sum(len(entry.value) for entry in entries.values()) <= len(block)
    assert most_memory(lambda: tiff.directory(block, 8)) < 4_000_000


def test_such_exif_costs_no_more_memory_than_the_file() -> None:
    data = JPEG[:2] + segment(0xE1, b"Exif\0\0" + overlapping(4000)) + JPEG[2:]
    picture.load(data)
    assert most_memory(lambda: picture.load(data)) < 4_000_000


def test_a_text_picture_takes_no_python_object_for_each_number() -> None:
    data = b"P3 1000 500 255\n" + b"77 " * 1_500_000
    assert most_memory(lambda: picture.load(data)) < 40_000_000


def test_the_header_of_a_ppm_is_looked_for_in_its_beginning_alone() -> None:
    assert "header is incomplete" in refusal(b"P6 " + b" " * 1_000_000 + b"8 8 255\n" + bytes(192))
    assert picture.load(b"P6 " + b"# night\n" * 1000 + b"8 8 255\n" + bytes(192)).width == 8


@pytest.mark.parametrize("length", [323, 278])
def test_a_tiff_of_small_size_in_huge_tiles_is_refused(length: int) -> None:
    rows = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 322: 60_000, length: 60_000, 324: 8, 325: 64}
    rows = dict(sorted(rows.items()))
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in rows.items())
    assert "60000 x 60000" in refusal(b"II*\0" + struct.pack("<IH", 8, len(rows)) + table + bytes(80))


def avif_file(side: int, told: int) -> bytes:
    """A black AVIF whose header says another size than its pixels have."""
    data = bytearray(pillow(np.zeros((side, side, 3), np.uint8), "AVIF", speed=10))
    for found in re.finditer(b"ispe", bytes(data)):
        struct.pack_into(">II", data, found.start() + 8, told, told)
    return bytes(data)


def test_the_size_inside_an_avif_counts_and_not_that_in_its_header() -> None:
    assert picture.load(avif_file(300, 300), max_pixels=90_000).width == 300
    assert "300 x 300 = 90,000 pixels" in refusal(avif_file(300, 10), max_pixels=89_999)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (300, 7)])
def test_the_size_of_honest_avifs_is_read_right(
    monkeypatch: pytest.MonkeyPatch, mode: str, size: tuple[int, int]
) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(avif.checks, "check_size", lambda *found: seen.append(found[:2]))
    avif.check(pillow(Image.new(mode, size), "AVIF"), 10**6)
    assert {*seen} == {size}
    assert len(seen) == 1 + (mode == "RGBA")


def in_parts(encoded: bytes, parts: list[tuple[int, int]], items: int = 1) -> bytes:
    """An AVIF whose first item is said to lie in these parts, so many times."""
    at = encoded.index(b"iloc")
    item = encoded[encoded.index(b"infe") + 8 :][:2]
    places = b"".join(struct.pack(">II", *part) for part in parts)
    one = item + struct.pack(">HH", 0, len(parts)) + places
    body = struct.pack(">IHH", 0, 0x4400, items) + items * one
    old = struct.unpack_from(">I", encoded, at - 4)[0]
    changed = encoded[: at - 4] + struct.pack(">I", 8 + len(body)) + b"iloc" + body + encoded[at - 4 + old :]
    meta = changed.index(b"meta") - 4
    longer = struct.unpack_from(">I", changed, meta)[0] + 8 + len(body) - old
    return changed[:meta] + struct.pack(">I", longer) + changed[meta + 4 :]


def test_items_of_an_avif_that_overlap_or_have_no_end_of_parts_are_refused_at_once() -> None:
    encoded = avif_file(64, 64)
    assert "one over the other" in refusal(in_parts(encoded, [(0, 300)] * 20, items=99))
    begun = time.monotonic()
    for parts, items in (([(0, 0)] * 60_000, 5), ([(0, 300)] * 6000, 60)):
        assert "more than 10000 parts" in refusal(in_parts(encoded, parts, items))
    assert time.monotonic() - begun < 5


def bits(*numbers: tuple[int, int]) -> bytes:
    """Numbers with their widths in bits, as bytes."""
    text = "".join(f"{value:0{width}b}" for value, width in numbers)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8))


@pytest.mark.parametrize("timed", [False, True])
def test_the_size_is_found_in_a_sequence_header_with_all_its_parts(timed: bool) -> None:
    timing = ((1, 1), (7, 32), (9, 32), (1, 1), (0, 2), (1, 1), (3, 2), (1, 1), (9, 5), (5, 32), (1, 5), (1, 5))
    points = ((0, 12), (8, 5), (1, 1), (1, 1), (1, 10), (1, 10), (0, 1), (1, 1), (3, 4)) if timed else ((0, 12), (7, 5))
    head = ((0, 3), (0, 1), (0, 1), *(timing if timed else ((0, 1),)), (timed, 1), (0, 5), *points)
    body = bits(*head, (10, 4), (9, 4), (1999, 11), (999, 10))
    stream = b"\x12\0\x0a" + bytes([len(body)]) + body
    assert [*avif._sizes(stream)] == [(2000, 1000)]


# Tables and texts

ROW = json.loads(manifest.manifest_path().read_text(encoding="utf-8"))["models"]["neid"]
FILE = ROW["files"][0]
WEIGHTS = manifest.PACKAGE / "bundled" / FILE["path"]


@pytest.mark.parametrize(
    "changes",
    [
        {"arch": "../evil"},
        {"arch": "os.path"},
        {"arch": 7},
        {"params": {"widths": [10**9]}},
        {"params": []},
        {"scales": [1, "2"]},
        {"scales": None},
        {"multiple": 0},
        {"halo": True},
        {"tiling": []},
        {"precisions": ["fp99"]},
        {"bytes_per_pixel": -1},
        {"generative": "no"},
        {"files": {}},
        {"files": [None]},
        {"files": [{**FILE, "path": "/etc/passwd"}]},
        {"files": [{**FILE, "path": "../../x.onnx"}]},
        {"files": [{**FILE, "path": "a/../../x.onnx"}]},
        {"files": [{**FILE, "path": "C:\\x.onnx"}]},
        {"files": [{**FILE, "sha256": "../../../tmp"}]},
        {"files": [{**FILE, "bytes": "7"}]},
        {"files": [{**FILE, "revision": "../main"}]},
        {"files": [{**FILE, "repo": "../../x"}]},
        {"files": [{**FILE, "repo": "../.."}]},
        {"files": [{**FILE, "strange": 1}]},
        {"files": [{"role": "torch"}]},
        {"figures": [1]},
        {"limits": "none"},
        {"paper": {"title": 1}},
        {"summary": "\x1b[31m"},
        {"check": {"x1": [float("nan")] * 16}},
        {"check": {"x1": ["0.5"] * 16}},
        {"check": {"x1": 0.5}},
        {"check": {"x1": [10**400]}},
        {"check": [0.5]},
        {"strange": 1},
    ],
    ids=str,
)
def test_a_row_that_cannot_be_is_refused_by_name(changes: dict[str, Any]) -> None:
    manifest.spec_from_row("mine", ROW)
    with pytest.raises(ModelUnavailable, match="'mine' is damaged") as caught:
        manifest.spec_from_row("mine", {**ROW, **changes})
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("row", [None, [], "neid", {"arch": "neid"}])
def test_a_row_that_is_no_table_or_lacks_fields_is_refused(row: object) -> None:
    with pytest.raises(ModelUnavailable):
        manifest.spec_from_row("mine", row)
    with pytest.raises(ModelUnavailable):
        assets.asset_from_row("mine", row)


def test_the_manifests_own_repositories_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    for repo in ("owner/weights", "datasets/owner/set", f"owner/weights@{'a' * 40}"):
        fields = {**FILE, "bundled": False, "repo": repo, "revision": "b" * 40}
        assert hub.cache() in hub.cached_path(manifest.weight_file("mine", fields)).parents


@pytest.mark.parametrize("text", ["{", DEEPER, "[]", "{}", '{"schema_version": 1, "models": 7}', LONG])
def test_a_manifest_that_is_none_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "manifest.json").write_text(text)
    monkeypatch.setattr(manifest, "manifest_path", lambda: tmp_path / "manifest.json")
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        manifest.read.__wrapped__()


def test_a_pytorch_file_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(100_000)}, tmp_path / "a.pt")
    assert load_weights(tmp_path / "a.pt")["w"].shape == (100_000,)
    with zipfile.ZipFile(tmp_path / "a.pt") as whole, zipfile.ZipFile(tmp_path / "b.pt", "w", 8) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(ModelUnavailable, match="would become"):
        load_weights(tmp_path / "b.pt")


def test_a_pytorch_file_that_is_a_tar_archive_is_refused_before_torch_makes_a_folder_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "a.pt", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(ModelUnavailable, match="tar archive"):
        load_weights(tmp_path / "a.pt")


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize(
    "text",
    [
        LAUGHS + "params: {widths: *i}",
        LAUGHS + "betas: *i",
        LAUGHS + "steps: *i",
        "params: &a {a: *a}",
        "params: {1: 2}",
        "loss: {[1]: 2}",
        f"steps: {LONG}",
        f"steps: 0x{'f' * 5000}",
        "steps: 1" + "0" * 400,
        "lr: !!timestamp x",
        "lr: !!int x",
        "lr: 2001-99-99",
        "seed: 1\n" * 1_000_000,
        f"betas: {'[' * 3000}",
        "model: [neid]",
        "model: {}",
        "- 1",
        "\0",
    ],
    ids=lambda text: text[-30:],
)
def test_settings_that_cannot_be_are_refused_and_cost_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(OptionError) as caught:
        Settings().override(train_record.read_config(path)[1])
    assert len(caught.value.message) < 1000


def test_a_billion_values_in_a_message_are_clipped() -> None:
    assert len(plausible.clipped(yaml.safe_load(LAUGHS)["i"])) < 200
    assert plausible.clipped(10**5000) == "a whole number of 16610 bits"
    assert plausible.clipped(17) == "17"


@pytest.mark.parametrize("value", [DEEPER, LONG])
def test_a_value_on_the_command_line_that_json_will_not_read_is_a_text(value: str) -> None:
    name, found = setting(f"steps={value}")
    with pytest.raises(OptionError) as caught:
        Settings().override({name: found})
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "text", [DEEPER, LONG, "{}", '{"starts": 7}', '{"starts": [7]}', '{"starts": [{"data": []}]}', '{"starts": {}}']
)
def test_a_damaged_record_of_a_run_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / train_record.RECORD).write_text(text)
    with pytest.raises(OptionError, match="damaged"):
        train_record.refuse_other_data(tmp_path, {"kind": "x"})


def test_a_record_of_a_run_need_not_tell_its_command(tmp_path: Path) -> None:
    (tmp_path / train_record.RECORD).write_text('{"starts": [{}]}')
    (tmp_path / train_record.CONFIG).write_text("seed: 1")
    assert train_record.training(tmp_path, WEIGHTS)["command"] == [None]


def test_rows_of_a_log_that_are_no_numbers_are_none(tmp_path: Path) -> None:
    good = ["1,0.5,loss,0.25", "2,12.0,loss.ssim,-1.5e-05", "2,12.0,psnr,nan", "2,12.0,mae,inf"]
    bad = [
        f"{LONG},0.5,loss,1",
        "3,x,loss,1",
        "3,1.0,loss,x",
        "3,1.0,loss,1.2.3",
        "٣,1.0,loss,1",
        "-1,1.0,a,1",
        "3,,a,1",
    ]
    (tmp_path / journal.LOG).write_text("\n".join([",".join(journal.HEADER), *good, *bad]), encoding="utf-8")
    assert [",".join(row) for row in journal.rows(tmp_path / journal.LOG)] == good
    (tmp_path / train_record.CONFIG).write_text("best: psnr")
    assert train_record.training(tmp_path, WEIGHTS)["hours"] == 0.0


@pytest.mark.parametrize("text", [DEEPER, f'["{LONG}"]', f"[{LONG}]", "[7"])
def test_lists_of_scenes_and_names_may_hold_anything(tmp_path: Path, text: str) -> None:
    (tmp_path / "names").write_text(text)
    with pytest.raises(OptionError):
        scenes.refuse_unknown(scenes.read_names(tmp_path / "names"), ["a"], tmp_path)
    with pytest.raises(OptionError):
        scenes.read_scenes(tmp_path / "names")


INDEX = {"key": "k", "place": "x", "bytes": 12, "names": ["a"], "sha256": [""], "sizes": [[2, 2]], "means": [[0, 0, 0]]}


@pytest.mark.parametrize(
    "changes",
    [
        {"offsets": [1]},
        {"offsets": [-1]},
        {"offsets": []},
        {"offsets": ["x"]},
        {"offsets": [0, 0]},
        {"sizes": [[2, 3]]},
        {"sizes": [[2**62, 2]]},
        {"sizes": [[-2, -2]]},
        {"sizes": [2, 2]},
        {"sizes": [[10**30, 1]]},
        {"means": [[0, 0]]},
        {"names": 7},
        {"names": ["a", "b"]},
        {"sha256": None},
    ],
    ids=str,
)
def test_an_index_of_decoded_pictures_that_points_elsewhere_is_not_believed(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    entry = cache.Entry(title="t", label="l", place=[], facts=[])
    folder = tmp_path / entry.name
    folder.mkdir()
    (folder / cache.PIXELS).write_bytes(bytes(12))
    whole = {**INDEX, "key": entry.key, "offsets": [0]}
    for index, believed in ((whole, True), ({**whole, **changes}, False), (None, False)):
        (folder / cache.INDEX).write_text(json.dumps(index) if index else DEEPER)
        told: list[str] = []
        made = cache.Decoded("anew", np.zeros((2, 2, 3), np.uint8))
        found = cache.obtain(tmp_path, entry, [0], lambda _, made=made: [made], told.append)
        assert (found.names, told == []) == ((["a"], True) if believed else (["anew"], False))


def test_a_record_of_synth_with_a_name_no_system_takes_is_left_out(tmp_path: Path) -> None:
    record = {"folder": "all", "name": "x" * 5000, "photo": "a", "photo_sha256": "0"}
    (tmp_path / synth_records.RECORDS).write_text(json.dumps(record))
    assert synth_records.load(tmp_path) == []


def test_a_note_beside_exported_weights_that_nests_too_deep_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOWLIGHT_HOME", str(tmp_path))
    spec = manifest.find("neid")
    folder = weights.home() / "exported" / spec.file("torch").sha256
    folder.mkdir(parents=True)
    (folder / weights.SIDECAR).write_text(DEEPER)
    assert weights.present(spec, "onnx-x9") is None


@pytest.mark.usefixtures("in_time")
def test_a_log_that_names_a_device_or_a_pipe_as_its_file_is_checked_in_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        told = verify.difference(tmp_path / name, {"bytes": 3, "sha256": "0" * 64})
        assert told == "is not a regular file."


# Names and links


def plan(tmp_path: Path, **options: Any) -> list[jobs.Job]:
    return jobs.plan([str(tmp_path / "in")], jobs.Layout(out=tmp_path / "out", **options))


def test_a_link_below_out_that_leads_elsewhere_is_refused(tmp_path: Path, photo: Callable[..., Path]) -> None:
    photo(tmp_path / "in" / "sub" / "a.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputExists, match="leads out of"):
        plan(tmp_path)
    (tmp_path / "out" / "sub").unlink()
    (tmp_path / "out" / "inner").mkdir()
    (tmp_path / "out" / "sub").symlink_to("inner")
    assert len(plan(tmp_path)) == 1


def test_out_itself_may_be_a_link(tmp_path: Path, photo: Callable[..., Path]) -> None:
    photo(tmp_path / "in" / "sub" / "a.png")
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    assert len(plan(tmp_path)) == 1
    assert len(jobs.plan([str(tmp_path / "in" / "sub" / "a.png")], jobs.Layout(out=tmp_path / "out" / "b.png"))) == 1


@pytest.mark.parametrize("there", [True, False])
def test_overwriting_a_link_replaces_the_link_and_not_what_it_leads_to(
    tmp_path: Path, photo: Callable[..., Path], there: bool
) -> None:
    photo(tmp_path / "in" / "a.png")
    victim, link = tmp_path / "victim", tmp_path / "out" / "a.png"
    if there:
        victim.write_text("precious")
    link.parent.mkdir()
    link.symlink_to(victim)
    words = ["enhance", str(tmp_path / "in"), "--out", str(link.parent), "--model", "gamma", "--overwrite"]
    assert CliRunner().invoke(cli.group, words).exit_code == 0
    assert not link.is_symlink()
    assert picture.load(link).width == 8
    assert (victim.read_text() if victim.exists() else None) == ("precious" if there else None)


NAMES = ("a\nFAILED b.png", "\x1b[31mred.png", "-rf.png", "%s%n.png", "[b]x.png", "a\u202egnp.png", "x" * 251 + ".png")


def test_pictures_of_any_name_are_done_and_no_name_forges_a_line(tmp_path: Path, photo: Callable[..., Path]) -> None:
    for name in NAMES:
        photo(tmp_path / "in" / name)
    photo(tmp_path / "in" / "y.png").rename(tmp_path / "in" / os.fsdecode(b"\xff\xfe.png"))
    (tmp_path / "in" / "\x1b[2J\nFAILED bad.png").write_bytes(b"bad")
    words = ["enhance", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--model", "gamma", "--verbose"]
    done = CliRunner().invoke(cli.group, words, color=True)
    assert len([*(tmp_path / "out").iterdir()]) == len(NAMES) + 1
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output
    assert len([line for line in done.output.splitlines() if line.startswith("FAILED")]) == 1


@pytest.mark.parametrize("name", ["\x1b[31mx.png", "x\nError: all is lost"])
def test_a_name_in_an_error_changes_no_colours_and_begins_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lowlight", "enhance", name, "--out", "out"])
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert len([line for line in told.splitlines() if line.startswith("Error:")]) == 1


def test_a_name_in_the_error_of_one_file_changes_no_colours(tmp_path: Path, photo: Callable[..., Path]) -> None:
    photo(tmp_path / "in" / f"\x1b[31m{'x' * 240}.png")
    words = ["enhance", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--model", "gamma", "--suffix", "_bright"]
    told = CliRunner().invoke(cli.group, words, color=True).output
    assert "Cannot write" in told
    assert "\x1b" not in told


@pytest.mark.parametrize("suffix", ["../x", "/x", "/../x", "\0"])
def test_a_suffix_never_leads_into_another_folder(tmp_path: Path, photo: Callable[..., Path], suffix: str) -> None:
    photo(tmp_path / "in" / "a.png")
    with pytest.raises(OptionError, match="cannot be a part of a name"):
        plan(tmp_path, suffix=suffix)


@pytest.mark.usefixtures("in_time")
def test_links_to_devices_pipes_and_themselves_among_the_inputs_fail_alone(
    tmp_path: Path, photo: Callable[..., Path]
) -> None:
    folder = photo(tmp_path / "in" / "a.png").parent
    for name, goal in {"zero.png": "/dev/zero", "gone.png": "gone", "self.png": "self.png", "up": ".."}.items():
        (folder / name).symlink_to(goal)
    os.mkfifo(folder / "pipe.png")
    words = ["enhance", str(folder), "--out", str(tmp_path / "out"), "--model", "gamma", "--json"]
    lines = [json.loads(line) for line in CliRunner().invoke(cli.group, words).stdout.splitlines()]
    failed = {Path(line["source"]).name for line in lines if line.get("status") == "failed"}
    assert failed == {"zero.png", "gone.png", "self.png", "pipe.png"}
    assert lines[-1]["summary"]["done"] == 1
