"""Lists of tensors of one type: each operator gives a new list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array

_NUMPY = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}


class TensorList(NamedTuple):
    """Slots, of which some may not have been written."""

    items: tuple[Array | None, ...]
    shape: tuple[int, ...]
    """Of an element; -1 where it is not known."""
    dtype: str
    grows: bool


def _lengths(given: Array | str) -> list[str] | list[int]:
    """Lengths stand one by one or in a vector; the name of a free one stands for it."""
    return [given] if isinstance(given, str) else [int(each) for each in given.reshape(-1)]


@operator("make_list", moves=True)
def make_list(
    elem_shape: tuple[Array | str, ...],
    init_length: Array | int = 1,
    dynamic_length: Array | bool = True,
    dtype: str = "fp32",
) -> TensorList:
    shape = tuple(-1 if isinstance(each, str) else int(each) for axis in elem_shape for each in _lengths(axis))
    return TensorList((None,) * int(init_length), shape, _NUMPY.get(dtype, dtype), bool(dynamic_length))


@operator("list_length", moves=True)
def list_length(ls: TensorList) -> Array:
    return np.array(len(ls.items), dtype=np.int32)


def _written(ls: TensorList, index: int, value: Array) -> TensorList:
    if index >= len(ls.items) and not ls.grows:
        raise IndexError(f"place {index} is outside a list of {len(ls.items)}")
    items = list(ls.items) + [None] * (index + 1 - len(ls.items))
    items[index] = value.astype(ls.dtype)
    return ls._replace(items=tuple(items))


@operator("list_write", moves=True)
def list_write(ls: TensorList, index: Array, value: Array) -> TensorList:
    return _written(ls, int(index), value)


def _read(ls: TensorList, index: int) -> Array:
    item = ls.items[index]
    if item is not None:
        return item
    if any(length < 0 for length in ls.shape):
        raise IndexError(f"place {index} of the list was never written")
    return np.zeros(ls.shape, dtype=ls.dtype)


@operator("list_read", moves=True)
def list_read(ls: TensorList, index: Array) -> Array:
    return _read(ls, int(index))


@operator("list_gather", moves=True)
def list_gather(ls: TensorList, indices: Array) -> Array:
    return np.stack([_read(ls, int(index)) for index in indices])


@operator("list_scatter", moves=True)
def list_scatter(ls: TensorList, indices: Array, value: Array) -> TensorList:
    for index, each in zip(indices, value, strict=True):
        ls = _written(ls, int(index), each)
    return ls
