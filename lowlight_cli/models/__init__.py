"""Networks, one file per paper. A manifest row's `arch` names the file; nothing lists them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.nn.state import load_weights


def module(arch: str) -> ModuleType:
    """The file of an architecture."""
    return importlib.import_module(f"lowlight_cli.models.{arch}")


def build(spec: ModelSpec, device: str = "cpu") -> nn.Module:
    """The row's network with random weights, on `meta` without memory. Params and geometry must go together."""
    code = module(spec.arch)
    try:
        with torch.device(device):
            network = code.build(**spec.params)
        facts = code.geometry(**spec.params)
    except Exception as error:
        # A user's file of weights brings its own params, and a constructor raises anything.
        raise unbuildable(spec, str(error)) from error
    if spec.tiling != facts["tiling"] or spec.multiple % facts["multiple"]:
        raise unbuildable(spec, f"it is {facts['tiling']}, of multiples of {facts['multiple']}")
    return network


def unbuildable(spec: ModelSpec, reason: str) -> ModelUnavailable:
    """The error for params that no network has, or that contradict the row."""
    return ModelUnavailable(
        f"There is no {spec.arch} of tiling {spec.tiling!r} and multiple {spec.multiple} with {dict(spec.params)}: "
        f"{reason}.",
        "Train or export the weights again.",
    )


def load(spec: ModelSpec, path: Path) -> nn.Module:
    """The row's network with the weights of a file; every key and shape must fit."""
    name = f"{spec.name} ({spec.arch} with {dict(spec.params)})"
    state = load_weights(path)
    # Without memory first: params from a file may ask for any.
    refuse_misfits(state, build(spec, "meta"), path, name)
    network = build(spec)
    network.load_state_dict(state)
    return network


def load_into(network: nn.Module, path: Path, name: str) -> None:
    """Fill a network with the weights of a file; every key and shape must fit, else an error tells of `name`."""
    state = load_weights(path)
    refuse_misfits(state, network, path, name)
    network.load_state_dict(state)


def refuse_misfits(state: Any, network: nn.Module, path: Path, name: str) -> None:
    """Every key and shape must be the network's, nothing may be missing."""
    if not isinstance(state, Mapping):
        raise ModelUnavailable(f"{path.name} holds no named weights.", "Give the state dict of a network.")
    if {"networks", "optimizers", "position"} <= state.keys():
        raise ModelUnavailable(
            f"{path} is a checkpoint, which only `lowlight train --resume` reads.",
            "Give best.safetensors beside it.",
        )
    wanted = network.state_dict()
    differ = [name for name in (wanted | state) if shape(wanted.get(name)) != shape(state.get(name))]
    if differ:
        raise ModelUnavailable(
            f"{path.name} does not fit {name}: {len(differ)} tensors are missing, extra or of another shape, "
            f"among them {', '.join(map(str, differ[:3]))}.",
            "The model must be the one that they were trained for.",
        )


def shape(tensor: object) -> tuple[int, ...] | None:
    """The shape of a tensor; None for anything else."""
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else None


def steering(spec: ModelSpec, network: nn.Module, pixels: Tensor) -> Tensor | None:
    """Vectors for `tile` and `maps` of pictures (N, 3, H, W): of a black thumbnail for `guided` networks, else none."""
    if spec.tiling != "guided":
        return unguided(spec, pixels)
    thumbnail = pixels.new_zeros(pixels.shape[0], 3, spec.thumbnail, spec.thumbnail)
    return network.context(thumbnail, pixels.new_zeros(pixels.shape[0]))


def unguided(spec: ModelSpec, pixels: Tensor) -> Tensor | None:
    """Vectors of a network that takes none from a thumbnail: None for `exact`, (N, 0) for `whole`."""
    return None if spec.tiling == "exact" else pixels.new_zeros(pixels.shape[0], 0)


def map_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the maps that the row's network gives, found without its weights and without memory."""
    if not hasattr(build(spec, "meta"), "maps"):
        return ()
    side = spec.multiple * math.ceil(64 / spec.multiple)
    try:
        # Autocast knows no `meta`: fake tensors have a device and no values.
        with FakeTensorMode(), torch.inference_mode():
            network, pixels = build(spec).eval(), torch.zeros(1, 3, side, side)
            return tuple(network.maps(pixels, steering(spec, network, pixels)))
    except Exception as error:
        raise unbuildable(spec, str(error)) from error


def gflop_per_megapixel(spec: ModelSpec) -> float:
    """10^9 operations of the network for 10^6 pixels of output at scale 1, a multiply and an add counted as two; the
    context of the whole picture left out."""
    side = spec.multiple * max(1, 256 // spec.multiple)
    network = build(spec).eval()
    with torch.inference_mode():
        pixels = torch.zeros(1, 3, side, side)
        vectors = steering(spec, network, pixels)
        with FlopCounterMode(display=False) as counter:
            network.tile(pixels, vectors)
    return round(counter.get_total_flops() / side**2 / 1e3, 2)
