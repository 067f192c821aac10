"""Write the ONNX form of a network: one graph per scale, and one for the context of guided networks.

Dynamic axes: number of pictures, height, width. Every graph is compared with PyTorch before it is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lowlight_cli.brightness import AUTO
from lowlight_cli.errors import ModelUnavailable, OptionError
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.models import load
from lowlight_cli.packages import install_extras
from lowlight_cli.runners import graphs

GRAPH_TOLERANCE = 1e-3
"""Error that a number which a graph gives may have against PyTorch's, of 1, or of the number where that is larger."""
OPSET = 18


class Context(nn.Module):
    """The `context` graph."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, thumbnail: Tensor, exposure: Tensor) -> Tensor:
        """See the network's `context`."""
        return self.network.context(thumbnail, exposure)


class Tile(nn.Module):
    """The `x1` or `x2` graph."""

    def __init__(self, network: nn.Module, scale: int, *, whole: bool = False) -> None:
        super().__init__()
        self.network, self.scale, self.whole = network, scale, whole

    def forward(self, pixels: Tensor, vectors: Tensor | None = None) -> Tensor:
        """See the network's `tile`."""
        if self.whole:
            vectors = pixels.new_zeros(pixels.shape[0], 0)
        return self.network.tile(pixels, vectors, scale=self.scale)


def export_onnx(
    spec: ModelSpec, weights: Path, folder: Path, announce: Callable[[str], None] = lambda _: None
) -> dict[str, Path]:
    """Write `<graph>.onnx` for every graph of the row into `folder`; each is checked against PyTorch. `announce` is
    told of each before: one takes from seconds to minutes."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"The ONNX form of {spec.name} must be exported first, which needs onnx and onnxscript.",
            f"In your clone of lowlight: {install_extras('train')} (or use backend torch).",
        ) from error
    network = load(spec, weights).eval().requires_grad_(False)
    written = {}
    for graph in spec.graphs():
        announce(f"writing the ONNX graph {graph}")
        written[graph] = write_graph(spec, network, graph, folder / f"{graph}.onnx")
    return written


def write_graph(spec: ModelSpec, network: nn.Module, graph: str, path: Path) -> Path:
    """Export one graph and compare it with PyTorch."""
    module = (
        Context(network) if graph == "context" else Tile(network, int(graph[1:]), whole=spec.tiling == "whole")
    ).eval()
    sides = (4 * spec.multiple, 6 * spec.multiple)
    export(module, inputs_of(spec, network, graph, exposures=(AUTO, 0.4), sides=sides), path)
    sides = (3 * spec.multiple, 7 * spec.multiple)
    compare(spec, module, inputs_of(spec, network, graph, exposures=(AUTO, 0.3, 0.6), sides=sides), path)
    return path


def inputs_of(
    spec: ModelSpec, network: nn.Module, graph: str, *, exposures: Sequence[float], sides: tuple[int, int]
) -> dict[str, Tensor]:
    """Random inputs of a graph by name: as many pictures as exposures."""
    count = len(exposures)
    steering = {}
    if spec.tiling == "guided":
        steering = {"thumbnail": picture(count, spec.thumbnail, spec.thumbnail), "exposure": torch.tensor(exposures)}
    if graph == "context":
        return steering
    vectors = {"vectors": network.context(*steering.values())} if steering else {}
    return {"pixels": picture(count, *sides), **vectors}


def picture(count: int, height: int, width: int) -> Tensor:
    """Random pixels, dark ones more often."""
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)) ** 2


def export(module: nn.Module, inputs: dict[str, Tensor], path: Path) -> None:
    """Write the graph; the exporter's own talk is dropped."""
    dynamic = torch.export.Dim.DYNAMIC
    axes = {name: dict.fromkeys((0, 2, 3) if name == "pixels" else (0,), dynamic) for name in inputs}
    with graphs.quiet("torch.onnx"), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["output"],
            dynamic_shapes=axes,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    path.write_bytes(graphs.finished(program.model_proto).SerializeToString())


def compare(spec: ModelSpec, module: nn.Module, inputs: dict[str, Tensor], path: Path) -> None:
    """Both must agree, on pictures of another number and size than those exported with."""
    from lowlight_cli.runners.onnx import cpu_session

    with torch.inference_mode():
        expected = module(*inputs.values()).numpy()
    found = cpu_session(path).run(None, {name: value.numpy() for name, value in inputs.items()})[0]
    difference = float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))
    if found.shape != expected.shape or not difference <= GRAPH_TOLERANCE:
        raise ModelUnavailable(
            f"The exported {path.name} of {spec.name} differs from PyTorch by {difference:g}.",
            "Report this with `lowlight doctor`; use backend torch meanwhile.",
        )
