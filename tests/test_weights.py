"""Weights: where they are looked for, that wrong bytes never pass, and what a user is told."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_server import REPO, REVISION, Hub, isolate, quick_hub, row, weight_file

from lowlight_cli import hub as hub_module
from lowlight_cli import manifest, weights
from lowlight_cli.errors import NO_MODEL, USAGE, ModelUnavailable
from lowlight_cli.manifest import ModelSpec

GOOD = bytes(range(256)) * 40
OTHER = bytes(reversed(GOOD))
TORCH = weight_file("torch", GOOD, path="tiny/tiny.safetensors")
SPEC = row(TORCH)


@pytest.fixture(autouse=True)
def fresh_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)
    monkeypatch.setattr(manifest, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(manifest, "models", lambda: {SPEC.name: SPEC})
    monkeypatch.setattr(manifest, "read", lambda: {"hub_repo": "project/weights"})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with quick_hub(monkeypatch, tmp_path) as server:
        server.add(REPO, REVISION, TORCH.path, GOOD)
        yield server


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


def put(path: Path | None, data: bytes = GOOD) -> Path:
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def failure(do: Callable[[], object]) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        do()
    assert caught.value.exit_code == NO_MODEL
    return str(caught.value)


# Where files are looked for


@pytest.mark.usefixtures("no_network")
def test_the_order_is_bundled_imported_cached_and_each_needs_no_network() -> None:
    spec = row(weight_file("torch", GOOD, bundled=True))
    file = spec.files[0]
    places = [weights.bundled_path(file), weights.store_path(file), hub_module.cached_path(file)]
    for path in places:
        put(path)
    for path in places:
        assert weights.find(spec, "torch") == path
        assert weights.present(spec, "torch") == path
        path.unlink()
    assert weights.present(spec, "torch") is None


def test_a_file_that_is_nowhere_comes_from_the_hub_once(hub: Hub) -> None:
    path = weights.find(SPEC, "torch")
    assert path == hub_module.cached_path(TORCH)
    assert path.read_bytes() == GOOD
    came = len(hub.requests)
    assert weights.find(SPEC, "torch") == path
    assert len(hub.requests) == came


def test_the_project_repository_can_be_another_one(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = row(weight_file("torch", GOOD, repo=None, revision="f" * 40))
    monkeypatch.setenv("LOWLIGHT_HUB_REPO", f"me/mine@{REVISION}")
    hub.add("me/mine", REVISION, spec.files[0].path, GOOD)
    assert weights.find(spec, "torch").read_bytes() == GOOD
    monkeypatch.setenv("LOWLIGHT_HUB_REPO", "me/mine@main")
    assert "40 hex digits" in failure(lambda: weights.find(spec, "torch"))


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_home_follows_the_platform_and_the_variable(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWLIGHT_HOME", "~/here")
    assert weights.home() == Path.home() / "here"
    monkeypatch.delenv("LOWLIGHT_HOME")
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    folder = {"linux": ".cache", "darwin": "Library/Caches", "win32": "AppData/Local"}[platform]
    assert weights.home() == Path.home() / folder / "lowlight"
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("/x")))
    monkeypatch.setenv("LOCALAPPDATA", str(Path("/x")))
    assert (weights.home() == Path("/x/lowlight")) == (platform != "darwin")


@pytest.mark.parametrize("variable", ["LOWLIGHT_HOME", "HF_HOME"])
def test_without_a_home_folder_an_error_says_what_to_set(
    variable: str, monkeypatch: pytest.MonkeyPatch, run: Callable[..., SimpleNamespace]
) -> None:
    monkeypatch.setenv(variable, "~nobody-has-this-name/x")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    done = run("models", "list")
    assert done.code == USAGE
    assert "There is no home folder for ~nobody-has-this-name/x" in done.err
    assert "LOWLIGHT_HOME" in done.err


@pytest.mark.parametrize("name", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", ""])
def test_the_hub_cache_is_where_huggingface_hub_has_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if name:
        monkeypatch.setenv(name, str(Path("~/elsewhere")))
    package = importlib.util.find_spec("huggingface_hub").submodule_search_locations[0]
    source = importlib.util.spec_from_file_location("constants_again", Path(package) / "constants.py")
    constants = importlib.util.module_from_spec(source)
    source.loader.exec_module(constants)
    assert hub_module.cache() == Path(constants.HF_HUB_CACHE).expanduser()


def test_a_role_that_the_row_lacks_is_an_error_that_names_those_it_has() -> None:
    assert "it has: torch" in failure(lambda: weights.find(SPEC, "onnx-x1"))


@pytest.mark.usefixtures("no_network")
def test_a_file_that_is_not_published_says_so() -> None:
    spec = row(weight_file("torch", GOOD, repo=None, revision=None))
    assert "not published" in failure(lambda: weights.find(spec, "torch"))
    spec = row(weight_file("torch", GOOD, repo=None, revision=None, bundled=True))
    assert "Reinstall" in failure(lambda: weights.find(spec, "torch"))


# Without a network


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_opens_no_socket_and_tells_the_ways_out(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = failure(lambda: weights.find(SPEC, "torch", offline=how == "argument"))
    for word in ("models pull tiny", "models import", REPO, REVISION, TORCH.path, TORCH.sha256, "LOWLIGHT_HUB_REPO"):
        assert word in text
    put(hub_module.cached_path(TORCH))
    assert weights.find(SPEC, "torch", offline=how == "argument").read_bytes() == GOOD
    put(hub_module.cached_path(TORCH), OTHER)
    assert TORCH.sha256 in failure(lambda: weights.find(SPEC, "torch", offline=how == "argument"))


PLAIN_PROCESS = """
import sys
sys.path.insert(0, {tests!r})
from hub_server import REPO, REVISION, row, weight_file
from lowlight_cli import weights
spec = row(weight_file("torch", {data!r}))
assert weights.present(spec, "torch") is None
assert "huggingface_hub" not in sys.modules
print(weights.find(spec, "torch", progress=True))
from huggingface_hub import constants
assert constants.HF_HUB_DISABLE_TELEMETRY and constants.HF_HUB_DISABLE_XET
assert not {{"torch", "numpy", "hf_xet"}} & set(sys.modules)
"""


def test_a_plain_process_downloads_by_the_environment_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"few bytes"
    hub.add(REPO, REVISION, "tiny/torch.bin", data)
    for name in hub_module.SETTINGS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    script = PLAIN_PROCESS.format(tests=str(Path(__file__).parent), data=data)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == data
    assert {headers.get("authorization") for _, _, headers in hub.requests} == {"Bearer hf_secret"}
    assert all("/resolve/" in path for _, path, _ in hub.requests), "something but the file was asked for"


def test_a_proxy_is_used(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", hub.endpoint)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    assert weights.find(SPEC, "torch").read_bytes() == GOOD
    assert all(path.startswith("http://hub.invalid/") for _, path, _ in hub.requests)


# Wrong bytes


def test_wrong_bytes_in_the_cache_are_fetched_once_more(hub: Hub) -> None:
    weights.find(SPEC, "torch").resolve().write_bytes(OTHER)
    assert weights.find(SPEC, "torch").read_bytes() == GOOD
    assert hub.count("GET") == 2


@pytest.mark.usefixtures("hub")
def test_wrong_bytes_that_cannot_be_fetched_again_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights.find(SPEC, "torch")
    path.resolve().write_bytes(OTHER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        assert f"the copy at {path} is damaged" in failure(lambda: weights.find(SPEC, "torch"))


def test_wrong_bytes_twice_are_an_error_with_both_hashes_and_are_not_kept(hub: Hub) -> None:
    weights.find(SPEC, "torch").resolve().write_bytes(OTHER)
    hub.fault("wrong")
    text = failure(lambda: weights.find(SPEC, "torch"))
    wrong = hashlib.sha256(bytes(byte ^ 0xFF for byte in GOOD)).hexdigest()
    assert wrong in text
    assert TORCH.sha256 in text
    assert hub.count("GET") == 2
    assert not [path for path in hub_module.cache().rglob("*") if path.is_file() and path.stat().st_size == len(GOOD)]


def test_wrong_bytes_from_the_hub_are_fetched_once_more(hub: Hub) -> None:
    hub.fault("wrong", times=1)
    assert weights.find(SPEC, "torch").read_bytes() == GOOD


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("data", [OTHER, GOOD[:-1], b""])
@pytest.mark.parametrize("place", ["bundled", "imported"])
def test_wrong_bytes_in_our_own_folders_are_an_error(place: str, data: bytes) -> None:
    spec = row(weight_file("torch", GOOD, bundled=True))
    path = weights.bundled_path(spec.files[0]) if place == "bundled" else weights.store_path(spec.files[0])
    put(path, data)
    text = failure(lambda: weights.find(spec, "torch"))
    assert hashlib.sha256(data).hexdigest() in text
    assert spec.files[0].sha256 in text
    assert ("reinstall lowlight" if place == "bundled" else "models rm") in text
    assert weights.present(spec, "torch") is None


@pytest.mark.usefixtures("no_network")
def test_behind_a_bad_copy_a_good_one_is_found_by_neither() -> None:
    spec = row(weight_file("torch", GOOD))
    put(hub_module.cached_path(spec.files[0]))
    assert weights.present(spec, "torch") == weights.find(spec, "torch")
    put(weights.store_path(spec.files[0]), OTHER)
    assert "models rm" in failure(lambda: weights.find(spec, "torch"))
    assert weights.present(spec, "torch") is None


# Faults of the Hub


FAULTS = {
    "missing": ("HEAD", "no such file"),
    "lost": ("HEAD", "404"),
    "no repository": ("HEAD", "no such repository, or it is private"),
    "forbidden": ("HEAD", "403"),
    "busy": ("HEAD", "503"),
    "hung": ("HEAD", "timed out"),
    "short": ("HEAD", f"{len(GOOD) // 2} bytes where {len(GOOD)}"),
    "stalled": ("GET", "timed out"),
    "truncated": ("GET", "ended early"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_lasting_fault_is_one_error_with_a_remedy(kind: str, hub: Hub) -> None:
    method, words = FAULTS[kind]
    hub.fault(kind, method=method)
    started = time.monotonic()
    text = failure(lambda: weights.find(SPEC, "torch"))
    assert time.monotonic() - started < 10
    assert words in text
    assert f"{REPO} at revision {REVISION}" in text
    assert "models import" in text
    assert weights.present(SPEC, "torch") is None


@pytest.mark.parametrize(
    ("kind", "method"),
    [("busy", "HEAD"), ("busy", "GET"), ("truncated", "GET"), ("stalled", "GET"), ("hung", "GET"), ("short", "GET")],
)
def test_a_passing_fault_is_overcome(kind: str, method: str, hub: Hub) -> None:
    hub.fault(kind, method=method, times=1)
    if kind == "short":  # the look says the right size, the body is shorter: no error of the transport
        assert "size" in failure(lambda: weights.find(SPEC, "torch"))
    assert weights.find(SPEC, "torch").read_bytes() == GOOD


@pytest.mark.usefixtures("hub")
def test_a_server_that_is_not_there_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        assert "no connection" in failure(lambda: weights.find(SPEC, "torch"))


@pytest.mark.usefixtures("hub")
def test_a_transfer_that_starts_over_and_over_is_ended() -> None:
    bar = hub_module._bar(100, show=False)(total=100)
    bar.update(400)
    with pytest.raises(OSError, match="401 bytes came where 100"):
        bar.update(1)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "no permission")],
)
def test_the_disk_is_named_when_it_is_the_cause(number: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "the-file")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    text = failure(lambda: weights.find(SPEC, "torch"))
    assert words in text
    assert "the-file" in text


def test_a_setting_that_huggingface_hub_cannot_read_is_named() -> None:
    script = "from lowlight_cli import hub; hub.set_up()"
    environment = os.environ | {"HF_HUB_ETAG_TIMEOUT": "soon"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert "ModelUnavailable: huggingface_hub cannot start" in done.stderr
    assert "soon" in done.stderr


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("show", [True, False])
def test_the_progress_bar_is_shown_only_when_asked_for(
    show: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # a bar without a terminal
    weights.find(SPEC, "torch", progress=show)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("100%" in err) == show


# Import and removal


@pytest.mark.usefixtures("no_network")
def test_an_imported_file_is_recognised_by_its_bytes(tmp_path: Path) -> None:
    spec, file, path = weights.import_file(put(tmp_path / "renamed by someone.bin"))
    assert (spec, file, path) == (SPEC, TORCH, weights.store_path(TORCH))
    assert weights.find(SPEC, "torch", offline=True) == path
    assert [kept.name for kept in path.parent.iterdir()] == [path.name]


def test_an_unknown_file_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    text = failure(lambda: weights.import_file(put(tmp_path / "other.bin", OTHER)))
    assert TORCH.sha256 not in text
    assert "--weights FILE" in text
    text = failure(lambda: weights.import_file(put(tmp_path / Path(TORCH.path).name, OTHER)))
    assert f"That of {SPEC.name} has sha256 {TORCH.sha256}: it is damaged" in text
    assert not weights.home().exists()


def test_a_copy_that_goes_wrong_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "good.bin")
    monkeypatch.setattr(Path, "read_bytes", lambda _: OTHER)
    failure(lambda: weights.import_file(path))
    assert not [path for path in weights.home().rglob("*") if path.is_file()]


def test_an_import_without_room_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = put(tmp_path / "good.bin")
    monkeypatch.setattr(Path, "write_bytes", full)
    assert "disk is full" in failure(lambda: weights.import_file(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_imported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    text = failure(lambda: weights.import_file(tmp_path / "pipe"))
    assert "it is not a regular file" in text
    assert "Errno" not in text


@pytest.mark.usefixtures("hub")
def test_removal_deletes_all_but_the_bundled_files() -> None:
    spec = row(weight_file("torch", GOOD, path=TORCH.path, bundled=True))
    cached = weights.find(SPEC, "torch")
    blob = cached.resolve()
    bundled, imported = put(weights.bundled_path(TORCH)), put(weights.store_path(TORCH))
    exported = put(weights.home() / "exported" / TORCH.sha256 / "x1.onnx")
    assert set(weights.remove(spec)) == {imported, cached, exported.parent}
    assert bundled.exists()
    assert not any(path.exists() for path in (imported, cached, blob, exported))
    assert weights.remove(spec) == []


def test_removal_keeps_a_blob_that_another_snapshot_needs(hub: Hub) -> None:
    other = row(weight_file("torch", GOOD, path=TORCH.path, revision="e" * 40))
    hub.add(REPO, "e" * 40, TORCH.path, GOOD)
    mine, theirs = weights.find(SPEC, "torch"), weights.find(other, "torch")
    assert weights.remove(SPEC) == [mine]
    assert theirs.read_bytes() == GOOD
    assert hub.count("GET") == 1


# Export


class Exporter:
    """Writes two graphs, one with external data, and counts."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, folder: Path) -> None:
        self.runs += 1
        for name in ("x1.onnx", "x1.onnx.data", "context.onnx"):
            (folder / name).write_bytes(name.encode())


def exported(spec: ModelSpec, exporter: Callable[[Path], None], role: str = "onnx-x1") -> Path:
    return weights.find_or_export(spec, role, exporter)


@pytest.mark.usefixtures("no_network")
def test_an_export_happens_once() -> None:
    exporter = Exporter()
    path = exported(SPEC, exporter)
    assert path == weights.home() / "exported" / TORCH.sha256 / "x1.onnx"
    assert exported(SPEC, exporter) == path
    assert exported(SPEC, exporter, "onnx-context").name == "context.onnx"
    assert weights.find(SPEC, "onnx-x1") == weights.present(SPEC, "onnx-x1") == path
    assert exporter.runs == 1


@pytest.mark.parametrize("name", ["x1.onnx", "x1.onnx.data", weights.SIDECAR])
def test_an_exported_file_that_has_changed_is_exported_again(name: str) -> None:
    exporter = Exporter()
    path = exported(SPEC, exporter)
    (path.parent / name).write_bytes(b"{}")
    assert weights.present(SPEC, "onnx-x1") is None
    assert exported(SPEC, exporter).read_bytes() == b"x1.onnx"
    assert exporter.runs == 2
    assert [kept.name for kept in path.parents[1].iterdir()] == [TORCH.sha256]


def test_another_version_exports_again(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = Exporter()
    exported(SPEC, exporter)
    monkeypatch.setattr(weights, "__version__", "999")
    exported(SPEC, exporter)
    assert exporter.runs == 2


def test_an_export_that_fails_leaves_the_old_one() -> None:
    path = exported(SPEC, Exporter())
    path.write_bytes(b"old")

    def fail(folder: Path) -> None:
        (folder / "x1.onnx").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert "disk is full" in failure(lambda: exported(SPEC, fail))
    assert path.read_bytes() == b"old"
    assert len([*path.parents[1].iterdir()]) == 1


@pytest.mark.usefixtures("no_network")
def test_a_row_with_its_own_onnx_file_exports_nothing() -> None:
    spec = row(TORCH, weight_file("onnx-x1", OTHER))
    own = put(weights.store_path(spec.files[1]), OTHER)
    exporter = Exporter()
    assert exported(spec, exporter) == own
    assert exporter.runs == 0


def test_a_row_without_torch_weights_cannot_be_exported() -> None:
    assert "No weights of" in failure(lambda: exported(row(), Exporter()))
