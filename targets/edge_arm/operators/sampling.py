"""Maps read between their places: GridSample, RoiAlign, DeformConv."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from targets._source.refusal import UnsupportedError
from targets.edge_arm._arithmetic import clamped, either, greater, less, maximum, rounded
from targets.edge_arm._registry import operator
from targets.edge_arm._sampling import Tap, corners, cubic_taps, linear_taps, reflected, rows_of, within
from targets.edge_arm.operators.matmul import fully_connected
from targets.edge_arm.operators.slicing import entry, joined, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_PLANE = 4


@operator("GridSample", since=16)
def grid_sample(g: Emission, node: Node, x: Value, grid: Value) -> Value:
    """X at the places that the grid names, each axis from -1 to 1; the grid's last axis counts axes from the last."""
    aligned = bool(node.integer("align_corners", 0))
    padding = node.text("padding_mode", "zeros")
    mode = node.text("mode", "linear").removeprefix("bi")
    if padding not in {"zeros", "border", "reflection"} or mode not in {"linear", "cubic", "nearest"}:
        raise UnsupportedError(f"mode '{mode}' with padding '{padding}' is not served")
    grid = g.cast(grid, np.float32)
    sizes = x.shape[2:]
    taps = []
    for axis, size in enumerate(sizes):
        where = entry(g, grid, grid.rank - 1, len(sizes) - 1 - axis)
        where = g.mul(g.add(where, g.scalar(1, where)), g.scalar((size - 1 if aligned else size) / 2, where))
        where = where if aligned else g.sub(where, g.scalar(0.5, where))
        taps.append(_along(g, where, size, mode, padding, (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)))
    starts = (np.arange(x.shape[0]) * prod(sizes)).reshape(-1, *(1,) * len(sizes))
    parts = corners(g, rows_of(g, x), g.constant(starts), sizes, taps)
    return _channels_back(g, _total(g, parts))


def _along(g: Emission, where: Value, size: int, mode: str, padding: str, borders: tuple[float, float]) -> list[Tap]:
    if mode == "nearest":
        where = rounded(g, where)
    # Of a cubic only the taps are kept within the border, as onnxruntime and PyTorch do; ONNX's reference moves all.
    if padding == "border" and mode != "cubic":
        where = clamped(g, where, 0, size - 1)
    elif padding == "reflection":
        where = reflected(g, where, *borders)
    pairs: Sequence[tuple[Value, Value | None]]
    pairs = [(where, None)] if mode == "nearest" else (linear_taps if mode == "linear" else cubic_taps)(g, where)
    if padding == "zeros":
        return [within(g, place, weight, size) for place, weight in pairs]
    if padding == "reflection":
        pairs = [(reflected(g, place, *borders), weight) for place, weight in pairs]
    return [Tap(clamped(g, rounded(g, place), 0, size - 1), weight) for place, weight in pairs]


def _total(g: Emission, parts: Sequence[Value]) -> Value:
    total = parts[0]
    for part in parts[1:]:
        total = g.add(total, part)
    return total


def _channels_back(g: Emission, x: Value) -> Value:
    """[batch, ..., channels] as [batch, channels, ...]; nothing moves."""
    return g.transpose(x, (0, x.rank - 1, *range(1, x.rank - 1)))


@operator("RoiAlign", since=10)
def roi_align(g: Emission, node: Node, x: Value, rois: Value, batches: Value) -> Value:
    """Each region of a map, cut into bins, each bin the mean (or the largest) of what is read at its samples."""
    samples = node.integer("sampling_ratio", 0)
    if samples < 1:
        raise UnsupportedError("how many samples a bin has depends on the regions: sampling_ratio is 0")
    bins = node.integer("output_height", 1), node.integer("output_width", 1)
    shifted = node.text("coordinate_transformation_mode", "half_pixel") == "half_pixel" and node.version > 10  # noqa: PLR2004 - the version that has no shift
    scale, shift = node.number("spatial_scale", 1.0), 0.5 if shifted else 0.0
    count = rois.shape[0]
    edges = g.cast(rois, np.float32)
    edges = g.sub(g.mul(edges, g.scalar(scale, edges)), g.scalar(shift, edges))
    taps = []
    for axis, size in enumerate(x.shape[2:]):
        start, end = (g.reshape(entry(g, edges, 1, place), (count, 1)) for place in (1 - axis, 3 - axis))
        length = g.sub(end, start)
        length = length if shifted else maximum(g, length, 1.0)
        points = ((np.arange(bins[axis] * samples) + 0.5) / (bins[axis] * samples)).astype(np.float32)
        where = g.add(start, g.mul(length, g.constant(points.reshape(1, -1))))
        shape = (count, -1, 1) if axis == 0 else (count, 1, -1)
        taps.append(_roi_taps(g, where, size, tuple(where.shape[1] if part == -1 else part for part in shape)))
    starts = g.mul(g.cast(batches, np.int64), g.constant(np.array(prod(x.shape[2:]), np.int64)))
    parts = corners(g, rows_of(g, x), g.reshape(starts, (count, 1, 1)), x.shape[2:], taps)
    largest = node.text("mode", "avg") == "max"
    read = parts[0]
    for part in parts[1:]:
        read = maximum(g, read, part) if largest else g.add(read, part)
    read = g.reshape(read, (count * bins[0], samples, bins[1], samples * x.shape[1]))
    read = g.reduce("REDUCE_MAX" if largest else "MEAN", read, (1,), keep=False)
    read = g.reshape(read, (count, bins[0] * bins[1], samples, x.shape[1]))
    read = g.reduce("REDUCE_MAX" if largest else "MEAN", read, (2,), keep=False)
    return _channels_back(g, g.reshape(read, (count, *bins, x.shape[1])))


def _roi_taps(g: Emission, where: Value, size: int, shape: tuple[int, ...]) -> list[Tap]:
    outside = either(g, less(g, where, -1.0), greater(g, where, float(size)))
    counts = g.select(outside, g.scalar(0, where), g.scalar(1, where))
    taps = []
    for place, weight in linear_taps(g, clamped(g, where, 0, size - 1)):
        inside = clamped(g, place, 0, size - 1)
        taps.append(Tap(g.reshape(inside, shape), g.reshape(g.mul(weight, counts), shape)))
    return taps


@operator("DeformConv", since=19)
def deform_conv(  # noqa: PLR0913, PLR0917 - ONNX gives it five inputs
    g: Emission,
    node: Node,
    x: Value,
    weights: Value,
    offset: Value,
    bias: Value | None = None,
    mask: Value | None = None,
) -> Value:
    """A convolution that reads each of its taps beside its place, by an offset that the model computes."""
    if x.rank != _PLANE:
        raise UnsupportedError(f"a deformable convolution of rank {x.rank} is not served: expected 4")
    shifts, groups = node.integer("offset_group", 1), node.integer("group", 1)
    batch, channels, *sizes = x.shape
    kernel, outputs = weights.shape[2:], offset.shape[2:]
    count = prod(kernel)
    places = (batch, shifts, count, *outputs)
    steps = g.reshape(offset, (batch, shifts, count, 2, *outputs))
    taps = []
    for axis, size in enumerate(sizes):
        where = g.add(
            g.reshape(span(g, steps, 3, axis, axis + 1), places), g.constant(_regular(node, kernel, outputs, axis))
        )
        taps.append([within(g, place, weight, size) for place, weight in linear_taps(g, where)])
    rows = g.transpose(g.reshape(x, (batch, shifts, channels // shifts, *sizes)), (0, 1, 3, 4, 2))
    rows = g.reshape(g.made(g.tensor(rows), rows.dtype), (batch * shifts * prod(sizes), channels // shifts))
    starts = (np.arange(batch * shifts) * prod(sizes)).reshape(batch, shifts, 1, 1, 1)
    read = _total(g, corners(g, rows, g.constant(starts), sizes, taps))
    if mask is not None:
        read = g.mul(read, g.reshape(mask, (*places, 1)))
    # [batch, shifts, taps, height, width, channels] with all channels before the taps, as the weights have them.
    read = g.transpose(read, (0, 3, 4, 1, 5, 2))
    columns = g.reshape(g.made(g.tensor(read), read.dtype), (batch * prod(outputs), channels * count))
    result = _grouped_product(g, columns, weights, bias, groups)
    g.macs += prod(result.shape) * prod(weights.shape[1:])
    return g.transpose(g.reshape(result, (batch, *outputs, weights.shape[0])), (0, 3, 1, 2))


def _regular(
    node: Node, kernel: Sequence[int], outputs: Sequence[int], axis: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Where each tap of each window lies along an axis without an offset, [1, 1, taps, height, width]."""
    strides, dilations = node.integers("strides") or (1, 1), node.integers("dilations") or (1, 1)
    before = (node.integers("pads") or (0, 0, 0, 0))[axis]
    tap = np.indices(kernel)[axis].reshape(1, 1, -1, 1, 1) * dilations[axis]
    start = np.indices(outputs)[axis].reshape(1, 1, 1, *outputs) * strides[axis] - before
    return np.asarray(tap + start, np.float32)


def _grouped_product(g: Emission, columns: Value, weights: Value, bias: Value | None, groups: int) -> Value:
    size, each = columns.shape[1] // groups, weights.shape[0] // groups
    matrix = g.reshape(weights, (weights.shape[0], prod(weights.shape[1:])))
    parts = [
        fully_connected(
            g,
            span(g, columns, 1, group * size, (group + 1) * size),
            span(g, matrix, 0, group * each, (group + 1) * each),
            None if bias is None else span(g, bias, 0, group * each, (group + 1) * each),
        )
        for group in range(groups)
    ]
    return joined(g, parts, 1)
