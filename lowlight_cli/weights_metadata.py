"""What a file of weights says of itself: which network it is of. Standard library only.

Safetensors files have room for texts by name. Ours say `arch`, the file of the network; `params`, the arguments of its
`build`, as JSON; `geometry`, the facts of a manifest row that follow from them, as JSON; `lowlight`, the version that
wrote them; and, where a training wrote them, `step`. Files without `arch` say nothing, and the manifest's row goes for
them.
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lowlight_cli import __version__
from lowlight_cli.errors import ModelUnavailable

LONGEST_HEADER = 16 * 2**20
"""Bytes; a hundred thousand tensors need no more."""
LARGEST, MOST_VALUES, DEEPEST, LONGEST_TEXT = 4096, 1000, 8, 100
"""Of `params`: whole numbers such as widths and counts, values in all, lists within lists, letters of a name."""


@dataclass(frozen=True)
class Origin:
    """The network that weights are of; `geometry` holds fields of `ModelSpec` by name."""

    arch: str
    params: Mapping[str, Any]
    geometry: Mapping[str, Any]


def texts(origin: Origin) -> dict[str, str]:
    """The origin as the metadata of a file."""
    params, geometry = (json.dumps(dict(table)) for table in (origin.params, origin.geometry))
    return {"arch": origin.arch, "params": params, "geometry": geometry, "lowlight": __version__}


def read(path: Path) -> Origin | None:
    """What a .safetensors file says it is of; None where it says nothing, as other kinds of files do.

    Nothing in it is trusted: what cannot be is a ModelUnavailable, and no number in it costs memory.
    """
    found = header(path).get("__metadata__", {}) if path.suffix == ".safetensors" else {}
    if not isinstance(found, dict) or "arch" not in found:
        return None
    if not isinstance(arch := found["arch"], str) or not 0 < len(arch) <= LONGEST_TEXT:
        refuse(path, "`arch` is no name")
    params, geometry = (parsed(path, name, found.get(name)) for name in ("params", "geometry"))
    if problem := problem_of_params(params) or problem_of_geometry(geometry):
        refuse(path, problem)
    return Origin(arch, params, {**geometry, "scales": tuple(geometry["scales"])})


def step(path: Path) -> int | None:
    """The step of their training that weights are of; None where the file does not say."""
    found = header(path).get("__metadata__")
    told = found.get("step") if isinstance(found, dict) else None
    return int(told) if isinstance(told, str) and re.fullmatch(r"[0-9]{1,12}", told) else None


def header(path: Path) -> dict[str, Any]:
    """The JSON at the beginning of a .safetensors file: its length in 8 bytes, little end first, then itself."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(LONGEST_HEADER, os.fstat(file.fileno()).st_size - 8):
                raise ValueError(f"its header would have {length} bytes")
            found = json.loads(file.read(length))
        if not isinstance(found, dict):
            raise ValueError("its header is no table")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnavailable(
            f"{path} cannot be read as weights: {error}.", "Give a whole .safetensors file."
        ) from error
    return found


def parameters(path: Path) -> int:
    """How many numbers a .safetensors file holds: parameters, as our networks keep nothing else."""
    tensors = [entry for name, entry in header(path).items() if name != "__metadata__"]
    shapes = [entry.get("shape") if isinstance(entry, dict) else None for entry in tensors]
    if not all(isinstance(shape, list) and all(whole(side, 0, 2**32) for side in shape) for shape in shapes):
        refuse(path, "a tensor has no shape")
    return sum(math.prod(shape) for shape in shapes)


def with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a .safetensors file with metadata in the order given: safetensors itself shuffles them."""
    length = int.from_bytes(data[:8], "little")
    text = json.dumps({"__metadata__": dict(metadata)} | json.loads(data[8 : 8 + length]), separators=(",", ":"))
    head = text.encode()
    head += b" " * (-len(head) % 8)  # tensors lie at multiples of 8 bytes
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def parsed(path: Path, name: str, text: object) -> dict[str, Any]:
    """One of the texts as a table."""

    def no_number(word: str) -> NoReturn:
        raise ValueError(f"{word} is no number")

    try:
        if not isinstance(text, str):
            raise TypeError("it is not there")
        found = json.loads(text, parse_constant=no_number)
        if not isinstance(found, dict):
            raise TypeError("it is no table")
    except (ValueError, TypeError, RecursionError) as error:
        refuse(path, f"`{name}` cannot be read, {error}")
    return found


def refuse(path: Path, reason: str) -> NoReturn:
    """The error for metadata that cannot be."""
    raise ModelUnavailable(
        f"{path.name} is damaged: in what it says of its network, {reason}.",
        "Take another copy, or export the weights again.",
    )


def problem_of_params(params: Mapping[str, Any]) -> str:
    """What no network could be built with; empty: nothing."""
    left = MOST_VALUES

    def sane(value: object, depth: int = 0) -> bool:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            return False
        if isinstance(value, dict | list):
            inside = [*value, *value.values()] if isinstance(value, dict) else value
            return all(sane(item, depth + 1) for item in inside)
        if isinstance(value, str):
            return len(value) <= LONGEST_TEXT
        return value is None or (math.isfinite(value) if isinstance(value, float) else abs(value) <= LARGEST)

    wrong = next((name for name, value in params.items() if not sane(value)), None)
    return "" if wrong is None else f"the value of {clipped(wrong)} in `params` is absurd"


def problem_of_geometry(geometry: Mapping[str, Any]) -> str:
    """What no network could have; empty: nothing."""
    checks = {
        "multiple": lambda value: whole(value, 1, 256),
        "halo": lambda value: whole(value, 0, 2048),
        "tiling": lambda value: value in ("exact", "guided", "whole"),
        "thumbnail": lambda value: whole(value, 8 if geometry["tiling"] == "guided" else 0, 1024),
        "scales": lambda value: value in ([1], [1, 2]) and all(whole(scale, 1, 2) for scale in value),
        "exposure": lambda value: isinstance(value, bool),
        "smallest": lambda value: whole(value, 1, 1024),
    }
    geometry = {"smallest": 1, **geometry}  # older files do not say it
    if geometry.keys() != checks.keys():
        differ = ", ".join(clipped(name) for name in sorted(geometry.keys() ^ checks.keys())[:3])
        return f"`geometry` lacks or does not know {differ}"
    wrong = next((name for name, fits in checks.items() if not fits(geometry[name])), None)
    return "" if wrong is None else f"{wrong} {clipped(geometry[wrong])} in `geometry` is absurd"


def whole(value: object, least: int, most: int) -> bool:
    """Whether it is a whole number in that range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


class Clipping(reprlib.Repr):
    """Of lists only the first entries and levels are written, of numbers none that Python will not write."""

    def repr_int(self, value: int, _: int) -> str:
        """A whole number; Python refuses to write those of more than 4300 digits."""
        return repr(value) if value.bit_length() <= 64 else f"a whole number of {value.bit_length()} bits"


def clipped(value: object) -> str:
    """A value for a message: a damaged file may hold any, a list that holds itself a million times too."""
    clipping = Clipping()
    clipping.maxlevel, clipping.maxlist, clipping.maxtuple, clipping.maxdict = 4, 8, 8, 8
    clipping.maxstring = clipping.maxother = LONGEST_TEXT
    text = clipping.repr(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
