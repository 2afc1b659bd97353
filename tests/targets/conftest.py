"""Small networks that targets are tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from targets._target import Artifact, Target

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]
    Reference = Callable[[onnx.ModelProto, dict[str, NDArray]], dict[str, NDArray]]
    Shapes = dict[str, list[int]]
    Tensors = dict[str, NDArray]


def build(nodes: list[onnx.NodeProto], inputs: Shapes, outputs: Shapes, constants: Tensors) -> onnx.ModelProto:
    """A model at opset 17; inputs and outputs are float32 shapes by name."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)], ir_version=8
    )


@pytest.fixture(name="build")
def build_fixture() -> Build:
    return build


@pytest.fixture
def mlp() -> onnx.ModelProto:
    """64 inputs, a hidden layer of 32, 10 probabilities; the batch is 1."""
    return _mlp(1)


@pytest.fixture
def free_mlp() -> onnx.ModelProto:
    """The same with a free batch."""
    return _mlp("batch")


def _mlp(batch: int | str) -> onnx.ModelProto:
    random = np.random.default_rng(1)
    constants = {
        "w1": _weights(random, 64, 32),
        "b1": _weights(random, 32),
        "w2": _weights(random, 32, 10),
        "b2": _weights(random, 10),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m1"]),
        helper.make_node("Add", ["m1", "b1"], ["a1"]),
        helper.make_node("Relu", ["a1"], ["r1"]),
        helper.make_node("Gemm", ["r1", "w2", "b2"], ["g"]),
        helper.make_node("Softmax", ["g"], ["y"]),
    ]
    return build(nodes, {"x": [batch, 64]}, {"y": [batch, 10]}, constants)


@pytest.fixture
def cnn() -> onnx.ModelProto:
    """3x16x16 pictures; convolutions plain, depthwise and pointwise, a residual, a pool, 10 probabilities."""
    random = np.random.default_rng(2)
    constants = {
        "w1": _weights(random, 8, 3, 3, 3),
        "b1": _weights(random, 8),
        "scale": np.abs(_weights(random, 8)) + 1,
        "shift": _weights(random, 8),
        "mean": _weights(random, 8),
        "variance": np.abs(_weights(random, 8)) + 1,
        "w2": _weights(random, 8, 1, 3, 3),
        "w3": _weights(random, 16, 8, 1, 1),
        "w4": _weights(random, 10, 256),
        "b4": _weights(random, 10),
        "zero": np.float32(0),
        "six": np.float32(6),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c1", "scale", "shift", "mean", "variance"], ["n1"]),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("HardSwish", ["c2"], ["h2"]),
        helper.make_node("Add", ["r1", "h2"], ["residual"]),
        helper.make_node("MaxPool", ["residual"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pooled", "w3"], ["c3"]),
        helper.make_node("Clip", ["c3", "zero", "six"], ["r3"]),
        helper.make_node("Flatten", ["r3"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w4", "b4"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    return build(nodes, {"x": [1, 3, 16, 16]}, {"y": [1, 10]}, constants)


def _weights(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


@pytest.fixture
def reference() -> Reference:
    """onnxruntime's answer to a model, unoptimised."""

    def run(model: onnx.ModelProto, inputs: Tensors) -> Tensors:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        names = [entry.name for entry in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run


@pytest.fixture
def convert(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """Convert a model in a folder of its own; gives the artifact and the folder that it stands in."""

    def run(
        target: Target, model: onnx.ModelProto, calibration: Tensors | None = None, **options: object
    ) -> tuple[Artifact, Path]:
        folder = tmp_path_factory.mktemp("conversion")
        source, out = folder / "source.onnx", folder / "out"
        out.mkdir()
        onnx.save(model, source)
        before = source.read_bytes()
        artifact = target.convert(source, target.Options(**options), calibration, out)
        assert source.read_bytes() == before
        return artifact, out

    return run
