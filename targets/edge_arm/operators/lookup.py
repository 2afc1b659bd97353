"""Elements taken from, or put to, places that a tensor of indices names."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm._arithmetic import greater, remainder
from targets.edge_arm._registry import operator
from targets.edge_arm.operators.slicing import looked_up, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_REDUCTIONS = {"mul": "MUL", "max": "MAXIMUM", "min": "MINIMUM"}
_ROUNDS = 64
"""How often one index may come, where updates are combined one after the other."""


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
        flat = wide if strides[axis] == 1 else g.mul(wide, g.scalar(strides[axis], wide))
        flat = g.add(flat, g.constant(base)) if base.any() else flat
    row = g.graph.reshape(g.tensor(x), (prod(x.shape),))
    found = g.graph.add("GATHER", [row, g.tensor(flat)], indices.shape, row.dtype, schema.GatherOptionsT(axis=0))
    return g.made(found, x.dtype)


@operator("Scatter", since=9)
@operator("ScatterElements", since=11)
def scatter_elements(g: Emission, node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """X with single elements replaced, or combined, at indices along one axis."""
    axis = x.axis(node.integer("axis", 0))
    strides = _strides(x.shape)
    grid = np.indices(indices.shape)
    rest = sum(grid[place] * strides[place] for place in range(x.rank) if place != axis)
    along = g.mul(_within(g, indices, x.shape[axis]), g.constant(np.array(strides[axis], np.int64)))
    flat = g.add(along, g.constant(np.broadcast_to(np.asarray(rest, np.int64), indices.shape)))
    count = prod(indices.shape)
    return _scattered(g, node, x, g.reshape(flat, (count,)), g.reshape(updates, (count,)))


@operator("ScatterND", since=11)
def scatter_nd(g: Emission, node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """X with slices replaced, or combined, at index tuples."""
    depth = indices.shape[-1]
    strides = np.array(_strides(x.shape)[:depth], np.int64)
    inner = prod(x.shape[depth:])
    steps = g.mul(_within(g, indices, np.array(x.shape[:depth], np.int64)), g.constant(strides))
    starts = _summed(g, steps)
    count = prod(indices.shape[:-1])
    flat = g.add(g.reshape(starts, (count, 1)), g.constant(np.arange(inner)))
    return _scattered(g, node, x, g.reshape(flat, (count * inner,)), g.reshape(updates, (count * inner,)))


def _within(g: Emission, indices: Value, size: int | NDArray[np.int64]) -> Value:
    """Indices counted from the start."""
    return remainder(g, g.cast(indices, np.int64), g.constant(np.asarray(size, np.int64)))


def _summed(g: Emission, x: Value) -> Value:
    """The sum along the last axis."""
    if x.constant is not None:
        return g.constant(x.constant.sum(axis=-1))
    return g.reduce("SUM", x, (x.rank - 1,), keep=False)


def _scattered(g: Emission, node: Node, x: Value, flat: Value, updates: Value) -> Value:
    """The flat x with updates at flat places; of several for one place, the last counts."""
    reduction = node.text("reduction", "none")
    if x.stored.name not in {"float32", "int32"}:
        raise UnsupportedError(f"a scatter of {x.dtype.name} has no kernel")
    row = g.reshape(x, (prod(x.shape),))
    if reduction == "add":
        return g.reshape(g.add(row, _spread(g, flat, updates, prod(x.shape))), x.shape)
    if flat.constant is not None:
        for places, each in _rounds(flat.constant, last_only=reduction == "none"):
            row = _combined(g, reduction, row, g.constant(places), _taken(g, updates, each))
    elif reduction == "none":
        row = _combined(g, reduction, row, flat, updates)
    else:
        raise UnsupportedError(f"reduction '{reduction}' at indices that the model computes is not served")
    return g.reshape(row, x.shape)


def _rounds(flat: NDArray[np.int64], *, last_only: bool) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places, each once in a round, and which update each gets."""
    turns: list[dict[int, int]] = []
    seen: dict[int, int] = {}
    for position, place in enumerate(flat.tolist()):
        turn = 0 if last_only else seen.get(place, 0)
        seen[place] = turn + 1
        if turn == len(turns):
            turns.append({})
        turns[turn][place] = position
    if len(turns) > _ROUNDS:
        raise UnsupportedError(f"an index comes {len(turns)} times: expected at most {_ROUNDS} to combine")
    return [(np.array(list(turn), np.int64), np.array(list(turn.values()), np.int64)) for turn in turns]


def _combined(g: Emission, reduction: str, row: Value, flat: Value, updates: Value) -> Value:
    """The row with the updates at places that differ from each other."""
    count = row.shape[0]
    if reduction != "none":
        if reduction not in _REDUCTIONS:
            raise UnsupportedError(f"reduction '{reduction}' is not served")
        current = g.graph.add(
            "GATHER", [g.tensor(row), g.tensor(flat)], flat.shape, row.stored, schema.GatherOptionsT(axis=0)
        )
        options = schema.MulOptionsT() if reduction == "mul" else schema.MaximumMinimumOptionsT()
        updates = g.elementwise(_REDUCTIONS[reduction], g.made(current, row.dtype), updates, options=options)
    if flat.constant is not None:
        hit = np.zeros(count, np.bool_)
        hit[flat.constant] = True
        return g.select(g.constant(hit), _spread(g, flat, updates, count), row)
    ones = g.constant(np.ones(flat.shape, np.float32))
    return g.select(greater(g, _spread(g, flat, ones, count), 0.5), _spread(g, flat, updates, count), row)


def _spread(g: Emission, flat: Value, updates: Value, count: int) -> Value:
    """Zeros with the updates added at their places."""
    inputs = [g.tensor(g.reshape(flat, (flat.shape[0], 1))), g.tensor(updates), g.graph.integers([count])]
    found = g.graph.add("SCATTER_ND", inputs, (count,), updates.stored, schema.ScatterNdOptionsT())
    return g.made(found, updates.dtype)


def _taken(g: Emission, row: Value, places: NDArray[np.int64]) -> Value:
    if np.array_equal(places, np.arange(row.shape[0])):
        return row
    if row.constant is not None:
        return g.constant(row.constant[places])
    inputs = [g.tensor(row), g.graph.constant(places.astype(np.int32))]
    return g.made(g.graph.add("GATHER", inputs, places.shape, row.stored, schema.GatherOptionsT(axis=0)), row.dtype)


@operator("TensorScatter", since=24)
def tensor_scatter(g: Emission, node: Node, x: Value, updates: Value, starts: Value | None = None) -> Value:
    """A cache with updates written along one axis, for each sample from its own place on; round its end if circular."""
    axis = x.axis(node.integer("axis", -2))
    circular = node.text("mode", "linear") == "circular"
    batch, length = x.shape[0], updates.shape[axis]
    begin = g.constant(np.zeros(batch, np.int64)) if starts is None else g.cast(starts, np.int64)
    strides = _strides(x.shape)
    grid = np.indices(updates.shape)
    rest = sum(grid[place] * strides[place] for place in range(x.rank) if place != axis)
    shape = [1] * x.rank
    shape[axis] = length
    along = g.add(g.reshape(begin, (batch, *(1,) * (x.rank - 1))), g.constant(np.arange(length).reshape(shape)))
    if circular:
        along = remainder(g, along, x.shape[axis])
    flat = g.add(g.mul(along, g.scalar(strides[axis], along)), g.constant(np.asarray(rest, np.int64)))
    count = prod(updates.shape)
    row = g.reshape(x, (prod(x.shape),))
    return g.reshape(_combined(g, "none", row, g.reshape(flat, (count,)), g.reshape(updates, (count,))), x.shape)


@operator("Col2Im", since=18)
def col2im(g: Emission, node: Node, x: Value, image: Value, block: Value) -> Value:
    """Blocks laid over each other on an image and added up."""
    sizes, kernel = image.integers("image_shape"), block.integers("block_shape")
    rank = len(sizes)
    strides, dilations = node.integers("strides") or (1,) * rank, node.integers("dilations") or (1,) * rank
    pads = node.integers("pads") or (0,) * (2 * rank)
    counts = tuple(
        (sizes[axis] + pads[axis] + pads[axis + rank] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        for axis in range(rank)
    )
    taps, blocks = np.indices(kernel).reshape(rank, -1, 1), np.indices(counts).reshape(rank, 1, -1)
    steps = [np.array(each).reshape(rank, 1, 1) for each in (strides, dilations, pads[:rank], sizes)]
    places = blocks * steps[0] + taps * steps[1] - steps[2]
    inside = ((places >= 0) & (places < steps[3])).all(axis=0)
    flat = (places * np.array(_strides(tuple(sizes))).reshape(rank, 1, 1)).sum(axis=0)
    maps = prod(x.shape) // (prod(kernel) * prod(counts))
    rows = g.reshape(x, (maps, prod(kernel) * prod(counts)))
    kept = np.flatnonzero(inside).astype(np.int32)
    rows = rows if len(kept) == rows.shape[1] else looked_up(g, rows, 1, kept)
    whole = np.arange(maps)[:, None] * prod(sizes) + flat.reshape(-1)[kept]
    total = _spread(
        g, g.constant(whole.reshape(-1).astype(np.int64)), g.reshape(rows, (whole.size,)), maps * prod(sizes)
    )
    return g.reshape(total, (x.shape[0], maps // x.shape[0], *sizes))


@operator("MaxUnpool", since=9)
def max_unpool(g: Emission, node: Node, x: Value, indices: Value, shape: Value | None = None) -> Value:
    """Zeros with the elements of x at flat places, as a pool gave them."""
    kernel = node.integers("kernel_shape")
    rank = len(kernel)
    strides, pads = node.integers("strides") or (1,) * rank, node.integers("pads") or (0,) * (2 * rank)
    inferred = [
        (size - 1) * strides[axis] - pads[axis] - pads[axis + rank] + kernel[axis]
        for axis, size in enumerate(x.shape[2:])
    ]
    whole = (*x.shape[:2], *inferred)
    if indices.constant is None and any(step < size for step, size in zip(strides, kernel, strict=True)):
        raise UnsupportedError("windows overlap, so that computed places may come twice")
    count = prod(x.shape)
    zeros = g.constant(np.zeros(prod(whole), x.dtype))
    flat, updates = g.reshape(g.cast(indices, np.int64), (count,)), g.reshape(x, (count,))
    if flat.constant is not None:
        places, each = _rounds(flat.constant, last_only=True)[0]
        flat, updates = g.constant(places), _taken(g, updates, each)
    result = g.reshape(_combined(g, "none", zeros, flat, updates), whole)
    if shape is None:
        return result
    wanted = shape.integers("output_shape")
    return padded(g, result, (0,) * x.rank, [want - have for want, have in zip(wanted, whole, strict=True)])


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
