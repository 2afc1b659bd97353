"""ONNX's own node tests as cases for a target: which count, and which of their inputs stay live."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16}
SMALL_INTEGERS = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16}
TENSORS = FLOATS | SMALL_INTEGERS | {
    TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64,
}  # fmt: skip
RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}


@dataclass(frozen=True)
class Case:
    """One node test: a model with shapes that are numbers, what goes in, and what must come out."""

    name: str
    mode: str
    model: onnx.ModelProto
    inputs: dict[str, NDArray[np.generic]]
    outputs: dict[str, NDArray[np.generic]]


def operator_cases() -> Iterator[Case]:
    """Every case, `frozen` (one live input, the others constants) and `live` (every float input live)."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(action="ignore"):  # some of the tests overflow on purpose while they are made
        tests = load_model_tests(kind="node")
    for test in tests:
        types = [entry.type.tensor_type.elem_type for entry in test.model.graph.input]
        if not _counts(test, types):
            continue
        first = 0 if types[0] in FLOATS | SMALL_INTEGERS else next(i for i, kind in enumerate(types) if kind in FLOATS)
        every = [place for place, kind in enumerate(types) if place == first or kind in FLOATS]
        inputs, outputs = ([_array(value) for value in values] for values in test.data_sets[0])
        yield _case(test, "frozen", [first], inputs, outputs)
        if len(every) > 1:
            yield _case(test, "live", every, inputs, outputs)


def _counts(test: object, types: list[int]) -> bool:
    model, name = test.model, test.name
    nodes = list(_nodes(model.graph))
    borders = [*model.graph.input, *model.graph.output]
    return (
        "_expanded" not in name
        and all(node.domain in {"", "ai.onnx", "ai.onnx.ml"} for node in nodes)
        and all(entry.type.WhichOneof("value") == "tensor_type" for entry in borders)
        and all(entry.type.tensor_type.elem_type in TENSORS for entry in borders)
        and any(kind in FLOATS for kind in types)
        and not any(node.op_type in RANDOM for node in nodes)
        and not ("training_dropout" in name and "zero_ratio" not in name)
    )


def _case(test: object, mode: str, live: list[int], inputs: list[NDArray], outputs: list[NDArray]) -> Case:
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    declared = list(test.model.graph.input)
    del model.graph.input[:]
    for place, entry in enumerate(declared):
        if place in live:
            kind = entry.type.tensor_type.elem_type
            model.graph.input.append(onnx.helper.make_tensor_value_info(entry.name, kind, inputs[place].shape))
        else:
            model.graph.initializer.append(numpy_helper.from_array(inputs[place], entry.name))
    names = [entry.name for entry in model.graph.output]
    return Case(
        test.name,
        mode,
        model,
        {declared[place].name: inputs[place] for place in live},
        dict(zip(names, outputs, strict=True)),
    )


def _array(value: object) -> NDArray[np.generic]:
    array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    return np.ascontiguousarray(array).reshape(array.shape)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
            for branch in attribute.graphs:
                yield from _nodes(branch)
