"""The int8 form of an exported graph, for CPUs that multiply bytes (x86 with VNNI): 0.6 of float32's time.

Convolutions, and what lies between them, run on bytes whose ranges are measured on pictures (static quantisation in
QDQ form, Jacob et al., CVPR 2018): activations without sign, weights with one, a scale for each channel. What touches
pixels stays float32: resampling, the curve, and the last convolution, so that smooth gradients get no steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.runners.graphs import channels, quiet, replace, without_origin, without_unused

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from onnxruntime.quantization import CalibrationDataReader

KINDS = ("Conv", "LeakyRelu", "Concat", "MaxPool", "Resize")
FEWEST = 16
"""Channels below which a layer stays float32: bytes would gain it nothing, and pixels are among these."""
LEAST_PSNR = 36.0
"""Against the float32 graph in decibels, on the picture of calibration that comes out worst."""


def quantize(graph: Path, out: Path, samples: Iterable[Mapping[str, NDArray]]) -> float:
    """Write the int8 form of `graph` to `out`; `samples` are inputs as a user's pictures would give them.

    Gives how near it is: PSNR against the float32 graph in decibels, of the sample that comes out worst. One that is
    farther than `LEAST_PSNR`, or that has nothing to quantise, is a ModelUnavailable.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    samples = [dict(sample) for sample in samples]
    model = onnx.load(graph)
    wide = channels(model)
    try:
        with quiet():
            quantize_static(
                model,
                out,
                reader(samples),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(KINDS),
                nodes_to_exclude=[node.name for node in model.graph.node if wide.get(node.output[0], 0) < FEWEST],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
            )
    except ValueError as error:  # a histogram of values that are all equal
        raise ModelUnavailable(
            f"The int8 form of {graph.name} cannot be made: {error}",
            "Calibrate on pictures that are not of one colour.",
        ) from error
    form = without_unused(doubled_in_bytes(without_origin(onnx.load(out))))
    if not any(node.op_type == "QuantizeLinear" for node in form.graph.node):
        raise ModelUnavailable(
            f"{graph.name} has no convolution to {FEWEST} channels or more: nothing of it would be int8.",
            "Ship float32 only: leave out --int8.",
        )
    out.write_bytes(form.SerializeToString())
    return compare(graph, out, samples)


def reader(samples: list[dict[str, NDArray]]) -> CalibrationDataReader:
    """Samples as ONNX Runtime's calibration asks for them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> dict[str, NDArray] | None:
            return next(self.left, None)

    return Reader()


def doubled_in_bytes(model: ModelProto) -> ModelProto:
    """The graph with nearest-neighbour doubling of bytes as copies of pixels, all channels of one at once.

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
        return doubling(model, source.input[0], target.output[0], resize.name, wide[resize.input[0]])

    replace(model, "Resize", copies)
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        replace(model, kind, lambda node: [] if node.name in gone else None)
    return model


def doubling(model: ModelProto, source: str, target: str, name: str, width: int) -> list[NodeProto]:
    """Nodes that make `target` (N, width, 2H, 2W) of `source` (N, width, H, W)."""
    from onnx import helper, numpy_helper

    def number(label: str, *values: int) -> str:
        constant = f"{name}_{label}"
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), constant))
        return constant

    def step(kind: str, inputs: Iterable[str], label: str, **attributes: object) -> str:
        output = target if label == "doubled" else f"{name}_{label}"
        nodes.append(helper.make_node(kind, list(inputs), [output], f"{name}_{label}_node", **attributes))
        return output

    nodes: list[NodeProto] = []
    two, rest, one, channel = number("two", 2), number("rest", -1), number("one", 1), number("width", width)
    shape = step("Shape", [source], "shape")
    sides = [step("Gather", [shape, number(side, axis)], f"{side}s") for side, axis in (("row", 2), ("column", 3))]
    rows, columns = (step("Mul", [side, two], f"twice_{n}") for n, side in enumerate(sides))
    line = step("Mul", [columns, channel], "line")
    last = step("Transpose", [source], "last", perm=[0, 2, 3, 1])
    pixel = step("Reshape", [last, number("pixels", -1, 1, width)], "pixel")
    wider = step("Concat", [pixel, pixel], "wider", axis=1)
    row = step("Reshape", [wider, step("Concat", [rest, one, line], "lines", axis=0)], "row_by_row")
    higher = step("Concat", [row, row], "higher", axis=1)
    shaped = step("Reshape", [higher, step("Concat", [rest, rows, columns, channel], "size", axis=0)], "shaped")
    step("Transpose", [shaped], "doubled", perm=[0, 3, 1, 2])
    return nodes


def compare(graph: Path, form: Path, samples: Iterable[Mapping[str, NDArray]]) -> float:
    """The least PSNR of the samples' outputs against the float32 graph's."""
    import onnxruntime

    from lowlight_cli.runners.onnx import flushing

    sessions = [
        onnxruntime.InferenceSession(str(path), flushing(), providers=["CPUExecutionProvider"])
        for path in (graph, form)
    ]
    worst = np.inf
    for sample in samples:
        exact, rough = (session.run(None, dict(sample))[0].astype(np.float64) for session in sessions)
        worst = min(worst, -10 * float(np.log10(np.square(exact - rough).mean() + 1e-12)))
    if not worst >= LEAST_PSNR:
        raise ModelUnavailable(
            f"The int8 form of {graph.name} is {worst:.1f} dB from float32, and {LEAST_PSNR:.0f} are asked for.",
            "Calibrate on other pictures, or ship float32 only.",
        )
    return worst
