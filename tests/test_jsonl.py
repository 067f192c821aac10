"""Lines that are added to a file are whole, or an error; lines that are not tables are passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lowlight_cli import jsonl


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b"{}\n"), (b"{}\n", b"{}\n{}\n"), (b'{"a', b'{"a\n{}\n'), (b"\n", b"\n{}\n")]
)
def test_a_line_stands_on_its_own_whatever_a_killed_run_left(before: bytes, after: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(before)
    with path.open("a+b", buffering=0) as file:
        jsonl.append(file.fileno(), "{}")
    assert path.read_bytes() == after


def test_a_line_that_a_full_disk_cuts_is_an_error_and_the_next_one_is_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, write = tmp_path / "a.jsonl", os.write
    with path.open("a+b", buffering=0) as file:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
            with pytest.raises(OSError, match="No space left"):
                jsonl.append(file.fileno(), "[1, 2]")
        jsonl.append(file.fileno(), "[3]")
    assert path.read_bytes() == b"[1,\n[3]\n"


def test_only_the_tables_of_a_file_are_read() -> None:
    lines = [b'{"a": 1}', b'{"a', b"[1]", b"null", b"", b"\xff", b"[" * 100_000, b'{"a": 2}\r', b'{"b": 3}']
    assert [*jsonl.read(b"\n".join(lines))] == [{"a": 1}, {"a": 2}, {"b": 3}]
    assert [*jsonl.read(b"")] == []
