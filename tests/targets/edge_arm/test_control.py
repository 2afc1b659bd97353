"""Branches, loops and recurrent layers: put in place where constants decide them, kept where the model does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent.runtimes.litert import open_model
from targets._source.model import read_source
from targets.edge_arm._file import serialized
from targets.edge_arm._lowering import lower
from targets.edge_arm._registry import REGISTRY

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray]


def _model(
    nodes: list[onnx.NodeProto], inputs: Tensors, outputs: dict[str, int], constants: Tensors
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _run(model: onnx.ModelProto, inputs: Tensors, folder: Path) -> tuple[Tensors, set[str]]:
    """What the shipped file gives, the same in two calls, and the operators of its main graph."""
    lowered = lower(read_source(model, REGISTRY.served()))
    assert lowered.findings == []
    path = folder / "model.tflite"
    path.write_bytes(serialized(lowered.graph))
    runtime = open_model(path, threads=1)
    first, second = runtime.run(inputs), runtime.run(inputs)
    runtime.close()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    return first, set(lowered.graph.operators())


def _expected(model: onnx.ModelProto, inputs: Tensors) -> Tensors:
    names = [entry.name for entry in model.graph.output]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, inputs), strict=True))


def _compare(model: onnx.ModelProto, inputs: Tensors, folder: Path) -> set[str]:
    got, operators = _run(model, inputs, folder)
    for name, expected in _expected(model, inputs).items():
        np.testing.assert_allclose(got[name], expected, rtol=1e-4, atol=1e-5)
    return operators


def _subgraph(nodes: list[onnx.NodeProto], inputs: dict[str, int], outputs: dict[str, int]) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
    )


@pytest.mark.parametrize("value", [3.0, -3.0])
def test_a_branch_that_the_data_decides_is_taken_as_the_data_says(tmp_path: Path, value: float) -> None:
    then = _subgraph([helper.make_node("Mul", ["x", "two"], ["doubled"])], {}, {"doubled": TensorProto.FLOAT})
    other = _subgraph([helper.make_node("Identity", ["x"], ["same"])], {}, {"same": TensorProto.FLOAT})
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]
    constants = {"two": np.array(2, np.float32), "zero": np.array(0, np.float32)}
    inputs = {"x": np.full((2, 3), value, np.float32)}
    assert "IF" in _compare(_model(nodes, inputs, {"y": TensorProto.FLOAT}, constants), inputs, tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_a_branch_that_a_constant_decides_leaves_nothing_of_the_other(tmp_path: Path, known: bool) -> None:  # noqa: FBT001 - pytest passes parameters by name
    then = _subgraph([helper.make_node("Exp", ["x"], ["a"])], {}, {"a": TensorProto.FLOAT})
    other = _subgraph([helper.make_node("Cos", ["x"], ["b"])], {}, {"b": TensorProto.FLOAT})
    nodes = [helper.make_node("If", ["known"], ["y"], then_branch=then, else_branch=other)]
    inputs = {"x": np.array([0.5, 1], np.float32)}
    model = _model(nodes, inputs, {"y": TensorProto.FLOAT}, {"known": np.array(known)})
    assert _compare(model, inputs, tmp_path) == {"EXP" if known else "COS"}


def test_a_loop_that_swaps_its_state_until_the_data_end_it_gives_what_the_source_gives(tmp_path: Path) -> None:
    body = _subgraph(
        [
            helper.make_node("Add", ["a", "b"], ["next"]),
            helper.make_node("Identity", ["b"], ["former"]),
            helper.make_node("Less", ["next", "limit"], ["more"]),
        ],
        {"turn": TensorProto.INT64, "go": TensorProto.BOOL, "a": TensorProto.FLOAT, "b": TensorProto.FLOAT},
        {"more": TensorProto.BOOL, "former": TensorProto.FLOAT, "next": TensorProto.FLOAT},
    )
    nodes = [helper.make_node("Loop", ["", "yes", "x", "one"], ["y", "z"], body=body)]
    inputs = {"x": np.array(1, np.float32), "limit": np.array(50, np.float32)}
    constants = {"yes": np.array(1, bool), "one": np.array(1, np.float32)}
    model = _model(nodes, inputs, {"y": TensorProto.FLOAT, "z": TensorProto.FLOAT}, constants)
    got, operators = _run(model, inputs, tmp_path)
    assert "WHILE" in operators
    assert (got["y"], got["z"]) == (34, 55)


def _scan_body() -> onnx.GraphProto:
    return _subgraph(
        [
            helper.make_node("Add", ["state", "entry"], ["sum"]),
            helper.make_node("Mul", ["sum", "factor"], ["next"]),
            helper.make_node("Identity", ["next"], ["row"]),
        ],
        {"state": TensorProto.FLOAT, "entry": TensorProto.FLOAT},
        {"next": TensorProto.FLOAT, "row": TensorProto.FLOAT},
    )


@pytest.mark.parametrize(("steps", "kept"), [(5, False), (700, True)])
def test_a_scan_is_put_in_place_when_short_and_a_loop_when_long(tmp_path: Path, steps: int, kept: bool) -> None:  # noqa: FBT001 - pytest passes parameters by name
    nodes = [
        helper.make_node(
            "Scan", ["start", "x"], ["last", "rows"], body=_scan_body(), num_scan_inputs=1, scan_output_directions=[1]
        )
    ]
    inputs = {"x": np.random.default_rng(0).standard_normal((steps, 3)).astype(np.float32)}
    constants = {"start": np.zeros(3, np.float32), "factor": np.array(0.9, np.float32)}
    model = _model(nodes, inputs, {"last": TensorProto.FLOAT, "rows": TensorProto.FLOAT}, constants)
    assert ("WHILE" in _compare(model, inputs, tmp_path)) is kept


@pytest.mark.parametrize("steps", [4, 60])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent_layers_agree_with_the_source_at_any_length(
    tmp_path: Path, kind: str, gates: int, direction: str, steps: int
) -> None:
    random = np.random.default_rng(1)
    ways, size, width, batch = (2 if direction == "bidirectional" else 1), 5, 3, 2
    constants = {
        "w": random.standard_normal((ways, gates * size, width)).astype(np.float32) * 0.5,
        "r": random.standard_normal((ways, gates * size, size)).astype(np.float32) * 0.5,
        "b": random.standard_normal((ways, 2 * gates * size)).astype(np.float32) * 0.5,
        "lengths": np.array([steps, steps // 2], np.int32),
    }
    inputs = {
        "x": random.standard_normal((steps, batch, width)).astype(np.float32),
        "h": random.standard_normal((ways, batch, size)).astype(np.float32),
    }
    outputs = ["y", "last", "carry"][: 3 if kind == "LSTM" else 2]
    extra = {"linear_before_reset": 1} if kind == "GRU" else {}
    names = ["x", "w", "r", "b", "lengths", "h"]
    nodes = [helper.make_node(kind, names, outputs, direction=direction, hidden_size=size, **extra)]
    model = _model(nodes, inputs, dict.fromkeys(outputs, TensorProto.FLOAT), constants)
    assert ("WHILE" in _compare(model, inputs, tmp_path)) is (steps == 60)
