"""Transposes are moved and cancelled, and values stay what they are: graphs of all operators that they can pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from packager.hub import cancel_transposes, remove_identities
from tests.packager.hub.ort import run_all
from tests.packager.hub.test_passes import form

if TYPE_CHECKING:
    import onnx

SHAPE = (2, 3, 4, 5)
LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
KERNEL = np.random.default_rng(0).standard_normal((3, 3, 1, 1)).astype(np.float32)


class Graph:
    """Nodes that read what is there, and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        names = [name, *(f"{name}.{place}" for place in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return name

    def constant(self, values: object, dtype: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.array(values, dtype=dtype), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def model(self, *outputs: str, version: int = 17) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        results = [helper.make_value_info(name, helper.make_tensor_type_proto(0, None)) for name in outputs]
        for entry in results:
            entry.ClearField("type")
        graph = helper.make_graph(self.nodes, "g", [value("x", TensorProto.FLOAT, SHAPE)], results, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=9)


def transposes(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "Transpose" for node in model.graph.node)


def check(model: onnx.ModelProto, left: int) -> None:
    feeds = {"x": np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)}
    expected = run_all(model, feeds)
    changed = remove_identities.run(cancel_transposes.run(model, form()), form())
    assert transposes(changed) == left
    assert not cancel_transposes.ensures(changed, form())
    for ours, theirs in zip(run_all(changed, feeds), expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


PASSED = {
    "unary": lambda g, x: g.add("Relu", x),
    "clip": lambda g, x: g.add("Clip", x, g.constant(-0.5), g.constant(0.5)),
    "bias": lambda g, x: g.add("Add", x, g.constant([1, 2, 3])),
    "scalar": lambda g, x: g.add("Mul", g.constant(3), x),
    "table": lambda g, x: g.add("Sub", g.constant(np.arange(15).reshape(5, 3)), x),
    "concat": lambda g, x: g.add("Concat", x, g.add("Neg", x), axis=3),
    "concat with a constant": lambda g, x: g.add(
        "Concat", g.constant(np.arange(24).reshape(2, 4, 1, 3)), x, g.constant(np.ones((2, 4, 2, 3))), axis=2
    ),
    "softmax": lambda g, x: g.add("Softmax", x, axis=-1),
    "mean": lambda g, x: g.add("ReduceMean", x, axes=[1, -2], keepdims=1),
    "sum": lambda g, x: g.add("ReduceSum", x, g.constant([3], np.int64)),
    "pad": lambda g, x: g.add("Pad", x, g.constant([0, 1, 2, 0, 0, 0, 1, 3], np.int64)),
    "slice": lambda g, x: g.add("Slice", x, *(g.constant(v, np.int64) for v in ([1, 0], [4, 2], [2, 3]))),
    "where": lambda g, x: g.add("Where", g.add("Greater", x, g.constant([0, 0.5, 1])), x, g.constant(0)),
    "split": lambda g, x: g.add("Split", x, g.constant([1, 2], np.int64), outputs=2, axis=3),
    "quantized": lambda g, x: g.add(
        "DequantizeLinear",
        g.add("QuantizeLinear", x, g.constant([0.1, 0.2, 0.3]), axis=3),
        g.constant([0.1, 0.2, 0.3]),
        axis=3,
    ),
}


@pytest.mark.parametrize("passed", PASSED)
def test_a_pair_is_cancelled_across_what_it_can_pass(passed: str) -> None:
    g = Graph()
    y = PASSED[passed](g, g.add("Transpose", "x", perm=LAST))
    check(g.model(g.add("Transpose", y, perm=FIRST)), 0)


def test_a_network_with_channels_last_and_a_shortcut_keeps_one_transpose() -> None:
    g = Graph()
    weights = g.constant(KERNEL)
    x = g.add("Transpose", "x", perm=LAST)
    for _ in range(3):
        convolved = g.add("Conv", g.add("Transpose", x, perm=FIRST), weights)
        x = g.add("Relu", g.add("Add", g.add("Transpose", convolved, perm=LAST), x))
    check(g.model(x), 1)


def test_two_transposes_in_a_row_become_one_and_the_way_there_and_back_none() -> None:
    g = Graph()
    twice = g.add("Transpose", g.add("Transpose", "x", perm=LAST), perm=[1, 0, 2, 3])
    check(g.model(g.add("Exp", twice)), 1)
    g = Graph()
    check(g.model(g.add("Transpose", g.add("Transpose", "x", perm=LAST), perm=FIRST)), 0)


def test_what_gains_nothing_stays_as_it_is() -> None:
    g = Graph()
    model = g.model(g.add("Relu", g.add("Transpose", "x", perm=LAST)))
    assert cancel_transposes.run(model, form()) is model


def test_a_pair_is_cancelled_across_axes_of_size_one() -> None:
    g = Graph()
    turned = g.add("Transpose", "x", perm=[2, 0, 3, 1])
    wide = g.add("Reshape", turned, g.constant([1, 4, 2, 1, 5, 3], np.int64))
    narrow = g.add("Squeeze", g.add("Exp", wide), g.constant([0], np.int64))
    check(g.model(g.add("Transpose", narrow, perm=[1, 4, 0, 2, 3])), 0)


def test_a_transpose_that_moves_nothing_becomes_a_reshape() -> None:
    g = Graph()
    single = g.add("ReduceSum", "x", g.constant([1, 3], np.int64))
    model = g.model(g.add("Exp", g.add("Transpose", single, perm=[0, 2, 3, 1])))
    check(model, 0)


def test_a_transposed_value_that_is_an_output_too_is_still_given() -> None:
    g = Graph()
    middle = g.add("Transpose", "x", perm=LAST)
    check(g.model(middle, g.add("Transpose", middle, perm=FIRST)), 1)
