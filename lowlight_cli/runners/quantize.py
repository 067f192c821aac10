"""The int8 form of an exported graph, for CPUs that multiply bytes (x86 with VNNI): 0.55 of float32's time.

Convolutions, and what lies between them, run on bytes whose ranges are measured on pictures (static quantisation in
QDQ form, Jacob et al., CVPR 2018): activations without sign, weights with one, a scale for each channel. What touches
pixels stays float32: resampling, the curve, and the sum of the two halves that the last convolution gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.runners.byte_graphs import FEWEST, doubled_in_bytes, prepared
from lowlight_cli.runners.graphs import channels, quiet, without_origin, without_unused

if TYPE_CHECKING:
    from onnxruntime.quantization import CalibrationDataReader

KINDS = ("Conv", "LeakyRelu", "Relu", "Concat", "MaxPool", "Resize")
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
    model = prepared(onnx.load(graph), samples)
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


def compare(graph: Path, form: Path, samples: Iterable[Mapping[str, NDArray]]) -> float:
    """The least PSNR of the samples' outputs against the float32 graph's."""
    from lowlight_cli.runners.onnx import cpu_session

    sessions = [cpu_session(path) for path in (graph, form)]
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
