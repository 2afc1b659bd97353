"""Elements taken from, or put to, places that a tensor of indices names."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator
from targets.coreml.operators.slicing import from_start, looked_up, padded, taken

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value

_MODES = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}


@operator("GatherElements", since=11)
def gather_elements(g: Emission, node: Node, x: Value, indices: Value) -> Value:
    """For each place of the indices, the element of x at that place, but at the index along one axis."""
    axis = x.axis(node.integer("axis", 0))
    others = [size for place, size in enumerate(x.shape) if place != axis]
    places = from_start(g, indices, x.shape[axis])
    if others == [size for place, size in enumerate(indices.shape) if place != axis]:
        return g.op("gather_along_axis", x.dtype, x=x, indices=places, axis=axis)
    strides = _strides(x.shape)
    grid = np.indices(indices.shape)
    rest = sum(grid[place] * strides[place] for place in range(x.rank) if place != axis)
    along = a.mul(g, g.cast(places, np.int64), strides[axis])
    flat = a.add(g, along, g.constant(np.broadcast_to(np.asarray(rest, np.int64), indices.shape)))
    return taken(g, g.reshape(x, (x.size,)), flat, 0)


@operator("Scatter", since=9)
@operator("ScatterElements", since=11)
def scatter_elements(g: Emission, node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """X with single elements replaced, or combined, at indices along one axis."""
    axis = x.axis(node.integer("axis", 0))
    strides = _strides(x.shape)
    grid = np.indices(indices.shape)
    rest = sum(grid[place] * strides[place] for place in range(x.rank) if place != axis)
    along = a.mul(g, from_start(g, g.cast(indices, np.int64), x.shape[axis]), strides[axis])
    flat = a.add(g, along, g.constant(np.broadcast_to(np.asarray(rest, np.int64), indices.shape)))
    return _scattered(g, node.text("reduction", "none"), x, g.reshape(flat, (indices.size,)), updates)


@operator("ScatterND", since=11)
def scatter_nd(g: Emission, node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """X with slices replaced, or combined, at index tuples."""
    depth = indices.shape[-1]
    sizes = np.array(x.shape[:depth], np.int64)
    strides = g.constant(np.array(_strides(x.shape)[:depth], np.int64))
    steps = a.mul(g, from_start(g, g.cast(indices, np.int64), sizes), strides)
    if steps.constant is not None:
        starts = g.constant(steps.constant.sum(axis=-1))
    else:
        starts = a.reduced(g, "reduce_sum", steps, (steps.rank - 1,), keep=False)
    inner, count = prod(x.shape[depth:]), prod(indices.shape[:-1])
    flat = a.add(g, g.reshape(starts, (count, 1)), g.constant(np.arange(inner)))
    return _scattered(g, node.text("reduction", "none"), x, g.reshape(flat, (count * inner,)), updates)


def _scattered(g: Emission, reduction: str, x: Value, flat: Value, updates: Value) -> Value:
    """X with updates at flat places; of several for one place, the last counts."""
    if reduction not in _MODES:
        raise UnsupportedError(f"reduction '{reduction}' is not served")
    return g.reshape(
        g.op(
            "scatter",
            x.dtype,
            data=g.reshape(x, (x.size,)),
            indices=flat,
            updates=g.reshape(updates, (updates.size,)),
            axis=0,
            mode=_MODES[reduction],
        ),
        x.shape,
    )


@operator("TensorScatter", since=24)
def tensor_scatter(g: Emission, node: Node, x: Value, updates: Value, starts: Value | None = None) -> Value:
    """A cache with updates written along one axis, for each sample from its own place on; round its end if circular."""
    axis = x.axis(node.integer("axis", -2))
    batch, length = x.shape[0], updates.shape[axis]
    begin = g.constant(np.zeros(batch, np.int64)) if starts is None else g.cast(starts, np.int64)
    strides = _strides(x.shape)
    grid = np.indices(updates.shape)
    rest = sum(grid[place] * strides[place] for place in range(x.rank) if place != axis)
    shape = [1] * x.rank
    shape[axis] = length
    along = a.add(g, g.reshape(begin, (batch, *(1,) * (x.rank - 1))), g.constant(np.arange(length).reshape(shape)))
    if node.text("mode", "linear") == "circular":
        along = a.remainder(g, along, x.shape[axis])
    flat = a.add(g, a.mul(g, along, strides[axis]), g.constant(np.asarray(rest, np.int64)))
    return _scattered(g, "none", x, g.reshape(flat, (updates.size,)), updates)


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
    maps = x.size // (prod(kernel) * prod(counts))
    rows = g.reshape(x, (maps, prod(kernel) * prod(counts)))
    kept = np.flatnonzero(inside)
    rows = rows if len(kept) == rows.shape[1] else looked_up(g, rows, 1, kept)
    zeros = g.constant(np.zeros((maps, prod(sizes)), x.dtype))
    where = g.constant(flat.reshape(-1)[kept].astype(np.int64))
    total = g.op("scatter", x.dtype, data=zeros, indices=where, updates=rows, axis=1, mode="add")
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
    zeros = g.constant(np.zeros(whole, x.dtype))
    result = _scattered(g, "none", zeros, g.reshape(g.cast(indices, np.int64), (x.size,)), x)
    if shape is None:
        return result
    wanted = shape.integers("output_shape")
    return padded(g, result, (0,) * x.rank, [want - have for want, have in zip(wanted, whole, strict=True)])


@operator("ReverseSequence", since=10)
def reverse_sequence(g: Emission, node: Node, x: Value, lengths: Value) -> Value:
    """The first entries of each sequence in reverse, as many as its length."""
    return reversed_sequences(g, x, lengths, node.integer("time_axis", 0), node.integer("batch_axis", 1))


def reversed_sequences(g: Emission, x: Value, lengths: Value, along: int = 0, batch: int = 1) -> Value:
    """The first entries along one axis in reverse, as many as the lengths say, for each sample along another."""
    return g.op("reverse_sequence", x.dtype, x=x, lengths=g.cast(lengths, np.int32), seq_axis=along, batch_axis=batch)


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Elements from one entry to the next along each axis, in C order."""
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]
