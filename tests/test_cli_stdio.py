"""Streams that are closed, full, unbuffered, or the very file to be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lowlight_cli import picture

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shell redirections of POSIX")
COMMAND = f"{sys.executable} -m lowlight_cli enhance"


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in `folder`, with a home of its own there."""
    (folder / "home").mkdir(exist_ok=True)
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={**os.environ, "HOME": str(folder / "home"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_file_behind_stdin_is_not_written_over(photo, tmp_path):
    path = photo(tmp_path / "a.png")
    before = path.read_bytes()
    done = shell(f"{COMMAND} - -m aux-retinex --out a.png --overwrite < a.png", tmp_path)
    assert done.returncode == 2
    assert "never written over" in done.stderr
    assert path.read_bytes() == before


def test_work_goes_on_with_stderr_closed(photo, tmp_path):
    photo(tmp_path / "a.png")
    assert shell(f"{COMMAND} a.png -m aux-retinex --out b.png 2>&-", tmp_path).returncode == 0
    assert picture.load(tmp_path / "b.png").width == 8


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_closed_pipe_is_told_without_a_traceback(photo, tmp_path, closed):
    photo(tmp_path / "a.png")
    done = shell(f"cat a.png | {{ {COMMAND} - -m aux-retinex --out - {closed}; }}", tmp_path)
    assert done.returncode == 2
    assert "closed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_picture_that_stdout_does_not_take_is_an_error(photo, tmp_path, unbuffered):
    photo(tmp_path / "a.png", 60, 80)
    done = shell(f"{COMMAND} - -m aux-retinex --out - < a.png > /dev/full", tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert "space" in done.stderr


def test_a_short_write_to_an_unbuffered_stdout_is_completed(monkeypatch):
    from lowlight_cli.cli.enhance import write_stdout

    taken = bytearray()

    class Raw:
        def write(self, data):
            taken.extend(data[:3])
            return len(data[:3])

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stdout", type("Stdout", (), {"buffer": Raw()})())
    write_stdout(b"0123456789")
    assert taken == b"0123456789"


def test_a_name_cannot_forge_lines_or_colours(photo, tmp_path):
    (tmp_path / "in\n\x1b[31mdone.jpg").write_bytes(b"no picture")
    photo(tmp_path / "ok.png")
    done = shell(f"{COMMAND} . -m aux-retinex --out out", tmp_path)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert r"FAILED in\n\x1b[31mdone.jpg" in done.stderr


def test_onnx_runtime_is_told_to_keep_quiet_and_the_home_folder_stays_empty(photo, tmp_path):
    photo(tmp_path / "a.png")
    assert shell(f"{COMMAND} a.png -m aux-retinex --out b.png", tmp_path).returncode == 0
    assert [*(tmp_path / "home").rglob("*")] == []
    code = "import os, lowlight_cli.runners; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"
