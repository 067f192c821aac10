"""Disks that fill up, hang or are swapped, files that change, processes that are killed: each ends in a clear state.

`benchmarks/faults.py` injects more of them, more often.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowlight_cli import atomic, cli, packages, picture
from lowlight_cli.errors import NO_DEVICE, USAGE, OutputExists, PictureError
from lowlight_cli.picture import file as picture_file
from lowlight_cli.tasks import folders

ROOT = Path(__file__).resolve().parent.parent
posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
Photo = Callable[..., Path]


def words(*flags: str) -> list[str]:
    """The command on `in`, run so that faults can be put into it."""
    return [sys.executable, "-m", "faults_inject", "enhance", "in", "--out", "out", "--model", "gamma", *flags]


def environment(folder: Path, fault: str = "", **more: str) -> dict[str, str]:
    paths = os.pathsep.join(str(path) for path in (ROOT, ROOT / "benchmarks"))
    return {**os.environ, "PYTHONPATH": paths, "HOME": str(folder), "LOWLIGHT_FAULT": fault, **more}


def run(folder: Path, *flags: str, fault: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    env = environment(folder, fault, **more)
    return subprocess.run(words(*flags), cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures in `in`, and in `out` what a run makes of them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "in").mkdir()
    for number in range(6):
        dark = np.random.default_rng(number).integers(0, 60, (20 + number, 30, 3), np.uint8)
        Image.fromarray(dark).save(folder / "in" / f"{number}.png")
    assert run(folder).returncode == 0
    return folder


@pytest.fixture
def batch(undisturbed: Path, tmp_path: Path) -> dict[str, bytes]:
    """Those pictures in `in`; gives what belongs into `out`, by name."""
    shutil.copytree(undisturbed / "in", tmp_path / "in")
    return whole(undisturbed / "out")


def whole(folder: Path) -> dict[str, bytes]:
    """What bears the name of a target."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(atomic.PREFIX)}


@posix
@pytest.mark.parametrize("fault", ["kill-fsync-3", "killed-link-2", "named,kill-fsync-2", "named,kill-link-1"])
def test_kill_9_in_a_write_leaves_only_whole_files_and_the_next_run_does_the_rest(
    batch: dict[str, bytes], tmp_path: Path, fault: str
) -> None:
    inputs = whole(tmp_path / "in")
    assert run(tmp_path, fault=fault).returncode == -signal.SIGKILL
    assert whole(tmp_path / "out").items() < batch.items()
    leftovers = len([*(tmp_path / "out").iterdir()]) - len(whole(tmp_path / "out"))
    assert bool(leftovers) == (fault.startswith("named") or not nameless(tmp_path))
    assert run(tmp_path, "--skip-existing").returncode == 0
    assert whole(tmp_path / "out") == batch
    assert whole(tmp_path / "in") == inputs
    again = ["enhance", "out", "--out", "again", "--model", "gamma", "--dry-run"]
    seen = subprocess.run(
        [sys.executable, "-m", "lowlight_cli", *again],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stderr.count("planned out") == len(batch)


def nameless(folder: Path) -> bool:
    """Whether files without a name can be written here."""
    return atomic.write_nameless(folder / "probe", b"", overwrite=True, check=atomic.allow)


@posix
def test_files_that_a_disk_does_not_take_fail_with_a_remedy_and_the_others_are_whole(
    batch: dict[str, bytes], photo: Photo, tmp_path: Path
) -> None:
    import resource

    photo(tmp_path / "in" / "large.png", 200, 300)
    limit = max(map(len, batch.values()))
    done = subprocess.run(
        words(),
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "takes larger files" in done.stderr
    assert whole(tmp_path / "out") == batch
    assert [*(tmp_path / "out").glob(f"{atomic.PREFIX}*")] == []


@posix
def test_inputs_stay_as_they_are_when_a_link_to_them_takes_the_place_of_the_output_folder(
    batch: dict[str, bytes], tmp_path: Path
) -> None:
    inputs = whole(tmp_path / "in")
    swap = os.pathsep.join(str(tmp_path / name) for name in ("out", "in"))
    done = run(tmp_path, "--overwrite", fault="swap-2", LOWLIGHT_SWAP=swap)
    assert (tmp_path / "out").is_symlink()
    assert done.returncode in (1, 6)
    assert "is another folder than at first" in done.stderr
    assert whole(tmp_path / "in") == inputs
    (tmp_path / "out").unlink()
    (tmp_path / "out-moved").rename(tmp_path / "out")
    assert run(tmp_path, "--skip-existing").returncode == 0
    assert whole(tmp_path / "out") == batch


@posix
def test_a_second_ctrl_c_ends_a_run_whose_write_never_returns(batch: dict[str, bytes], tmp_path: Path) -> None:
    pipe, env = subprocess.PIPE, environment(tmp_path, "hang-fsync-2")
    with subprocess.Popen(words(), cwd=tmp_path, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            wait_for(lambda: [*tmp_path.glob("out/[0-9].png")])
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Interrupted" in told
    assert "Traceback" not in told
    assert whole(tmp_path / "out").items() < batch.items()


def wait_for(there: Callable[[], object]) -> None:
    """Until something is there, or a minute has gone."""
    for _ in range(600):
        if there():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


def test_a_folder_that_is_moved_or_replaced_is_told_from_the_one_at_first(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "other").mkdir()
    with folders.held(tmp_path / "out") as out:
        out.check()
        (tmp_path / "out").rename(tmp_path / "moved")
        with pytest.raises(PictureError, match="is gone"):
            out.check()
        (tmp_path / "other").rename(tmp_path / "out")
        with pytest.raises(PictureError, match="another folder") as caught:
            out.check()
        assert "--skip-existing" in caught.value.hint
        (tmp_path / "out").rmdir()
        (tmp_path / "moved").rename(tmp_path / "out")
        out.check()


@pytest.fixture(params=["nameless", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Both ways to write a file."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif not nameless(tmp_path):
        pytest.skip("no files without a name here")
    else:
        (tmp_path / "probe").unlink()
    return request.param


def test_a_file_is_written_replaced_and_left_alone_in_both_ways(way: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data, overwrite in ((b"first", False), (b"second", True)):
        atomic.write(path, data, overwrite=overwrite)
        assert path.read_bytes() == data
    with pytest.raises(FileExistsError) as caught:
        atomic.write(path, b"third", overwrite=False)
    assert caught.value.filename == str(path)
    with pytest.raises(OutputExists, match="exists already"):
        picture.write(b"third", path, overwrite=False)
    assert path.read_bytes() == b"second"
    assert [*tmp_path.iterdir()] == [path]
    (tmp_path / "plain").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_what_the_disk_says_at_the_end_of_a_write_is_told_and_nothing_stays(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PictureError, match=os.strerror(number)) as caught:
        picture.write(b"new", path)
    assert caught.value.hint != "Check the path and the disk."
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


def test_the_last_check_comes_when_all_is_written_and_may_stop_it(way: str, tmp_path: Path) -> None:
    def refuse() -> None:
        raise PictureError("The folder is another one.")

    with pytest.raises(PictureError, match="another one"):
        atomic.write(tmp_path / "a", b"new", check=refuse)
    assert [*tmp_path.iterdir()] == []


def test_where_a_link_to_a_file_without_a_name_is_refused_it_is_written_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(atomic, "name", refuse)
    assert not atomic.write_nameless(tmp_path / "a", b"data", overwrite=False, check=atomic.allow)
    atomic.write(tmp_path / "a", b"data", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"data"
    assert [*tmp_path.iterdir()] == [tmp_path / "a"]


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    photo: Photo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = photo(tmp_path / "a.png", 40, 60)
    data = path.read_bytes()
    monkeypatch.setattr(picture_file, "CHUNK", 512)
    once, alive = iter([True]), picture_file.Reader.alive

    def meanwhile(reader: picture_file.Reader) -> None:
        alive(reader)
        if threading.current_thread() is reader and next(once, False):  # after the first chunk
            path.write_bytes({"grows": data + b"more", "shrinks": data[:700], "is rewritten": data}[change])
            os.utime(path, (1, 1))

    monkeypatch.setattr(picture_file.Reader, "alive", meanwhile)
    with pytest.raises(PictureError, match="changed while it was read") as caught:
        picture.read(path)
    assert "--skip-existing" in caught.value.hint
    path.write_bytes(data)
    assert picture.read(path) == data


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a file one that never answers, and patience short; the end of the test lets those go that wait."""
    stalled, ended, opened = set(), threading.Event(), os.open

    def open_or_wait(path: object, *words: int, **options: int | None) -> int:
        if path in stalled:
            ended.wait()
        return opened(path, *words, **options)

    monkeypatch.setattr(os, "open", open_or_wait)
    for name in ("STALL", "HEADER"):
        monkeypatch.setattr(picture_file, name, 0.05)
    yield stalled.add
    ended.set()


def test_a_share_that_does_not_answer_is_given_up_and_other_files_go_on(
    photo: Photo, tmp_path: Path, silent: Callable[[Path], None]
) -> None:
    gone, there = photo(tmp_path / "gone.png", 20, 30), photo(tmp_path / "there.png", 20, 31)
    silent(gone)
    for _ in range(2):
        with pytest.raises(PictureError, match=r"Nothing came .* for 0.05 s") as caught:
            picture.load(gone)
        assert "--skip-existing" in caught.value.hint
        assert picture.pixel_count(gone) == 0
        assert picture.load(there).width == 31
        assert picture.pixel_count(there) == 20 * 31


def test_as_long_as_bytes_come_a_slow_file_is_waited_for(
    photo: Photo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photo(tmp_path / "a.png", 40, 60)
    monkeypatch.setattr(picture_file, "CHUNK", 256)
    pause = threading.Event()

    def slow(work: picture_file.Work, seconds: float) -> object:
        return patiently(lambda alive: work(lambda: (pause.wait(0.1), alive())), 0.5)

    patiently = picture_file.patiently
    monkeypatch.setattr(picture_file, "patiently", slow)
    assert len(path.read_bytes()) > 10 * 256  # more than a second in all
    assert picture.read(path) == path.read_bytes()


def test_a_thread_that_read_ends_with_the_one_it_read_for(photo: Photo, tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    readers: list[threading.Thread] = []

    def read() -> None:
        before = {*threading.enumerate()}
        picture.read(path)
        readers.extend(
            one for one in threading.enumerate() if isinstance(one, picture_file.Reader) and one not in before
        )

    for _ in range(3):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    for reader in readers:
        reader.join(10)
    assert [reader.is_alive() for reader in readers] == [False] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_reads_with_a_thread_of_its_own(photo: Photo, tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    data = picture.read(path)
    if not (child := os.fork()):
        signal.alarm(30)
        os._exit(picture.read(path) != data)
    assert os.waitpid(child, 0)[1] == 0


def test_a_header_is_read_however_far_into_the_file_it_goes(photo: Photo, tmp_path: Path) -> None:
    with Image.open(photo(tmp_path / "small.jpg", 50, 70)) as image:
        exif = Image.Exif()
        exif[0x010E] = "x" * 60_000
        image.save(tmp_path / "a.jpg", exif=exif, icc_profile=b"y" * 200_000)
        image.save(tmp_path / "a.webp")
        image.save(tmp_path / "a.tiff")  # its directory may come last
    for name in ("a.jpg", "a.webp", "a.tiff"):
        assert picture.pixel_count(tmp_path / name) == 50 * 70


@posix
def test_neither_a_pipe_nor_a_device_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        assert picture.pixel_count(tmp_path / name) == 0
        with pytest.raises(PictureError, match="not a regular file"):
            picture.read(tmp_path / name)


def end_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let any command raise that."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "group", fail)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        ImportError("libx.so.5: failed to map segment from shared object"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_where_memory_runs_out_outside_of_a_picture_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    end_with(monkeypatch, error)
    assert cli.run() == 1
    assert "not enough memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), ImportError("No module named 'x'", name="lowlight_cli.x")], ids=str
)
def test_other_errors_of_those_kinds_are_not_taken_for_a_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    end_with(monkeypatch, error)
    with pytest.raises(type(error)):
        cli.run()


def test_a_package_that_does_not_load_is_none_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    end_with(monkeypatch, ImportError("No module named 'x'", name="x"))
    assert cli.run() == NO_DEVICE
    assert "x does not load: No module named 'x'." in capsys.readouterr().err


def test_a_package_of_an_extra_that_is_not_there_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    end_with(monkeypatch, ModuleNotFoundError("No module named 'yaml'", name="yaml"))
    assert cli.run() == NO_DEVICE  # it is there, and still does not load
    assert "doctor" in capsys.readouterr().err
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert cli.run() == USAGE
    told = capsys.readouterr().err
    assert "pyyaml is not installed." in told
    assert 'pip install -e ".[train]" -c constraints.txt' in told
