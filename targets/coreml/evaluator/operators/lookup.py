"""Gathers and scatters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.coreml.evaluator._types import Array


def _within(indices: Array, lengths: int | Sequence[int], *, negative: bool) -> Array:
    """The indices, counted from the start.

    What an index outside does is not defined by Apple, from iOS 17 on also for a negative one: a model that relies on
    it is refused here.
    """
    limits = np.array(lengths)
    wide = indices.astype(np.int64)
    low = -limits if negative else np.zeros_like(limits)
    if np.any(wide < low) or np.any(wide >= limits):
        raise ValueError(f"an index is outside the axis: expected {low.tolist()} to {(limits - 1).tolist()}")
    return np.where(wide < 0, wide + limits, wide)


def _gather(x: Array, indices: Array, axis: int, batch_dims: int, *, negative: bool) -> Array:
    place = axis % x.ndim
    within = _within(indices, x.shape[place], negative=negative)
    if not batch_dims:
        return np.take(x, within, axis=place)
    batch = x.shape[:batch_dims]
    rows = x.reshape(-1, *x.shape[batch_dims:])
    picks = within.reshape(rows.shape[0], *within.shape[batch_dims:])
    taken = [np.take(row, pick, axis=place - batch_dims) for row, pick in zip(rows, picks, strict=True)]
    return np.stack(taken).reshape(*batch, *taken[0].shape)


def _gather_nd(x: Array, indices: Array, batch_dims: int, *, negative: bool) -> Array:
    depth = indices.shape[-1]
    within = _within(indices, x.shape[batch_dims : batch_dims + depth], negative=negative)
    if not batch_dims:
        return np.asarray(x[tuple(np.moveaxis(within, -1, 0))])
    batch = x.shape[:batch_dims]
    rows = x.reshape(-1, *x.shape[batch_dims:])
    picks = within.reshape(rows.shape[0], *within.shape[batch_dims:])
    taken = [row[tuple(np.moveaxis(pick, -1, 0))] for row, pick in zip(rows, picks, strict=True)]
    return np.stack(taken).reshape(*batch, *taken[0].shape)


@operator("gather", until="ios16", moves=True)
def gather_signed(x: Array, indices: Array, axis: Array | int = 0, batch_dims: Array | int = 0) -> Array:
    return _gather(x, indices, int(axis), int(batch_dims), negative=True)


@operator("gather", since="ios17", moves=True)
def gather(
    x: Array,
    indices: Array,
    axis: Array | int = 0,
    batch_dims: Array | int = 0,
    validate_indices: Array | bool = False,  # noqa: ARG001 - indices are always checked here
) -> Array:
    return _gather(x, indices, int(axis), int(batch_dims), negative=False)


@operator("gather_nd", until="ios16", moves=True)
def gather_nd_signed(x: Array, indices: Array, batch_dims: Array | int = 0) -> Array:
    return _gather_nd(x, indices, int(batch_dims), negative=True)


@operator("gather_nd", since="ios17", moves=True)
def gather_nd(
    x: Array,
    indices: Array,
    batch_dims: Array | int = 0,
    validate_indices: Array | bool = False,  # noqa: ARG001 - indices are always checked here
) -> Array:
    return _gather_nd(x, indices, int(batch_dims), negative=False)


@operator("gather_along_axis", until="ios16", moves=True)
def gather_along_axis_signed(x: Array, indices: Array, axis: Array | int = 0) -> Array:
    within = _within(indices, x.shape[int(axis)], negative=True)
    return np.take_along_axis(x, within, axis=int(axis))


@operator("gather_along_axis", since="ios17", moves=True)
def gather_along_axis(
    x: Array,
    indices: Array,
    axis: Array | int = 0,
    validate_indices: Array | bool = False,  # noqa: ARG001 - indices are always checked here
) -> Array:
    within = _within(indices, x.shape[int(axis)], negative=False)
    return np.take_along_axis(x, within, axis=int(axis))


_COMBINE: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
}


def _combine(result: Array, place: tuple[Array | slice, ...], updates: Array, mode: str) -> Array:
    if mode == "update":
        result[place] = updates
        return result
    if mode not in _COMBINE:
        raise ValueError(f"unknown mode '{mode}'")
    if mode == "div" and result.dtype.kind in "iu":
        wide = result.astype(np.float64)
        _COMBINE[mode].at(wide, place, updates)
        return np.trunc(wide).astype(result.dtype)
    _COMBINE[mode].at(result, place, updates)
    return result


def _scatter(data: Array, indices: Array, updates: Array, axis: int, mode: str, *, negative: bool) -> Array:
    place = axis % data.ndim
    within = _within(indices, data.shape[place], negative=negative)
    return _combine(data.copy(), (*([slice(None)] * place), within), updates, mode)


def _scatter_along_axis(data: Array, indices: Array, updates: Array, axis: int, mode: str, *, negative: bool) -> Array:
    place = axis % data.ndim
    within = _within(indices, data.shape[place], negative=negative)
    grid: list[Array] = list(np.indices(indices.shape, sparse=True))
    grid[place] = within
    return _combine(data.copy(), tuple(grid), updates, mode)


def _scatter_nd(data: Array, indices: Array, updates: Array, mode: str, *, negative: bool) -> Array:
    within = _within(indices, data.shape[: indices.shape[-1]], negative=negative)
    return _combine(data.copy(), tuple(np.moveaxis(within, -1, 0)), updates, mode)


@operator("scatter", until="ios16")
def scatter_signed(data: Array, indices: Array, updates: Array, axis: Array | int = 0, mode: str = "add") -> Array:
    return _scatter(data, indices, updates, int(axis), mode, negative=True)


@operator("scatter", since="ios17")
def scatter(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Array | int = 0,
    mode: str = "add",
    validate_indices: Array | bool = False,  # noqa: ARG001 - indices are always checked here
) -> Array:
    return _scatter(data, indices, updates, int(axis), mode, negative=False)


@operator("scatter_along_axis", until="ios16")
def scatter_along_axis_signed(
    data: Array, indices: Array, updates: Array, axis: Array | int = 0, mode: str = "add"
) -> Array:
    return _scatter_along_axis(data, indices, updates, int(axis), mode, negative=True)


@operator("scatter_along_axis", since="ios17")
def scatter_along_axis(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Array | int = 0,
    mode: str = "add",
    validate_indices: Array | bool = False,  # noqa: ARG001 - indices are always checked here
) -> Array:
    return _scatter_along_axis(data, indices, updates, int(axis), mode, negative=False)


@operator("scatter_nd", until="ios16")
def scatter_nd_signed(data: Array, indices: Array, updates: Array, mode: str = "add") -> Array:
    return _scatter_nd(data, indices, updates, mode, negative=True)


@operator("scatter_nd", since="ios17")
def scatter_nd(
    data: Array,
    indices: Array,
    updates: Array,
    mode: str = "add",
    validate_indices: Array | bool = False,  # noqa: ARG001 - indices are always checked here
) -> Array:
    return _scatter_nd(data, indices, updates, mode, negative=False)
