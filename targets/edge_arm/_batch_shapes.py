"""Shapes that are computed while the file runs, from an input whose batch is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from targets.edge_arm._graph import Graph, Operation, Tensor

_BROADCASTING = {"ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SUB"}


def open_shape(graph: Graph, operation: Operation, place: int, twin: NDArray[np.generic]) -> bool:
    """Whether the constant at that place of an operation's inputs could be replaced by what follows from the batch.

    That is the shape of what a transposed convolution makes, and rows of a join or a sum that are all the same; `twin`
    is what stands there for another batch.
    """
    given = operation.inputs[place]
    data = given.data if given is not None else None
    if given is None or data is None or not data.ndim:
        return False
    if operation.code == "TRANSPOSE_CONV" and place == 0 and np.array_equal(data[1:], twin[1:]):
        made = _put_before(graph, operation, operation.inputs[2], data)
        operation.inputs[place] = made or given
        return made is not None
    row = data[:1]
    if len(data) == len(twin) or data.shape[1:] != twin.shape[1:] or (data != row).any() or (twin != row).any():
        return False
    others = [each for each in operation.inputs if each is not None and each.data is None]
    if operation.code in _BROADCASTING and any(each.shape[:1] == data.shape[:1] for each in others):
        operation.inputs[place] = graph.constant(row)
        return True
    return operation.code == "CONCATENATION" and _spread(graph, operation, place, data)


def _spread(graph: Graph, operation: Operation, place: int, rows: NDArray[np.generic]) -> bool:
    """Whether the equal rows that a join reads there are now as many as its computed inputs have."""
    source = next((each for each in operation.inputs if each is not None and each.data is None), None)
    shape = _put_before(graph, operation, source, rows.shape)
    if shape is None:
        return False
    start = len(graph.operations)
    row = graph.constant(rows[:1])
    spread = graph.add("BROADCAST_TO", [row, shape], rows.shape, rows.dtype, schema.BroadcastToOptionsT(), 2)
    spread.free = (0,)
    _move_before(graph, operation, start)
    operation.inputs[place] = spread
    return True


def _put_before(
    graph: Graph, operation: Operation, source: Tensor | None, sizes: Sequence[int] | NDArray[np.generic]
) -> Tensor | None:
    """A shape with the source's first size in place of the first, computed before the operation."""
    if source is None or source.data is not None or source.shape[0] != int(sizes[0]):
        return None
    start = len(graph.operations)
    options = schema.ShapeOptionsT(outType=schema.TensorType.INT32)
    shape = graph.add("SHAPE", [source], (len(source.shape),), np.int32, options)
    first = graph.add(
        "SLICE", [shape, graph.integers([0]), graph.integers([1])], (1,), np.int32, schema.SliceOptionsT()
    )
    rest = graph.integers([int(size) for size in sizes[1:]])
    joined = schema.ConcatenationOptionsT(axis=0)
    result = graph.add("CONCATENATION", [first, rest], (len(sizes),), np.int32, joined)
    _move_before(graph, operation, start)
    return result


def _move_before(graph: Graph, operation: Operation, start: int) -> None:
    """Put the operations from `start` on before the one that reads them."""
    added = graph.operations[start:]
    del graph.operations[start:]
    place = graph.operations.index(operation)
    graph.operations[place:place] = added
