"""Graphs rewritten for int8: the same numbers from operators that are quick, and fine, in bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.runners.graphs import channels, replace, without_unused

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Samples = Sequence[Mapping[str, NDArray]]
FEWEST = 16
"""Channels from which on a layer computes in bytes: below they would gain it nothing, and pixels are among these."""
TOGETHER, FILLED = 4, 16
"""Bytes of a pixel that are multiplied at once; a multiple of channels to make at once, other counts cost more."""


def prepared(model: ModelProto, samples: Samples) -> ModelProto:
    """A float32 graph, ready to be quantised; `samples` are inputs as a user's pictures would give them."""
    return in_halves(in_fours(model), samples)


class Steps:
    """Nodes that take the place of one, and their constants; all are named after it."""

    def __init__(self, model: ModelProto, name: str, target: str) -> None:
        """`target` is what the last node makes."""
        self.model, self.name, self.target = model, name, target
        self.nodes: list[NodeProto] = []

    def constant(self, label: str, values: Iterable[object], kind: type = np.int64) -> str:
        """A tensor of the graph."""
        from onnx import numpy_helper

        name = f"{self.name}_{label}"
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def add(self, kind: str, inputs: Iterable[str], label: str = "", **attributes: object) -> str:
        """One more node; without a label it is the last one."""
        from onnx import helper

        output = f"{self.name}_{label}" if label else self.target
        self.nodes.append(helper.make_node(kind, list(inputs), [output], f"{output}_node", **attributes))
        return output

    def convolve(self, conv: NodeProto, inputs: Iterable[str], label: str = "") -> str:
        """The same convolution of something else."""
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
        return self.add("Conv", inputs, label, **attributes)


def in_fours(model: ModelProto) -> ModelProto:
    """The graph with inputs of convolutions repeated until their channels are a multiple of four.

    The copies meet weights of zero. ONNX Runtime takes two and a half times as long for 6 channels as for 12.
    """
    wide, kernels = channels(model), constants(model)

    def repeated(conv: NodeProto) -> list[NodeProto] | None:
        taken, kernel = wide.get(conv.input[0], 0), kernels.get(conv.input[1])
        if wide.get(conv.output[0], 0) < FEWEST or kernel is None or kernel.shape[1] != taken:
            return None
        copies = TOGETHER // math.gcd(taken, TOGETHER)
        if copies == 1:
            return None
        steps = Steps(model, conv.name, conv.output[0])
        zeros = np.zeros((len(kernel), taken * (copies - 1), *kernel.shape[2:]))
        weights = steps.constant("fours_kernel", np.concatenate([kernel, zeros], axis=1), np.float32)
        source = steps.add("Concat", [conv.input[0]] * copies, "fours", axis=1)
        steps.convolve(conv, [source, weights, *conv.input[2:]])
        return steps.nodes

    replace(model, "Conv", repeated)
    return without_unused(model)


def in_halves(model: ModelProto, samples: Samples) -> ModelProto:
    """The graph with what leads from wide layers to pixels made of a half above zero and one below.

    Each has all 256 values of a byte, and each channel a scale of its own: 511 steps from a channel's least value to
    its largest, where bytes of all channels together have 256.
    """
    wide, kernels = channels(model), constants(model)
    last = [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Conv" and wide.get(node.output[0], FEWEST) < FEWEST <= wide.get(node.input[0], 0)
        if node.input[1] in kernels
    ]
    spans = largest(model, last, samples)

    def halves(conv: NodeProto) -> list[NodeProto] | None:
        if conv.output[0] not in spans:
            return None
        kernel, span = kernels[conv.input[1]], spans[conv.output[0]]
        planes = len(kernel)
        steps = Steps(model, conv.name, conv.output[0])
        bias = kernels[conv.input[2]] if len(conv.input) > 2 else np.zeros(planes)
        blank = -2 * planes % FILLED

        def both(values: NDArray) -> NDArray:
            shares = values / span.reshape(-1, *[1] * (values.ndim - 1))
            return np.concatenate([shares, -shares, np.zeros((blank, *values.shape[1:]))])

        weights = [steps.constant(f"halves_{n}", both(v), np.float32) for n, v in (("kernel", kernel), ("bias", bias))]
        signed = steps.convolve(conv, [conv.input[0], *weights], "signed")
        found = steps.add("Relu", [signed], "halves")
        start, middle, end = (steps.constant(f"at_{at}", [at]) for at in (0, planes, 2 * planes))
        axis = steps.constant("axis", [1])
        above = steps.add("Slice", [found, start, middle, axis], "above")
        below = steps.add("Slice", [found, middle, end, axis], "below")
        share = steps.add("Sub", [above, below], "share")
        steps.add("Mul", [share, steps.constant("span", span.reshape(-1, 1, 1), np.float32)])
        return steps.nodes

    replace(model, "Conv", halves)
    return without_unused(model)


def constants(model: ModelProto) -> dict[str, NDArray]:
    """A graph's weights."""
    from onnx import numpy_helper

    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def largest(model: ModelProto, names: Sequence[str], samples: Samples) -> dict[str, NDArray]:
    """The largest magnitude of each channel of tensors (N, C, H, W), over all samples; 1 where all are zero."""
    import onnx

    from lowlight_cli.runners.onnx import cpu_session

    if not names:
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    given = {output.name for output in model.graph.output}
    more = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in {*names} - given]
    probe.graph.output.extend(more)
    session = cpu_session(probe.SerializeToString())
    found: dict[str, NDArray] = {}
    for sample in samples:
        for name, values in zip(names, session.run(list(names), dict(sample)), strict=True):
            top = np.abs(values).max(axis=(0, 2, 3))
            found[name] = np.maximum(found.get(name, top), top)
    return {name: np.where(top > 0, top, 1) for name, top in found.items()}


def doubled_in_bytes(model: ModelProto) -> ModelProto:
    """The int8 graph with nearest-neighbour doubling of bytes as copies of pixels, all channels of one at once.

    ONNX Runtime lays bytes out with channels last, where its Resize goes number by number: a fifth of the whole time.
    """
    made = {output: node for node in model.graph.node for output in node.output}
    used: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            used.setdefault(name, []).append(node)
    wide, gone = channels(model), set()

    def copies(resize: NodeProto) -> list[NodeProto] | None:
        source, (target, *more) = made[resize.input[0]], used[resize.output[0]]
        kinds = (source.op_type, target.op_type)
        if more or kinds != ("DequantizeLinear", "QuantizeLinear") or source.input[1:] != target.input[1:]:
            return None
        gone.add(target.name)
        gone.update([source.name] if len(used[resize.input[0]]) == 1 else [])
        return doubling(Steps(model, resize.name, target.output[0]), source.input[0], wide[resize.input[0]])

    replace(model, "Resize", copies)
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        replace(model, kind, lambda node: [] if node.name in gone else None)
    return model


def doubling(steps: Steps, source: str, width: int) -> list[NodeProto]:
    """Nodes that make (N, width, 2H, 2W) of `source` (N, width, H, W)."""
    two, rest, one, channel = (
        steps.constant(label, [value]) for label, value in (("two", 2), ("rest", -1), ("one", 1), ("width", width))
    )
    shape = steps.add("Shape", [source], "shape")
    sides = [
        steps.add("Gather", [shape, steps.constant(f"{side}_axis", [axis])], f"{side}s")
        for side, axis in (("row", 2), ("column", 3))
    ]
    rows, columns = (steps.add("Mul", [side, two], f"twice_{n}") for n, side in enumerate(sides))
    line = steps.add("Mul", [columns, channel], "line")
    last = steps.add("Transpose", [source], "last", perm=[0, 2, 3, 1])
    pixel = steps.add("Reshape", [last, steps.constant("pixels", [-1, 1, width])], "pixel")
    wider = steps.add("Concat", [pixel, pixel], "wider", axis=1)
    row = steps.add("Reshape", [wider, steps.add("Concat", [rest, one, line], "lines", axis=0)], "row_by_row")
    higher = steps.add("Concat", [row, row], "higher", axis=1)
    size = steps.add("Concat", [rest, rows, columns, channel], "size", axis=0)
    shaped = steps.add("Reshape", [higher, size], "shaped")
    steps.add("Transpose", [shaped], perm=[0, 3, 1, 2])
    return steps.nodes
