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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lowlight_cli import __version__
from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.plausible import LONGEST_TEXT, problem_of_geometry, problem_of_params, whole

LONGEST_HEADER = 16 * 2**20
"""Bytes; a hundred thousand tensors need no more."""


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

    Nothing in it is trusted: what is not valid is a ModelUnavailable, and no number in it costs memory.
    """
    found = header(path).get("__metadata__", {}) if path.suffix == ".safetensors" else {}
    if not isinstance(found, dict) or "arch" not in found:
        return None
    if not isinstance(arch := found["arch"], str) or not 0 < len(arch) <= LONGEST_TEXT:
        refuse(path, "`arch` is not a name")
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
            raise ValueError("its header is not a table")
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
        raise ValueError(f"{word} is not a number")

    try:
        if not isinstance(text, str):
            raise TypeError("it is not there")
        found = json.loads(text, parse_constant=no_number)
        if not isinstance(found, dict):
            raise TypeError("it is not a table")
    except (ValueError, TypeError, RecursionError) as error:
        refuse(path, f"`{name}` cannot be read, {error}")
    return found


def refuse(path: Path, reason: str) -> NoReturn:
    """The error for metadata that are not valid."""
    raise ModelUnavailable(
        f"{path.name} is damaged: in what it says of its network, {reason}.",
        "Take another copy, or export the weights again.",
    )
