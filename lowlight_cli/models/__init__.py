"""Networks, one file per paper. A manifest row's `arch` names the file; nothing lists them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

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
    wanted = network.state_dict()
    if not isinstance(state, Mapping):
        raise ModelUnavailable(f"{path.name} holds no named weights.", "Give the state dict of a network.")
    differ = [name for name in (wanted | state) if shape(wanted.get(name)) != shape(state.get(name))]
    if differ:
        raise ModelUnavailable(
            f"{path.name} does not fit {spec.name}: {len(differ)} tensors are missing, extra or of another shape, "
            f"among them {', '.join(map(str, differ[:3]))}.",
            f"--model must name the network they were trained for; this is {spec.arch} with {dict(spec.params)}.",
        )
    network.load_state_dict(state)
    return network


def shape(tensor: object) -> tuple[int, ...] | None:
    """The shape of a tensor; None for what is none."""
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else None
