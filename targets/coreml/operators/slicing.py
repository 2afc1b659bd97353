"""Parts of tensors: taken, joined, padded, looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value

_MODES = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}
_FURTHEST = np.iinfo(np.int32).max


@operator("Concat", since=4)
def concat(g: Emission, node: Node, *values: Value) -> Value:
    """The values one after the other along an axis; empty ones left out."""
    return g.concat(values, values[0].axis(node.integer("axis", 0)))


@operator("Split", since=2)
def split(g: Emission, node: Node, x: Value, sizes: Value | None = None) -> list[Value]:
    """Consecutive parts along an axis, of the sizes given or as even as can be."""
    axis = x.axis(node.integer("axis", 0))
    count = len(node.outputs)
    given = sizes.integers("split") if sizes is not None else node.integers("split")
    if given:
        parts = list(given)
    else:
        whole = x.sizes[axis]
        if whole is None:
            raise UnsupportedError(f"it splits axis {axis}, which is free, into even parts")
        each = -(-whole // count)
        parts = [each] * (count - 1) + [whole - each * (count - 1)]
    starts = np.cumsum([0, *parts[:-1]])
    return [span(g, x, axis, int(start), int(start) + size) for start, size in zip(starts, parts, strict=True)]


@operator("Slice", until=9)
def slice_between_numbers(g: Emission, node: Node, x: Value) -> Value:
    """x[start:end] along each axis named, between numbers that the node declares."""
    begin, end = node.integers("starts"), node.integers("ends")
    along = node.integers("axes") or tuple(range(len(begin)))
    return sliced(g, x, {x.axis(axis): slice(*cut) for axis, *cut in zip(along, begin, end, strict=True)})


@operator("Slice", since=10)
def slice_(  # noqa: PLR0913, PLR0917 - ONNX gives it five inputs
    g: Emission,
    node: Node,
    x: Value,
    starts: Value,
    ends: Value,
    axes: Value | None = None,
    steps: Value | None = None,
) -> Value:
    """x[start:end:step] along each axis named."""
    del node
    begin, end = starts.integers("starts"), ends.integers("ends")
    along = axes.integers("axes") if axes else tuple(range(len(begin)))
    stride = steps.integers("steps") if steps else (1,) * len(begin)
    return sliced(g, x, {x.axis(axis): slice(*cut) for axis, *cut in zip(along, begin, end, stride, strict=True)})


def sliced(g: Emission, x: Value, cuts: dict[int, slice]) -> Value:
    """The elements between bounds along the axes named, which may lie beyond the ends."""
    if None in x.sizes:
        return _of_free_sizes(g, x, cuts)
    ranges = [range(*cuts[axis].indices(size)) if axis in cuts else range(size) for axis, size in enumerate(x.shape)]
    return strided(g, x, ranges)


def _of_free_sizes(g: Emission, x: Value, cuts: dict[int, slice]) -> Value:
    begin, end, stride = [0] * x.rank, [0] * x.rank, [1] * x.rank
    begin_mask, end_mask = [True] * x.rank, [True] * x.rank
    for axis, cut in cuts.items():
        size = x.sizes[axis]
        if size is not None:
            places = range(*cut.indices(size))
            begin[axis], end[axis], stride[axis] = places.start, max(places.stop, 0), places.step
            begin_mask[axis], end_mask[axis] = False, places.stop < 0
            continue
        stride[axis] = cut.step or 1
        far = [bound is None or abs(bound) >= _FURTHEST for bound in (cut.start, cut.stop)]
        if stride[axis] < 0 and not all(far):
            raise UnsupportedError(f"it walks backwards along axis {axis}, which is free, between bounds")
        begin_mask[axis], end_mask[axis] = far[0] or cut.start == 0, far[1]
        begin[axis], end[axis] = (
            0 if beyond else int(bound) for beyond, bound in zip(far, (cut.start, cut.stop), strict=True)
        )
    return g.op("slice_by_index", x=x, begin=begin, end=end, stride=stride, begin_mask=begin_mask, end_mask=end_mask)


def span(g: Emission, x: Value, axis: int, start: int, stop: int) -> Value:
    """The entries of x from one place to another along an axis."""
    if None in x.sizes:
        return _of_free_sizes(g, x, {axis: slice(start, stop)})
    return strided(g, x, [range(start, stop) if place == axis else range(size) for place, size in enumerate(x.shape)])


def entry(g: Emission, x: Value, axis: int, place: int) -> Value:
    """One entry of x along an axis, which goes away."""
    part = span(g, x, axis, place, place + 1)
    return g.reshape(part, x.shape[:axis] + x.shape[axis + 1 :])


def strided(g: Emission, x: Value, ranges: Sequence[range]) -> Value:
    """The elements of x at a range of places along each axis."""
    if x.constant is not None:
        return g.constant(x.constant[np.ix_(*ranges)] if ranges else x.constant)
    shape = [len(places) for places in ranges]
    if 0 in shape:
        return g.constant(np.zeros(shape, x.dtype))
    if all(places == range(size) for places, size in zip(ranges, x.shape, strict=True)):
        return x
    # Backwards to the first element: an end of -1 would be the last, so the mask says that there is none.
    mask = [places.stop < 0 for places in ranges]
    return g.op(
        "slice_by_index",
        x=x,
        begin=[places.start for places in ranges],
        end=[max(places.stop, 0) for places in ranges],
        stride=[places.step for places in ranges],
        end_mask=mask,
    )


@operator("Gather")
def gather(g: Emission, node: Node, x: Value, indices: Value) -> Value:
    """The entries of x at the indices along one axis; negative ones count from the end."""
    return taken(g, x, indices, x.axis(node.integer("axis", 0)))


def taken(g: Emission, x: Value, indices: Value, axis: int) -> Value:
    """The entries of x at the indices along one axis."""
    if indices.constant is not None and x.sizes[axis] is None and (indices.constant < 0).any():
        raise UnsupportedError(f"a negative index along axis {axis}, which is free")
    size = x.sizes[axis]
    places = indices if size is None else from_start(g, indices, size)
    if 0 in places.sizes:
        return g.constant(np.zeros((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]), x.dtype))
    if places.constant is not None and places.constant.size == 1:
        place = int(places.constant.reshape(-1)[0])
        part = span(g, x, axis, place, place + 1)
        if None not in x.sizes:
            return g.reshape(part, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))
        if not places.rank:
            return g.op("squeeze", x=part, axes=[axis])
    # A scalar index as a vector of one: what its release makes of a scalar differs.
    flat = g.reshape(places, (1,)) if not places.rank else places
    if x.rank + flat.rank - 1 > 5:  # noqa: PLR2004 - Core ML's rank
        flat = g.reshape(places, (places.size,))
    result = g.op("gather", x.dtype, x=x, indices=flat, axis=axis)
    if result.rank == x.rank + places.rank - 1:
        return result
    if not places.rank and None in x.sizes:
        return g.op("squeeze", x=result, axes=[axis])
    return g.reshape(result, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


def from_start(g: Emission, indices: Value, size: int | NDArray[np.int64]) -> Value:
    """Indices with none negative: releases from iOS 17 on take no others."""
    if indices.constant is not None:
        return g.constant(np.where(indices.constant < 0, indices.constant + size, indices.constant))
    sizes = g.constant(np.asarray(size, indices.dtype))
    return a.select(g, a.less(g, indices, 0), a.add(g, indices, sizes), indices)


@operator("Compress", since=9)
def compress(g: Emission, node: Node, x: Value, condition: Value) -> Value:
    """The entries of x along one axis, or of the flat x, where a constant condition holds."""
    if "axis" not in node.attributes:
        x = g.reshape(x, (x.size,))
    axis = x.axis(node.integer("axis", 0))
    return looked_up(g, x, axis, np.flatnonzero(condition.array("the condition")))


@operator("ai.onnx.ml.ArrayFeatureExtractor")
def array_feature_extractor(g: Emission, node: Node, x: Value, places: Value) -> Value:
    """The columns of x at places along the last axis; one row where x is a vector."""
    del node
    rows = x if x.rank > 1 else g.reshape(x, (1, *x.shape))
    return taken(g, rows, g.reshape(places, (places.size,)), rows.rank - 1)


@operator("GatherND", since=11)
def gather_nd(g: Emission, node: Node, x: Value, indices: Value) -> Value:
    """The slices of x at index tuples, which leave out the leading axes that both have."""
    skipped = node.integer("batch_dims", 0)
    batch = x.shape[:skipped]
    depth = indices.shape[-1]
    sizes = np.array(x.shape[skipped : skipped + depth], np.int64)
    strides = np.array([np.prod(sizes[place + 1 :]) for place in range(depth)], np.int64)
    places = from_start(g, g.cast(indices, np.int64), sizes)
    steps = a.mul(g, places, g.constant(strides))
    if steps.constant is not None:
        flat = g.constant(steps.constant.sum(axis=-1))
    else:
        flat = a.reduced(g, "reduce_sum", steps, (indices.rank - 1,), keep=False)
    if skipped:
        starts = np.arange(np.prod(batch)).reshape(*batch, *(1,) * (flat.rank - skipped)) * np.prod(sizes)
        flat = a.add(g, flat, g.constant(starts.astype(np.int64)))
    rows = g.reshape(x, (int(np.prod(batch, dtype=int) * np.prod(sizes)), *x.shape[skipped + depth :]))
    return taken(g, rows, flat, 0)


@operator("Pad", since=2, until=10)
def pad_by_numbers(g: Emission, node: Node, x: Value) -> Value:
    """X with a border of the sizes that the node declares."""
    amounts = g.constant(np.array(node.integers("pads"), np.int64))
    return pad(g, node, x, amounts, g.scalar(node.number("value", 0.0), x))


@operator("Pad", since=11)
def pad(g: Emission, node: Node, x: Value, pads: Value, fill: Value | None = None, axes: Value | None = None) -> Value:
    """X with a border of a constant, of its edge, of its mirror image, or of its other side."""
    amounts = pads.integers("pads")
    along = [x.axis(axis) for axis in axes.integers("axes")] if axes else list(range(x.rank))
    before, after = [0] * x.rank, [0] * x.rank
    for place, axis in enumerate(along):
        before[axis] = amounts[place]
        after[axis] = amounts[place + len(along)]
    if min(*before, *after, 0) < 0:
        x = strided(g, x, [range(max(-b, 0), n - max(-e, 0)) for b, e, n in zip(before, after, x.shape, strict=True)])
        before, after = [max(size, 0) for size in before], [max(size, 0) for size in after]
    mode = node.text("mode", "constant")
    if mode == "constant":
        return padded(g, x, before, after, fill)
    if mode not in _MODES:
        raise UnsupportedError(f"mode '{mode}' is not served: expected one of constant, {', '.join(_MODES)}")
    for axis in range(x.rank):
        if before[axis] or after[axis]:
            size = x.sizes[axis]
            if size is None:
                raise UnsupportedError(f"it pads axis {axis}, which is free, by mode '{mode}'")
            # numpy's own pad of the places says which element each new place copies
            places = np.pad(np.arange(size), (before[axis], after[axis]), mode=mode)  # type: ignore[call-overload]  # a literal of numpy's
            x = looked_up(g, x, axis, places)
    return x


def padded(g: Emission, x: Value, before: Sequence[int], after: Sequence[int], fill: Value | None = None) -> Value:
    """X with a constant border, by default of zeros."""
    if not any(before) and not any(after):
        return x
    if fill is not None and fill.constant is None:
        inside = np.pad(np.ones(x.shape, bool), list(zip(before, after, strict=True)))
        return a.select(g, g.constant(inside), padded(g, x, before, after), g.reshape(fill, ()))
    number = 0 if fill is None else fill.number("constant_value")
    if x.constant is not None:
        return g.constant(np.pad(x.constant, list(zip(before, after, strict=True)), constant_values=number))
    if x.dtype.kind == "f":
        pads = [size for pair in zip(before, after, strict=True) for size in pair]
        return g.op("pad", x=x, pad=pads, mode="constant", constant_val=np.float32(number))
    for axis in range(x.rank):  # MIL pads floats alone
        parts = [x]
        for size, at in ((before[axis], 0), (after[axis], 1)):
            if size:
                border = np.full([size if place == axis else whole for place, whole in enumerate(x.shape)], number)
                parts.insert(at * len(parts), g.constant(border.astype(x.dtype)))
        x = g.concat(parts, axis)
    return x


def looked_up(g: Emission, x: Value, axis: int, places: NDArray[np.int64]) -> Value:
    """The entries of x at constant places along one axis."""
    if x.constant is not None:
        return g.constant(np.take(x.constant, places, axis))
    return taken(g, x, g.constant(np.asarray(places, np.int64)), axis)


def written(g: Emission, rows: Value, row: Value, place: Value) -> Value:
    """The rows with the one at a place, which the model computes, replaced."""
    where = g.reshape(place, (1,))
    return g.op("scatter", data=rows, indices=where, updates=g.reshape(row, (1, *row.shape)), axis=0, mode="update")
