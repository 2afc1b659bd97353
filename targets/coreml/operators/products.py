"""Sums of products over named axes, running products, determinants."""

from __future__ import annotations

from itertools import combinations
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from targets._source.equation import parsed_equation
from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator
from targets.coreml.operators.matmul import product
from targets.coreml.operators.slicing import entry, span, strided

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value

_DETERMINANT_LIMIT = 6
"""Largest matrix whose determinant is developed by minors."""


@operator("Einsum", since=12)
def einsum(g: Emission, node: Node, *values: Value) -> Value:
    """The sum of products that an equation names, such as ``bij,bjk->bik``."""
    terms, result = parsed_equation(node.text("equation", ""), [value.rank for value in values])
    left, names = _simple(g, values[0], terms[0])
    for place in range(1, len(values)):
        right, other = _simple(g, values[place], terms[place])
        wanted = set(result).union(*terms[place + 1 :])
        left, names = _contracted(g, (left, names), (right, other), wanted)
    gone = [axis for axis, name in enumerate(names) if name not in result]
    left = a.reduced(g, "reduce_sum", left, gone, keep=False)
    names = "".join(name for name in names if name in result)
    return g.transpose(left, tuple(names.index(name) for name in result))


def _simple(g: Emission, value: Value, names: str) -> tuple[Value, str]:
    """The value with each letter once: of two axes with one letter, the diagonal."""
    for name in sorted(set(names)):
        while names.count(name) > 1:
            first, second = [place for place, other in enumerate(names) if other == name][:2]
            value = _diagonal(g, value, first, second)
            names = names[:second] + names[second + 1 :]
    return value, names


def _diagonal(g: Emission, value: Value, first: int, second: int) -> Value:
    rest = [axis for axis in range(value.rank) if axis not in {first, second}]
    size = value.shape[first]
    lined = g.transpose(value, (first, second, *rest))
    outer = [value.shape[axis] for axis in rest]
    rows = g.reshape(lined, (size * size, *outer))
    picked = strided(g, rows, [range(0, size * size, size + 1), *(range(part) for part in outer)])
    back = [first, *rest]
    return g.transpose(picked, tuple(back.index(axis) for axis in range(value.rank) if axis != second))


def _contracted(g: Emission, left: tuple[Value, str], right: tuple[Value, str], wanted: set[str]) -> tuple[Value, str]:
    """The product of two values, summed over the letters that both have and nobody wants."""
    (first, mine), (second, theirs) = left, right
    shared = [name for name in mine if name in theirs]
    batch = [name for name in shared if name in wanted]
    summed = [name for name in shared if name not in wanted]
    rows, columns = ([name for name in names if name not in shared] for names in (mine, theirs))
    sizes = dict(zip(mine, first.shape, strict=True))
    for name, size in zip(theirs, second.shape, strict=True):
        sizes[name] = max(sizes.get(name, 1), size)
    if any(
        len({dict(zip(names, value.shape, strict=True))[name] for value, names in (left, right)}) > 1 for name in shared
    ):
        raise UnsupportedError("an axis of size 1 is broadcast by its letter")

    def lined(value: Value, names: str, order: list[list[str]]) -> Value:
        flat = [name for group in order for name in group]
        moved = g.transpose(value, tuple(names.index(name) for name in flat))
        return g.reshape(moved, [prod(sizes[name] for name in group) for group in order])

    result = product(g, lined(first, mine, [batch, rows, summed]), lined(second, theirs, [batch, summed, columns]))
    names = [*batch, *rows, *columns]
    return g.reshape(result, [sizes[name] for name in names]), "".join(names)


@operator("CumProd", since=26)
def cumprod(g: Emission, node: Node, x: Value, axis: Value) -> Value:
    """Running products along one axis, by doubling the reach of each element."""
    along = x.axis(int(axis.number("axis")))
    size, backwards = x.shape[along], bool(node.integer("reverse", 0))
    if node.integer("exclusive", 0):
        x = _shifted(g, x, along, 1, backwards=backwards)
    reach = 1
    while reach < size:
        x = a.mul(g, x, _shifted(g, x, along, reach, backwards=backwards))
        reach *= 2
    return x


def _shifted(g: Emission, x: Value, axis: int, by: int, *, backwards: bool) -> Value:
    """The elements moved along an axis, ones in their place."""
    size = x.shape[axis]
    ones = g.constant(
        np.ones([min(by, size) if place == axis else whole for place, whole in enumerate(x.shape)], x.dtype)
    )
    if by >= size:
        return ones
    kept = span(g, x, axis, by, size) if backwards else span(g, x, axis, 0, size - by)
    return g.concat([kept, ones] if backwards else [ones, kept], axis)


@operator("Det")
def det(g: Emission, node: Node, x: Value) -> Value:
    """The determinant of each matrix, developed by minors of growing size."""
    del node
    size = x.shape[-1]
    if size > _DETERMINANT_LIMIT:
        raise UnsupportedError(f"the determinant of a matrix of {size} rows: expected at most {_DETERMINANT_LIMIT}")
    rows = [entry(g, x, x.rank - 2, place) for place in range(size)]
    cells = [[entry(g, row, row.rank - 1, place) for place in range(size)] for row in rows]
    minors: dict[tuple[int, ...], Value] = {(place,): cells[-1][place] for place in range(size)}
    for count in range(2, size + 1):
        minors = {
            columns: _developed(g, cells[size - count], columns, minors) for columns in combinations(range(size), count)
        }
    return minors[tuple(range(size))]


def _developed(g: Emission, row: list[Value], columns: tuple[int, ...], minors: dict[tuple[int, ...], Value]) -> Value:
    parts = [a.mul(g, row[column], minors[tuple(other for other in columns if other != column)]) for column in columns]
    total = parts[0]
    for place, part in enumerate(parts[1:]):
        total = a.add(g, total, part) if place % 2 else a.sub(g, total, part)
    return total
