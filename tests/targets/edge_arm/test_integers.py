"""Products of integers: exact as int32, whatever float32 can count at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from targets.edge_arm import target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from targets._target import Artifact

    Convert = Callable[..., tuple[Artifact, Path]]
    Reference = Callable[[onnx.ModelProto, dict[str, NDArray]], dict[str, NDArray]]


def _model(operator: str, given: list[int], weights: NDArray, made: list[int]) -> onnx.ModelProto:
    node = helper.make_node(operator, ["x", "w", "x_zero", "w_zero"], ["y"])
    constants = {"w": weights, "x_zero": np.array(128, np.uint8), "w_zero": np.array(0, np.int8)}
    graph = helper.make_graph(
        [node],
        "integers",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, given)],
        [helper.make_tensor_value_info("y", TensorProto.INT32, made)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("size", [8, 700, 3000])
def test_a_matrix_product_of_any_depth_is_exact(convert: Convert, reference: Reference, size: int) -> None:
    random = np.random.default_rng(size)
    weights = random.integers(-127, 128, (size, 5)).astype(np.int8)
    model = _model("MatMulInteger", [3, size], weights, [3, 5])
    artifact, folder = convert(target, model)
    given = {"x": np.full((3, size), 255, np.uint8), "other": random.integers(0, 256, (3, size)).astype(np.uint8)}
    for x in given.values():
        got = target.runner(artifact, folder).run({"x": x})["y"]
        np.testing.assert_array_equal(got, reference(model, {"x": x})["y"])


@pytest.mark.parametrize("channels", [3, 64, 300])
def test_a_convolution_over_any_number_of_channels_is_exact(
    convert: Convert, reference: Reference, channels: int
) -> None:
    random = np.random.default_rng(channels)
    weights = random.integers(-127, 128, (4, channels, 3, 3)).astype(np.int8)
    weights[0] = 127
    model = _model("ConvInteger", [1, channels, 5, 5], weights, [1, 4, 3, 3])
    artifact, folder = convert(target, model)
    x = random.integers(0, 256, (1, channels, 5, 5)).astype(np.uint8)
    x[0, :, 0, 0] = 0
    got = target.runner(artifact, folder).run({"x": x})["y"]
    np.testing.assert_array_equal(got, reference(model, {"x": x})["y"])
