"""Reductions over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array

    Axes = Array | None


def _axes(axes: Axes) -> tuple[int, ...] | None:
    return None if axes is None else tuple(int(axis) for axis in np.atleast_1d(axes))


def _wide(x: Array) -> Array:
    """Sums are taken in float64, so that their order does not matter."""
    return x.astype(np.float64) if x.dtype.kind == "f" else x


@operator("reduce_sum")
def reduce_sum(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    return cast("Array", np.sum(_wide(x), axis=_axes(axes), keepdims=bool(keep_dims)))


@operator("reduce_mean")
def reduce_mean(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    return cast("Array", np.mean(_wide(x), axis=_axes(axes), keepdims=bool(keep_dims)))


@operator("reduce_prod")
def reduce_prod(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    return cast("Array", np.prod(_wide(x), axis=_axes(axes), keepdims=bool(keep_dims)))


@operator("reduce_max")
def reduce_max(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    return cast("Array", np.max(x, axis=_axes(axes), keepdims=bool(keep_dims)))


@operator("reduce_min")
def reduce_min(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    return cast("Array", np.min(x, axis=_axes(axes), keepdims=bool(keep_dims)))


@operator("reduce_l1_norm")
def reduce_l1_norm(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    return reduce_sum(np.abs(x), axes, keep_dims)


@operator("reduce_l2_norm")
def reduce_l2_norm(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    return np.sqrt(reduce_sum_square(x, axes, keep_dims))


@operator("reduce_sum_square")
def reduce_sum_square(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    return reduce_sum(np.square(_wide(x)), axes, keep_dims)


@operator("reduce_log_sum")
def reduce_log_sum(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    return np.log(reduce_sum(x, axes, keep_dims))


@operator("reduce_log_sum_exp")
def reduce_log_sum_exp(x: Array, axes: Axes = None, keep_dims: Array | bool = False) -> Array:
    peak = np.max(_wide(x), axis=_axes(axes), keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0)
    total = np.log(np.sum(np.exp(_wide(x) - peak), axis=_axes(axes), keepdims=True)) + peak
    return cast("Array", total if bool(keep_dims) else np.squeeze(total, axis=_axes(axes)))


@operator("reduce_argmax")
def reduce_argmax(
    x: Array, axis: Array | int = -1, keep_dims: Array | bool = False, output_dtype: str = "int32"
) -> Array:
    return cast("Array", np.argmax(x, axis=int(axis), keepdims=bool(keep_dims)).astype(output_dtype))


@operator("reduce_argmin")
def reduce_argmin(
    x: Array, axis: Array | int = -1, keep_dims: Array | bool = False, output_dtype: str = "int32"
) -> Array:
    return cast("Array", np.argmin(x, axis=int(axis), keepdims=bool(keep_dims)).astype(output_dtype))
