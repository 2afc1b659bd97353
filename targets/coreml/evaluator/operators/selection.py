"""Sorting, choosing and counting: results that are places rather than values; and tensors made from nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array


def _order(x: Array, axis: int, *, ascending: bool) -> Array:
    """Places in order, the first of equals first."""
    if ascending:
        return np.argsort(x, axis=axis, kind="stable")
    if x.dtype.kind in "iub":
        return np.argsort(-x.astype(np.int64), axis=axis, kind="stable")
    return np.argsort(-x, axis=axis, kind="stable")


@operator("argsort", moves=True)
def argsort(x: Array, axis: Array | int = -1, ascending: Array | bool = False) -> Array:
    return _order(x, int(axis), ascending=bool(ascending)).astype(np.int32)


@operator("topk", moves=True)
def topk(
    x: Array,
    k: Array | int = 1,
    axis: Array | int = -1,
    ascending: Array | bool = False,
    sort: Array | bool = True,  # noqa: ARG001 - sorted is one of the orders that are allowed
    return_indices: Array | bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Array, ...] | Array:
    place = int(axis) % x.ndim
    count = x.shape[place] if int(k) == -1 else int(k)
    if count > x.shape[place]:
        raise ValueError(f"an axis of {x.shape[place]} has no {count} largest values")
    order = _order(x, place, ascending=bool(ascending))
    best = np.take(order, np.arange(count), axis=place)
    values = np.take_along_axis(x, best, axis=place)
    return (values, best.astype(output_indices_dtype)) if bool(return_indices) else values


@operator("non_zero", moves=True)
def non_zero(x: Array) -> Array:
    return np.argwhere(x).astype(np.int32)


@operator("one_hot", moves=True)
def one_hot(
    indices: Array,
    one_hot_vector_size: Array,
    axis: Array | int = -1,
    on_value: Array | int = 1,
    off_value: Array | int = 0,
) -> Array:
    """An index outside the vector leaves it without a mark."""
    depth = int(one_hot_vector_size)
    hit = np.arange(depth) == indices[..., np.newaxis].astype(np.int64)
    dtype = np.asarray(on_value).dtype
    return np.moveaxis(np.where(hit, on_value, off_value).astype(dtype), -1, int(axis))


@operator("band_part", moves=True)
def band_part(x: Array, lower: Array | int = -1, upper: Array | int = -1) -> Array:
    rows, columns = np.indices(x.shape[-2:])
    below, above = rows - columns, columns - rows
    band = ((int(lower) < 0) | (below <= int(lower))) & ((int(upper) < 0) | (above <= int(upper)))
    return np.where(band, x, np.zeros_like(x))


@operator("cumsum")
def cumsum(x: Array, axis: Array | int = 0, exclusive: Array | bool = False, reverse: Array | bool = False) -> Array:
    place = int(axis)
    ordered = np.flip(x, place) if bool(reverse) else x
    total = np.cumsum(ordered, axis=place, dtype=np.float64 if x.dtype.kind == "f" else x.dtype)
    if bool(exclusive):
        total = total - ordered
    return np.flip(total, place) if bool(reverse) else total


@operator("fill", moves=True)
def fill(shape: Array, value: Array | float = 0.0) -> Array:
    return np.full([int(each) for each in shape], value)


@operator("fill_like", since="ios16", moves=True)
def fill_like(ref_tensor: Array, value: Array | float = 0.0) -> Array:
    return np.full(ref_tensor.shape, value)


@operator("range_1d")
def range_1d(start: Array, end: Array, step: Array) -> Array:
    count = max(0, int(np.ceil((end.astype(np.float64) - start) / step)))
    return cast("Array", start + np.arange(count, dtype=start.dtype) * step)


@operator("classify")
def classify(probabilities: Array, classes: tuple[Array | str, ...]) -> tuple[Array, dict[str | int, float]]:
    """The most probable class, and the probability of each."""
    labels = np.array([each if isinstance(each, str) else int(each) for each in classes])
    scores = probabilities.reshape(-1)
    if scores.size != labels.size:
        raise ValueError(f"{scores.size} probabilities for {labels.size} classes")
    return labels[int(np.argmax(scores))], dict(zip(labels.tolist(), scores.tolist(), strict=True))
