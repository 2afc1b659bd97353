"""Resizing: MIL's own operations where they do exactly what is asked, else a look-up or a matrix for each axis."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from targets._source.interpolation import Axis, Scheme, matrix, outside
from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator
from targets.coreml.operators.matmul import fully_connected
from targets.coreml.operators.slicing import looked_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value

_PLANE = 4
_CLOSE = 1e-6
_SAMPLINGS = (("STRICT_ALIGN_CORNERS", True, False), ("DEFAULT", False, False), ("UNALIGN_CORNERS", False, True))
"""Names of MIL's grids: from corner to corner, from the first corner, from centre to centre."""


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
    if None in x.sizes and not _keeps_free(node, x, scales):
        return _of_free_sizes(g, node, scheme, x, scales)
    axes = _axes(node, x, roi, scales, sizes)
    if scheme.mode != "nearest" and x.dtype.kind != "f":
        raise UnsupportedError(f"mode '{scheme.mode}' of {x.dtype.name} has no kernel")
    matrices = {place: matrix(scheme, axis) for place, axis in axes.items()}
    matrices = {place: rows for place, rows in matrices.items() if not np.array_equal(rows, np.eye(len(rows)))}
    result = _by_kernel(g, x, scheme, axes, matrices)
    if result is not None:
        return result
    result = x
    for place, rows in matrices.items():
        if scheme.mode == "nearest" and rows.any(axis=1).all():
            result = looked_up(g, result, place, rows.argmax(axis=1))
        elif x.dtype.kind != "f":
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


def _keeps_free(node: Node, x: Value, scales: Value | None) -> bool:
    """Whether the scales leave alone what has no number."""
    if scales is None or scales.constant is None or scales.constant.size == 0:
        return False
    along = [x.axis(axis) for axis in node.integers("axes")] or list(range(x.rank))
    scaled = {axis for axis, factor in zip(along, scales.array("scales"), strict=True) if factor != 1}
    return all(x.sizes[axis] is not None for axis in scaled)


def _axes(node: Node, x: Value, roi: Value | None, scales: Value | None, sizes: Value | None) -> dict[int, Axis]:
    along = [x.axis(axis) for axis in node.integers("axes")] or list(range(x.rank))
    ends = [(0.0, 1.0)] * len(along)
    if node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize" and roi is not None:
        bounds = [float(bound) for bound in roi.array("roi")]
        ends = list(zip(bounds[: len(along)], bounds[len(along) :], strict=True))
    # What has no number is left alone, see `_keeps_free`; any size stands for it.
    old = [x.sizes[axis] or 1 for axis in along]
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
    """MIL's own operation over the plane, if one of them gives the same matrices."""
    if x.rank != _PLANE or not matrices or not set(matrices) <= {2, 3} or None in x.sizes[2:]:
        return None
    sizes = [int(x.sizes[place] or 0) for place in (2, 3)]
    plane = [axes.get(place, Axis(size, size, 1.0)) for place, size in zip((2, 3), sizes, strict=True)]
    rows = [matrices.get(place, np.eye(size)) for place, size in zip((2, 3), sizes, strict=True)]
    factors = [axis.outputs // axis.size for axis in plane]
    whole = all(axis.outputs % axis.size == 0 for axis in plane)
    if scheme.mode == "nearest":
        repeated = whole and all(
            np.array_equal(each, np.kron(np.eye(axis.size), np.ones((factor, 1))))
            for each, axis, factor in zip(rows, plane, factors, strict=True)
        )
        if repeated:
            return g.op("upsample_nearest_neighbor", x=x, scale_factor_height=factors[0], scale_factor_width=factors[1])
        return None
    if scheme.mode != "linear":
        return None
    for name, aligned, half in _SAMPLINGS:
        if all(
            np.abs(each - _linear(axis, aligned=aligned, half=half)).max() < _CLOSE
            for each, axis in zip(rows, plane, strict=True)
        ):
            sizes = [axis.outputs for axis in plane]
            return g.op(
                "resize_bilinear", x=x, target_size_height=sizes[0], target_size_width=sizes[1], sampling_mode=name
            )
    return None


def _of_free_sizes(g: Emission, node: Node, scheme: Scheme, x: Value, scales: Value | None) -> Value:
    """X whose sizes are not known, each element of its plane repeated: that alone needs no numbers."""
    factors = [float(factor) for factor in scales.array("scales")] if scales is not None else []
    along = [x.axis(axis) for axis in node.integers("axes")] or list(range(x.rank))
    by_axis = dict(zip(along, factors, strict=False))
    plane = [int(by_axis.get(axis, 1)) for axis in (2, 3)]
    others = [factor for axis, factor in by_axis.items() if axis not in {2, 3}]
    whole = [by_axis.get(axis, 1.0) == factor for axis, factor in zip((2, 3), plane, strict=True)]
    if scheme.mode != "nearest" or x.rank != _PLANE or not factors or not all(whole) or set(others) - {1.0}:
        raise UnsupportedError("it needs shapes that are numbers, unless it repeats the elements of a plane")
    for factor in plane:
        rows = matrix(scheme, Axis(_PLANE, _PLANE * factor, float(factor)))
        if not np.array_equal(rows, np.kron(np.eye(_PLANE), np.ones((factor, 1)))):
            raise UnsupportedError("it needs shapes that are numbers, unless it repeats the elements of a plane")
    return g.op("upsample_nearest_neighbor", x=x, scale_factor_height=plane[0], scale_factor_width=plane[1])


def _linear(axis: Axis, *, aligned: bool, half: bool) -> NDArray[np.float64]:
    """How much each input counts in each output of MIL's ``resize_bilinear``, by its documented grids."""
    places = np.arange(axis.outputs, dtype=np.float64)
    if aligned:
        where = places * (axis.size - 1) / max(axis.outputs - 1, 1)
    elif half:
        where = (places + 0.5) * axis.size / axis.outputs - 0.5
    else:
        where = places * axis.size / axis.outputs
    where = np.clip(where, 0, axis.size - 1)
    low = np.floor(where).astype(int)
    high = np.minimum(low + 1, axis.size - 1)
    result = np.zeros((axis.outputs, axis.size))
    np.add.at(result, (np.arange(axis.outputs), low), 1 - (where - low))
    np.add.at(result, (np.arange(axis.outputs), high), where - low)
    return result


def _along(g: Emission, x: Value, axis: int, rows: NDArray[np.float64]) -> Value:
    """The matrix applied along one axis."""
    weights = g.constant(rows.astype(np.float32), x.dtype)
    if axis == x.rank - 2 and x.constant is None:
        return a.matmul(g, weights, x)
    back = [place for place in range(x.rank) if place != axis]
    moved = g.transpose(x, (*back, axis))
    result = fully_connected(g, moved, weights, None)
    order = (*back, axis)
    return g.transpose(result, tuple(order.index(place) for place in range(x.rank)))


def _extrapolated(g: Emission, x: Value, scheme: Scheme, axes: dict[int, Axis], fill: float) -> Value:
    """x, which is 0 where an axis lies outside, with the fill value there."""
    beyond = np.zeros([size or 1 for size in x.sizes], np.bool_)
    for place, axis in axes.items():
        shape = [-1 if position == place else 1 for position in range(x.rank)]
        beyond |= outside(scheme, axis).reshape(shape)
    if not fill or not beyond.any():
        return x
    return a.add(g, x, g.constant((beyond * fill).astype(x.dtype)))
