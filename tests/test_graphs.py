"""Exported graphs keep their numbers: pixel shuffles become convolutions, wide layers may become bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lowlight_cli.errors import ModelUnavailable
from lowlight_cli.runners import byte_graphs, graphs, quantize
from lowlight_cli.runners.onnx import cpu_session

RANDOM = np.random.default_rng(0)


def weight(name: str, *sides: int) -> TensorProto:
    """Random weights that keep the size of what they are multiplied with."""
    spread = 1 / np.sqrt(np.prod(sides[1:]))
    return numpy_helper.from_array(RANDOM.normal(0, spread, sides).astype(np.float32), name)


def model(nodes: Sequence[onnx.NodeProto], weights: Sequence[TensorProto], channels: int, out: int) -> onnx.ModelProto:
    """A graph from `pixels` (N, channels, H, W) to `output` (N, out, H, W), sides of any length."""
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", count, f"{name}_h", f"{name}_w"])
        for name, count in (("pixels", channels), ("output", out))
    ]
    graph = helper.make_graph(nodes, "graph", sides[:1], sides[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def conv(source: str, target: str, kernel: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, kernel], [target], target, pads=[1, 1, 1, 1])


def small_network() -> onnx.ModelProto:
    """One level of a U-Net: wide layers between thin ones, and a pixel shuffle at its end."""
    leaky = {"op_type": "LeakyRelu", "alpha": 0.1}
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    nearest = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    nodes = [
        conv("pixels", "a", "first"),
        helper.make_node(inputs=["a"], outputs=["skip"], name="skip", **leaky),
        helper.make_node("MaxPool", ["skip"], ["pooled"], "pooled", kernel_shape=[2, 2], strides=[2, 2]),
        conv("pooled", "deep", "second"),
        helper.make_node("Resize", ["deep", "", "scales"], ["up"], "up", **nearest),
        helper.make_node("Concat", ["up", "skip"], ["both"], "both", axis=1),
        conv("both", "b", "third"),
        helper.make_node(inputs=["b"], outputs=["c"], name="c", **leaky),
        conv("c", "cells", "last"),
        helper.make_node("DepthToSpace", ["cells"], ["output"], "output", blocksize=2, mode="CRD"),
    ]
    shapes = {"first": (16, 3), "second": (24, 16), "third": (16, 40), "last": (12, 16)}
    return model(nodes, [scales, *(weight(name, *sides, 3, 3) for name, sides in shapes.items())], 3, 3)


def run(graph: onnx.ModelProto | Path, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    session = cpu_session(graph if isinstance(graph, Path) else graph.SerializeToString())
    return session.run(None, {"pixels": pixels})[0]


def kinds(graph: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.graph.node)


def pictures(*sides: int) -> NDArray[np.float32]:
    return RANDOM.random((2, 3, *sides), np.float32)


def test_a_pixel_shuffle_becomes_a_convolution_that_gives_the_same_numbers() -> None:
    before = small_network()
    pixels = pictures(12, 20)
    expected = run(before, pixels)
    after = graphs.shuffled_by_convolution(before)
    assert kinds(after)["DepthToSpace"] == 0
    assert kinds(after)["ConvTranspose"] == 1
    onnx.checker.check_model(after)
    np.testing.assert_array_equal(run(after, pixels), expected)


@pytest.mark.parametrize(("mode", "channels"), [("DCR", 12), ("CRD", 64)])
def test_other_shuffles_stay_as_they_are(mode: str, channels: int) -> None:
    node = helper.make_node("DepthToSpace", ["pixels"], ["output"], "output", blocksize=2, mode=mode)
    after = graphs.shuffled_by_convolution(model([node], [], channels, channels // 4))
    assert kinds(after) == {"DepthToSpace": 1}


def test_weights_that_no_node_takes_are_left_out() -> None:
    graph = small_network()
    graph.graph.initializer.append(weight("idle", 3, 3))
    names = {item.name for item in graphs.without_unused(graph).graph.initializer}
    assert names == {"scales", "first", "second", "third", "last"}


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """A graph, its int8 form, and how near that says it is."""
    folder = tmp_path_factory.mktemp("graphs")
    exact, form = folder / "exact.onnx", folder / "form.onnx"
    onnx.save(graphs.finished(small_network()), exact)
    return exact, form, quantize.quantize(exact, form, [{"pixels": pictures(32, 48)} for _ in range(3)])


def test_the_int8_form_gives_nearly_the_same_at_any_size(rough: tuple[Path, Path, float]) -> None:
    exact, form, near = rough
    for sides in ((32, 48), (18, 70)):
        pixels = pictures(*sides)
        expected, found = run(exact, pixels), run(form, pixels)
        assert found.shape == expected.shape == (2, 3, 2 * sides[0], 2 * sides[1])
        psnr = -10 * np.log10(np.square(found - expected).mean())
        assert psnr == pytest.approx(near, abs=2)
        assert psnr < 80, "nothing was quantised"


def test_layers_run_on_bytes_and_the_pixel_shuffle_in_float32(rough: tuple[Path, Path, float]) -> None:
    form = onnx.load(rough[1])
    weights = {item.name: item for item in form.graph.initializer}
    made = {output: node for node in form.graph.node for output in node.output}
    kernels = [made[node.input[1]].input[0] for node in form.graph.node if node.op_type == "Conv"]
    assert [tuple(weights[name].dims[:2]) for name in kernels] == [(16, 12), (24, 16), (16, 40), (32, 16)]
    assert {weights[name].data_type for name in kernels} == {TensorProto.INT8}
    assert weights["output_kernel"].data_type == TensorProto.FLOAT, "the pixel shuffle is no layer"
    assert kinds(form)["Resize"] == 0, "the doubling of bytes is made of copies"
    assert kinds(form)["ConvTranspose"] == 1


def test_a_graph_that_is_ready_for_bytes_gives_the_same_numbers() -> None:
    """Channels are repeated, and the last layer is a half above zero and one below: no number changes."""
    pixels = pictures(16, 24)
    for change in (byte_graphs.in_fours, lambda graph: byte_graphs.in_halves(graph, [{"pixels": pixels}])):
        before = small_network()
        expected, names = run(before, pixels), {node.name for node in before.graph.node}
        after = change(before)
        onnx.checker.check_model(after)
        assert {node.name for node in after.graph.node} != names
        np.testing.assert_allclose(run(after, pixels), expected, atol=1e-6)
        assert abs(expected).max() > 0.5


def test_two_last_layers_of_other_widths_are_measured_each_for_itself() -> None:
    graph = small_network()
    graph.graph.node.insert(9, conv("c", "mask", "mask_kernel"))
    graph.graph.initializer.append(weight("mask_kernel", 1, 16, 3, 3))
    graph.graph.output.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 1, "h", "w"]))
    samples = [{"pixels": pictures(16, 24) * share} for share in (0.1, 1, 0.5)]
    spans = byte_graphs.largest(graph, ["cells", "mask"], samples)
    assert {name: span.shape for name, span in spans.items()} == {"cells": (12,), "mask": (1,)}
    assert spans["cells"] == pytest.approx(byte_graphs.largest(graph, ["cells"], samples[1:2])["cells"])


def scale_last(graph: onnx.ModelProto, channels: slice, factor: float) -> None:
    """Multiply what the last layer gives in some channels."""
    kernel = next(item for item in graph.graph.initializer if item.name == "last")
    values = numpy_helper.to_array(kernel).copy()
    values[channels] *= factor
    kernel.CopyFrom(numpy_helper.from_array(values, "last"))


def test_each_channel_of_the_last_layer_has_a_scale_of_its_own(tmp_path: Path) -> None:
    """One channel is a thousand times the others, as a mask's logits are: those keep their steps."""
    graph = small_network()
    scale_last(graph, slice(0, 1), 1000)
    exact, form, pixels = tmp_path / "exact.onnx", tmp_path / "form.onnx", pictures(32, 48) * 1e-3
    onnx.save(graph, exact)
    quantize.quantize(exact, form, [{"pixels": pixels}] * 2)
    expected, found = run(exact, pixels), run(form, pixels)
    quiet = (slice(None), slice(1, None))
    error = np.sqrt(np.square(found - expected)[quiet].mean()) / expected[quiet].std()
    assert error < 0.05


def test_a_last_layer_with_a_bias_and_channels_of_zeros_is_kept(tmp_path: Path) -> None:
    graph = small_network()
    bias = numpy_helper.from_array(np.linspace(-0.5, 0.5, 12, dtype=np.float32), "bias")
    graph.graph.initializer.append(bias)
    scale_last(graph, slice(3, 5), 0)
    next(node for node in graph.graph.node if node.name == "cells").input.append("bias")
    exact, form, pixels = tmp_path / "exact.onnx", tmp_path / "form.onnx", pictures(32, 48)
    onnx.save(graph, exact)
    assert quantize.quantize(exact, form, [{"pixels": pixels}]) > 38


def test_an_int8_form_that_is_far_from_float32_is_refused(tmp_path: Path) -> None:
    exact = tmp_path / "exact.onnx"
    onnx.save(small_network(), exact)
    # Ranges of a black picture with one lamp: everything else is cut off.
    black = np.zeros((1, 3, 64, 64), np.float32)
    with pytest.raises(ModelUnavailable, match="dB from float32"):
        quantize.compare(exact, quantized(exact, tmp_path / "form.onnx", black), [{"pixels": pictures(64, 64)[:1]}])


def test_ranges_that_cannot_be_measured_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy finds no bins for values that are nearly all equal, as of a picture of one colour."""

    def no_bins(*_: object, **__: object) -> None:
        raise ValueError("Too many bins for data range.")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", no_bins)
    exact = tmp_path / "exact.onnx"
    onnx.save(small_network(), exact)
    with pytest.raises(ModelUnavailable, match="cannot be made: Too many bins") as caught:
        quantize.quantize(exact, tmp_path / "form.onnx", [{"pixels": pictures(32, 32)}])
    assert "not of one colour" in caught.value.hint


def quantized(exact: Path, form: Path, pixels: NDArray[np.float32]) -> Path:
    quantize.quantize(exact, form, [{"pixels": pixels}])
    return form
