"""Exported ONNX graphs, made clean and quick: the same numbers in the same order, other operators."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from lowlight_cli.nn.state import denormals_to_zero

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MOST_SHUFFLED = 16
"""Channels up to which a pixel shuffle is made a convolution: 12 give a picture of twice the size."""


def finished(model: ModelProto) -> ModelProto:
    """An exporter's graph as it ships."""
    for step in (without_origin, without_denormals, shuffled_by_convolution, without_unused):
        model = step(model)
    return model


def without_origin(model: ModelProto) -> ModelProto:
    """The graph without the stack traces, and so the paths, of the machine that exported it."""
    for item in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del item.metadata_props[:]
        item.doc_string = ""
    return model


def without_denormals(model: ModelProto) -> ModelProto:
    """The graph with denormal weights as zeros: those slow CPUs down, and folding constants can make them anew."""
    from onnx import numpy_helper

    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32:
            clean = denormals_to_zero({weight.name: torch.from_numpy(values.copy())})
            weight.CopyFrom(numpy_helper.from_array(clean[weight.name].numpy(), weight.name))
    return model


def without_unused(model: ModelProto) -> ModelProto:
    """The graph without weights that no node takes."""
    taken = {name for node in model.graph.node for name in node.input}
    used = [weight for weight in model.graph.initializer if weight.name in taken]
    del model.graph.initializer[:]
    model.graph.initializer.extend(used)
    return model


def shuffled_by_convolution(model: ModelProto) -> ModelProto:
    """The graph with pixel shuffles as transposed convolutions of ones and zeros: the same values, and on a CPU ONNX
    Runtime takes a fifth of the time, because its DepthToSpace moves one number after the other on one core.

    Only shuffles of a known number of channels, and of few: the convolution's work grows with their square.
    """
    from onnx import helper, numpy_helper

    widths = channels(model)

    def convolution(node: NodeProto) -> list[NodeProto] | None:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        block, planes = attributes["blocksize"], widths.get(node.input[0])
        if planes is None or planes > MOST_SHUFFLED or attributes.get("mode", b"DCR") != b"CRD":
            return None
        kernel = np.zeros((planes, planes // block**2, block, block), np.float32)
        for plane in range(planes):
            out, cell = divmod(plane, block**2)
            kernel[plane, out, cell // block, cell % block] = 1
        name = f"{node.name}_kernel"
        model.graph.initializer.append(numpy_helper.from_array(kernel, name))
        sides = [block, block]
        return [helper.make_node("ConvTranspose", [node.input[0], name], node.output, node.name, strides=sides)]

    replace(model, "DepthToSpace", convolution)
    return model


@contextlib.contextmanager
def quiet(logger: str | None = None) -> Iterator[None]:
    """No warnings, no advice and no progress lines of a tool that makes graphs; `logger` names its own, None: root."""
    talker = logging.getLogger(logger)
    level = talker.level
    talker.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        talker.setLevel(level)


def channels(model: ModelProto) -> dict[str, int]:
    """Number of channels of every tensor (N, C, ...) where the graph alone tells it."""
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(model)
    found = {}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        sides = value.type.tensor_type.shape.dim
        if len(sides) > 1 and sides[1].HasField("dim_value"):
            found[value.name] = sides[1].dim_value
    return found


def replace(model: ModelProto, kind: str, other: Callable[[NodeProto], list[NodeProto] | None]) -> None:
    """Put what `other` gives in the place of every node of a kind; None leaves it."""
    nodes = []
    for node in model.graph.node:
        instead = other(node) if node.op_type == kind else None
        nodes += [node] if instead is None else instead
    del model.graph.node[:]
    model.graph.node.extend(nodes)
