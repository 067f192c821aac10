"""Unpacking: whole or not at all, nothing outside its folder, nothing but plain files, no more than announced."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lowlight_cli.data import archive
from lowlight_cli.errors import NO_INPUT, LowlightError, NoInput, OutputExists

FILES = {
    "set/low/1.png": b"dark" * 5000,
    "set/high/1.png": b"light" * 3000,
    "set/read me.txt": b"",
    "other/x.txt": b"x",
}
CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def zipped(path: Path, files: dict[str | zipfile.ZipInfo, bytes] | None = None, **settings: Any) -> Path:
    with zipfile.ZipFile(path, "w", **{"compression": zipfile.ZIP_DEFLATED, **settings}) as made:
        for name, data in (FILES if files is None else files).items():
            made.writestr(name, data)
    return path


def member(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


def patched(path: Path, offset: int, value: bytes, header: bytes = CENTRAL) -> Path:
    """The archive with other bytes at that offset of its first entry."""
    data = bytearray(path.read_bytes())
    start = data.index(header) + offset
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


def refused(source: Path, target: Path, **limits: int) -> str:
    """The error; and nothing is left of the attempt."""
    before = {*source.parent.rglob("*")}
    with pytest.raises(LowlightError) as caught:
        archive.unpack(source, target, **limits)
    assert isinstance(caught.value, NoInput)
    assert caught.value.exit_code == NO_INPUT
    assert {*source.parent.rglob("*")} == before
    return str(caught.value)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_unpacked_as_it_is(compression: int, tmp_path: Path) -> None:
    source = zipped(tmp_path / "a.zip", {**FILES, "empty/": b"", "Füße/夜.png": b"n"}, compression=compression)
    archive.unpack(source, tmp_path / "far" / "away")
    assert content(tmp_path / "far" / "away") == {**FILES, "Füße/夜.png": b"n"}
    assert (tmp_path / "far" / "away" / "empty").is_dir()
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["away"]


def test_one_folder_of_an_archive_is_unpacked_alone(tmp_path: Path) -> None:
    archive.unpack(zipped(tmp_path / "a.zip"), tmp_path / "set", inside="set")
    assert content(tmp_path / "set") == {name[4:]: data for name, data in FILES.items() if name.startswith("set/")}
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "set"}
    with pytest.raises(NoInput, match="holds no lol_dataset"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "lol", inside="lol_dataset")


@pytest.mark.skipif(sys.platform == "win32", reason="other permissions")
def test_the_folder_is_as_readable_as_any_other(tmp_path: Path) -> None:
    archive.unpack(zipped(tmp_path / "a.zip"), tmp_path / "out")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../x.png", "leads out"),
        ("set/../../x.png", "leads out"),
        ("set/..", "leads out"),
        ("set\\..\\..\\x.png", "leads out"),
        ("/etc/x.png", "absolute"),
        ("\\\\server\\x.png", "absolute"),
        ("C:/x.png", "absolute"),
        ("set/x.png:stream", "absolute"),
        ("set//x.png", "not every system"),
        ("./x.png", "not every system"),
        ("set./x.png", "not every system"),
        ("set/x.png ", "not every system"),
        ("set/x\n.png", "not every system"),
        ("set/x\x1b[2J.png", "not every system"),
    ],
)
def test_a_name_that_is_not_safe_is_refused(name: str, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "enough"
    folder.mkdir(parents=True)
    source = zipped(folder / "a.zip", {"good.png": b"g", name: b"bad"})
    assert words in (text := refused(source, folder / "out"))
    assert repr(name) in text
    assert "\n" not in text
    assert [*tmp_path.rglob("*x*.png*")] == []


def test_a_name_that_hides_its_end_is_refused(tmp_path: Path) -> None:
    source = zipped(tmp_path / "a.zip", {"aaa.png/bbb.exe": b"x"})
    source.write_bytes(source.read_bytes().replace(b"aaa.png/bbb", b"aaa.png\0bbb"))
    assert "not every system" in refused(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "words"),
    [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "not a plain file"), (stat.S_IFCHR, "not a plain file")],
)
def test_links_and_devices_are_refused(kind: int, words: str, tmp_path: Path) -> None:
    source = zipped(tmp_path / "a.zip", {member("low", kind): b"/etc", "low/passwd": b"x"})
    assert words in refused(source, tmp_path / "out")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    source = patched(zipped(tmp_path / "a.zip"), 8, b"\x01")
    text = refused(patched(source, 6, b"\x01", LOCAL), tmp_path / "out")
    assert "'set/low/1.png' is encrypted. Do not trust" in text


def test_rare_kinds_of_compression_are_refused(tmp_path: Path) -> None:
    assert "rare way" in refused(zipped(tmp_path / "a.zip", compression=zipfile.ZIP_BZIP2), tmp_path / "out")


@pytest.mark.parametrize(
    "names",
    [
        ("low/a.png", "low/A.png"),
        ("Low/a.png", "low/b.png"),
        ("low", "low/a.png"),
        ("low/a.png", "low"),
        ("straße.png", "STRASSE.png"),
        (unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")),
    ],
)
def test_names_that_are_one_on_some_systems_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    text = refused(zipped(tmp_path / "a.zip", dict.fromkeys(names, b"x")), tmp_path / "out")
    assert "have one name" in text


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    files = {zipfile.ZipInfo("a.png"): b"1", zipfile.ZipInfo("b.png"): b"", zipfile.ZipInfo("a.png"): b"2"}
    assert "have one name" in refused(zipped(tmp_path / "a.zip", files), tmp_path / "out")


def test_limits_hold_before_a_byte_is_written(tmp_path: Path) -> None:
    source, size = zipped(tmp_path / "a.zip"), sum(map(len, FILES.values()))
    assert f"4 members, more than {3}" in refused(source, tmp_path / "out", max_files=3)
    assert f"{size} bytes, more than {size - 1}" in refused(source, tmp_path / "out", max_bytes=size - 1)
    archive.unpack(source, tmp_path / "out", max_files=4, max_bytes=size)
    assert content(tmp_path / "out") == FILES


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (10, "is damaged"),
        (19_999, "is damaged"),
        (20_001, "has not the 20001 bytes"),
        (10**6, "has not the 1000000 bytes"),
    ],
)
def test_a_member_that_lies_about_its_size_is_refused(stated: int, words: str, tmp_path: Path) -> None:
    source = patched(zipped(tmp_path / "a.zip"), 24, struct.pack("<I", stated))
    assert words in refused(source, tmp_path / "out")


def test_a_bomb_stops_at_what_it_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = patched(zipped(tmp_path / "a.zip", {"zeros": bytes(5 << 20)}), 24, struct.pack("<I", 100))
    written: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: written.append(os.fstat(number).st_size))
    assert "damaged" in refused(source, tmp_path / "out", max_bytes=1000)
    assert sum(written) <= 100


def test_no_more_is_written_than_is_stated_whatever_the_reader_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, written = zipped(tmp_path / "a.zip"), []
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: io.BytesIO(bytes(3 << 20)))
    monkeypatch.setattr(os, "fsync", lambda number: written.append(os.fstat(number).st_size))
    assert "has not the 20000 bytes" in refused(source, tmp_path / "out")
    assert written == [0]


@pytest.mark.parametrize("harm", ["bytes", "cut", "text", "empty", "folder", "missing"])
def test_a_broken_archive_is_one_error(harm: str, tmp_path: Path) -> None:
    source = zipped(tmp_path / "a.zip", compression=zipfile.ZIP_STORED)
    data = source.read_bytes()
    source.unlink()
    if harm == "folder":
        source.mkdir()
    elif harm != "missing":
        damaged = {
            "bytes": data.replace(b"dark", b"bark", 1),
            "cut": data[:-30],
            "text": b"<html>no</html>",
            "empty": b"",
        }
        source.write_bytes(damaged[harm])
    text = refused(source, tmp_path / "out")
    assert str(source) in text
    assert ("is damaged" in text) == (harm not in ("folder", "missing"))


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    assert "holds no files" in refused(zipped(tmp_path / "a.zip", {}), tmp_path / "out")


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_there_stays(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    if kind == "file":
        target.write_bytes(b"mine")
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExists):
        archive.unpack(zipped(tmp_path / "a.zip"), target)
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "out"}


def test_what_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def appear(_: int) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "mine").write_bytes(b"mine")

    monkeypatch.setattr(os, "fsync", appear)
    with pytest.raises(OutputExists, match="meanwhile"):
        archive.unpack(zipped(tmp_path / "a.zip"), tmp_path / "out")
    assert content(tmp_path / "out") == {"mine": b"mine"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "out"}


def fails(error: BaseException) -> Any:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_full_disk_is_a_clear_error_that_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = zipped(tmp_path / "a.zip")
    monkeypatch.setattr(os, "fsync", fails(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    assert "the disk is full" in refused(source, tmp_path / "out")


def test_a_disk_without_room_is_found_out_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(map(len, FILES.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size - 1))
    monkeypatch.setattr(os, "fsync", fails(AssertionError("something was written")))
    assert f"{size - 1} bytes left, {size} are needed" in refused(zipped(tmp_path / "a.zip"), tmp_path / "out")


def test_an_interrupted_unpacking_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = zipped(tmp_path / "a.zip")
    monkeypatch.setattr(os, "fsync", fails(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        archive.unpack(source, tmp_path / "out")
    assert [*tmp_path.iterdir()] == [source]


def test_a_killed_unpacking_is_never_taken_for_a_finished_one(tmp_path: Path) -> None:
    source, target = zipped(tmp_path / "a.zip"), tmp_path / "out"
    script = f"""
import os
from pathlib import Path
from lowlight_cli.data import archive
os.fsync = lambda _: os._exit(9)
archive.unpack(Path({str(source)!r}), Path({str(target)!r}))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    assert not target.exists()
    assert next(path.name for path in tmp_path.iterdir() if path != source).startswith(".lowlight-")
    archive.unpack(source, target)
    assert content(target) == FILES
