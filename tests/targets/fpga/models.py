"""Small models as ONNX, in the form in which the packager hands them to the target: one sample a row."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.generic]


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, Array],
    shape: Sequence[int],
    out: Sequence[int],
    outputs: Sequence[str] = ("y",),
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model with the input x and the outputs, of opset 17."""
    graph = helper.make_graph(
        list(nodes),
        "model",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(out)) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(made)
    return made


def node(
    operator: str, inputs: str, outputs: str, **attributes: float | str | list[int] | list[float]
) -> onnx.NodeProto:
    """A node; names are separated by spaces, and it is named for its first output."""
    name = f"{operator.lower()}_{outputs.split(maxsplit=1)[0]}"
    return helper.make_node(operator, inputs.split(), outputs.split(), name, **attributes)


def mlp(sizes: Sequence[int], seed: int = 0, tail: str = "Softmax") -> onnx.ModelProto:
    """Gemm and Relu in turn; random weights that keep the size of what goes through."""
    generator = np.random.default_rng(seed)
    nodes, constants, last = [], {}, "x"
    for place, (before, after) in enumerate(pairwise(sizes)):
        constants[f"w{place}"] = generator.normal(0, (2 / before) ** 0.5, (before, after)).astype(np.float32)
        constants[f"b{place}"] = generator.normal(0, 0.1, after).astype(np.float32)
        nodes.append(node("Gemm", f"{last} w{place} b{place}", f"h{place}"))
        last = f"h{place}"
        if place < len(sizes) - 2:
            nodes.append(node("Relu", last, f"r{place}"))
            last = f"r{place}"
    nodes.append(node(tail or "Identity", last, "y"))
    return model(nodes, constants, (1, sizes[0]), (1, sizes[-1]))


def cnn(side: int = 8, channels: int = 4, classes: int = 3, seed: int = 0) -> onnx.ModelProto:
    """A residual network in small: Conv, BatchNormalization, Relu, MaxPool, a block with a sum, and a mean."""
    generator = np.random.default_rng(seed)

    def kernel(*shape: int) -> Array:
        return generator.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)

    constants = {
        "w0": kernel(channels, 1, 3, 3),
        "scale": generator.uniform(0.5, 1.5, channels).astype(np.float32),
        "shift": generator.normal(0, 0.2, channels).astype(np.float32),
        "mean": generator.normal(0, 0.2, channels).astype(np.float32),
        "variance": generator.uniform(0.5, 1.5, channels).astype(np.float32),
        "w1": kernel(channels, 1, 3, 3),
        "b1": generator.normal(0, 0.1, channels).astype(np.float32),
        "w2": kernel(classes, channels),
        "b2": generator.normal(0, 0.1, classes).astype(np.float32),
    }
    nodes = [
        node("Conv", "x w0", "c0", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c0 scale shift mean variance", "n0"),
        node("Relu", "n0", "r0"),
        node("MaxPool", "r0", "p0", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p0 w1 b1", "c1", pads=[1, 1, 1, 1], group=channels),
        node("Add", "c1 p0", "s"),
        node("Relu", "s", "r1"),
        node("GlobalAveragePool", "r1", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f w2 b2", "z", transB=1),
        node("Softmax", "z", "y"),
    ]
    return model(nodes, constants, (1, 1, side, side), (1, classes))


def reference(made: onnx.ModelProto, values: Array) -> Array:
    """What onnxruntime computes, for any number of samples."""
    import onnxruntime

    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = [session.run(None, {"x": row[None]})[0] for row in values]
    return np.concatenate(rows)
