"""Pools, channels-last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets._source.window import Window, coverage, window
from targets.edge_arm import _layout
from targets.edge_arm._arithmetic import maximum
from targets.edge_arm._padding import is_same, is_valid
from targets.edge_arm._registry import operator
from targets.edge_arm.operators._pooled_places import pooled_places
from targets.edge_arm.operators.convolution import bordered
from targets.edge_arm.operators.slicing import padded, strided

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_PLANE, _SPACE = 4, 5
_TAPS = 256
"""Most slices that a dilated window is composed of."""


@operator("MaxPool")
def max_pool(g: Emission, node: Node, x: Value) -> Value | tuple[Value, Value]:
    """The largest of each window; and, where that is read, its place in the whole of x."""
    if len(node.outputs) > 1 and node.outputs[1]:
        return pooled_places(g, x, _checked_view(node, x), by_columns=bool(node.integer("storage_order", 0)))
    if x.stored.name in {"int8", "uint8"}:
        return g.cast(_largest(g, g.cast(x, np.float32), _checked_view(node, x)), x.dtype)
    return _largest(g, x, _checked_view(node, x))


def _largest(g: Emission, x: Value, view: Window) -> Value:
    return _staged(g, x, view, _largest_of_plane)


def _largest_of_plane(g: Emission, planes: Value, view: Window) -> Value:
    lowest = g.scalar(float(np.finfo(np.float32).min), planes)
    if max(view.dilations) > 1:
        return _tapped(g, planes, view, lowest)
    planes, padding = bordered(g, planes, view, lowest)
    return _pool(g, "MAX_POOL_2D", planes, view, padding)


@operator("AveragePool")
def average_pool(g: Emission, node: Node, x: Value) -> Value:
    """The mean of each window, over the input alone or with the declared padding (`count_include_pad`)."""
    view = _checked_view(node, x)
    counted = coverage(view, padding=bool(node.integer("count_include_pad", 0)))
    if x.rank < _SPACE and max(view.dilations) == 1:
        planes, flat = _flattened(g, x, view)
        if is_same(flat) and not is_valid(flat) and np.array_equal(coverage(view, padding=False), counted):
            return _restored(g, _pool(g, "AVERAGE_POOL_2D", planes, flat, "SAME"), x, view)
    return _over(g, _means(g, x, view), float(np.prod(view.kernel)) / counted)


@operator("LpPool", since=2)
def lp_pool(g: Emission, node: Node, x: Value) -> Value:
    """The p-norm of each window."""
    view = _checked_view(node, x)
    p = node.integer("p", 2)
    size = g.elementwise("ABS", x)
    powers = {1: size, 2: g.mul(x, x)}.get(p) or g.elementwise(
        "POW", size, g.scalar(p, x), options=schema.PowOptionsT()
    )
    total = _over(g, _means(g, powers, view), np.array(np.prod(view.kernel)))
    if p == 1:
        return total
    if p == 2:  # noqa: PLR2004 - the root has an operator
        return g.elementwise("SQRT", total)
    return _power(g, total, 1 / p)


def _power(g: Emission, x: Value, exponent: float) -> Value:
    return g.elementwise("POW", x, g.scalar(exponent, x), options=schema.PowOptionsT())


def _means(g: Emission, x: Value, view: Window) -> Value:
    """The sum of each window, zeros around it, over the kernel's size."""
    return _staged(g, x, view, _mean_of_plane)


def _mean_of_plane(g: Emission, planes: Value, view: Window) -> Value:
    if max(view.dilations) > 1:
        return g.mul(_tapped(g, planes, view, None), g.scalar(1 / float(np.prod(view.kernel)), planes))
    if not is_valid(view):
        planes = _zero_bordered(g, planes, view)
    return _pool(g, "AVERAGE_POOL_2D", planes, view, "VALID")


def _over(g: Emission, x: Value, factor: NDArray[np.floating]) -> Value:
    """X times a factor for each place, or none where that is 1."""
    return x if (factor == 1).all() else g.mul(x, g.constant(factor.astype(np.float32)))


def _staged(g: Emission, x: Value, view: Window, pool: Callable[[Emission, Value, Window], Value]) -> Value:
    """A pool over one or two axes at once; one over three is one over the last two, then one over the first."""
    if x.rank < _SPACE:
        planes, flat = _flattened(g, x, view)
        return _restored(g, pool(g, planes, flat), x, view)
    batch, channels, depth, height, width = x.shape
    folded = g.graph.reshape(g.tensor(x, _layout.channels_last(_SPACE)), (batch * depth, height, width, channels))
    last = _layout.channels_last(_PLANE)
    inner = Window(*(part[1:] for part in view))
    plane = pool(g, g.made(folded, x.dtype, last), inner)
    rows, columns = view.outputs[1:]
    tall = g.graph.reshape(g.tensor(plane, last), (batch, depth, rows * columns, channels))
    outer = Window(*((part[0], 0 if place in {4, 5} else 1) for place, part in enumerate(view)))._replace(
        sizes=(depth, rows * columns), outputs=(view.outputs[0], rows * columns)
    )
    result = pool(g, g.made(tall, x.dtype, last), outer)
    whole = g.graph.reshape(g.tensor(result, last), (batch, *view.outputs, channels))
    return g.made(whole, x.dtype, _layout.channels_last(_SPACE))


def _checked_view(node: Node, x: Value) -> Window:
    if x.stored.name not in {"float32", "int8", "uint8"}:
        raise UnsupportedError(f"a pool of {x.dtype.name} has no kernel")
    if x.rank not in {3, 4, 5}:
        raise UnsupportedError(f"a pool of rank {x.rank} is not served")
    return _view(node, x)


def _view(node: Node, x: Value) -> Window:
    rank = x.rank - 2
    kernel = node.integers("kernel_shape")
    strides = node.integers("strides") or (1,) * rank
    draft = window(node, x.shape[2:], kernel, (1,) * rank)
    mode = node.text("auto_pad", "NOTSET")
    outputs = []
    for size, extent, stride, before, after in zip(
        draft.sizes, draft.extents, strides, draft.before, draft.after, strict=True
    ):
        room = size + before + after - extent
        count = room // stride + 1
        # ONNX since 19: with ceil_mode a last window may hang over the end, but must start inside.
        if (
            node.integer("ceil_mode", 0)
            and mode in {"NOTSET", "VALID"}
            and room % stride
            and count * stride < size + before
        ):
            count += 1
        outputs.append(count)
    return draft._replace(outputs=tuple(outputs))


def _flattened(g: Emission, x: Value, view: Window) -> tuple[Value, Window]:
    """What is pooled as [N, C, H, W], channels-last in memory."""
    if x.rank == _PLANE:
        last = _layout.channels_last(_PLANE)
        return g.made(g.tensor(x, last), x.dtype, last), view
    tensor = g.tensor(x, _layout.channels_last(x.rank))
    batch, width, channels = tensor.shape
    plane = g.made(g.graph.reshape(tensor, (batch, 1, width, channels)), x.dtype, _layout.channels_last(_PLANE))
    lifted = Window(*(((0 if position in {4, 5} else 1), *sizes) for position, sizes in enumerate(view)))
    return plane, lifted


def _restored(g: Emission, planes: Value, x: Value, view: Window) -> Value:
    return g.reshape(planes, (*x.shape[:2], *view.outputs))


def _pool(g: Emission, code: str, x: Value, view: Window, padding: str) -> Value:
    options = schema.Pool2DOptionsT(
        padding=getattr(schema.Padding, padding),
        strideH=view.strides[0],
        strideW=view.strides[1],
        filterHeight=view.kernel[0],
        filterWidth=view.kernel[1],
    )
    last = _layout.channels_last(_PLANE)
    shape = (x.shape[0], *view.outputs, x.shape[1])
    return g.made(g.graph.add(code, [g.tensor(x, last)], shape, np.float32, options), x.dtype, last)


def _zero_bordered(g: Emission, x: Value, view: Window, fill: Value | None = None) -> Value:
    return padded(g, x, (0, 0, *view.before), (0, 0, *(max(reach, 0) for reach in view.reach)), fill)


def _tapped(g: Emission, x: Value, view: Window, lowest: Value | None) -> Value:
    """A dilated window, axis by axis, as one strided slice for each of its places: their largest, or their sum."""
    if sum(view.kernel) > _TAPS:
        raise UnsupportedError(f"a dilated pool of {list(view.kernel)} is too large: expected at most {_TAPS} slices")
    x = _zero_bordered(g, x, view, lowest)
    for place, (size, step, stride, count) in enumerate(
        zip(view.kernel, view.dilations, view.strides, view.outputs, strict=True)
    ):
        ranges = [range(whole) for whole in x.shape]
        parts = []
        for tap in range(size):
            ranges[place + 2] = range(tap * step, tap * step + (count - 1) * stride + 1, stride)
            parts.append(strided(g, x, ranges))
        x = parts[0]
        for part in parts[1:]:
            x = g.add(x, part) if lowest is None else maximum(g, x, part)
    return x
