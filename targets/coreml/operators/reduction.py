"""Reductions, cumulative sums, and searches for the largest."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value

_NAMES = {
    "ReduceSum": "reduce_sum",
    "ReduceProd": "reduce_prod",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceMean": "reduce_mean",
    "ReduceL1": "reduce_l1_norm",
    "ReduceL2": "reduce_l2_norm",
    "ReduceSumSquare": "reduce_sum_square",
    "ReduceLogSum": "reduce_log_sum",
    "ReduceLogSumExp": "reduce_log_sum_exp",
}
_OF_ONE: dict[str, Callable[[Emission, Value], Value]] = {
    "ReduceL1": a.absolute,
    "ReduceL2": a.absolute,
    "ReduceSumSquare": lambda g, x: a.mul(g, x, x),
    "ReduceLogSum": a.logarithm,
}
"""What a reduction over no axes does to each element, where it is not nothing."""
_INTEGERS = {"ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceSumSquare"}


def _reduction(name: str, g: Emission, node: Node, x: Value, axes: Value | None = None) -> Value:
    """A reduction whose axes are an attribute in older versions and an input in newer ones."""
    named = axes.integers("axes") if axes is not None else node.integers("axes")
    if x.dtype.kind in "iu" and name not in _INTEGERS:
        raise UnsupportedError(f"of {x.dtype.name} it is rounded differently by MIL")
    if not named and node.integer("noop_with_empty_axes", 0):
        return _OF_ONE[name](g, x) if name in _OF_ONE else x
    along = tuple(x.axis(axis) for axis in named) or tuple(range(x.rank))
    if not along:
        return _OF_ONE[name](g, x) if name in _OF_ONE else x
    keep = bool(node.integer("keepdims", 1))
    if x.folded is None:
        return a.reduced(g, _NAMES[name], x, along, keep=keep)
    kept = [axis for axis in range(x.rank) if axis not in along]
    rows = g.reshape(g.transpose(x, (*kept, *along)), (prod(x.folded[axis] for axis in kept), -1))
    result = a.reduced(g, _NAMES[name], rows, (1,), keep=False)
    sizes = [1 if axis in along else size for axis, size in enumerate(x.folded) if keep or axis not in along]
    return g.reshape(result, sizes)


for _name in _NAMES:
    operator(_name)(partial(_reduction, _name))


def _arg(name: str, g: Emission, node: Node, x: Value) -> Value:
    """The place of the largest (or smallest) along an axis: the first of several, or the last."""
    axis = x.axis(node.integer("axis", 0))
    keep = bool(node.integer("keepdims", 1))
    backwards = bool(node.integer("select_last_index", 0))
    if backwards:
        x = g.op("reverse", x=x, axes=[axis])
    found = g.op(name, np.int64, x=x, axis=axis, keep_dims=keep)
    return a.sub(g, g.constant(np.array(x.shape[axis] - 1, np.int64)), found) if backwards else found


operator("ArgMax")(partial(_arg, "reduce_argmax"))
operator("ArgMin")(partial(_arg, "reduce_argmin"))


@operator("CumSum", since=11)
def cumsum(g: Emission, node: Node, x: Value, axis: Value) -> Value:
    """Running sums along one axis, with or without the element itself, from either end."""
    exclusive, reverse = bool(node.integer("exclusive", 0)), bool(node.integer("reverse", 0))
    return g.op("cumsum", x=x, axis=x.axis(int(axis.number("axis"))), exclusive=exclusive, reverse=reverse)


@operator("TopK", until=9)
def top_k_of_attribute(g: Emission, node: Node, x: Value) -> tuple[Value, Value]:
    """The k largest along one axis, sorted, and their places; k is declared."""
    return top_k(g, node, x, g.constant(np.array(node.integer("k", 1), np.int64)))


@operator("TopK", since=10)
def top_k(g: Emission, node: Node, x: Value, k: Value) -> tuple[Value, Value]:
    """The k largest or smallest along one axis, sorted, and their places."""
    axis = x.axis(node.integer("axis", -1))
    ascending = not node.integer("largest", 1)
    best, places = g.ops("topk", x=x, k=int(k.number("k")), axis=axis, ascending=ascending)
    return best, type(places)(np.dtype(np.int64), places.var, places.constant)


@operator("OneHot", since=9)
def one_hot(g: Emission, node: Node, indices: Value, depth: Value, values: Value) -> Value:
    """Vectors that hold the first of two values, but the second at one index, along a new axis."""
    axis = node.integer("axis", -1)
    axis = axis + indices.rank + 1 if axis < 0 else axis
    size = int(depth.number("depth"))
    places = g.cast(indices, np.int64)
    places = a.select(g, a.less(g, places, 0), a.add(g, places, size), places)
    wide = g.reshape(places, (*indices.shape[:axis], 1, *indices.shape[axis:]))
    along = np.arange(size).reshape([-1 if place == axis else 1 for place in range(wide.rank)])
    hit = a.equal(g, wide, g.constant(along.astype(np.int64)))
    off, on = (g.constant(np.array(number, values.dtype)) for number in np.ravel(values.array("values")))
    return a.select(g, hit, on, off)
