"""Pools."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from targets._source.window import coverage, window
from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator
from targets.coreml.operators.convolution import bordered, paddings, spatial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets._source.window import Window
    from targets.coreml._emission import Emission, Value

_TAPS = 256
"""Most slices that a dilated window is composed of."""


@operator("MaxPool")
def max_pool(g: Emission, node: Node, x: Value) -> Value | tuple[Value, Value]:
    """The largest of each window; and, where that is read, its place in the whole of x."""
    if len(node.outputs) > 1 and node.outputs[1]:
        return _with_places(g, node, x)
    if x.dtype.kind != "f":
        return g.cast(max_pool(g, node, g.cast(x, np.float32)), x.dtype)  # type: ignore[arg-type]  # one output
    view = _view(node, x)
    if max(view.dilations) > 1:
        return _tapped(g, x, view, largest=True)
    return g.op("max_pool", x=x, **_given(view))


def _given(view: Window) -> dict[str, Any]:
    return {
        "kernel_sizes": list(view.kernel),
        "strides": list(view.strides),
        "pad_type": "custom",
        "pad": paddings(view, [max(reach, 0) for reach in _reach(view)]),
        "ceil_mode": False,
    }


def _reach(view: Window) -> tuple[int, ...]:
    """Padding after the end: what the last window needs where the sizes are known, else what is declared."""
    if 0 in view.sizes:
        return view.after
    return view.reach


@operator("AveragePool")
def average_pool(g: Emission, node: Node, x: Value) -> Value:
    """The mean of each window, over the input alone or with the declared padding (`count_include_pad`)."""
    view = _view(node, x)
    counts_padding = bool(node.integer("count_include_pad", 0))
    if 0 in view.sizes:
        if max(view.dilations) > 1 or node.integer("ceil_mode", 0):
            x.shape  # noqa: B018 - raises, naming the free axis
        return g.op("avg_pool", x=x, **_given(view), exclude_padding_from_average=not counts_padding)
    if max(view.dilations) > 1:
        total = _tapped(g, x, view, largest=False)
        return a.mul(g, total, g.constant(_inverse(coverage(view, padding=counts_padding))))
    counted = coverage(view, padding=counts_padding)
    if np.array_equal(counted, coverage(view, padding=False)):
        return g.op("avg_pool", x=x, **_given(view), exclude_padding_from_average=True)
    means = g.op("avg_pool", x=x, **_given(view), exclude_padding_from_average=False)
    factor = float(prod(view.kernel)) / counted
    return means if (factor == 1).all() else a.mul(g, means, g.constant(factor.astype(np.float32), x.dtype))


def _inverse(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / counts, np.float32)


@operator("LpPool", since=2)
def lp_pool(g: Emission, node: Node, x: Value) -> Value:
    """The p-norm of each window."""
    view = _view(node, x)
    p = node.integer("p", 2)
    size = a.absolute(g, x)
    powers = size if p == 1 else a.mul(g, x, x) if p == 2 else a.power(g, size, float(p))  # noqa: PLR2004 - the square
    if max(view.dilations) > 1:
        total = _tapped(g, powers, view, largest=False)
    else:
        means = g.op("avg_pool", x=powers, **_given(view), exclude_padding_from_average=False)
        total = a.mul(g, means, float(prod(view.kernel)))
    if p == 1:
        return total
    return a.root(g, total) if p == 2 else a.power(g, total, 1 / p)  # noqa: PLR2004 - the root


def _view(node: Node, x: Value) -> Window:
    if x.rank not in {3, 4, 5}:
        raise UnsupportedError(f"a pool of rank {x.rank} is not served")
    rank = x.rank - 2
    kernel = node.integers("kernel_shape")
    sizes = x.shape[2:] if node.integer("ceil_mode", 0) else spatial(x, node)
    draft = window(node, sizes, kernel, (1,) * rank)
    if 0 in draft.sizes:
        return draft
    mode = node.text("auto_pad", "NOTSET")
    outputs = []
    for size, extent, stride, before, after in zip(
        draft.sizes, draft.extents, draft.strides, draft.before, draft.after, strict=True
    ):
        room = size + before + after - extent
        count = room // stride + 1
        # ONNX since 19: with ceil_mode a last window may hang over the end, but must start inside.
        hangs = node.integer("ceil_mode", 0) and mode in {"NOTSET", "VALID"} and room % stride
        outputs.append(count + 1 if hangs and count * stride < size + before else count)
    return draft._replace(outputs=tuple(outputs))


def _tapped(g: Emission, x: Value, view: Window, *, largest: bool) -> Value:
    """A dilated window, axis by axis, as one strided slice for each of its places: their largest, or their sum."""
    if sum(view.kernel) > _TAPS:
        raise UnsupportedError(f"a dilated pool of {list(view.kernel)} is too large: expected at most {_TAPS} slices")
    fill = float(np.finfo(np.float16).min) if largest else 0.0
    x = bordered(g, x, view.before, [max(reach, 0) for reach in view.reach], fill)
    for place, (size, step, stride, count) in enumerate(
        zip(view.kernel, view.dilations, view.strides, view.outputs, strict=True), start=2
    ):
        total: Value | None = None
        for tap in range(size):
            begin, end, steps = [0] * x.rank, list(x.shape), [1] * x.rank
            begin[place], end[place], steps[place] = tap * step, tap * step + (count - 1) * stride + 1, stride
            part = g.op("slice_by_index", x=x, begin=begin, end=end, stride=steps)
            total = part if total is None else (a.maximum if largest else a.add)(g, total, part)
        x = total or x
    return x


def _with_places(g: Emission, node: Node, x: Value) -> tuple[Value, Value]:
    """The largest of each window and its flat place: all taps beside each other, the first largest chosen."""
    view = _view(node, x)
    if prod(view.kernel) > _TAPS:
        raise UnsupportedError(f"a pool of {list(view.kernel)} with places is too large: expected at most {_TAPS} taps")
    fill = float(np.finfo(np.float32).min)
    padded = bordered(g, x, view.before, [max(reach, 0) for reach in view.reach], fill)
    batch, channels, *sizes = x.shape
    count = prod(view.outputs)
    rows, spots = [], []
    grid = np.indices(view.outputs)
    steps = [prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    if node.integer("storage_order", 0):
        steps = [prod(sizes[:axis]) for axis in range(len(sizes))]
    for tap in np.ndindex(*view.kernel):
        begin = [0, 0, *(place * step for place, step in zip(tap, view.dilations, strict=True))]
        end = [batch, channels]
        end += [start + (n - 1) * s + 1 for start, n, s in zip(begin[2:], view.outputs, view.strides, strict=True)]
        part = g.op("slice_by_index", x=padded, begin=begin, end=end, stride=[1, 1, *view.strides])
        rows.append(g.reshape(part, (batch, channels, count, 1)))
        where = sum(
            (grid[axis] * view.strides[axis] + begin[axis + 2] - view.before[axis]) * steps[axis]
            for axis in range(len(sizes))
        )
        spots.append(np.ravel(np.asarray(where)))
    taps = g.concat(rows, 3)
    largest = a.reduced(g, "reduce_max", taps, (3,), keep=True)
    chosen = a.equal(g, taps, largest)
    planes = (np.arange(batch * channels) * prod(sizes)).reshape(batch, channels, 1, 1)
    places = np.stack(spots, -1)[None, None] + planes
    far = np.iinfo(np.int32).max
    candidates = a.select(g, chosen, g.constant(places.astype(np.int64)), g.constant(np.array(far, np.int64)))
    first = a.reduced(g, "reduce_min", candidates, (3,), keep=False)
    shape = (batch, channels, *view.outputs)
    return g.reshape(largest, shape), g.reshape(first, shape)


def _all_axes(x: Value) -> tuple[int, ...]:
    return tuple(range(2, x.rank))


@operator("GlobalAveragePool")
def global_average_pool(g: Emission, node: Node, x: Value) -> Value:
    """The mean over all but batch and channels."""
    del node
    return a.reduced(g, "reduce_mean", x, _all_axes(x), keep=True)


@operator("GlobalMaxPool")
def global_max_pool(g: Emission, node: Node, x: Value) -> Value:
    """The largest over all but batch and channels."""
    del node
    return a.reduced(g, "reduce_max", x, _all_axes(x), keep=True)


@operator("GlobalLpPool", since=2)
def global_lp_pool(g: Emission, node: Node, x: Value) -> Value:
    """The p-norm over all but batch and channels."""
    p = node.integer("p", 2)
    powers = a.power(g, a.absolute(g, x), float(p))
    return a.power(g, a.reduced(g, "reduce_sum", powers, _all_axes(x), keep=True), 1 / p)
