"""Elements taken from, or put to, places that a tensor of indices names."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm._registry import UnsupportedError, operator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets.edge_arm._emission import Emission, Value
    from targets.edge_arm._source import Node

_REDUCTIONS = {"add": "ADD", "mul": "MUL", "max": "MAXIMUM", "min": "MINIMUM"}


@operator("GatherElements", since=11)
def gather_elements(g: Emission, node: Node, x: Value, indices: Value) -> Value:
    """For each place of the indices, the element of x at that place, but at the index along one axis."""
    axis = x.axis(node.integer("axis", 0))
    strides = _strides(x.shape)
    grid = sum(
        (np.arange(size) * strides[place]).reshape([-1 if other == place else 1 for other in range(x.rank)])
        for place, size in enumerate(indices.shape)
        if place != axis
    )
    base = np.broadcast_to(np.asarray(grid, np.int64), indices.shape)
    if indices.constant is not None:
        places = _from_start(indices.constant.astype(np.int64), x.shape[axis]) * strides[axis] + base
        flat = g.constant(places)
    else:
        wide = g.cast(indices, np.int64)
        wide = g.elementwise("FLOOR_MOD", wide, g.scalar(x.shape[axis], wide), options=schema.FloorModOptionsT())
        flat = g.add(g.mul(wide, g.scalar(strides[axis], wide)), g.constant(base))
    row = g.graph.reshape(g.tensor(x), (prod(x.shape),))
    found = g.graph.add("GATHER", [row, g.tensor(flat)], indices.shape, row.dtype, schema.GatherOptionsT(axis=0))
    return g.made(found, x.dtype)


@operator("Scatter", since=9)
@operator("ScatterElements", since=11)
def scatter_elements(g: Emission, node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """X with single elements replaced, or combined, at constant indices along one axis."""
    axis = x.axis(node.integer("axis", 0))
    along = _from_start(indices.array("indices").astype(np.int64), x.shape[axis])
    grid = np.indices(indices.shape)
    grid[axis] = along
    strides = _strides(x.shape)
    flat = sum(grid[place] * strides[place] for place in range(x.rank))
    return _scattered(g, node, x, np.ravel(np.asarray(flat)), g.reshape(updates, (prod(indices.shape),)))


@operator("ScatterND", since=11)
def scatter_nd(g: Emission, node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """X with slices replaced, or combined, at constant index tuples."""
    tuples = indices.array("indices").astype(np.int64)
    depth = tuples.shape[-1]
    tuples = _from_start(tuples, np.array(x.shape[:depth]))
    strides = _strides(x.shape)
    inner = prod(x.shape[depth:])
    starts = (tuples * np.array(strides[:depth], np.int64)).sum(axis=-1).reshape(-1, 1)
    flat = (starts + np.arange(inner)).reshape(-1)
    return _scattered(g, node, x, flat, g.reshape(updates, (len(flat),)))


def _scattered(g: Emission, node: Node, x: Value, flat: NDArray[np.int64], updates: Value) -> Value:
    """The flat x with updates at flat places; of several for one place, the last counts."""
    reduction = node.text("reduction", "none")
    if x.stored.name not in {"float32", "int32"}:
        raise UnsupportedError(f"a scatter of {x.dtype.name} has no kernel")
    count = prod(x.shape)
    twice = len(np.unique(flat)) != len(flat)
    row = g.reshape(x, (count,))
    if reduction == "add":
        return g.reshape(g.add(row, _spread(g, flat, updates, count)), x.shape)
    if reduction != "none" and (twice or reduction not in _REDUCTIONS):
        raise UnsupportedError(f"reduction '{reduction}' with an index that comes twice is not served")
    if reduction != "none":
        current = _taken(g, row, flat)
        updates = g.elementwise(_REDUCTIONS[reduction], current, updates, options=_options(reduction))
    elif twice:
        last = {int(place): position for position, place in enumerate(flat)}
        flat = np.array(list(last), np.int64)
        updates = _taken(g, updates, np.array(list(last.values()), np.int64))
    hit = np.zeros(count, np.bool_)
    hit[flat] = True
    return g.reshape(g.select(g.constant(hit), _spread(g, flat, updates, count), row), x.shape)


def _options(reduction: str) -> object:
    return schema.MulOptionsT() if reduction == "mul" else schema.MaximumMinimumOptionsT()


def _spread(g: Emission, flat: NDArray[np.int64], updates: Value, count: int) -> Value:
    """Zeros with the updates added at their places."""
    inputs = [
        g.graph.constant(flat.reshape(-1, 1).astype(np.int32)),
        g.tensor(updates),
        g.graph.integers([count]),
    ]
    found = g.graph.add("SCATTER_ND", inputs, (count,), updates.stored, schema.ScatterNdOptionsT())
    return g.made(found, updates.dtype)


def _taken(g: Emission, row: Value, flat: NDArray[np.int64]) -> Value:
    inputs = [g.tensor(row), g.graph.constant(flat.astype(np.int32))]
    return g.made(g.graph.add("GATHER", inputs, flat.shape, row.stored, schema.GatherOptionsT(axis=0)), row.dtype)


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Elements from one entry to the next along each axis, in C order."""
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _from_start(indices: NDArray[np.int64], size: int | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(indices < 0, indices + size, indices)


@operator("ReverseSequence", since=10)
def reverse_sequence(g: Emission, node: Node, x: Value, lengths: Value) -> Value:
    """The first entries of each sequence in reverse, as many as its length."""
    return reversed_sequences(g, x, lengths, node.integer("time_axis", 0), node.integer("batch_axis", 1))


def reversed_sequences(g: Emission, x: Value, lengths: Value, along: int = 0, batch: int = 1) -> Value:
    """The first entries along one axis in reverse, as many as the lengths say, for each sample along another."""
    options = schema.ReverseSequenceOptionsT(seqDim=along, batchDim=batch)
    inputs = [g.tensor(x), g.tensor(lengths)]
    return g.made(g.graph.add("REVERSE_SEQUENCE", inputs, x.shape, x.stored, options), x.dtype)
