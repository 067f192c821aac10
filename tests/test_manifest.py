"""`weights_manifest.json` against a schema and against the bundled files; and that both checks can fail."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest

from lowlight_cli import assets, manifest, weights
from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.manifest import ModelSpec, WeightFile

LARGEST_BUNDLE = 90_000_000
"""Bytes of all bundled files: the wheel stays below the 100 MB that the package index takes."""

DOCUMENT = json.loads(manifest.manifest_path().read_text(encoding="utf-8"))
TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
POSITIVE = {"type": "integer", "minimum": 1}
END = r"$(?!\n)"
"""`$` alone also stands before a line break at the end."""
NAME = "^[a-z0-9][a-z0-9.-]*" + END

FILE_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["role", "path", "bytes", "sha256"],
    "properties": {
        "role": {"type": "string", "pattern": "^(torch|onnx-(context|x[1-9](-int8)?))" + END},
        # No absolute path, no drive, no step up: the path becomes part of one on the user's disk.
        "path": {"type": "string", "pattern": r"^(?!.*(?:^|/)\.)[\w.-]+(?:/[\w.-]+)*\.(?:safetensors|onnx)" + END},
        "bytes": POSITIVE,
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}" + END},
        "bundled": {"type": "boolean"},
        "repo": {"type": ["string", "null"], "pattern": r"^[\w.-]+/[\w.-]+" + END},
        "revision": {"type": ["string", "null"], "pattern": "^[0-9a-f]{40}" + END},
    },
    "anyOf": [
        {"required": ["bundled"], "properties": {"bundled": {"const": True}}},
        {"required": ["revision"], "properties": {"revision": {"type": "string"}}},
    ],
}

OPTIONAL = {"name", "limits", "check", "shadows", "channel_blocks", "smallest"}
"""What a row may leave out, beside the name, which is its key."""

ROW_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": sorted({field.name for field in dataclasses.fields(ModelSpec)} - OPTIONAL),
    "properties": {
        "arch": {"type": "string", "pattern": r"^(classical\.)?[a-z][a-z0-9_]*" + END},
        "summary": {**TEXT, "maxLength": 120},
        "paper": {"type": "object", "minProperties": 1, "additionalProperties": TEXT},
        "licence": TEXT,
        "params": {"type": "object"},
        "parameters": COUNT,
        "multiple": POSITIVE,
        "halo": COUNT,
        "tiling": {"enum": ["exact", "guided", "whole"]},
        "thumbnail": COUNT,
        "scales": {"type": "array", "minItems": 1, "uniqueItems": True, "items": POSITIVE},
        "exposure": {"type": "boolean"},
        "precisions": {
            "type": "array",
            "contains": {"const": "fp32"},
            "uniqueItems": True,
            "items": {"enum": ["fp32", "fp16", "bf16", "int8"]},
        },
        "bytes_per_pixel": POSITIVE,
        "generative": {"type": "boolean"},
        "files": {"type": "array", "items": FILE_SCHEMA},
        "channel_blocks": {"type": "boolean"},
        "smallest": {"type": "integer", "minimum": 1},
        "shadows": {"type": "number", "minimum": 0, "maximum": 1},
        "limits": {"type": "array", "items": {**TEXT, "pattern": r"\." + END}},
        "check": {
            "type": "object",
            "propertyNames": {"pattern": "^x[1-9](-int8)?" + END},
            "additionalProperties": {
                "type": "array",
                "minItems": 16,
                "maxItems": 16,
                "items": {"type": "number", "minimum": 0, "maximum": 1},
            },
        },
        "training": {"type": "object"},
        "figures": {"type": "array", "items": {"type": "object", "minProperties": 1}},
    },
    "allOf": [
        {
            "if": {"properties": {"tiling": {"const": "guided"}}},
            "then": {"properties": {"thumbnail": {"minimum": 1}}},
            "else": {"properties": {"thumbnail": {"const": 0}}},
        },
        {
            "if": {"properties": {"arch": {"pattern": r"^classical\."}}},
            "then": {
                "properties": {
                    "parameters": {"const": 0},
                    "multiple": {"const": 1},
                    "halo": {"const": 0},
                    "tiling": {"const": "whole"},
                    "scales": {"const": [1]},
                    "exposure": {"const": False},
                    "precisions": {"const": ["fp32"]},
                    "generative": {"const": False},
                    "files": {"const": []},
                    "training": {"const": {}},
                }
            },
            "else": {
                "properties": {
                    "parameters": POSITIVE,
                    # Without files: a network that has no weights yet.
                    "files": {
                        "anyOf": [{"const": []}, {"contains": {"properties": {"role": {"const": "torch"}}}}],
                    },
                }
            },
        },
    ],
}

ASSET_SCHEMA = {
    **FILE_SCHEMA,
    "required": ["what", "licence", "path", "bytes", "sha256"],
    "properties": {
        **{name: rule for name, rule in FILE_SCHEMA["properties"].items() if name != "role"},
        "what": {**TEXT, "maxLength": 120},
        "licence": TEXT,
        "path": {"type": "string", "pattern": r"^(?!.*(?:^|/)\.)[\w.-]+(?:/[\w.-]+)*\.(?:safetensors|mat|npz)" + END},
    },
}
UNSEEN_SCHEMA = {
    **ASSET_SCHEMA,
    "required": [*ASSET_SCHEMA["required"], "revision"],
    "properties": {
        **ASSET_SCHEMA["properties"],
        "bytes": {"type": "null"},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{16,63}" + END},
    },
}
"""An asset whose file none of us has held in hand."""

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema_version", "hub_repo", "models"],
    "properties": {
        "schema_version": {"const": manifest.SCHEMA_VERSION},
        "hub_repo": {"type": "string", "pattern": r"^[\w.-]+/[\w.-]+" + END},
        "assets": {
            "type": "object",
            "propertyNames": {"pattern": NAME},
            "additionalProperties": {"anyOf": [ASSET_SCHEMA, UNSEEN_SCHEMA]},
        },
        "models": {"type": "object", "propertyNames": {"pattern": NAME}, "additionalProperties": ROW_SCHEMA},
    },
}

EXAMPLE: dict[str, Any] = {
    "schema_version": 1,
    "hub_repo": "owner/weights",
    "models": {
        "example": {
            "arch": "example",
            "summary": "A row with every field.",
            "paper": {"title": "A paper", "url": "https://example.org"},
            "licence": "MIT",
            "params": {"width": 8},
            "parameters": 1000,
            "multiple": 4,
            "halo": 16,
            "tiling": "guided",
            "thumbnail": 256,
            "scales": [1, 2],
            "exposure": False,
            "precisions": ["fp32", "bf16"],
            "bytes_per_pixel": 500,
            "generative": False,
            "files": [
                {"role": "torch", "path": "example.safetensors", "bytes": 4000, "sha256": "a" * 64, "bundled": True},
                {
                    "role": "onnx-x1",
                    "path": "example/x1.onnx",
                    "bytes": 5000,
                    "sha256": "b" * 64,
                    "repo": None,
                    "revision": "c" * 40,
                },
            ],
            "training": {},
            "figures": [{"set": "example", "psnr": 20.0}],
        },
        "method": {
            "arch": "classical.method",
            "summary": "A row without files.",
            "paper": {"title": "A paper"},
            "licence": "MIT",
            "params": {"sigma": 3.0},
            "parameters": 0,
            "multiple": 1,
            "halo": 0,
            "tiling": "whole",
            "thumbnail": 0,
            "scales": [1],
            "exposure": False,
            "precisions": ["fp32"],
            "bytes_per_pixel": 50,
            "generative": False,
            "files": [],
            "training": {},
            "figures": [],
        },
    },
}


def faults(document: dict[str, Any]) -> list[str]:
    """What the schema, and what no schema can say, find wrong."""
    found = [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)]
    for name, row in document["models"].items():
        roles = [file.get("role") for file in row.get("files", [])]
        found += [f"{name} has the role {role} twice" for role in {*roles} if roles.count(role) > 1]
    return found


def bundle_faults(files: list[WeightFile]) -> list[str]:
    """Bundled files that are missing or have other bytes, and a bundle that is too large."""
    found = []
    for file in files:
        try:
            weights.check(weights.bundled_path(file), file)
        except ModelUnavailable as error:
            found.append(error.message)
    total = sum({file.path: file.bytes for file in files}.values())
    return found if total < LARGEST_BUNDLE else [*found, f"the bundle has {total} bytes"]


def bundled() -> list[WeightFile]:
    return [file for spec in manifest.models().values() for file in spec.files if file.bundled]


def test_the_manifest_obeys_the_schema() -> None:
    assert faults(DOCUMENT) == []


def test_every_row_becomes_a_spec() -> None:
    assert list(manifest.models()) == list(DOCUMENT["models"])
    for name, spec in manifest.models().items():
        assert manifest.find(name) is spec
        module = spec.arch.replace(".", "/") if spec.classical else f"models/{spec.arch}"
        assert (manifest.PACKAGE / f"{module}.py").is_file(), f"{name}: no module for {spec.arch}"
        rough = {f"{graph}-int8" for graph in spec.graphs() if graph != "context" and "int8" in spec.precisions}
        assert {file.role.removeprefix("onnx-") for file in spec.files} <= {"torch", *spec.graphs(), *rough}
        assert rough <= {file.role.removeprefix("onnx-") for file in spec.files}


def test_networks_come_before_classical_methods() -> None:
    kinds = [spec.classical for spec in manifest.models().values()]
    assert {*kinds} == {False, True}
    assert kinds == sorted(kinds)


def test_bundled_files_are_here_and_small_enough_to_ship() -> None:
    assert bundle_faults(bundled()) == []


def test_no_file_lies_in_the_bundle_that_no_row_names() -> None:
    kinds = {".safetensors", ".onnx", ".data"}
    there = {path for path in (manifest.PACKAGE / "bundled").rglob("*") if path.suffix in kinds}
    assert there <= {weights.bundled_path(file) for file in bundled()}


def test_the_bundle_check_sees_missing_wrong_and_too_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "PACKAGE", tmp_path)
    file = WeightFile(role="torch", path="x.safetensors", bytes=3, sha256="a" * 64, bundled=True)
    assert "cannot be read" in bundle_faults([file])[0]
    (tmp_path / "bundled").mkdir()
    weights.bundled_path(file).write_bytes(b"abc")
    assert "expected 3 bytes, sha256 aaa" in bundle_faults([file])[0]
    good = dataclasses.replace(file, sha256=weights.sha256_of(weights.bundled_path(file)))
    assert bundle_faults([good]) == []
    assert len(bundle_faults([good, dataclasses.replace(good, path="y", bytes=LARGEST_BUNDLE)])) == 2


def test_the_example_obeys_the_schema_and_becomes_a_spec() -> None:
    assert faults(EXAMPLE) == []
    spec = manifest.spec_from_row("example", EXAMPLE["models"]["example"])
    assert spec.graphs() == ("context", "x1", "x2")
    assert spec.file("onnx-x1").revision == "c" * 40
    assert spec.file("onnx-x2") is None
    method = manifest.spec_from_row("method", EXAMPLE["models"]["method"])
    assert (spec.classical, method.classical) == (False, True)
    assert method.graphs() == ()


ROW_FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a field too many": lambda row: row.update(nmae="x"),
    "no licence": lambda row: row.pop("licence"),
    "no figures": lambda row: row.pop("figures"),
    "an empty paper": lambda row: row.update(paper={}),
    "a module that is a path": lambda row: row.update(arch="../evil"),
    "no parameters": lambda row: row.update(parameters=0),
    "multiple of nothing": lambda row: row.update(multiple=0),
    "a truth that is a text": lambda row: row.update(generative="no"),
    "unknown tiling": lambda row: row.update(tiling="approximate"),
    "guided without a thumbnail": lambda row: row.update(thumbnail=0),
    "exact with a thumbnail": lambda row: row.update(tiling="exact"),
    "a precision nobody knows": lambda row: row.update(precisions=["fp32", "int4"]),
    "no fp32": lambda row: row.update(precisions=["bf16"]),
    "no scale": lambda row: row.update(scales=[]),
    "no torch file": lambda row: row["files"].pop(0),
    "the same role twice": lambda row: row["files"].append(row["files"][0]),
}

METHOD_FAULTS: dict[str, dict[str, Any]] = {
    "an arch of another package": {"arch": "training.method"},
    "an arch that climbs": {"arch": "classical..method"},
    "parameters": {"parameters": 7},
    "a multiple": {"multiple": 4},
    "a halo": {"halo": 8},
    "tiles": {"tiling": "exact"},
    "a thumbnail": {"thumbnail": 112},
    "a second scale": {"scales": [1, 2]},
    "an exposure": {"exposure": True},
    "half precision": {"precisions": ["fp32", "fp16"]},
    "generated content": {"generative": True},
    "files": {"files": EXAMPLE["models"]["example"]["files"]},
    "training": {"training": {"seed": 0}},
}

FILE_FAULTS: dict[str, dict[str, Any]] = {
    "a field too many": {"url": "https://example.org"},
    "a short sha256": {"sha256": "b" * 63},
    "a sha256 in capitals": {"sha256": "B" * 64},
    "a sha256 and a line break": {"sha256": "b" * 64 + "\n"},
    "a branch as revision": {"revision": "main"},
    "a short revision": {"revision": "c" * 39},
    "no revision": {"revision": None},
    "an empty file": {"bytes": 0},
    "a size that is a text": {"bytes": "5000"},
    "a role nobody knows": {"role": "onnx"},
    "a path that climbs": {"path": "../x1.onnx"},
    "a path that climbs later": {"path": "a/../../x1.onnx"},
    "an absolute path": {"path": "/x1.onnx"},
    "a path of another system": {"path": "a\\x1.onnx"},
    "a pickle": {"path": "example.pth"},
    "a repository without an owner": {"repo": "weights"},
}


@pytest.mark.parametrize("name", ROW_FAULTS)
def test_a_row_with_a_fault_is_refused(name: str) -> None:
    document = copy.deepcopy(EXAMPLE)
    ROW_FAULTS[name](document["models"]["example"])
    assert faults(document)


@pytest.mark.parametrize("name", METHOD_FAULTS)
def test_a_classical_row_with_what_only_networks_have_is_refused(name: str) -> None:
    document = copy.deepcopy(EXAMPLE)
    document["models"]["method"].update(METHOD_FAULTS[name])
    assert faults(document)


@pytest.mark.parametrize("name", FILE_FAULTS)
def test_a_file_with_a_fault_is_refused(name: str) -> None:
    document = copy.deepcopy(EXAMPLE)
    document["models"]["example"]["files"][1].update(FILE_FAULTS[name])
    assert faults(document)


ASSET = {
    "what": "a net",
    "licence": "MIT",
    "path": "net.safetensors",
    "bytes": 9,
    "sha256": "d" * 64,
    "repo": "owner/nets",
    "revision": "e" * 40,
}


def test_an_asset_has_a_file_and_an_asset_with_a_fault_is_refused() -> None:
    assert faults(EXAMPLE | {"assets": {"net": ASSET}}) == []
    assert assets.asset_from_row("net", ASSET).file.sha256 == "d" * 64
    for fault in ({"role": "torch"}, {"licence": ""}, {"what": None}, {"sha256": "d" * 16}, {"revision": None}):
        assert faults(EXAMPLE | {"assets": {"net": ASSET | fault}}), fault


def test_only_an_asset_at_a_commit_may_lack_its_size_and_half_of_its_sha256() -> None:
    unseen = ASSET | {"bytes": None, "sha256": "d" * 16}
    assert faults(EXAMPLE | {"assets": {"net": unseen}}) == []
    assert assets.asset_from_row("net", unseen).file.bytes is None
    for fault in ({"sha256": "d" * 15}, {"sha256": "d" * 64}, {"revision": None}, {"bytes": 9}, {"bytes": "9"}):
        assert faults(EXAMPLE | {"assets": {"net": unseen | fault}}), fault
        with pytest.raises(ModelUnavailable, match="damaged"):
            assets.asset_from_row("net", unseen | fault)
    place = {"role": "torch", "path": "net.safetensors", "repo": "owner/nets", "revision": "e" * 40}
    with pytest.raises(ModelUnavailable, match="damaged"):
        manifest.weight_file("net", place | {"bytes": None, "sha256": "d" * 16})


def test_every_asset_of_the_manifest_becomes_one() -> None:
    assert list(assets.assets()) == list(DOCUMENT["assets"])


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"hub_repo": "weights"}, {"more": 1}])
def test_a_document_with_a_fault_is_refused(change: dict[str, Any]) -> None:
    assert faults(EXAMPLE | change)


def test_a_newer_schema_version_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / manifest.FILE
    path.write_text(json.dumps(EXAMPLE | {"schema_version": 2}), encoding="utf-8")
    monkeypatch.setattr(manifest, "manifest_path", lambda: path)
    manifest.read.cache_clear()
    try:
        with pytest.raises(ModelUnavailable, match="schema version 2"):
            manifest.read()
    finally:
        manifest.read.cache_clear()


def test_the_hub_repository_is_named_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOWLIGHT_HUB_REPO", raising=False)
    assert manifest.hub_repo() == DOCUMENT["hub_repo"]
    monkeypatch.setenv("LOWLIGHT_HUB_REPO", "me/mine")
    assert manifest.hub_repo() == "me/mine"


@pytest.mark.parametrize("path", sorted((manifest.PACKAGE / "bundled").glob("*.onnx")), ids=lambda path: path.name)
def test_a_bundled_graph_names_no_file_of_the_machine_that_made_it(path):
    model = onnx.load(path)
    for weight in model.graph.initializer:  # among millions of bytes of numbers these three may stand by chance
        weight.ClearField("raw_data")
    assert b".py" not in model.SerializeToString()


@pytest.mark.parametrize(
    "spec", [spec for spec in manifest.models().values() if not spec.untrained], ids=lambda s: s.name
)
def test_every_row_that_runs_has_figures_for_each_scale(spec: ModelSpec) -> None:
    forms = ("", "-int8") if "int8" in spec.precisions else ("",)
    assert spec.check.keys() == {f"x{scale}{form}" for scale in spec.scales for form in forms}


@pytest.mark.parametrize("name", [spec.name for spec in manifest.models().values() if spec.files])
def test_every_network_says_what_it_does_badly(name: str) -> None:
    assert manifest.find(name).limits
