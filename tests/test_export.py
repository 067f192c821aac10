"""Exported graphs give what PyTorch gives, for every kind of network and each of its graphs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from lowlight_cli import models
from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.manifest import ModelSpec
from lowlight_cli.runners import export, graphs

pytestmark = pytest.mark.usefixtures("seeded")
# The exporter takes its time for every block, and all are alike.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "neid": ("neid", {"widths": (4, 4)}),
    "aux-retinex": ("aux_retinex", {}),
    "ba-gan": ("ba_gan", {"widths": (4, 6), "attention": (4, 4, 6)}),
    "drs-cyclegan": ("drs_cyclegan", {"width": 4, "blocks": (1, 0, 0)}),
    "drs-cyclegan with a target": ("drs_cyclegan", {"width": 4, "blocks": (1, 0, 0), "exposure": True}),
    "ema-cyclegan": ("ema_cyclegan", {"width": 2, "blocks": 1, "groups": 4, "window": 5}),
    "ema-cyclegan with a target": (
        "ema_cyclegan",
        {"width": 4, "blocks": 1, "groups": 4, "window": 3, "exposure": True},
    ),
}


def lively(network: nn.Module) -> nn.Module:
    """With weights large enough for every part to matter, for inference."""
    for values in network.parameters():
        if values.ndim > 1:
            values.data.normal_(0, values[0].numel() ** -0.5)
        else:
            values.data.add_(torch.randn_like(values), alpha=0.1)
    return network.eval().requires_grad_(False)


def run(path: Path, inputs: dict[str, Tensor]) -> Tensor:
    """What ONNX Runtime gives as it comes, without the settings of the package."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {name: values.numpy() for name, values in inputs.items()})[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_gives_what_pytorch_gives(name: str, spec: ModelSpec, tmp_path: Path) -> None:
    arch, params = NETWORKS[name]
    network, facts = lively(models.module(arch).build(**params)), models.module(arch).geometry(**params)
    spec = dataclasses.replace(spec, **facts | {"thumbnail": facts["thumbnail"] and 24})
    # This compares too, on pictures of another number and size; what follows owes nothing to it.
    paths = {graph: export.write_graph(spec, network, graph, tmp_path / f"{graph}.onnx") for graph in spec.graphs()}
    steering, vectors = {}, None
    if "context" in paths:
        thumbnails, targets = torch.rand(2, 3, 24, 24) * 0.3, torch.tensor([-1.0, 0.5])
        vectors = network.context(thumbnails, targets)
        found = run(paths.pop("context"), {"thumbnail": thumbnails, "exposure": targets})
        torch.testing.assert_close(found, vectors, rtol=1e-3, atol=1e-3)
        steering = {"vectors": vectors}
    assert paths
    for graph, path in paths.items():
        pixels = torch.rand(2, 3, 5 * spec.multiple, 2 * spec.multiple) * 0.3
        expected = network.tile(pixels, vectors, scale=int(graph[1:]))
        assert expected.std() > 0.01
        torch.testing.assert_close(run(path, {"pixels": pixels, **steering}), expected, rtol=0, atol=1e-3)


def test_a_graph_that_differs_from_pytorch_is_refused(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: Callable[[onnx.ModelProto], onnx.ModelProto] = graphs.finished

    def changed(model: onnx.ModelProto) -> onnx.ModelProto:
        model = finished(model)
        for kernel in (item for item in model.graph.initializer if len(item.dims) == 4):
            kernel.CopyFrom(onnx.numpy_helper.from_array(1.5 * onnx.numpy_helper.to_array(kernel), kernel.name))
        return model

    monkeypatch.setattr(graphs, "finished", changed)
    network = lively(models.module("aux_retinex").build(exposure=False))
    spec = dataclasses.replace(spec, **models.module("aux_retinex").geometry(exposure=False))
    with pytest.raises(ModelUnavailable, match=r"x1.onnx of fake differs from PyTorch by 0\.\d+"):
        export.write_graph(spec, network, "x1", tmp_path / "x1.onnx")
