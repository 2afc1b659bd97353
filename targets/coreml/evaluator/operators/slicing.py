"""Slices, joins, pads and reversals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.coreml.evaluator._types import Array


def _slices(
    lengths: Sequence[int],
    begin: Array,
    end: Array,
    stride: Array | None,
    begin_mask: Array | None,
    end_mask: Array | None,
    squeeze_mask: Array | None,
) -> tuple[slice | int, ...]:
    rank = len(lengths)
    steps = [1] * rank if stride is None else [int(each) for each in stride]
    from_start = [False] * rank if begin_mask is None else [bool(each) for each in begin_mask]
    to_end = [False] * rank if end_mask is None else [bool(each) for each in end_mask]
    single = [False] * rank if squeeze_mask is None else [bool(each) for each in squeeze_mask]
    cuts: list[slice | int] = []
    for axis in range(rank):
        if single[axis]:
            cuts.append(0 if from_start[axis] else int(begin[axis]))
            continue
        first = None if from_start[axis] else int(begin[axis])
        last = None if to_end[axis] else int(end[axis])
        cuts.append(slice(first, last, steps[axis]))
    return tuple(cuts)


@operator("slice_by_index", moves=True)
def slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    return np.asarray(x[_slices(x.shape, begin, end, stride, begin_mask, end_mask, squeeze_mask)])


@operator("slice_update", since="ios18", moves=True)
def slice_update(
    x: Array,
    update: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    cut = _slices(x.shape, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    result = x.copy()
    result[cut] = update.reshape(np.shape(result[cut]))
    return result


@operator("slice_by_size", moves=True)
def slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    cuts = []
    for length, first, count in zip(x.shape, begin, size, strict=True):
        start = int(first) + (length if first < 0 else 0)
        stop = length if count == -1 else start + int(count)
        if start < 0 or stop > length:
            raise ValueError(f"a slice from {start} to {stop} is outside an axis of {length}")
        cuts.append(slice(start, stop))
    return x[tuple(cuts)]


@operator("crop", moves=True)
def crop(x: Array, crop_height: Array, crop_width: Array) -> Array:
    (top, bottom), (left, right) = (tuple(int(end) for end in pair) for pair in (crop_height, crop_width))
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


@operator("concat", moves=True)
def concat(values: tuple[Array, ...], axis: Array, interleave: Array | bool = False) -> Array:
    if not values[0].ndim:
        return np.stack(values, axis=int(axis))
    if not bool(interleave):
        return np.concatenate(values, axis=int(axis))
    place = int(axis) % values[0].ndim
    stacked = np.stack(values, axis=place + 1)
    lengths = list(values[0].shape)
    lengths[place] *= len(values)
    return stacked.reshape(lengths)


@operator("stack", moves=True)
def stack(values: tuple[Array, ...], axis: Array) -> Array:
    return np.stack(values, axis=int(axis))


@operator("split", moves=True)
def split(
    x: Array, axis: Array, num_splits: Array | None = None, split_sizes: Array | None = None
) -> tuple[Array, ...]:
    if split_sizes is not None:
        return tuple(np.split(x, np.cumsum(split_sizes)[:-1].astype(int), axis=int(axis)))
    if num_splits is None:
        raise ValueError("a split needs 'num_splits' or 'split_sizes'")
    return tuple(np.split(x, int(num_splits), axis=int(axis)))


@operator("pad", moves=True)
def pad(x: Array, pad: Array, mode: str = "constant", constant_val: Array | float = 0.0) -> Array:
    ends = [int(each) for each in pad]
    pairs = [(0, 0)] * (x.ndim - len(ends) // 2) + list(zip(ends[::2], ends[1::2], strict=True))
    if mode == "constant":
        if any(end < 0 for pair in pairs for end in pair):
            raise ValueError("negative padding is not documented")
        return np.pad(x, pairs, constant_values=constant_val)
    for (before, after), length in zip(pairs, x.shape, strict=True):
        if max(before, after) > length - (1 if mode == "reflect" else 0):
            raise ValueError(f"padding of ({before}, {after}) in mode '{mode}' is too much for an axis of {length}")
    match mode:
        case "reflect":
            return np.pad(x, pairs, mode="reflect")
        case "replicate":
            return np.pad(x, pairs, mode="edge")
    raise ValueError(f"unknown mode '{mode}'")


@operator("reverse", moves=True)
def reverse(x: Array, axes: Array | None = None) -> Array:
    return np.flip(x, None if axes is None else tuple(int(axis) for axis in axes))


@operator("reverse_sequence", moves=True)
def reverse_sequence(x: Array, lengths: Array, seq_axis: Array | int = 0, batch_axis: Array | int = 0) -> Array:
    moved = np.moveaxis(x, (int(batch_axis) % x.ndim, int(seq_axis) % x.ndim), (0, 1)).copy()
    for row, length in zip(moved, lengths, strict=True):
        row[: int(length)] = row[: int(length)][::-1].copy()
    return np.moveaxis(moved, (0, 1), (int(batch_axis) % x.ndim, int(seq_axis) % x.ndim))
