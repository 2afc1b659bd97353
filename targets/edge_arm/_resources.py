"""What a file takes of its device: memory for its tensors, transposes left in it, and what XNNPACK runs of it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from manifests.manifest import DelegationSection

if TYPE_CHECKING:
    from pathlib import Path

ALIGNMENT = 64
"""Of LiteRT's arena; that of TensorFlow Lite Micro is 16."""
_BITS = {
    "BOOL": 8, "FLOAT16": 16, "FLOAT32": 32, "FLOAT64": 64, "INT16": 16, "INT32": 32, "INT4": 4, "INT64": 64,
    "INT8": 8, "UINT16": 16, "UINT32": 32, "UINT8": 8,
}  # fmt: skip
_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}
_PRODUCTS = _CONVOLUTIONS | {"FULLY_CONNECTED"}
_NAMES = {number: name for name, number in vars(schema.TensorType).items() if not name.startswith("_")}
_OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


class Contents(NamedTuple):
    """What stands in a file, as read back from its bytes."""

    arena: int
    """Bytes that hold all tensors which are computed, at their time."""
    operators: tuple[str, ...]
    """Of every operation of the main graph and of those that it calls."""
    tensors: int
    channels: int
    """Output channels of all convolutions, and of dense layers whose weights are integers: each has a scale."""
    products: frozenset[tuple[str, str]]
    """What convolutions and products multiply: the types of activations and of weights."""

    @property
    def transposes(self) -> int:
        """Transposes that move bytes."""
        return self.operators.count("TRANSPOSE")


class _Span(NamedTuple):
    size: int
    first: int
    last: int


def contents(data: bytes, alignment: int = ALIGNMENT) -> Contents:
    """What stands in a file's bytes."""
    file = schema.ModelT.InitFromPackedBuf(data)
    codes = [_OPERATORS[code.builtinCode] for code in file.operatorCodes]
    return Contents(
        arena=sum(_planned(_spans(graph, file), alignment) for graph in file.subgraphs),
        operators=tuple(codes[each.opcodeIndex] for graph in file.subgraphs for each in graph.operators),
        tensors=sum(len(graph.tensors) for graph in file.subgraphs),
        channels=sum(
            int(graph.tensors[each.outputs[0]].shape[-1])
            for graph in file.subgraphs
            for each in graph.operators
            if codes[each.opcodeIndex] in _CONVOLUTIONS
            or (codes[each.opcodeIndex] == "FULLY_CONNECTED" and "INT" in _multiplied(graph, each, transposed=False)[1])
        ),
        products=frozenset(
            _multiplied(graph, each, transposed=codes[each.opcodeIndex] == "TRANSPOSE_CONV")
            for graph in file.subgraphs
            for each in graph.operators
            if codes[each.opcodeIndex] in _PRODUCTS
        ),
    )


def _multiplied(graph: Any, operation: Any, *, transposed: bool) -> tuple[str, str]:  # noqa: ANN401 - the generated code has no types
    """The types of the activations and the weights; a transposed convolution has them last."""
    data, weights = (graph.tensors[operation.inputs[place]] for place in ((2, 1) if transposed else (0, 1)))
    return _NAMES[data.type], _NAMES[weights.type]


def _spans(graph: Any, file: Any) -> list[_Span]:  # noqa: ANN401 - likewise
    """From when to when each computed tensor is needed, by the number of the operation."""
    end = len(graph.operators)
    first: dict[int, int] = dict.fromkeys((int(place) for place in graph.inputs), 0)
    last: dict[int, int] = {}
    for number, operation in enumerate(graph.operators):
        for place in operation.inputs if operation.inputs is not None else ():
            last[int(place)] = number
        for place in operation.outputs if operation.outputs is not None else ():
            first.setdefault(int(place), number)
            last.setdefault(int(place), number)
    last.update(dict.fromkeys((int(place) for place in graph.outputs), end))
    spans = []
    for place, start in first.items():
        tensor = graph.tensors[place]
        bits = _BITS.get(_NAMES[tensor.type])
        data = file.buffers[tensor.buffer].data
        if bits is None or (data is not None and len(data)):
            continue
        shape = tensor.shape if tensor.shape is not None else ()
        spans.append(_Span(-(-prod(int(size) for size in shape) * bits // 8), start, last.get(place, start)))
    return spans


def _planned(spans: list[_Span], alignment: int) -> int:
    """Bytes of an arena that is filled largest tensor first, each as low as it fits.

    Greedy by size: Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020, section 5.2.
    """
    placed: list[tuple[int, _Span]] = []
    for span in sorted(spans, key=lambda span: (-span.size, span.first)):
        start = 0
        for taken, other in sorted(placed, key=lambda entry: entry[0]):
            if other.last < span.first or span.last < other.first:
                continue
            if start + span.size <= taken:
                break
            start = max(start, -(-(taken + other.size) // alignment) * alignment)
        placed.append((start, span))
    return max((start + span.size for start, span in placed), default=0)


def delegated(path: Path) -> DelegationSection:
    """How many operations of the main graph XNNPACK runs on this machine, and how many there are."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    taken, own = taken_operations(interpreter)
    return DelegationSection(delegate="XNNPACK", operations=len(taken), total=len(own))


def taken_operations(interpreter: Any) -> tuple[set[int], list[dict[str, Any]]]:  # noqa: ANN401 - LiteRT has no types
    """The places of the operations that delegates run, and all of the main graph, as the interpreter lists them."""
    listed = interpreter._get_ops_details()  # noqa: SLF001 - no public call lists a delegate's part
    parts = [entry for entry in listed if entry["op_name"] == "DELEGATE"]
    own = [entry for entry in listed if entry["op_name"] != "DELEGATE"]
    maker = {int(place): number for number, entry in enumerate(own) for place in entry["outputs"]}
    taken: set[int] = set()
    for part in parts:
        given = {int(place) for place in part["inputs"]}
        wanted = [int(place) for place in np.asarray(part["outputs"])]
        while wanted:
            place = wanted.pop()
            number = maker.get(place)
            if place not in given and number is not None and number not in taken:
                taken.add(number)
                wanted.extend(int(each) for each in own[number]["inputs"])
    return taken, own
