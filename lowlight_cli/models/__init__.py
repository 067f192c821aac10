"""Networks, one file per paper. A manifest row's `arch` names the file; nothing lists them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.nn.state import load_weights


def module(arch: str) -> ModuleType:
    """The file of an architecture."""
    return importlib.import_module(f"lowlight_cli.models.{arch}")


def load(spec: ModelSpec, path: Path) -> nn.Module:
    """The row's network with the weights of a file; every key and shape must fit."""
    network = module(spec.arch).build(**spec.params)
    load_into(network, path, f"{spec.name} ({spec.arch} with {dict(spec.params)})")
    return network


def load_into(network: nn.Module, path: Path, name: str) -> None:
    """Fill a network with the weights of a file; every key and shape must fit, else an error tells of `name`."""
    state = load_weights(path)
    wanted = network.state_dict()
    if not isinstance(state, Mapping):
        raise ModelUnavailable(f"{path.name} holds no named weights.", "Give the state dict of a network.")
    differ = [name for name in (wanted | state) if shape(wanted.get(name)) != shape(state.get(name))]
    if differ:
        raise ModelUnavailable(
            f"{path.name} does not fit {name}: {len(differ)} tensors are missing, extra or of another shape, "
            f"among them {', '.join(map(str, differ[:3]))}.",
            "--model must name the network they were trained for.",
        )
    network.load_state_dict(state)


def shape(tensor: object) -> tuple[int, ...] | None:
    """The shape of a tensor; None for what is none."""
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else None


def gflop_per_megapixel(spec: ModelSpec) -> float:
    """10^9 operations of the network for 10^6 pixels of output at scale 1, a multiply and an add counted as two; the
    context of the whole picture left out."""
    side = spec.multiple * max(1, 256 // spec.multiple)
    network = module(spec.arch).build(**spec.params).eval()
    with torch.inference_mode():
        steering = ()
        if spec.tiling == "guided":
            steering = (network.context(torch.zeros(1, 3, spec.thumbnail, spec.thumbnail), torch.zeros(1)),)
        with FlopCounterMode(display=False) as counter:
            network.tile(torch.zeros(1, 3, side, side), *steering)
    return round(counter.get_total_flops() / side**2 / 1e3, 2)
