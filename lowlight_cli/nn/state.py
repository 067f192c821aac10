"""Weights in and out of files."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lowlight_cli import atomic
from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.weights_metadata import with_metadata


def denormals_to_zero(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, contiguous in float32, with denormal values as zeros: those slow CPUs down up to 60 times."""
    tiny = torch.finfo(torch.float32).tiny
    clean = {name: value.detach().float().contiguous().cpu() for name, value in weights.items()}
    return {name: torch.where(value.abs() < tiny, torch.zeros_like(value), value) for name, value in clean.items()}


def save_weights(path: Path, network: nn.Module, metadata: Mapping[str, str] | None = None) -> None:
    """The network's weights as safetensors, atomically; `metadata` tell of what network, see `weights_metadata`.

    The same weights and metadata give the same bytes.
    """
    data = save(denormals_to_zero(network.state_dict()))
    atomic.write(path, with_metadata(data, metadata) if metadata else data)


def refuse_packed(path: Path) -> None:
    """A ValueError for a PyTorch file that would unpack to more than it is, as PyTorch packs nothing, or into files."""
    if tarfile.is_tarfile(path):
        raise ValueError("it is a tar archive, as PyTorch wrote them long ago.")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > path.stat().st_size:
            raise ValueError(f"its {path.stat().st_size} bytes would become {size}.")


def load_weights(path: Path) -> dict[str, Any]:
    """A state dict from safetensors, or from a PyTorch file read with `weights_only=True`, never as a plain pickle."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        refuse_packed(path)
        return torch.load(path, weights_only=True, map_location="cpu")
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelUnavailable(
            f"{path} cannot be read as weights: {reason}", "Give a whole .safetensors file."
        ) from error
    except Exception as error:
        # Unpickling raises anything; nothing of what it found may run or pass.
        raise ModelUnavailable(
            f"{path} holds more than weights, or is damaged: {type(error).__name__}.",
            "Convert it to .safetensors where you trust it.",
        ) from error
