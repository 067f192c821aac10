"""`lowlight doctor`: planted faults get the right level, remedy and exit code, and no secret is shown."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import isolate, row, weight_file

from lowlight_cli import cli, hub, manifest, memory, packages, weights
from lowlight_cli.errors import DONE, SOME_FAILED, DeviceUnavailable, ModelUnavailable
from lowlight_cli.runners import driver
from lowlight_cli.tasks import doctor
from lowlight_cli.tasks.doctor import DoctorOptions
from lowlight_cli.tasks.findings import Finding

GOOD = b"good weights" * 300
BUNDLED = row(weight_file("torch", GOOD, path="b.safetensors", bundled=True), name="bundled-one")
REMOTE = row(weight_file("torch", GOOD, path="r.safetensors"), name="remote-one")
Run = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def fresh_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lowlight", "doctor", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, capsys.readouterr().out

    return run


def only(monkeypatch: pytest.MonkeyPatch, *checks: Callable) -> None:
    """Leave these checks of all."""
    every = doctor.checks

    def left(options: DoctorOptions) -> dict[str, Callable]:
        return {area: check for area, check in every(options).items() if getattr(check, "func", check) in checks}

    monkeypatch.setattr(doctor, "checks", left)


def look(check: Callable, *arguments: bool) -> list[Finding]:
    """What one check sees."""
    return [*check(*arguments)]


def worst(findings: list[Finding]) -> Finding:
    """The one of them that is not ok."""
    (finding,) = [finding for finding in findings if finding.level != "ok"]
    return finding


def plant(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Installed distributions, the names with underscores."""
    table = {name.replace("_", "-"): version for name, version in versions.items()}

    def version(name: str) -> str:
        if name not in table:
            raise importlib.metadata.PackageNotFoundError(name)
        return table[name]

    stated = ["opencv-python-headless<6,>=4.12", "onnxruntime>=1.21; sys_platform == 'x'", "torch>=9; extra == 'dev'"]
    stated += ["onnxruntime-gpu>=1.21; sys_platform == 'y'"]
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: stated)


def test_this_installation_runs_both_back_ends_without_opening_a_socket(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("doctor used the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    code, out = run("--json")
    document = json.loads(out)
    assert (code == DONE) is document["ok"] is all(item["level"] != "problem" for item in document["findings"])
    assert {item["area"] for item in document["findings"]} == {*doctor.checks(DoctorOptions())}
    assert "This check broke" not in out
    ran = [item["text"] for item in document["findings"] if item["area"] == "inference" and item["level"] == "ok"]
    assert any(" onnx on cpu" in text for text in ran)
    assert any(" torch on cpu" in text for text in ran)


def test_extras_that_are_not_installed_are_notes_with_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name in ("accelerate", "rawpy") else object())
    train, benchmark, raw, heif = look(doctor.check_extras)
    assert [found.level for found in (train, benchmark, raw, heif)] == ["note", "ok", "note", "ok"]
    assert "[train], for `lowlight train` and `lowlight export`, is not installed: accelerate" in train.text
    assert train.remedy.endswith('pip install -e ".[train]" -c constraints.txt')
    assert "[raw]" in raw.text


def test_the_extras_are_those_of_the_project() -> None:
    stated = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    wanted = {
        extra: {re.match(r"[\w-]+", text)[0] for text in texts}
        for extra, texts in stated["optional-dependencies"].items()
        if extra != "dev"
    }
    assert wanted == {extra: {*modules.values()} for extra, (_, modules) in packages.EXTRAS.items()}


def test_a_back_end_that_cannot_be_imported_is_a_problem_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime/__init__.py").write_text("raise OSError('libcudart.so.13: no such file\\nmore')")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "lowlight_cli", "doctor", "--json"], env=env, capture_output=True, text=True, check=False
    )
    findings = [Finding(**item) for item in json.loads(done.stdout)["findings"]]
    broken = worst([finding for finding in findings if finding.area == "back ends"])
    assert done.returncode == SOME_FAILED
    assert (broken.level, broken.text) == (
        "problem",
        "onnxruntime does not load: OSError: libcudart.so.13: no such file",
    )
    assert "python -m pip install" in broken.remedy
    runs = {finding.text.split()[1]: finding.level for finding in findings if finding.area == "inference"}
    assert runs == {"onnx": "problem", "torch": "ok", "methods": "ok"}  # "classical methods that run: ..."


def test_a_missing_back_end_is_a_problem_that_pip_mends(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    monkeypatch.setitem(sys.modules, "cv2", None)
    finding = worst(look(doctor.check_backends))
    assert finding.level == "problem"
    assert finding.remedy == 'python -m pip install "opencv-python-headless<6,>=4.12"'


def test_an_empty_shell_of_a_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, opencv_python="5")
    monkeypatch.setitem(sys.modules, "cv2", types.ModuleType("cv2"))
    finding = worst(look(doctor.check_backends))
    assert (finding.level, "empty shell" in finding.text) == ("problem", True)
    assert finding.remedy.startswith("python -m pip uninstall -y opencv-python, then python -m pip install")


@pytest.mark.parametrize(("machine", "kept"), [("x86_64", "onnxruntime-gpu"), ("aarch64", "onnxruntime")])
def test_two_packages_of_one_name_are_a_problem_whose_remedy_keeps_the_right_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, machine: str, kept: str
) -> None:
    plant(monkeypatch, onnxruntime="1.31.1", onnxruntime_gpu="1.31.1", torch="2.13.0")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sys, "platform", "linux")
    only(monkeypatch, doctor.check_packages)
    code, out = run()
    assert code == SOME_FAILED
    assert out.startswith("PROBLEM  packages     onnxruntime-gpu and onnxruntime are installed side by side")
    remedy = f'python -m pip uninstall -y onnxruntime-gpu onnxruntime, then python -m pip install "{kept}>=1.21"'
    assert out.splitlines()[1].strip() == remedy


def test_one_package_of_each_name_is_fine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, onnxruntime="1.31.1", opencv_python="5.0")
    only(monkeypatch, doctor.check_packages)
    assert run()[0] == DONE


def test_a_package_that_is_not_installed_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, **{name.replace("-", "_"): "1" for names in packages.OWNERS.values() for name in names[1:]})
    missing = [finding for finding in look(doctor.check_versions) if finding.level == "problem"]
    named = [finding.text for finding in missing]
    assert named == [
        f"{name} is not installed." for name in ("numpy", "pillow", "safetensors", "huggingface-hub", "torch")
    ]
    assert missing[-1].remedy == 'python -m pip install "torch"'  # versions of an extra are not taken


def test_little_memory_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 100_000_000)
    finding = worst(look(doctor.check_versions))
    assert (finding.level, "0.1 GB" in finding.text, "--tile" in finding.remedy) == ("note", True, True)


@pytest.mark.parametrize(("chosen", "level"), [(True, "problem"), (False, "note")])
def test_a_folder_that_cannot_be_written_is_a_problem_where_it_was_chosen(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: bool, level: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    home = tmp_path / "file" / "home"
    monkeypatch.setenv("LOWLIGHT_HOME", str(home) if chosen else "")
    monkeypatch.setattr(weights, "home", lambda: home)
    finding = worst(look(doctor.check_folders))
    assert (finding.level, str(home) in finding.text) == (level, True)
    assert finding.remedy.startswith("Set LOWLIGHT_HOME to a folder that can be written")
    only(monkeypatch, doctor.check_folders)
    assert run()[0] == (SOME_FAILED if chosen else DONE)


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    assert {finding.level for finding in look(doctor.check_folders)} == {"ok"}
    assert not weights.home().exists()
    assert not hub.cache().exists()
    assert list(tmp_path.iterdir()) == []


def test_corrupt_bundled_weights_are_a_problem(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(manifest, "PACKAGE", tmp_path)
    monkeypatch.setattr(manifest, "models", lambda: {spec.name: spec for spec in (BUNDLED, REMOTE)})
    path = weights.bundled_path(BUNDLED.files[0])
    path.parent.mkdir()
    path.write_bytes(GOOD[:-1] + b"!")
    only(monkeypatch, doctor.check_weights)
    code, out = run("--json")
    bad, absent = json.loads(out)["findings"]
    assert (code, bad["level"], absent["level"]) == (SOME_FAILED, "problem", "note")
    assert str(path) in bad["text"]
    assert bad["remedy"] == "It came with lowlight: reinstall lowlight."
    assert "`lowlight models pull remote-one`" in absent["remedy"]
    path.write_bytes(GOOD)
    assert run()[0] == DONE
    assert run("--offline")[0] == SOME_FAILED  # what is yet to be fetched never will be


def test_a_repository_that_cannot_be_meant_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = row(dataclasses.replace(REMOTE.files[0], repo=None), name="ours")
    monkeypatch.setattr(manifest, "models", lambda: {"ours": spec})
    monkeypatch.setenv("LOWLIGHT_HUB_REPO", "me/mine@main")
    finding = worst(look(doctor.check_weights, False))
    assert (finding.level, "'main'" in finding.text, "40 hex" in finding.remedy) == ("problem", True, True)


def test_no_token_and_no_password_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:s3cret/@s3cret@proxy:3128")
    monkeypatch.setenv("http_proxy", "user:s3cret@proxy:3128")
    monkeypatch.setenv("HF_ENDPOINT", "https://user:s3cret@mirror/hub?key=s3cret")
    only(monkeypatch, doctor.check_environment)
    for code, out in (run(), run("--json")):
        assert (code, "s3cret" in out) == (DONE, False)
        for shown in ("HTTPS_PROXY=http://***@proxy:3128", "http_proxy=***@proxy:3128", "HF_TOKEN is set"):
            assert shown in out
        assert "HF_ENDPOINT=https://***@mirror/hub?***" in out


def test_a_server_without_scheme_is_a_problem_and_idle_cores_and_offline_are_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"HF_ENDPOINT": "mirror.example", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(doctor, "cores", lambda: 4)
    found = [finding for finding in look(doctor.check_environment) if finding.level != "ok"]
    assert [finding.level for finding in found] == ["problem", "note", "note"]
    assert all(finding.remedy for finding in found)


def fake_torch(cuda: str | None, reachable: bool) -> types.ModuleType:
    module = types.ModuleType("torch")
    module.nn, module.version = None, types.SimpleNamespace(cuda=cuda)
    module.cuda = types.SimpleNamespace(
        is_available=lambda: reachable, device_count=lambda: 1, get_device_name=lambda i: f"GPU {i}"
    )
    module.backends = types.SimpleNamespace(mps=types.SimpleNamespace(is_available=lambda: False))
    return module


def fake_onnxruntime(cuda: str | None) -> types.ModuleType:
    module = types.ModuleType("onnxruntime")
    module.InferenceSession, module.cuda_version = None, cuda
    names = [*(["CUDAExecutionProvider"] if cuda else []), "CPUExecutionProvider"]
    module.get_available_providers = lambda: names
    return module


@pytest.mark.parametrize(
    ("torch_cuda", "reachable", "onnx_cuda", "levels", "words"),
    [
        ("13.2", True, "13.0", [], ""),
        (None, False, "13.0", ["problem"], "pytorch.org"),
        ("12.8", True, "13.0", ["note"], "versions of one CUDA"),
        ("13.2", True, None, ["note"], "python -m pip"),
    ],
)
def test_cuda_that_a_back_end_cannot_use_is_told(
    monkeypatch: pytest.MonkeyPatch,
    torch_cuda: str | None,
    reachable: bool,
    onnx_cuda: str | None,
    levels: list[str],
    words: str,
) -> None:
    monkeypatch.setattr(driver, "cuda_devices", lambda: 1)
    monkeypatch.setitem(sys.modules, "torch", fake_torch(torch_cuda, reachable))
    monkeypatch.setitem(sys.modules, "onnxruntime", fake_onnxruntime(onnx_cuda))
    found = [finding for finding in look(doctor.check_devices) if finding.level != "ok"]
    assert [finding.level for finding in found] == levels
    assert all(words in finding.remedy for finding in found)


def test_without_a_cuda_device_differing_builds_are_no_worry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "cuda_devices", lambda: 0)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    monkeypatch.setitem(sys.modules, "torch", fake_torch("12.8", False))
    monkeypatch.setitem(sys.modules, "onnxruntime", fake_onnxruntime("13.0"))
    assert {finding.level for finding in look(doctor.check_devices)} == {"ok"}


def test_an_inference_that_fails_is_a_problem_but_for_onnx_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def selftest(spec: object, *, backend: str, device: str, offline: bool) -> str:
        assert offline
        if backend == "onnx":
            raise DeviceUnavailable(f"no {device}.", "")
        raise RuntimeError("boom")

    from lowlight_cli.tasks import selftest as module

    monkeypatch.setattr(module, "selftest", selftest)
    monkeypatch.setattr(module, "classical_methods", lambda: ([], []))
    monkeypatch.setattr(driver, "cuda_devices", lambda: 1)
    found = [finding for finding in look(doctor.check_inference) if finding.level != "ok"]
    assert [finding.level for finding in found] == ["problem", "problem", "note", "problem"]
    assert found[2].text == "neid: onnx on cuda failed: no cuda."
    assert found[3].text == "neid: torch on cuda failed: RuntimeError: boom"


def test_classical_methods_are_run_and_what_they_lack_is_worth_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    from lowlight_cli.tasks import selftest as module

    def selftest(spec: manifest.ModelSpec, **where: object) -> str:
        if spec.name == "lacking":
            raise ModelUnavailable("lacking needs SciPy.", "pip install it")
        return "ran"

    names = ("network", "sound", "lacking")
    rows = {name: row(name=name, arch="tiny" if name == "network" else "classical.gamma") for name in names}
    monkeypatch.setattr(manifest, "models", lambda: rows)
    monkeypatch.setattr(manifest, "find", lambda _: rows["network"])
    monkeypatch.setattr(module, "selftest", selftest)
    last = look(doctor.check_inference)[-2:]
    assert last[0] == Finding("ok", "classical methods that run: sound")
    assert last[1] == Finding("note", "lacking needs SciPy.", "pip install it")


def test_no_weights_are_missed_of_a_classical_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "models", lambda: {"gamma": row(name="gamma", arch="classical.gamma")})
    assert look(doctor.check_weights, False) == []
    monkeypatch.setattr(manifest, "models", lambda: {"network": row(name="network")})
    assert worst(look(doctor.check_weights, False)).text == "network: no weights are published yet"


def test_a_check_that_breaks_is_a_problem_and_the_next_one_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def known() -> doctor.Findings:
        yield Finding("ok", "so far")
        raise ModelUnavailable("The manifest is old.", "Reinstall.")

    def unknown() -> doctor.Findings:
        raise KeyError("sizes\nmore")

    checks = {"a": known, "b": unknown, "last": lambda: iter([Finding("ok", "ran")])}
    monkeypatch.setattr(doctor, "checks", lambda _: checks)
    code, out = run()
    assert code == SOME_FAILED
    assert "PROBLEM  a            The manifest is old.\n                      Reinstall.\n" in out
    assert "PROBLEM  b            This check broke: KeyError" in out
    assert "ok       last         ran\n\n2 ok, 0 to note, 2 problems\n" in out
