"""ONNX's own node tests that onnxruntime computes right: what no pass may change."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = object
"""An array, or None, or a list of these: tensors, optionals and sequences."""
REFUSALS = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
    ValueError,
)
"""What onnxruntime raises for what it can't load or run."""


@dataclass(frozen=True)
class NodeCase:
    """One node test: a model, what goes in, and what must come out."""

    name: str
    encoded: bytes
    inputs: list[Value]
    outputs: list[Value]
    rtol: float
    atol: float

    def model(self) -> onnx.ModelProto:
        """A model of one's own to change."""
        return onnx.load_from_string(self.encoded)

    def free_dimensions(self) -> dict[str, int]:
        """The sizes in the test's inputs of the dimensions that its model leaves free."""
        found = {}
        for entry, value in zip(self.model().graph.input, self.inputs, strict=False):
            for axis, size in enumerate(entry.type.tensor_type.shape.dim):
                if not size.HasField("dim_value") and isinstance(value, np.ndarray):
                    found[size.dim_param or f"{entry.name}.{axis}"] = value.shape[axis]
        return found

    def difference(self, model: onnx.ModelProto) -> str:
        """What onnxruntime, without optimisation, computes otherwise with `model`; empty: nothing."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
            names = [entry.name for entry in session.get_inputs()]
            got = session.run(None, dict(zip(names, self.inputs, strict=False)))
        except REFUSALS as error:
            return f"{type(error).__name__}: {str(error)[:200]}"
        return "" if all(map(self._same, got, self.outputs)) else "another result"

    def _same(self, got: Value, expected: Value) -> bool:
        if expected is None or got is None:
            return got is expected
        if isinstance(expected, list):
            return isinstance(got, list) and len(got) == len(expected) and all(map(self._same, got, expected))
        ours, theirs = np.asarray(got), np.asarray(expected)
        if ours.shape != theirs.shape:
            return False
        if theirs.dtype.kind in "OUS":
            return np.array_equal(ours.astype(str), theirs.astype(str))
        if ours.dtype != theirs.dtype:
            return False
        return np.allclose(ours, theirs, rtol=self.rtol, atol=self.atol, equal_nan=theirs.dtype.kind in "fc")


def node_cases() -> Iterator[NodeCase]:
    """Every node test whose types numpy knows."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(action="ignore"):  # some of the tests overflow on purpose while they are made
        tests = load_model_tests(kind="node")
    for test in tests:
        for number, (inputs, outputs) in enumerate(test.data_sets):
            read = [[_read(value) for value in values] for values in (inputs, outputs)]
            yield NodeCase(
                f"{test.name}.{number}", test.model.SerializeToString(), *read, rtol=test.rtol, atol=test.atol
            )


def _read(value: object) -> Value:
    match value:
        case onnx.TensorProto():
            return numpy_helper.to_array(value)
        case onnx.SequenceProto():
            return numpy_helper.to_list(value)
        case onnx.OptionalProto():
            return numpy_helper.to_optional(value)
        case np.generic():
            return np.asarray(value)
    return value
