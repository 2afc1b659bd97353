"""Reductions, cumulative sums, and searches for the largest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm._graph import Tensor
from targets.edge_arm._registry import operator
from targets.edge_arm.operators.slicing import entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value


class _Along(NamedTuple):
    axes: tuple[int, ...]
    keep: bool


def _reduction(
    reduce: Callable[[Emission, Value, _Along], Value], g: Emission, node: Node, x: Value, axes: Value | None = None
) -> Value:
    """A reduction whose axes are an attribute in older versions and an input in newer ones."""
    named = axes.integers("axes") if axes is not None else node.integers("axes")
    if not named and node.integer("noop_with_empty_axes", 0):
        return reduce(g, x, _Along((), keep=True))
    along = tuple(x.axis(axis) for axis in named) or tuple(range(x.rank))
    return reduce(g, x, _Along(along, keep=bool(node.integer("keepdims", 1))))


def _plain(code: str, g: Emission, x: Value, along: _Along) -> Value:
    if x.stored.name not in {"float32", "int32"}:
        raise UnsupportedError(f"{code} of {x.dtype.name} has no kernel")
    return g.reduce(code, x, along.axes, keep=along.keep)


def _extreme(code: str, g: Emission, x: Value, along: _Along) -> Value:
    if x.dtype == np.bool_:
        return g.cast(_plain(code, g, g.cast(x, np.int32), along), np.bool_)
    return _plain(code, g, x, along)


def _mean(g: Emission, x: Value, along: _Along) -> Value:
    if x.dtype.kind != "f":
        raise UnsupportedError(f"the mean of {x.dtype.name} is rounded differently by the kernel")
    return g.reduce("MEAN", x, along.axes, keep=along.keep)


def _l1(g: Emission, x: Value, along: _Along) -> Value:
    return _plain("SUM", g, g.elementwise("ABS", x), along)


def _sum_square(g: Emission, x: Value, along: _Along) -> Value:
    return _plain("SUM", g, g.mul(x, x), along)


def _l2(g: Emission, x: Value, along: _Along) -> Value:
    return g.elementwise("SQRT", _sum_square(g, x, along))


def _log_sum(g: Emission, x: Value, along: _Along) -> Value:
    return g.elementwise("LOG", _plain("SUM", g, x, along))


def _log_sum_exp(g: Emission, x: Value, along: _Along) -> Value:
    """With the largest taken out first, so that nothing overflows."""
    top = g.reduce("REDUCE_MAX", x, along.axes, keep=True)
    total = g.elementwise("LOG", g.reduce("SUM", g.elementwise("EXP", g.sub(x, top)), along.axes, keep=True))
    result = g.add(total, top)
    shape = [size for axis, size in enumerate(result.shape) if along.keep or axis not in along.axes]
    return g.reshape(result, shape)


_REDUCTIONS: dict[str, Callable[[Emission, Value, _Along], Value]] = {
    "ReduceSum": partial(_plain, "SUM"),
    "ReduceProd": partial(_plain, "REDUCE_PROD"),
    "ReduceMax": partial(_extreme, "REDUCE_MAX"),
    "ReduceMin": partial(_extreme, "REDUCE_MIN"),
    "ReduceMean": _mean,
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceSumSquare": _sum_square,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
}

for _name, _reduce in _REDUCTIONS.items():
    operator(_name)(partial(_reduction, _reduce))


def _arg(code: str, options: type, g: Emission, node: Node, x: Value) -> Value:
    """The place of the largest (or smallest) along an axis: the first of several, or the last."""
    if x.stored.name not in {"float32", "int32"}:
        raise UnsupportedError(f"{code} of {x.dtype.name} has no kernel")
    axis = x.axis(node.integer("axis", 0))
    order = x.order
    tensor = g.tensor(x, order)
    place = order.index(axis)
    backwards = bool(node.integer("select_last_index", 0))
    if backwards:
        tensor = g.graph.add(
            "REVERSE_V2", [tensor, g.graph.integers([place])], tensor.shape, tensor.dtype, schema.ReverseV2OptionsT()
        )
    shape = [size for position, size in enumerate(tensor.shape) if position != place]
    settings = options(outputType=schema.TensorType.INT32)
    found = g.graph.add(code, [tensor, g.graph.integers([place])], shape, np.int32, settings)
    left = tuple(other for other in order if other != axis)
    ranks = sorted(left)
    result = g.made(found, np.int64, tuple(ranks.index(other) for other in left))
    if backwards:
        result = g.sub(g.constant(np.array(x.shape[axis] - 1, np.int64)), result)
    if node.integer("keepdims", 1):
        return g.reshape(result, [1 if other == axis else size for other, size in enumerate(x.shape)])
    return result


operator("ArgMax")(partial(_arg, "ARG_MAX", schema.ArgMaxOptionsT))
operator("ArgMin")(partial(_arg, "ARG_MIN", schema.ArgMinOptionsT))


@operator("CumSum", since=11)
def cumsum(g: Emission, node: Node, x: Value, axis: Value) -> Value:
    """Running sums along one axis, with or without the element itself, from either end."""
    if x.stored.name not in {"float32", "int32"}:
        raise UnsupportedError(f"a cumulative sum of {x.dtype.name} has no kernel")
    order = x.order
    tensor = g.tensor(x, order)
    place = order.index(x.axis(int(axis.number("axis"))))
    options = schema.CumsumOptionsT(
        exclusive=bool(node.integer("exclusive", 0)), reverse=bool(node.integer("reverse", 0))
    )
    inputs = [tensor, g.graph.constant(np.array(place, np.int32))]
    return g.made(g.graph.add("CUMSUM", inputs, tensor.shape, tensor.dtype, options), x.dtype, order)


@operator("TopK", until=9)
def top_k_of_attribute(g: Emission, node: Node, x: Value) -> tuple[Value, Value]:
    """The k largest along one axis, sorted, and their places; k is declared."""
    return top_k(g, node, x, g.constant(np.array(node.integer("k", 1), np.int64)))


@operator("TopK", since=10)
def top_k(g: Emission, node: Node, x: Value, k: Value) -> tuple[Value, Value]:
    """The k largest or smallest along one axis, sorted, and their places."""
    if x.stored.name not in {"float32", "int32"}:
        raise UnsupportedError(f"TOPK_V2 of {x.dtype.name} is not served")
    axis = x.axis(node.integer("axis", -1))
    smallest = not node.integer("largest", 1)
    if smallest:
        x = g.elementwise("NEG", x)
    order = (*(other for other in x.order if other != axis), axis)
    tensor = g.tensor(x, order)
    count = int(k.number("k"))
    shape = (*tensor.shape[:-1], count)
    best, places = Tensor(shape, tensor.dtype), Tensor(shape, np.dtype(np.int32))
    counted = g.graph.constant(np.array(count, np.int32))
    g.graph.add_many("TOPK_V2", [tensor, counted], [best, places], schema.TopKV2OptionsT())
    values = g.made(best, x.dtype, order)
    return g.elementwise("NEG", values) if smallest else values, g.made(places, np.int64, order)


@operator("GlobalAveragePool")
def global_average_pool(g: Emission, node: Node, x: Value) -> Value:
    """The mean over all but batch and channels."""
    del node
    return g.reduce("MEAN", x, tuple(range(2, x.rank)), keep=True)


@operator("GlobalMaxPool")
def global_max_pool(g: Emission, node: Node, x: Value) -> Value:
    """The largest over all but batch and channels."""
    del node
    return g.reduce("REDUCE_MAX", x, tuple(range(2, x.rank)), keep=True)


@operator("OneHot", since=9)
def one_hot(g: Emission, node: Node, indices: Value, depth: Value, values: Value) -> Value:
    """Vectors that hold the first of two values, but the second at one index, along a new axis."""
    axis = node.integer("axis", -1)
    axis = axis + indices.rank + 1 if axis < 0 else axis
    declared = node.shapes[0]
    size = int(depth.number("depth")) if declared is None else declared[axis]
    places = g.cast(indices, np.int64)
    if values.stored.name not in {"float32", "int32", "bool"}:
        raise UnsupportedError(f"ONE_HOT of {values.dtype.name} has no kernel")
    negative = g.elementwise("LESS", places, g.scalar(0, places), dtype=bool, options=schema.LessOptionsT())
    places = g.select(negative, g.add(places, g.scalar(size, places)), places)
    tensor = g.tensor(places)
    shape = (*indices.shape[:axis], size, *indices.shape[axis:])
    off, on = (g.tensor(entry(g, values, 0, place)) for place in range(2))
    count = g.graph.constant(np.array(size, np.int32))
    options = schema.OneHotOptionsT(axis=axis)
    return g.made(g.graph.add("ONE_HOT", [tensor, count, on, off], shape, values.stored, options), values.dtype)
