"""Pools, channels-last."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm import _layout
from targets.edge_arm._registry import UnsupportedError, operator
from targets.edge_arm._window import Window, coverage, window
from targets.edge_arm.operators.convolution import bordered
from targets.edge_arm.operators.slicing import padded, strided

if TYPE_CHECKING:
    from targets.edge_arm._emission import Emission, Value
    from targets.edge_arm._source import Node

_PLANE = 4
_TAPS = 64
"""Largest dilated kernel that is composed of slices, in elements."""


@operator("MaxPool")
def max_pool(g: Emission, node: Node, x: Value) -> Value:
    """The largest of each window."""
    _check(x)
    view = _view(node, x)
    lowest = g.scalar(float(np.finfo(np.float32).min), g.constant(np.zeros((), np.float32)))
    planes, flat = _flattened(g, x, view)
    if max(flat.dilations) > 1:
        return _restored(g, _tapped(g, planes, flat, lowest), x, view)
    planes, padding = bordered(g, planes, flat, lowest)
    return _restored(g, _pool(g, "MAX_POOL_2D", planes, flat, padding), x, view)


@operator("AveragePool")
def average_pool(g: Emission, node: Node, x: Value) -> Value:
    """The mean of each window, over the input alone or with the declared padding (`count_include_pad`)."""
    _check(x)
    view = _view(node, x)
    counted = coverage(view, padding=bool(node.integer("count_include_pad", 0)))
    planes, flat = _flattened(g, x, view)
    full = float(np.prod(view.kernel))
    if max(flat.dilations) > 1:
        sums = _restored(g, _tapped(g, planes, flat, None), x, view)
        return g.mul(sums, g.constant((1 / counted).astype(np.float32)))
    inside = coverage(view, padding=False)
    if flat.is_same and not flat.is_valid and np.array_equal(inside, counted):
        return _restored(g, _pool(g, "AVERAGE_POOL_2D", planes, flat, "SAME"), x, view)
    if not flat.is_valid:
        planes = _zero_bordered(g, planes, flat)
    result = _restored(g, _pool(g, "AVERAGE_POOL_2D", planes, flat, "VALID"), x, view)
    if (counted == full).all():
        return result
    return g.mul(result, g.constant((full / counted).astype(np.float32)))


def _check(x: Value) -> None:
    if x.stored != np.float32:
        raise UnsupportedError(f"a pool of {x.dtype.name} has no kernel")
    if x.rank not in {3, 4}:
        raise UnsupportedError(f"a pool of rank {x.rank} is not served")


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
    """A dilated window as one strided slice for each of its elements: their largest, or their sum."""
    if np.prod(view.kernel) > _TAPS:
        raise UnsupportedError(f"a dilated pool of {list(view.kernel)} is too large: expected at most {_TAPS} elements")
    x = _zero_bordered(g, x, view, lowest)
    total: Value | None = None
    for place in product(*(range(size) for size in view.kernel)):
        ranges = [range(x.shape[0]), range(x.shape[1])]
        for tap, step, stride, count in zip(place, view.dilations, view.strides, view.outputs, strict=True):
            start = tap * step
            ranges.append(range(start, start + (count - 1) * stride + 1, stride))
        part = strided(g, x, ranges)
        if total is None:
            total = part
        elif lowest is None:
            total = g.add(total, part)
        else:
            total = g.elementwise("MAXIMUM", total, part, options=schema.MaximumMinimumOptionsT())
    if total is None:
        raise UnsupportedError("the kernel is empty")
    return total
