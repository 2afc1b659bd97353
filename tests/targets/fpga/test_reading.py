"""From ONNX to layers: what is read computes what onnxruntime computes, and what can't be read is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from agent.runtimes._fixed.host import Complement, Sigmoid, Softmax, applied, cast
from targets.fpga._layers import RealConv, RealDense, RealReorder
from targets.fpga._reading import read_model
from tests.targets.fpga.models import cnn, mlp, model, node, reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx
    from numpy.typing import NDArray

    from targets.fpga._reading import Reading

GENERATOR = np.random.default_rng(7)


def predicted(reading: Reading, values: NDArray[np.generic]) -> NDArray[np.generic]:
    tensors = reading.run(values.astype(np.float64))
    return cast(applied(tuple(reading.after), tensors[reading.output]), reading.returns)


def weights(*shape: int) -> NDArray[np.float32]:
    return GENERATOR.normal(size=shape).astype(np.float32)


def one(
    operator: str,
    shape: Sequence[int],
    out: Sequence[int],
    constants: dict[str, NDArray[np.generic]] | None = None,
    **attributes: object,
) -> onnx.ModelProto:
    """The operator between two products, so that neither end of the model is its own."""
    constants = constants or {}
    channels, places = shape[1], [1] * (len(shape) - 2)
    made = {**constants, "first": weights(channels, channels, *places) if places else weights(channels, channels)}
    nodes = [
        node("Conv" if places else "MatMul", "x first", "before"),
        node(operator, " ".join(["before", *constants]), "y", **attributes),
    ]
    return model(nodes, made, shape, out)


CASES = {
    "mlp": mlp((6, 5, 4)),
    "residual cnn": cnn(),
    "relu": one("Relu", (1, 4), (1, 4)),
    "clip": one("Clip", (1, 4), (1, 4), {"low": np.array(-0.5, np.float32), "high": np.array(0.5, np.float32)}),
    "max": one("Max", (1, 4), (1, 4), {"low": np.array(0.25, np.float32)}),
    "min": one("Min", (1, 4), (1, 4), {"high": np.array(0.25, np.float32)}),
    "add a constant": one("Add", (1, 4), (1, 4), {"c": weights(4)}),
    "sub a constant": one("Sub", (1, 4), (1, 4), {"c": weights(1, 4)}),
    "mul by a constant": one("Mul", (1, 4), (1, 4), {"c": weights(4)}),
    "div by a constant": one("Div", (1, 4), (1, 4), {"c": weights(1)}),
    "neg": one("Neg", (1, 4), (1, 4)),
    "batch norm of features": one(
        "BatchNormalization",
        (1, 4),
        (1, 4),
        {"s": weights(4), "b": weights(4), "m": weights(4), "v": np.abs(weights(4))},
    ),
    "conv over one axis": one(
        "Conv", (1, 2, 9), (1, 3, 4), {"w": weights(3, 2, 3), "b": weights(3)}, strides=[2], pads=[0, 0]
    ),
    "conv with same padding": one(
        "Conv", (1, 2, 5, 6), (1, 3, 3, 3), {"w": weights(3, 2, 3, 2)}, strides=[2, 2], auto_pad="SAME_UPPER"
    ),
    "conv with holes and groups": one(
        "Conv", (1, 4, 7, 7), (1, 4, 3, 3), {"w": weights(4, 2, 3, 3)}, dilations=[2, 2], group=2
    ),
    "max pool that hangs over": one(
        "MaxPool", (1, 2, 5, 5), (1, 2, 3, 3), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
    ),
    "max pool with a border": one(
        "MaxPool", (1, 2, 5, 5), (1, 2, 3, 3), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    ),
    "average pool": one("AveragePool", (1, 2, 6), (1, 2, 2), kernel_shape=[3], strides=[3]),
    "average pool whose border counts": one(
        "AveragePool", (1, 2, 4, 4), (1, 2, 5, 5), kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "global max pool": one("GlobalMaxPool", (1, 2, 4, 4), (1, 2, 1, 1)),
    "mean over a picture": one("ReduceMean", (1, 2, 4, 4), (1, 2), axes=[2, 3], keepdims=0),
    "mean over a picture, kept": one("ReduceMean", (1, 2, 4, 4), (1, 2, 1, 1), axes=[-1, -2]),
    "transpose": one("Transpose", (1, 2, 3, 4), (1, 4, 2, 3), perm=[0, 3, 1, 2]),
    "reshape": one("Reshape", (1, 2, 3, 4), (1, 24), {"shape": np.array([1, -1])}),
    "slice": one(
        "Slice", (1, 6), (1, 2), {"a": np.array([1]), "b": np.array([5]), "c": np.array([1]), "d": np.array([2])}
    ),
    "gather": one("Gather", (1, 6), (1, 3), {"i": np.array([4, 0, 2])}, axis=1),
    "sigmoid": one("Sigmoid", (1, 4), (1, 4)),
    "tanh": one("Tanh", (1, 4), (1, 4)),
    "softmax over channels": one("Softmax", (1, 4, 3), (1, 4, 3), axis=1),
    "log-softmax": one("LogSoftmax", (1, 4), (1, 4)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_read_computes_what_onnxruntime_computes(case: str) -> None:
    made = CASES[case]
    reading = read_model(made, host_tail=True)
    assert reading.findings == []
    shape = [size.dim_value for size in made.graph.input[0].type.tensor_type.shape.dim]
    values = GENERATOR.normal(size=(6, *shape[1:])).astype(np.float32)
    assert np.allclose(predicted(reading, values), reference(made, values), rtol=1e-4, atol=1e-5)


def test_the_same_tensor_may_be_read_twice() -> None:
    nodes = [
        node("MatMul", "x w", "a"),
        node("Relu", "a", "b"),
        node("Add", "a b", "y"),
    ]
    made = model(nodes, {"w": weights(4, 4)}, (1, 4), (1, 4))
    values = weights(5, 4)
    assert np.allclose(predicted(read_model(made, host_tail=True), values), reference(made, values), atol=1e-5)


def test_a_scale_of_the_input_stays_on_the_host() -> None:
    nodes = [
        helper.make_node("Scaler", ["x"], ["s"], "scaler", "", "ai.onnx.ml", offset=[1.0, 2.0], scale=[0.5, 4.0]),
        node("MatMul", "s w", "y"),
    ]
    made = model(nodes, {"w": weights(2, 3)}, (1, 2), (1, 3))
    reading = read_model(made, host_tail=True)
    (step,) = reading.before
    assert step.apply(np.array([[3.0, 2.5]])).tolist() == [[1.0, 2.0]]
    assert len(reading.layers) == 1
    values = weights(5, 2)
    assert np.allclose(predicted(reading, values), reference(made, values), atol=1e-5)


def test_batch_normalization_and_relu_cost_no_layer() -> None:
    reading = read_model(cnn(), host_tail=True)
    first = next(iter(reading.layers.values()))
    assert isinstance(first, RealConv)
    assert first.low == 0
    assert [type(layer).__name__ for layer in reading.layers.values()] == [
        "RealConv",
        "RealPool",
        "RealConv",
        "RealAdd",
        "RealPool",
        "RealReorder",
        "RealDense",
    ]


def test_a_binary_classifier_of_scikit_learn_is_one_score_and_the_hosts_pair() -> None:
    nodes = [
        node("MatMul", "x w", "z"),
        node("Sigmoid", "z", "p"),
        node("Sub", "one p", "q"),
        node("Concat", "q p", "y", axis=1),
    ]
    made = model(nodes, {"w": weights(3, 1), "one": np.array([1], np.float32)}, (1, 3), (1, 2))
    reading = read_model(made, host_tail=True)
    assert [type(step) for step in reading.after] == [Sigmoid, Complement]
    values = weights(5, 3)
    assert np.allclose(predicted(reading, values), reference(made, values), atol=1e-5)


def test_a_linear_classifier_is_a_product_and_a_softmax() -> None:
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "y"],
            "linear",
            "",
            "ai.onnx.ml",
            coefficients=[1.0, 2.0, -1.0, 0.5, 0.0, 3.0],
            intercepts=[0.0, 1.0, -1.0],
            classlabels_ints=[0, 1, 2],
            post_transform="SOFTMAX",
        )
    ]
    made = model(nodes, {}, (1, 2), (1, 3))
    reading = read_model(made, host_tail=True)
    assert reading.findings == []
    assert [type(step) for step in reading.after] == [Softmax]
    values = weights(5, 2)
    assert np.allclose(predicted(reading, values), reference(made, values), atol=1e-5)


def test_what_the_output_does_not_need_is_left_out() -> None:
    nodes = [node("MatMul", "x w", "y"), node("MatMul", "x v", "unused")]
    reading = read_model(model(nodes, {"w": weights(3, 2), "v": weights(3, 9)}, (1, 3), (1, 2)), host_tail=True)
    assert list(reading.layers) == ["y"]


def test_every_node_that_cannot_be_read_is_named_at_once() -> None:
    nodes = [
        node("MatMul", "x w", "a"),
        node("LeakyRelu", "a", "b"),
        node("MatMul", "b w", "c"),
        node("Sigmoid", "c", "d"),
        node("MatMul", "d w", "e"),
        node("Erf", "e", "y"),
    ]
    findings = read_model(model(nodes, {"w": weights(3, 3)}, (1, 3), (1, 3)), host_tail=True).findings
    assert [(finding.node, finding.operator) for finding in findings] == [
        ("leakyrelu_b", "LeakyRelu"),
        ("matmul_e", "MatMul"),
        ("erf_y", "Erf"),
    ]
    assert "follows a step that the host does" in findings[1].reason


def test_a_softmax_is_refused_where_the_host_shall_do_nothing() -> None:
    (finding,) = read_model(mlp((3, 2)), host_tail=False).findings
    assert finding.operator == "Softmax"
    assert finding.hint == "set host_tail = true"


def test_a_second_output_is_refused() -> None:
    nodes = [node("MatMul", "x w", "y"), node("Relu", "y", "z")]
    (finding,) = read_model(model(nodes, {"w": weights(3, 3)}, (1, 3), (1, 3), ("y", "z")), host_tail=True).findings
    assert finding.operator == "output"
    assert finding.node == "y, z"


def test_weights_that_depend_on_the_input_are_refused() -> None:
    nodes = [node("Reshape", "x s", "b"), node("MatMul", "x b", "y")]
    made = model(nodes, {"s": np.array([4, 1])}, (1, 4), (1, 1))
    findings = read_model(made, host_tail=True).findings
    assert "first axis of its output is not the batch" in findings[0].reason


def test_a_mean_whose_border_counts_less_is_refused() -> None:
    made = one("AveragePool", (1, 2, 4), (1, 2, 5), kernel_shape=[2], pads=[1, 1])
    (finding,) = read_model(made, host_tail=True).findings
    assert "divide by fewer elements" in finding.reason


def test_pixels_as_integers_are_taken_as_numbers() -> None:
    nodes = [node("Cast", "x", "f", to=TensorProto.FLOAT), node("MatMul", "f w", "y")]
    made = model(nodes, {"w": weights(3, 2)}, (1, 3), (1, 2), dtype=TensorProto.UINT8)
    reading = read_model(made, host_tail=True)
    assert reading.accepts.dtype == "uint8"
    values = GENERATOR.integers(0, 256, (5, 3)).astype(np.uint8)
    assert np.allclose(predicted(reading, values), reference(made, values), rtol=1e-4)


def test_a_product_along_the_last_axis_keeps_the_others() -> None:
    made = model([node("MatMul", "x w", "y")], {"w": weights(3, 2)}, (1, 4, 3), (1, 4, 2))
    reading = read_model(made, host_tail=True)
    (layer,) = reading.layers.values()
    assert isinstance(layer, RealDense)
    assert layer.macs == 4 * 3 * 2
    values = weights(5, 4, 3)
    assert np.allclose(predicted(reading, values), reference(made, values), atol=1e-5)


def test_a_reorder_that_moves_nothing_is_left_out() -> None:
    made = one("Transpose", (1, 2, 3), (1, 2, 3), perm=[0, 1, 2])
    assert not any(isinstance(layer, RealReorder) for layer in read_model(made, host_tail=True).layers.values())
