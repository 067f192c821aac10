"""What a row of the manifest may hold. Standard library only.

A row names modules that are imported and paths that are read, written and deleted: each field is looked at before any
is believed, and a row that is not valid is a ModelUnavailable.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from lowlight_cli.choices import PRECISIONS
from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.plausible import GEOMETRY, clipped, problem_of_geometry, problem_of_params, whole

PATH = re.compile(r"(?!(?:.*/)?\.)[\w.-]+(?:/[\w.-]+)*", re.ASCII)
"""Below a folder of ours: no absolute path, no drive, no step up, nothing hidden."""
REPO = re.compile(r"(datasets/)?\w[\w.-]*/\w[\w.-]*(@[0-9a-f]{40})?", re.ASCII)


def text(value: object) -> bool:
    """Whether it is a text that can be shown on one line."""
    return isinstance(value, str) and value.isprintable()


def texts(value: object) -> bool:
    """Whether it is a list of texts."""
    return isinstance(value, list) and all(map(text, value))


def tables(value: object) -> bool:
    """Whether it is a list of tables."""
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def named(pattern: re.Pattern[str] | str) -> Callable[[object], bool]:
    """A test whether a value is a text of that form."""
    return lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value))


def figures_of_a_run(value: object) -> bool:
    """Whether it is a table of lists of finite numbers."""
    lists = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(numbers, list) and all(map(finite, numbers)) for numbers in lists)


def finite(value: object) -> bool:
    """Whether it is a number between 0 and 1, as those of pixels are."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


ROW: Mapping[str, Callable[[Any], bool]] = {
    "arch": named("(classical[.])?[a-z][a-z0-9_]*"),
    "summary": text,
    "paper": lambda value: isinstance(value, dict) and all(map(text, value.values())),
    "licence": text,
    "params": lambda value: isinstance(value, dict) and not problem_of_params(value),
    "parameters": lambda value: whole(value, 0, 2**40),
    "precisions": lambda value: texts(value) and "fp32" in value and all(name in PRECISIONS for name in value),
    "bytes_per_pixel": lambda value: whole(value, 1, 2**20),
    "generative": lambda value: isinstance(value, bool),
    "files": tables,
    "training": lambda value: isinstance(value, dict),
    "figures": tables,
    "limits": texts,
    "check": figures_of_a_run,
    "shadows": finite,
    "channel_blocks": lambda value: isinstance(value, bool),
}
"""Whether the value of a field is valid; those of `GEOMETRY` are judged together."""

FILE: Mapping[str, Callable[[Any], bool]] = {
    "role": named("torch|onnx-[a-z0-9]+(-int8)?|[a-z]+"),
    "path": named(PATH),
    "bytes": lambda value: whole(value, 1, 2**50),
    "sha256": named("[0-9a-f]{64}"),
    "bundled": lambda value: isinstance(value, bool),
    "repo": lambda value: value is None or named(REPO)(value),
    "revision": lambda value: value is None or named("[0-9a-f]{40}")(value),
}


UNSEEN: Mapping[str, Callable[[Any], bool]] = {
    **FILE,
    "role": named("asset"),
    "bytes": lambda value: value is None,
    "sha256": named("[0-9a-f]{16,63}"),
    "revision": named("[0-9a-f]{40}"),
}
"""The same for an asset whose file none of us has held in hand: a commit, and how its sha256 begins."""


def check_row(name: str, row: object, kind: type) -> None:
    """ModelUnavailable for a row that is not a `kind`, which is `ModelSpec`."""
    if not isinstance(row, dict):
        refuse(name, f"it is {clipped(row)}")
    check_fields(name, row, kind, {"name"})
    geometry = {field: row[field] for field in GEOMETRY if field in row}
    if problem := problem_of(row, ROW) or problem_of_geometry(geometry):
        refuse(name, problem)


def check_file(name: str, fields: object, kind: type) -> None:
    """The same for a file of a row; `kind` is `WeightFile`."""
    if not isinstance(fields, dict):
        refuse(name, f"a file is {clipped(fields)}")
    check_fields(name, fields, kind)
    if problem := problem_of(fields, FILE if fields["bytes"] is not None else UNSEEN):
        refuse(name, problem)


def check_fields(name: str, row: Mapping[str, Any], kind: type, known: frozenset[str] | set[str] = frozenset()) -> None:
    """Refuse fields that are missing or that nobody knows."""
    fields = [field for field in dataclasses.fields(kind) if field.name not in known]
    absent = dataclasses.MISSING
    wanted = {field.name for field in fields if field.default is absent and field.default_factory is absent}
    strange = sorted(row.keys() - {field.name for field in fields})
    if differ := sorted(wanted - row.keys()) + strange:
        refuse(name, f"it lacks or does not know {', '.join(clipped(field) for field in differ[:3])}")


def problem_of(row: Mapping[str, Any], rules: Mapping[str, Callable[[Any], bool]]) -> str:
    """The first field that is not valid; empty: all are."""
    wrong = next((field for field, fits in rules.items() if field in row and not fits(row[field])), None)
    return "" if wrong is None else f"its {wrong} {clipped(row[wrong])} is not valid"


def refuse(name: str, reason: str) -> NoReturn:
    """The error for a row that is not valid."""
    raise ModelUnavailable(f"The manifest's row {clipped(name)} is damaged: {reason}.", "Reinstall lowlight.")
