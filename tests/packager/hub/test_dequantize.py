"""Quantized models written in float again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packager.hub import dequantize
from tests.packager.hub.ort import run_all
from tests.packager.hub.test_passes import form

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(4)
X = RANDOM.standard_normal((2, 3, 8, 8)).astype(np.float32)


def network() -> onnx.ModelProto:
    draw = lambda *shape: numpy_helper.from_array(RANDOM.standard_normal(shape).astype(np.float32) / 3)  # noqa: E731
    constants = {"k": draw(4, 3, 3, 3), "b": draw(4), "w": draw(144, 5)}
    for name, tensor in constants.items():
        tensor.name = name
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "w"], ["y"], name="matmul"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "net", [value("x", TensorProto.FLOAT, X.shape)], [value("y", TensorProto.FLOAT, [2, 5])],
        list(constants.values()),
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Samples:
    def __init__(self) -> None:
        self._left = [X]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"x": self._left.pop()} if self._left else None


@pytest.mark.parametrize("style", ["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_quantized_network_computes_in_float_what_it_did_but_for_rounding(
    tmp_path: Path, style: str, *, per_channel: bool
) -> None:
    from onnxruntime import quantization

    logging.getLogger().setLevel(logging.ERROR)
    source, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(network(), source)
    quantization.quantize_static(
        source,
        target,
        Samples(),
        quant_format=quantization.QuantFormat[style],
        per_channel=per_channel and style == "QDQ",
        op_types_to_quantize=["Conv", "MatMul", "Relu"],
    )
    quantized = onnx.load(target)
    (expected,) = run_all(quantized, {"x": X})
    floating = dequantize.run(quantized, form())
    operators = {node.op_type for node in floating.graph.node}
    assert not {name for name in operators if "uantize" in name or "QLinear" in name}
    (got,) = run_all(floating, {"x": X})
    steps = np.abs(got - expected).max() / np.abs(expected).max()
    assert 0 < steps < 0.03
    (original,) = run_all(network(), {"x": X})
    assert np.abs(got - original).max() < np.abs(expected - original).max() + 0.02 * np.abs(original).max()


def pair(scale: object, zero: object, dtype: type, **attributes: int) -> onnx.ModelProto:
    constants = [
        numpy_helper.from_array(np.array(scale, dtype=np.float32), "s"),
        numpy_helper.from_array(np.array(zero, dtype=dtype), "z"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
    ]
    value = helper.make_tensor_value_info
    shapes = [value("x", TensorProto.FLOAT, X.shape)], [value("y", TensorProto.FLOAT, X.shape)]
    graph = helper.make_graph(nodes, "pair", *shapes, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("scale", "zero", "dtype"),
    [
        (0.002, 0, np.uint8),
        (0.004, 100, np.uint8),
        (0.003, -128, np.int8),
        ([0.001, 0.002, 0.003], [5, 0, -9], np.int8),
    ],
)
def test_a_value_is_never_outside_of_what_could_be_said_of_it(scale: object, zero: object, dtype: type) -> None:
    model = pair(scale, zero, dtype, axis=1)
    (expected,) = run_all(model, {"x": X})
    changed = dequantize.run(model, form())
    assert {node.op_type for node in changed.graph.node} == {"Max", "Min"}
    (got,) = run_all(changed, {"x": X})
    assert np.abs(got - expected).max() <= np.max(scale) / 2 * (1 + 1e-4)
    np.testing.assert_allclose(got.max(), expected.max(), rtol=1e-6)
    np.testing.assert_allclose(got.min(), expected.min(), rtol=1e-6, atol=1e-7)


def test_weights_by_themselves_are_exact() -> None:
    model = pair(0.1, 3, np.uint8)
    weights = RANDOM.integers(0, 256, X.shape).astype(np.uint8)
    model.graph.initializer.append(numpy_helper.from_array(weights, "q"))
    del model.graph.node[0], model.graph.input[:]
    expected = run_all(model, {})
    np.testing.assert_array_equal(run_all(dequantize.run(model, form()), {})[0], expected[0])
