"""Networks, one file per paper. A manifest row's `arch` names the file; nothing lists them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from torch import nn

from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.nn.state import load_weights


def module(arch: str) -> ModuleType:
    """The file of an architecture."""
    return importlib.import_module(f"lowlight_cli.models.{arch}")


def load(spec: ModelSpec, path: Path) -> nn.Module:
    """The row's network with the weights of a file; every key and shape must fit."""
    network = module(spec.arch).build(**spec.params)
    state = load_weights(path)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()
        raise ModelUnavailable(
            f"{path.name} does not fit {spec.name}: {' '.join(line.strip() for line in reason[:3])}",
            f"It needs weights of {spec.arch} with {dict(spec.params)}.",
        ) from error
    return network
