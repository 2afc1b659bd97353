"""Operators that only move elements: where each one goes is found by running the node on the numbers of the places."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype

from agent.runtimes._fixed.host import Reshape
from targets._source.folding import evaluated
from targets._source.refusal import UnsupportedError
from targets.fpga._layers import RealReorder
from targets.fpga._reading import Constant, Hosted, Stream
from targets.fpga._registry import operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets.fpga._reading import Reading, Value

    Reader: TypeAlias = Callable[..., Value | list[Value]]

_MOVERS = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)


def moved(g: Reading, node: Node, x: Value, *others: Value | None) -> list[Value]:
    """The tensor's elements in other places."""
    constants = {
        name: g.constant(value, "second input")
        for name, value in zip(node.inputs[1:], others, strict=True)
        if value is not None
    }
    if isinstance(x, Hosted):
        return [_on_host(g, node, x, constants)]
    stream = g.stream(x)
    found: list[Value] = []
    for place, indices in enumerate(_places(node, stream.shape, constants)):
        shape = g.shape_of(node, place)
        flat = indices.reshape(-1)
        if shape == stream.shape and np.array_equal(flat, np.arange(flat.size)):
            found.append(stream)
            continue
        layer = RealReorder(
            sources=(stream.name,), output=node.outputs[place], shape=shape, node=node.label, indices=flat
        )
        found.append(g.add(layer))
    return found


def _on_host(g: Reading, node: Node, x: Hosted, constants: dict[str, NDArray[np.generic]]) -> Hosted:
    (indices,) = _places(node, x.shape, constants)
    if not np.array_equal(indices.reshape(-1), np.arange(prod(x.shape))):
        raise UnsupportedError("it moves elements after a step of the host: expected a change of shape alone")
    shape = g.shape_of(node)
    return g.host(x, Reshape(shape=shape), shape)


def _places(node: Node, shape: tuple[int, ...], constants: dict[str, NDArray[np.generic]]) -> list[NDArray[np.int64]]:
    """For each output, which element of the tensor stands where."""
    numbers = np.arange(prod(shape), dtype=np.int64).reshape(1, *shape)
    found = evaluated([node.proto], node.opsets, {**constants, node.inputs[0]: numbers}, list(node.outputs))
    return [found[name].astype(np.int64) for name in node.outputs]


for _name in _MOVERS:
    operator(_name)(moved)


@operator("Identity")
def _identity(g: Reading, node: Node, x: Value) -> Value:
    del g, node
    return x


@operator("Dropout")
def _dropout(g: Reading, node: Node, x: Value, *others: Value | None) -> Value:
    del g, others
    if len(node.outputs) > 1 and node.outputs[1]:
        raise UnsupportedError("it gives its mask too")
    return x


@operator("Cast")
def _cast(g: Reading, node: Node, x: Value) -> Value:
    kind = np.dtype(tensor_dtype_to_np_dtype(node.integer("to", 1))).kind
    if kind != "f" and isinstance(x, Stream):
        raise UnsupportedError("it cuts numbers to integers, which rounding does otherwise")
    if kind != "f" and not isinstance(x, Hosted | Constant) and g.accepts.dtype[0] == "f":
        raise UnsupportedError("it cuts the input to integers, which rounding does otherwise")
    return x
