"""Parts of tensors: taken, joined, padded, looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm import _layout
from targets.edge_arm._registry import operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value
    from targets.edge_arm._graph import Tensor

_SLICE_RANK = 5
_PAD_RANK = 5
_MIRROR_RANK = 4


@operator("Concat", since=4)
def concat(g: Emission, node: Node, *values: Value) -> Value:
    """The values one after the other along an axis, in the order that most of them lie in; empty ones left out."""
    return joined(g, values, values[0].axis(node.integer("axis", 0)))


def joined(g: Emission, values: Sequence[Value], axis: int) -> Value:
    """The values one after the other along an axis; empty ones left out."""
    values = [value for value in values if 0 not in value.shape]
    if len(values) == 1:
        return values[0]
    framed = _with_zeros(g, values, axis)
    if framed is not None:
        return framed
    rank = values[0].rank
    order = g.common_order(values, rank)
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    tensors = [part for value in values for part in _parts(g, value, order, order.index(axis))]
    options = schema.ConcatenationOptionsT(axis=order.index(axis))
    result = g.graph.add("CONCATENATION", tensors, _layout.permuted(shape, order), tensors[0].dtype, options)
    return g.made(result, values[0].dtype, order)


def _parts(g: Emission, value: Value, order: _layout.Order, place: int) -> list[Tensor]:
    """The tensors that a value was joined of along the same axis, where nobody else reads it; else its own."""
    tensor = g.tensor(value, order)
    made = tensor.producer
    if made is None or made.code != "CONCATENATION" or made.options.axis != place:
        return [tensor]
    if value.uses != 1 or value.shared or tensor.readers:
        return [tensor]
    return [part for part in made.inputs if part is not None]


def _with_zeros(g: Emission, values: Sequence[Value], axis: int) -> Value | None:
    """A border of zeros, where all but one of the values are that; None where they are not."""
    computed = [place for place, value in enumerate(values) if value.constant is None]
    if len(computed) != 1 or any(value.constant is not None and value.constant.any() for value in values):
        return None
    (place,) = computed
    before, after = [0] * values[place].rank, [0] * values[place].rank
    before[axis] = sum(value.shape[axis] for value in values[:place])
    after[axis] = sum(value.shape[axis] for value in values[place + 1 :])
    x = values[place]
    return padded(g, x, before, after) if x.stored.name in {"float32", "int32"} and x.rank <= _PAD_RANK else None


@operator("Split", since=2)
def split(g: Emission, node: Node, x: Value, sizes: Value | None = None) -> list[Value]:
    """Consecutive parts along an axis, of the sizes given or as even as can be."""
    axis = x.axis(node.integer("axis", 0))
    count = len(node.outputs)
    given = sizes.integers("split") if sizes is not None else node.integers("split")
    if given:
        parts = list(given)
    else:
        each = -(-x.shape[axis] // count)
        parts = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    order = x.order
    tensor = g.tensor(x, order)
    place = order.index(axis)
    starts = np.cumsum([0, *parts[:-1]])
    results = []
    for start, size in zip(starts, parts, strict=True):
        if not size:
            results.append(
                g.constant(np.zeros([0 if at == axis else whole for at, whole in enumerate(x.shape)], x.dtype))
            )
            continue
        begin = [int(start) if position == place else 0 for position in range(x.rank)]
        extent = [size if position == place else whole for position, whole in enumerate(tensor.shape)]
        results.append(g.made(_part(g, tensor, begin, extent), x.dtype, order))
    return results


def _part(g: Emission, tensor: Tensor, begin: Sequence[int], size: Sequence[int]) -> Tensor:
    if tuple(size) == tensor.shape:
        return tensor
    if len(size) > _SLICE_RANK:
        return g.graph.reshape(_part(g, *_merged(g, tensor, begin, size)), size)
    inputs = [tensor, g.graph.integers(begin), g.graph.integers(size)]
    return g.graph.add("SLICE", inputs, size, tensor.dtype, schema.SliceOptionsT())


def _merged(
    g: Emission, tensor: Tensor, begin: Sequence[int], size: Sequence[int]
) -> tuple[Tensor, list[int], list[int]]:
    """The same slice at a lower rank: an axis that is taken whole is part of the one before it."""
    sizes, starts, wholes = [1], [0], [1]
    for start, taken_, whole in zip(begin, size, tensor.shape, strict=True):
        if taken_ != whole:
            sizes.append(taken_)
            starts.append(start)
            wholes.append(whole)
        else:
            sizes[-1] *= whole
            starts[-1] *= whole
            wholes[-1] *= whole
    if len(sizes) > _SLICE_RANK:
        raise UnsupportedError(f"a slice along {len(sizes) - 1} axes has no kernel")
    return g.graph.reshape(tensor, wholes), starts, sizes


@operator("Slice", until=9)
def slice_between_numbers(g: Emission, node: Node, x: Value) -> Value:
    """x[start:end] along each axis named, between numbers that the node declares."""
    begin, end = node.integers("starts"), node.integers("ends")
    along = node.integers("axes") or tuple(range(len(begin)))
    return _sliced(g, x, {x.axis(axis): slice(*cut) for axis, *cut in zip(along, begin, end, strict=True)})


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
    return _sliced(g, x, {x.axis(axis): slice(*cut) for axis, *cut in zip(along, begin, end, stride, strict=True)})


def _sliced(g: Emission, x: Value, cuts: dict[int, slice]) -> Value:
    ranges = [range(*cuts[axis].indices(size)) if axis in cuts else range(size) for axis, size in enumerate(x.shape)]
    return strided(g, x, ranges)


def span(g: Emission, x: Value, axis: int, start: int, stop: int) -> Value:
    """The entries of x from one place to another along an axis."""
    return strided(g, x, [range(start, stop) if place == axis else range(size) for place, size in enumerate(x.shape)])


def entry(g: Emission, x: Value, axis: int, place: int) -> Value:
    """One entry of x along an axis, which goes away."""
    part = span(g, x, axis, place, place + 1)
    return g.reshape(part, x.shape[:axis] + x.shape[axis + 1 :])


def written(g: Emission, rows: Value, row: Value, place: Value) -> Value:
    """The rows with the one at a place, which the model computes, replaced."""
    zeros = g.constant(np.zeros(rows.rank - 1, place.dtype))
    start = joined(g, [g.reshape(place, (1,)), zeros], 0)
    inputs = [g.tensor(rows), g.tensor(g.reshape(row, (1, *row.shape))), g.tensor(start)]
    return g.made(g.graph.add("DYNAMIC_UPDATE_SLICE", inputs, rows.shape, rows.stored), rows.dtype)


def strided(g: Emission, x: Value, ranges: Sequence[range]) -> Value:
    """The elements of x at a range of places along each axis."""
    if x.constant is not None:
        return g.constant(x.constant[np.ix_(*ranges)] if ranges else x.constant)
    order = x.order
    tensor = g.tensor(x, order)
    picked = [ranges[axis] for axis in order]
    shape = [len(places) for places in picked]
    if 0 in shape:
        raise UnsupportedError("the slice is empty")
    if all(places.step == 1 for places in picked):
        return g.made(_part(g, tensor, [places.start for places in picked], shape), x.dtype, order)
    if x.rank > _SLICE_RANK:
        raise UnsupportedError(f"a strided slice of rank {x.rank} has no kernel")
    # Backwards to the first element: the kernel reads an end of -1 as the last, so the mask says that there is none.
    mask = sum(1 << place for place, places in enumerate(picked) if places.stop < 0)
    inputs = [
        tensor,
        g.graph.integers([places.start for places in picked]),
        g.graph.integers([max(places.stop, 0) for places in picked]),
        g.graph.integers([places.step for places in picked]),
    ]
    options = schema.StridedSliceOptionsT(endMask=mask)
    return g.made(g.graph.add("STRIDED_SLICE", inputs, shape, tensor.dtype, options), x.dtype, order)


@operator("Gather")
def gather(g: Emission, node: Node, x: Value, indices: Value) -> Value:
    """The entries of x at the indices along one axis; negative ones count from the end."""
    return taken(g, x, indices, x.axis(node.integer("axis", 0)))


def taken(g: Emission, x: Value, indices: Value, axis: int) -> Value:
    """The entries of x at the indices along one axis."""
    places = _from_start(g, indices, x.shape[axis])
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    options = schema.GatherOptionsT(axis=axis)
    inputs = [g.tensor(x), g.tensor(places)]
    return g.made(g.graph.add("GATHER", inputs, shape, x.stored, options), x.dtype)


def _from_start(g: Emission, indices: Value, size: int) -> Value:
    """Indices with none negative."""
    if indices.constant is not None:
        return g.constant(np.where(indices.constant < 0, indices.constant + size, indices.constant))
    return g.elementwise("FLOOR_MOD", indices, g.scalar(size, indices), options=schema.FloorModOptionsT())


@operator("Compress", since=9)
def compress(g: Emission, node: Node, x: Value, condition: Value) -> Value:
    """The entries of x along one axis, or of the flat x, where a constant condition holds."""
    if "axis" not in node.attributes:
        x = g.reshape(x, (int(np.prod(x.shape)),))
    axis = x.axis(node.integer("axis", 0))
    kept = np.flatnonzero(condition.array("the condition")).astype(np.int32)
    if not len(kept):
        return g.constant(np.zeros([0 if place == axis else size for place, size in enumerate(x.shape)], x.dtype))
    return looked_up(g, x, axis, kept)


@operator("ai.onnx.ml.ArrayFeatureExtractor")
def array_feature_extractor(g: Emission, node: Node, x: Value, places: Value) -> Value:
    """The columns of x at places along the last axis; one row where x is a vector."""
    del node
    rows = x if x.rank > 1 else g.reshape(x, (1, *x.shape))
    return taken(g, rows, g.reshape(places, (int(np.prod(places.shape)),)), rows.rank - 1)


@operator("GatherND", since=11)
def gather_nd(g: Emission, node: Node, x: Value, indices: Value) -> Value:
    """The slices of x at index tuples."""
    skipped = node.integer("batch_dims", 0)
    if skipped:
        return _gathered_per_sample(g, x, indices, skipped)
    depth = indices.shape[-1]
    sizes = np.array(x.shape[:depth], indices.dtype)
    if indices.constant is not None:
        places = g.constant(np.where(indices.constant < 0, indices.constant + sizes, indices.constant))
    else:
        places = g.elementwise("FLOOR_MOD", indices, g.constant(sizes), options=schema.FloorModOptionsT())
    shape = (*indices.shape[:-1], *x.shape[depth:])
    inputs = [g.tensor(x), g.tensor(places)]
    return g.made(g.graph.add("GATHER_ND", inputs, shape, x.stored, schema.GatherNdOptionsT()), x.dtype)


def _gathered_per_sample(g: Emission, x: Value, indices: Value, skipped: int) -> Value:
    """The slices of x at index tuples that leave out the leading axes, which both have: those are counted here."""
    batch = x.shape[:skipped]
    depth = indices.shape[-1]
    sizes = np.array(x.shape[skipped : skipped + depth])
    strides = np.array([np.prod(sizes[place + 1 :]) for place in range(depth)], np.int64)
    places = _from_start_of(g, g.cast(indices, np.int64), sizes.astype(np.int64))
    flat = g.reduce("SUM", g.mul(places, g.constant(strides)), (indices.rank - 1,), keep=False)
    starts = np.arange(np.prod(batch)).reshape(*batch, *(1,) * (flat.rank - skipped)) * np.prod(sizes)
    rows = g.reshape(x, (int(np.prod(batch) * np.prod(sizes)), *x.shape[skipped + depth :]))
    return taken(g, rows, g.add(flat, g.constant(starts.astype(np.int64))), 0)


def _from_start_of(g: Emission, indices: Value, sizes: NDArray[np.int64]) -> Value:
    return g.elementwise("FLOOR_MOD", indices, g.constant(sizes), options=schema.FloorModOptionsT())


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
    if min(*before, *after) < 0:
        x = strided(g, x, [range(max(-b, 0), n - max(-a, 0)) for b, a, n in zip(before, after, x.shape, strict=True)])
        before, after = [max(size, 0) for size in before], [max(size, 0) for size in after]
    mode = node.text("mode", "constant")
    if mode == "constant":
        return padded(g, x, before, after, fill)
    fits = all(max(low, high) < size for low, high, size in zip(before, after, x.shape, strict=True))
    if mode == "reflect" and fits and x.stored == np.float32 and x.rank <= _MIRROR_RANK:
        return _reflected(g, x, before, after)
    for axis, size in enumerate(x.shape):
        if before[axis] or after[axis]:
            x = looked_up(g, x, axis, _mirror(mode, size, before[axis], after[axis]))
    return x


def padded(g: Emission, x: Value, before: Sequence[int], after: Sequence[int], fill: Value | None = None) -> Value:
    """X with a constant border, by default of zeros, in the order that it lies in."""
    if not any(before) and not any(after):
        return x
    if x.constant is not None and fill is None:
        return g.constant(np.pad(x.constant, list(zip(before, after, strict=True))))
    if x.rank > _PAD_RANK:
        raise UnsupportedError(f"a pad of rank {x.rank} has no kernel")
    order = x.order
    tensor = g.tensor(x, order)
    amounts = np.array([(before[axis], after[axis]) for axis in order], np.int32)
    shape = [size + int(low) + int(high) for size, (low, high) in zip(tensor.shape, amounts, strict=True)]
    inputs = [tensor, g.graph.constant(amounts)]
    if fill is None or (fill.constant is not None and not fill.number("constant_value")):
        return g.made(g.graph.add("PAD", inputs, shape, tensor.dtype, schema.PadOptionsT()), x.dtype, order)
    inputs.append(g.tensor(fill))
    return g.made(g.graph.add("PADV2", inputs, shape, tensor.dtype, schema.PadV2OptionsT()), x.dtype, order)


def _reflected(g: Emission, x: Value, before: Sequence[int], after: Sequence[int]) -> Value:
    order = x.order
    tensor = g.tensor(x, order)
    amounts = np.array([(before[axis], after[axis]) for axis in order], np.int32)
    shape = [size + int(low) + int(high) for size, (low, high) in zip(tensor.shape, amounts, strict=True)]
    options = schema.MirrorPadOptionsT(mode=schema.MirrorPadMode.REFLECT)
    inputs = [tensor, g.graph.constant(amounts)]
    return g.made(g.graph.add("MIRROR_PAD", inputs, shape, tensor.dtype, options), x.dtype, order)


def _mirror(mode: str, size: int, before: int, after: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """For each place of the padded axis, the place that it copies; numpy's pad of the places says so."""
    modes = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}
    if mode not in modes:
        raise UnsupportedError(f"mode '{mode}' is not served: expected one of constant, {', '.join(modes)}")
    return np.pad(np.arange(size, dtype=np.int32), (before, after), mode=mode)  # type: ignore[call-overload,no-any-return]  # a literal of numpy's


def looked_up(g: Emission, x: Value, axis: int, places: np.ndarray[tuple[int], np.dtype[np.int32]]) -> Value:
    """The entries of x at constant places along one axis, in the order that x lies in."""
    order = x.order
    tensor = g.tensor(x, order)
    place = order.index(axis)
    shape = [*tensor.shape[:place], len(places), *tensor.shape[place + 1 :]]
    options = schema.GatherOptionsT(axis=place)
    result = g.graph.add("GATHER", [tensor, g.graph.constant(places)], shape, tensor.dtype, options)
    return g.made(result, x.dtype, order)
