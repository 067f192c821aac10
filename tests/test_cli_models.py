"""`lowlight models`: exact output, exit codes, and that stdout holds data only."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import REPO, REVISION, Hub, isolate, quick_hub, row, weight_file

from lowlight_cli import cli, manifest, weights
from lowlight_cli import hub as hub_module
from lowlight_cli.cli import models
from lowlight_cli.errors import DONE, NO_MODEL, USAGE, DeviceUnavailable, ModelUnavailable
from lowlight_cli.tasks import publish as task
from lowlight_cli.tasks import selftest

GOOD, GRAPH = b"good weights" * 300, b"a graph" * 100
BUNDLED = row(weight_file("torch", GOOD, path="b.safetensors", bundled=True), name="bundled-one", generative=True)
REMOTE = row(
    weight_file("torch", GOOD, path="r.safetensors"),
    weight_file("onnx-x1", GRAPH, path="r.onnx"),
    name="remote-one",
    limits=("It smears.", "It greys."),
)
CLASSICAL = row(name="classical-one", arch="classical.gamma", parameters=0, tiling="whole", multiple=1, halo=0)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def fresh_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)
    monkeypatch.setattr(manifest, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(manifest, "models", lambda: {spec.name: spec for spec in (BUNDLED, REMOTE)})
    monkeypatch.setattr(manifest, "read", lambda: {"hub_repo": "project/weights"})
    put(weights.bundled_path(BUNDLED.files[0]), GOOD)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with quick_hub(monkeypatch, tmp_path) as server:
        server.add(REPO, REVISION, "r.safetensors", GOOD)
        server.add(REPO, REVISION, "r.onnx", GRAPH)
        yield server


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lowlight", "models", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_every_command_has_a_short_first_line_and_an_example() -> None:
    for name, command in models.command.commands.items():
        first = command.help.splitlines()[0]
        assert first.endswith((".", ".)")), name
        assert len(first) < 70, name
        assert f"\b\nExample:\n  lowlight models {name}" in inspect.cleandoc(command.help), name
        assert any("--json" in option.opts for option in command.params), name
    assert models.command.help.splitlines()[0] == cli.COMMANDS["models"]


def test_help_and_list_import_nothing_heavy() -> None:
    script = "import sys, runpy; sys.argv = ['lowlight', 'models', {!r}]\n"
    script += "try: runpy.run_module('lowlight_cli', run_name='__main__')\nexcept SystemExit: pass\n"
    script += "print({{'huggingface_hub', 'torch', 'numpy', 'rich', 'httpx', 'httpx2'}} & set(sys.modules))"
    for word in ("--help", "list"):
        done = subprocess.run([sys.executable, "-c", script.format(word)], capture_output=True, text=True, check=True)
        assert done.stdout.endswith("set()\n"), done.stdout


def test_the_list_is_a_table(run: Run) -> None:
    code, out, err = run("list")
    assert (code, err) == (DONE, "")
    assert out.splitlines() == [
        "NAME         ARCH  PARAMETERS  MB   WEIGHTS      GENERATIVE  SUMMARY",
        "bundled-one  tiny  12.0 K      0.0  bundled      yes         For tests.",
        "remote-one   tiny  12.0 K      0.0  to download  no          For tests.",
    ]


def test_the_list_as_json_tells_each_file(run: Run) -> None:
    _, out, _ = run("list", "--json")
    first, second = json.loads(out)["models"]
    assert (first["name"], first["generative"], first["weights"]) == ("bundled-one", True, "bundled")
    assert first["files"][0]["file"] == str(weights.bundled_path(BUNDLED.files[0]))
    assert [file["sha256"] for file in second["files"]] == [file.sha256 for file in REMOTE.files]
    assert second["files"][1]["place"] == "to download"


def test_an_empty_table_is_no_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "models", dict)
    assert run("list")[0] == DONE
    assert json.loads(run("list", "--json")[1]) == {"models": []}
    assert run("verify")[0] == DONE
    assert run("publish", "--dry-run")[0] == NO_MODEL


def test_one_model_is_shown(run: Run) -> None:
    code, out, _ = run("show", "remote-one")
    assert code == DONE
    assert "licence:         MIT" in out
    assert "limits:\n  - It smears.\n  - It greys.\n" in out
    assert f"sha256 {REMOTE.files[1].sha256}" in out
    assert json.loads(run("show", "remote-one", "--json")[1])["name"] == "remote-one"


def test_tables_of_a_model_are_shown_line_by_line_and_short_lists_in_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = ({"set": "LOL", "PSNR": "20.5 ± 3.6"}, {"set": "NPE"})
    spec = dataclasses.replace(REMOTE, training={"seed": 41, "sets": ["LOL"]}, figures=figures, scales=(1, 2))
    monkeypatch.setattr(manifest, "models", lambda: {spec.name: spec})
    out = run("show", "remote-one")[1]
    assert 'training:        {\n  "seed": 41,\n  "sets": [\n    "LOL"\n  ]\n}\n' in out
    assert '    "PSNR": "20.5 ± 3.6"\n  },\n' in out
    assert "scales:          [1, 2]\n" in out


def test_commands_that_need_no_name_say_so(run: Run) -> None:
    for command in ("verify", "pull"):
        assert f"models {command} [OPTIONS] [NAME]...\n" in run(command, "--help")[1]
    assert "models rm [OPTIONS] NAME...\n" in run("rm", "--help")[1]


@pytest.mark.parametrize("command", ["show", "pull", "verify", "path", "rm"])
def test_an_unknown_name_is_exit_code_4_with_the_nearest_one(command: str, run: Run) -> None:
    code, out, err = run(command, "remot-one")
    assert (code, out) == (NO_MODEL, "")
    assert "'remote-one'" in err


def test_pull_fetches_once_and_path_then_prints_it(hub: Hub, run: Run) -> None:
    code, out, err = run("path", "remote-one")
    assert (code, out) == (NO_MODEL, "")
    assert "lowlight models pull remote-one" in err
    assert hub.requests == []
    code, out, _ = run("pull", "--all", "--json")
    paths = json.loads(out)
    assert code == DONE
    assert Path(paths["remote-one"]["onnx-x1"]).read_bytes() == GRAPH
    assert paths["bundled-one"] == {"torch": str(weights.bundled_path(BUNDLED.files[0]))}
    assert hub.count("GET") == 2
    assert run("pull", "remote-one", "--offline")[:2] == (DONE, "")
    assert json.loads(run("path", "remote-one", "--json")[1]) == paths["remote-one"]
    lines = [f"{role}\t{path}\n" for role, path in paths["remote-one"].items()]
    assert run("path", "remote-one") == (DONE, "".join(lines), "")
    assert hub.count("GET") == 2


def test_pull_wants_names_or_all(run: Run) -> None:
    assert run("pull")[0] == run("pull", "--all", "remote-one")[0] == USAGE


def test_pull_offline_and_pull_of_a_missing_file_are_exit_code_4(hub: Hub, run: Run) -> None:
    code, out, err = run("pull", "remote-one", "--offline", "--json")
    assert (code, out, hub.requests) == (NO_MODEL, "", [])
    assert "models import" in err
    hub.fault("missing", method="HEAD")
    assert run("pull", "remote-one")[0] == NO_MODEL


def test_verify_hashes_every_copy_and_fails_on_one(run: Run) -> None:
    code, out, _ = run("verify", "--json")
    report = json.loads(out)
    assert (code, report["ok"], len(report["files"])) == (DONE, True, 1)
    cached = put(hub_module.cached_path(REMOTE.files[0]), b"bad")
    code, out, err = run("verify")
    assert code == NO_MODEL
    assert out.splitlines()[0].startswith("ok   bundled-one  torch")
    assert out.splitlines()[1].startswith(f"BAD  remote-one  torch  {cached}  3 bytes")
    assert REMOTE.files[0].sha256 in out
    assert "1 of 2 checks failed" in err
    assert run("verify", "bundled-one")[0] == DONE


def test_verify_misses_a_bundled_file(run: Run) -> None:
    weights.bundled_path(BUNDLED.files[0]).unlink()
    code, out, _ = run("verify", "bundled-one", "--json")
    assert (code, json.loads(out)["ok"]) == (NO_MODEL, False)


def test_verify_run_tries_each_scale_on_both_back_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def trial(spec: manifest.ModelSpec, scale: int, *, backend: str, precision: str, offline: bool) -> selftest.Trial:
        assert precision == "auto", "these rows have no int8 form"
        calls.append((spec.name, scale, backend, offline))
        if backend == "onnx" and spec is REMOTE:
            raise DeviceUnavailable("No such back end.")
        return selftest.Trial(model=spec.name, scale=scale, backend=backend, device="cpu", precision="fp32", mean=1.0)

    monkeypatch.setattr(selftest, "trial", trial)
    doubling = dataclasses.replace(BUNDLED, scales=(1, 2))
    monkeypatch.setattr(manifest, "models", lambda: {spec.name: spec for spec in (doubling, REMOTE)})
    assert run("verify", "bundled-one", "--run", "--offline")[0] == DONE
    assert calls == [("bundled-one", scale, backend, True) for backend in ("torch", "onnx") for scale in (1, 2)]
    code, out, _ = run("verify", "--run")
    assert code == NO_MODEL
    assert "ok   remote-one  torch  x1  torch on cpu, fp32: " in out
    assert "BAD  remote-one  onnx  x1  No such back end." in out


def test_import_takes_what_it_knows_and_refuses_the_rest(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("import", put(tmp_path / "x.bin", GRAPH))
    stored = weights.store_path(REMOTE.files[1])
    assert (code, out) == (DONE, f"{stored}\n")
    assert json.loads(run("import", tmp_path / "x.bin", "--json")[1])["model"] == "remote-one"
    assert "imported" in run("list")[1]
    code, out, err = run("import", put(tmp_path / "y.bin", b"?"))
    assert (code, out) == (NO_MODEL, "")
    assert "--weights FILE" in err
    assert run("import", tmp_path / "none.bin")[0] == USAGE


def test_rm_deletes_imported_files_and_leaves_bundled_ones(run: Run) -> None:
    stored = put(weights.store_path(REMOTE.files[1]), GRAPH)
    assert run("rm", "remote-one") == (DONE, f"{stored}\n", "")
    assert not stored.exists()
    code, out, err = run("rm", "bundled-one", "--json")
    assert (code, json.loads(out)) == (DONE, {"removed": []})
    assert "Nothing to delete" in err
    assert weights.bundled_path(BUNDLED.files[0]).exists()


# Classical methods


@pytest.fixture
def with_classical(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "models", lambda: {spec.name: spec for spec in (BUNDLED, CLASSICAL)})


@pytest.mark.usefixtures("with_classical")
def test_the_list_shows_that_a_method_is_classical_and_needs_no_weights(run: Run) -> None:
    assert run("list")[1].splitlines() == [
        "NAME           ARCH             PARAMETERS  MB   WEIGHTS     GENERATIVE  SUMMARY",
        "bundled-one    tiny             12.0 K      0.0  bundled     yes         For tests.",
        "classical-one  classical.gamma  -           -    not needed  no          For tests.",
    ]
    shown = json.loads(run("show", "classical-one", "--json")[1])
    assert (shown["arch"], shown["files"], shown["weights"]) == ("classical.gamma", [], "not needed")


@pytest.mark.usefixtures("with_classical")
def test_a_classical_method_has_nothing_to_fetch_and_no_path(run: Run) -> None:
    code, out, err = run("pull", "classical-one", "--json")
    assert (code, json.loads(out)) == (DONE, {"classical-one": {}})
    assert err == "classical-one: nothing to fetch, it is a classical method\n"
    assert json.loads(run("pull", "--all", "--json")[1]).keys() == {"bundled-one", "classical-one"}
    code, out, err = run("path", "classical-one")
    assert (code, out) == (DONE, "")
    assert err == "classical-one needs no weights: it is a classical method\n"
    assert run("rm", "classical-one")[0] == DONE


@pytest.mark.usefixtures("with_classical")
def test_a_classical_method_is_verified_by_running_it_once(run: Run) -> None:
    assert run("verify", "classical-one") == (DONE, "", "No files of weights to check.\n")
    code, out, _ = run("verify", "classical-one", "--run")
    assert code == DONE
    assert out.startswith("ok   classical-one  classical  x1  classical on cpu, fp32: opened in ")
    assert len(out.splitlines()) == 1


# Publishing


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> manifest.ModelSpec:
    """Rows of the project's own repository, not published yet, and two model cards."""
    files = [weight_file("torch", GOOD, path="own/o.safetensors", repo=None, revision=None, bundled=True)]
    files.append(weight_file("onnx-x1", GRAPH, path="own/o.onnx", repo=None, revision=None))
    spec = row(*files, name="own")
    monkeypatch.setattr(manifest, "models", lambda: {"own": spec, "remote-one": REMOTE})
    put(weights.bundled_path(files[0]), GOOD)
    put(weights.store_path(files[1]), GRAPH)
    put(tmp_path / "docs" / "models" / "README.md", b"---\nlicense: mit\n---\n")
    put(tmp_path / "docs" / "models" / "own.md", b"A card.")
    put(tmp_path / "docs" / "models" / "own.jpg", b"A strip.")
    return spec


@pytest.mark.usefixtures("own")
def test_a_dry_run_lists_the_projects_own_files_and_sends_nothing(hub: Hub, run: Run) -> None:
    code, out, err = run("publish", "--dry-run")
    assert (code, err) == (DONE, "")
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["own/o.safetensors", str(len(GOOD)), "bytes"],
        ["own/o.onnx", str(len(GRAPH)), "bytes"],
        ["README.md", "21", "bytes"],
        ["own.jpg", "8", "bytes"],
        ["own.md", "7", "bytes"],
    ]
    document = json.loads(run("publish", "--dry-run", "--json")[1])
    assert (document["repo"], document["revision"], len(document["files"])) == ("project/weights", None, 5)
    assert hub.requests == []


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own way to send a file
def test_what_is_published_can_be_pulled_at_the_printed_revision(
    own: manifest.ModelSpec, hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, out, err = run("publish", "--repo", "me/mine")
    revision = out.strip()
    assert code == DONE, err
    assert len(revision) == 40
    assert hub.files["me/mine", revision, "own.md"] == b"A card."
    weights.store_path(own.files[1]).unlink()
    monkeypatch.setenv("LOWLIGHT_HUB_REPO", f"me/mine@{revision}")
    assert weights.find(own, "onnx-x1").read_bytes() == GRAPH


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("repo", ["me/mine@v1", "@", "@v1"])
def test_nothing_is_published_to_a_revision_or_to_no_repository(hub: Hub, run: Run, repo: str) -> None:
    code, out, err = run("publish", "--repo", repo)
    assert (code, out, hub.requests) == (USAGE, "", [])
    assert f"{repo} is not OWNER/NAME" in err


@pytest.mark.usefixtures("own", "hub")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("HF_ENDPOINT", "http://127.0.0.1:99999", "Check the network, HF_ENDPOINT"),
        ("HF_TOKEN", "hf_ü", "Check HF_TOKEN"),
    ],
)
def test_settings_of_the_hub_that_cannot_be_are_exit_code_4(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv(name, value)
    code, out, err = run("publish", "--repo", "me/mine")
    assert (code, out) == (NO_MODEL, "")
    assert told in err


@pytest.mark.skipif(os.name == "nt", reason="a redirection of POSIX")
@pytest.mark.parametrize(
    "words", ["models list --json", "export run --out out", "verify log --json", "synth in -o x --json"]
)
def test_a_closed_stdout_is_told_by_whatever_needs_it(words: str) -> None:
    line = f"{sys.executable} -m lowlight_cli {words} >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == USAGE, done.stderr
    assert "stdout is closed" in done.stderr


@pytest.mark.usefixtures("own")
def test_a_server_that_refuses_is_exit_code_4(hub: Hub, run: Run) -> None:
    hub.fault("forbidden", method="POST")
    code, out, err = run("publish")
    assert (code, out) == (NO_MODEL, "")
    assert "HF_TOKEN" in err


def test_a_file_with_other_bytes_or_none_is_not_published_and_not_fetched(
    hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = row(weight_file("torch", GOOD, repo=None), name="own")
    monkeypatch.setattr(manifest, "models", lambda: {"own": spec})
    path = put(weights.store_path(spec.files[0]), GRAPH)
    assert run("publish")[0] == NO_MODEL
    path.unlink()
    assert run("publish")[0] == NO_MODEL
    assert hub.requests == []


def test_two_files_of_one_path_are_refused(tmp_path: Path) -> None:
    specs = [row(weight_file("torch", data, path="same", repo=None), name=data.decode()) for data in (b"a", b"b")]
    for spec, data in zip(specs, (b"a", b"b"), strict=True):
        put(weights.store_path(spec.files[0]), data)
    with pytest.raises(ModelUnavailable, match="Two rows name same"):
        task.plan(specs, tmp_path)
