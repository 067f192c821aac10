"""Files appear whole or not at all, and never over one that must stay."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lowlight_cli import atomic


def test_an_error_while_writing_leaves_what_was_there_and_no_temporary_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_a_file_that_has_appeared_meanwhile_stays(tmp_path, monkeypatch, links):
    if not links:

        def refuse(self: Path, target: Path) -> None:
            raise PermissionError("no links here")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "a"
    atomic.write(path, b"first", overwrite=False)
    with pytest.raises(FileExistsError):
        atomic.write(path, b"second", overwrite=False)
    assert path.read_bytes() == b"first"
    atomic.write(path, b"third")
    assert path.read_bytes() == b"third"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("nameless", [True, False], ids=["nameless", "temporary"])
def test_what_the_system_refuses_names_the_file_that_was_asked_for(tmp_path, monkeypatch, nameless):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if not nameless:
        monkeypatch.setattr(atomic, "write_nameless", lambda *_, **__: False)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        atomic.write(tmp_path / "a", b"data")
    assert caught.value.filename == str(tmp_path / "a")
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError) as missing:
        atomic.write(tmp_path / "no folder" / "a", b"data")
    assert missing.value.filename == str(tmp_path / "no folder" / "a")
    assert not [*tmp_path.iterdir()]


def test_what_is_synced_may_be_written_to(tmp_path, monkeypatch):
    """As Windows asks for."""

    def sync(descriptor: int) -> None:
        os.write(descriptor, b"")

    monkeypatch.setattr(atomic, "write_nameless", lambda *_, **__: False)
    monkeypatch.setattr(os, "fsync", sync)
    atomic.write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_file_that_is_put_aside_gets_the_first_free_name(tmp_path: Path) -> None:
    (tmp_path / "log-1.csv").write_text("old")
    (tmp_path / "log.csv").write_text("new")
    atomic.put_aside(tmp_path / "log.csv")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"log-1.csv": "old", "log-2.csv": "new"}
