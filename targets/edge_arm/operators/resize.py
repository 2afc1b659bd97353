"""Resizing: TFLite's own operators where they do exactly what is asked, else a look-up or a matrix for each axis."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.interpolation import Axis, Scheme, matrix, outside
from targets._source.refusal import UnsupportedError
from targets.edge_arm import _layout
from targets.edge_arm._registry import operator
from targets.edge_arm._resampling import kernel_linear, kernel_nearest
from targets.edge_arm.operators.matmul import fully_connected
from targets.edge_arm.operators.slicing import looked_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_PLANE = 4
_CLOSE = 1e-6


@operator("Resize", since=11)
def resize(
    g: Emission,
    node: Node,
    x: Value,
    roi: Value | None = None,
    scales: Value | None = None,
    sizes: Value | None = None,
) -> Value:
    """X sampled at other sizes, in any of ONNX's modes and coordinate transformations."""
    scheme = Scheme(
        node.text("mode", "nearest"),
        node.text("coordinate_transformation_mode", "half_pixel"),
        node.text("nearest_mode", "round_prefer_floor"),
        node.number("cubic_coeff_a", -0.75),
        bool(node.integer("exclude_outside", 0)),
        bool(node.integer("antialias", 0)),
    )
    axes = _axes(node, x, roi, scales, sizes)
    if scheme.mode != "nearest" and x.stored != np.float32:
        raise UnsupportedError(f"mode '{scheme.mode}' of {x.dtype.name} has no kernel")
    matrices = {place: matrix(scheme, axis) for place, axis in axes.items()}
    matrices = {place: rows for place, rows in matrices.items() if not np.array_equal(rows, np.eye(len(rows)))}
    result = _by_kernel(g, x, scheme, axes, matrices)
    if result is not None:
        return result
    result = x
    for place, rows in matrices.items():
        if scheme.mode == "nearest" and rows.any(axis=1).all():
            result = looked_up(g, result, place, rows.argmax(axis=1).astype(np.int32))
        elif x.stored != np.float32:
            raise UnsupportedError(f"extrapolation of {x.dtype.name} is not served")
        else:
            result = _along(g, result, place, rows)
    return _extrapolated(g, result, scheme, axes, node.number("extrapolation_value", 0.0))


@operator("Resize", since=10, until=10)
@operator("Upsample", since=7)
def upsample(g: Emission, node: Node, x: Value, scales: Value | None = None) -> Value:
    """X repeated, or interpolated, by a factor along each axis, counted from the first element."""
    factors = scales.array("scales") if scales is not None else np.array(node.attributes["scales"], np.float32)
    settings = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    newer = replace(node, attributes={**node.attributes, **settings})
    return resize(g, newer, x, None, g.constant(factors))


def _axes(node: Node, x: Value, roi: Value | None, scales: Value | None, sizes: Value | None) -> dict[int, Axis]:
    along = [x.axis(axis) for axis in node.integers("axes")] or list(range(x.rank))
    ends = [(0.0, 1.0)] * len(along)
    if node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize" and roi is not None:
        bounds = [float(bound) for bound in roi.array("roi")]
        ends = list(zip(bounds[: len(along)], bounds[len(along) :], strict=True))
    old = [x.shape[axis] for axis in along]
    if sizes is not None and sizes.shape != (0,):
        new = list(sizes.integers("sizes"))
        factors = [want / have for want, have in zip(new, old, strict=True)]
        policy = node.text("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            same = min(factors) if policy == "not_larger" else max(factors)
            factors = [same] * len(along)
            new = [int(np.floor(same * size + 0.5)) for size in old]
    elif scales is not None:
        factors = [float(factor) for factor in scales.array("scales")]
        new = [int(np.floor(np.float32(factor) * size)) for factor, size in zip(factors, old, strict=True)]
    else:
        raise UnsupportedError("it has neither scales nor sizes")
    return {
        axis: Axis(have, want, factor, *end)
        for axis, have, want, factor, end in zip(along, old, new, factors, ends, strict=True)
    }


def _by_kernel(
    g: Emission, x: Value, scheme: Scheme, axes: dict[int, Axis], matrices: dict[int, NDArray[np.float64]]
) -> Value | None:
    """TFLite's own operator over the plane, if one of its variants gives the same matrices."""
    if x.rank != _PLANE or not matrices or not set(matrices) <= {2, 3} or x.stored != np.float32:
        return None
    for align, half in product((False, True), (False, True)):
        if align and half:
            continue
        if scheme.mode == "nearest":
            same = all(
                rows.any(axis=1).all()
                and np.array_equal(rows.argmax(axis=1), kernel_nearest(axes[place], align=align, half=half))
                for place, rows in matrices.items()
            )
            code, options = "RESIZE_NEAREST_NEIGHBOR", schema.ResizeNearestNeighborOptionsT(align, half)
        else:
            same = scheme.mode == "linear" and all(
                np.abs(rows - kernel_linear(axes[place], align=align, half=half)).max() < _CLOSE
                for place, rows in matrices.items()
            )
            code, options = "RESIZE_BILINEAR", schema.ResizeBilinearOptionsT(align, half)
        if same:
            last = _layout.channels_last(_PLANE)
            plane = [axes[place].outputs if place in axes else x.shape[place] for place in (2, 3)]
            shape = (x.shape[0], *plane, x.shape[1])
            version = 3 if half or code == "RESIZE_NEAREST_NEIGHBOR" else 1
            inputs = [g.tensor(x, last), g.graph.integers(plane)]
            return g.made(g.graph.add(code, inputs, shape, np.float32, options, version), x.dtype, last)
    return None


def _along(g: Emission, x: Value, axis: int, rows: NDArray[np.float64]) -> Value:
    """The matrix applied along one axis."""
    back = [place for place in range(x.rank) if place != axis]
    moved = g.transpose(x, (*back, axis))
    result = fully_connected(g, moved, g.constant(rows.astype(np.float32)), None)
    order = (*back, axis)
    return g.transpose(result, tuple(order.index(place) for place in range(x.rank)))


def _extrapolated(g: Emission, x: Value, scheme: Scheme, axes: dict[int, Axis], fill: float) -> Value:
    """x, which is 0 where an axis lies outside, with the fill value there."""
    beyond = np.zeros(x.shape, np.bool_)
    for place, axis in axes.items():
        shape = [-1 if position == place else 1 for position in range(x.rank)]
        beyond |= outside(scheme, axis).reshape(shape)
    if not fill or not beyond.any():
        return x
    return g.add(x, g.constant((beyond * fill).astype(x.dtype)))
