"""Streams that are closed, full, unbuffered, or the very file to be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lowlight_cli import picture
from lowlight_cli.errors import NO_DEVICE

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
    for module in ("runners", "tasks.doctor"):  # whatever imports it
        code = f"import os, lowlight_cli.{module}; print(os.environ['ORT_DISABLE_TELEMETRY'])"
        assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["pipe", "dangling link"])
def test_a_pipe_or_a_link_to_nowhere_is_not_replaced_by_what_stdin_gave(photo, tmp_path, kind):
    photo(tmp_path / "a.png")
    target = tmp_path / "b.png"
    os.mkfifo(target) if kind == "pipe" else target.symlink_to("nowhere")
    done = shell(f"{COMMAND} - -m aux-retinex --out b.png --overwrite < a.png", tmp_path)
    assert done.returncode == 2
    assert "--out b.png is neither a folder nor a file" in done.stderr
    assert target.is_symlink() or target.is_fifo()
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_was_removed_under_the_command_is_told(photo, tmp_path):
    photo(tmp_path / "a.png")
    line = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -P -m lowlight_cli enhance ../a.png -m gamma --out o"
    done = shell(line, tmp_path, PYTHONPATH=str(Path(__file__).parents[1]))
    assert done.returncode in (1, 2, 3)
    assert "Traceback" not in done.stderr
    assert "stdout" not in done.stderr


SLOW = """
import os, signal, threading, time
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    time.sleep(1)
except BaseException as error:
    raise ImportError("a native library takes it for a broken package") from error
"""


def test_ctrl_c_within_an_import_waits_for_its_end(tmp_path):
    """C++ that imports Python code makes an ImportError of a KeyboardInterrupt, or aborts."""
    (tmp_path / "slow.py").write_text(SLOW)
    code = (
        "import sys, time; sys.path.insert(0, '.'); from lowlight_cli import cli\n"
        "def group(**_):\n    import slow\n    print('imported', flush=True)\n    time.sleep(30)\n"
        "cli.group = group; cli.main()"
    )
    (tmp_path / "code.py").write_text(code)
    done = shell(f"{sys.executable} code.py", tmp_path, PYTHONPATH=str(Path(__file__).parents[1]))
    assert done.returncode == 130
    assert (done.stdout, done.stderr) == ("imported\n", "Interrupted.\n")


def test_ctrl_c_while_the_command_is_imported_ends_it_without_a_traceback(tmp_path):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    root = Path(__file__).parents[1]
    done = shell(f"{sys.executable} -m lowlight_cli --version", tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{root}")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_second_signal_while_an_interrupted_command_ends_changes_nothing(tmp_path, name):
    code = (
        "import os, signal, time; from lowlight_cli import cli\n"
        f"def group(**_):\n    cli.console.end_as_by_ctrl_c(); os.kill(os.getpid(), signal.{name}); time.sleep(30)\n"
        f"cli.leave_hanging_threads = lambda: os.kill(os.getpid(), signal.{name})\n"
        "cli.group = group; cli.main()"
    )
    (tmp_path / "code.py").write_text(code)
    done = shell(f"{sys.executable} code.py", tmp_path, PYTHONPATH=str(Path(__file__).parents[1]))
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


@pytest.mark.parametrize("package", ["onnxruntime", "cv2"])
def test_a_package_that_does_not_load_is_one_message_and_exit_code_5(tmp_path: Path, package: str) -> None:
    (tmp_path / "a.png").write_bytes(picture.encode(picture.from_array(np.zeros((8, 8, 3), np.uint8)), "png"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / f"{package}.py").write_text("print('odd')\nraise ImportError('libGL.so.1: no such file')\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "broken"), *sys.path])}
    command = [sys.executable, "-m", "lowlight_cli", "enhance", "a.png", "--out", "b.png"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == NO_DEVICE, done.stderr
    assert "does not load: libGL.so.1: no such file." in done.stderr
    assert "lowlight doctor" in done.stderr
    assert "Traceback" not in done.stderr
    command = [sys.executable, "-m", "lowlight_cli", "doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert f"{package} does not load" in json.dumps(json.loads(done.stdout))
