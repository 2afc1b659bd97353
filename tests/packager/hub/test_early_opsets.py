"""What the first operator sets had no words for, said in theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from packager.errors import ConversionError
from packager.hub.opsets.conversion import convert_version

if TYPE_CHECKING:
    import onnx

Tensors = dict[str, NDArray]


def model_of(node: onnx.NodeProto, version: int, inputs: Tensors, constants: Tensors, kind: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in inputs.items()],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)


def outcome(model: onnx.ModelProto, inputs: Tensors) -> NDArray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def check(
    node: onnx.NodeProto, version: int, wanted: int, inputs: Tensors, constants: Tensors, kind: int = TensorProto.FLOAT
) -> None:
    expected = outcome(model_of(node, version, inputs, constants, kind), inputs)
    lowered = convert_version(model_of(node, version, inputs, constants, kind), wanted)
    np.testing.assert_array_equal(outcome(lowered, inputs), expected)


@pytest.mark.parametrize(
    ("start", "end", "step"), [(-1, -(2**63) + 1, -1), (0, 100, 2), (5, 0, -2), (-3, -100, -1), (1, 4, 1), (4, 2, -5)]
)
def test_a_slice_with_steps_takes_the_same_places(start: int, end: int, step: int) -> None:
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    constants = {
        name: np.array([value], np.int64)
        for name, value in {"start": start, "end": end, "axis": -1, "step": step}.items()
    }
    check(helper.make_node("Slice", ["x", "start", "end", "axis", "step"], ["y"]), 13, 9, {"x": x}, constants)


def test_a_slice_with_steps_that_are_computed_is_refused() -> None:
    node = helper.make_node("Slice", ["x", "start", "end", "axis", "step"], ["y"])
    constants = {name: np.array([1], np.int64) for name in ("start", "end", "axis")}
    model = model_of(node, 13, {"x": np.zeros((2, 6), np.float32)}, constants, TensorProto.FLOAT)
    model.graph.input.append(helper.make_tensor_value_info("step", TensorProto.INT64, [1]))
    with pytest.raises(ConversionError, match="steps are computed"):
        convert_version(model, 9)


def test_equal_floats_are_equal_and_no_number_equals_itself() -> None:
    values = np.array([0.0, -0.0, 1.5, np.nan, np.inf, -np.inf], np.float32)
    left, right = (np.ascontiguousarray(array) for array in np.meshgrid(values, values))
    node = helper.make_node("Equal", ["a", "b"], ["y"])
    check(node, 13, 7, {"a": left, "b": right}, {}, TensorProto.BOOL)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (3, 1)])
def test_what_is_expanded_is_repeated(shape: tuple[int, ...]) -> None:
    x = np.array([[1], [np.nan], [np.inf]], np.float32)
    check(helper.make_node("Expand", ["x", "s"], ["y"]), 13, 7, {"x": x}, {"s": np.array(shape, np.int64)})


@pytest.mark.parametrize("operator", ["Max", "Min", "Sum", "Mean"])
def test_inputs_of_several_shapes_become_one_shape(operator: str) -> None:
    inputs = {"a": np.array([[1, -2, np.inf]], np.float32), "b": np.array([[0.5], [3]], np.float32)}
    check(helper.make_node(operator, ["a", "b"], ["y"]), 13, 7, inputs, {})


def test_a_picture_is_enlarged_by_upsampling() -> None:
    x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    node = helper.make_node(
        "Resize", ["x", "", "scales"], ["y"], mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    check(node, 13, 9, {"x": x}, {"scales": np.array([1, 1, 2, 3], np.float32)})
    with pytest.raises(ConversionError, match="does not only enlarge"):
        check(node, 13, 9, {"x": x}, {"scales": np.array([1, 1, 0.5, 1], np.float32)})
