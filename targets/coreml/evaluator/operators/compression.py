"""Constants that are stored smaller than they are used, and quantized tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.coreml.evaluator._types import Array


def _along(values: Array, rank: int, axis: int) -> Array:
    """A vector that lies along one axis; a scalar as it is."""
    return values.reshape([-1 if place == axis % rank else 1 for place in range(rank)]) if values.ndim else values


def _axis(axis: Array | None) -> int:
    return 0 if axis is None else int(axis)


@operator("constexpr_affine_dequantize", since="ios16")
def constexpr_affine_dequantize(quantized_data: Array, zero_point: Array, scale: Array, axis: Array) -> Array:
    rank, place = quantized_data.ndim, int(axis)
    shifted = quantized_data.astype(np.float32) - _along(zero_point.astype(np.float32), rank, place)
    return _along(scale, rank, place) * shifted


@operator("constexpr_cast", since="ios16")
def constexpr_cast(source_val: Array, output_dtype: str) -> Array:
    return source_val.astype({"fp16": np.float16, "fp32": np.float32}[output_dtype])


@operator("constexpr_lut_to_dense", since="ios16", until="ios17")
def constexpr_lut_to_dense_packed(indices: Array, lut: Array, shape: Array) -> Array:
    lengths = [int(each) for each in shape]
    count = int(np.prod(lengths))
    bits = (lut.size - 1).bit_length()
    stream = np.unpackbits(indices, bitorder="little")[: count * bits].reshape(count, bits)
    return cast("Array", lut[np.packbits(stream, axis=1, bitorder="little")[:, 0]].reshape(lengths))


@operator("constexpr_lut_to_dense", since="ios18")
def constexpr_lut_to_dense(indices: Array, lut: Array, vector_axis: Array | None = None) -> Array:
    """`lut` has the shape of the blocks, then the number of entries, then the length of each."""
    lengths = lut.shape[: indices.ndim]
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    blocks = tuple(
        place // (length // count) for place, length, count in zip(places, indices.shape, lengths, strict=True)
    )
    vectors = lut[(*blocks, indices.astype(np.intp))]
    if vector_axis is None:
        return cast("Array", vectors[..., 0])
    axis = int(vector_axis) % indices.ndim
    wanted = list(indices.shape)
    wanted[axis] *= lut.shape[-1]
    return cast("Array", np.moveaxis(vectors, -1, axis + 1).reshape(wanted))


@operator("constexpr_sparse_to_dense", since="ios16", until="ios17")
def constexpr_sparse_to_dense_packed(nonzero_data: Array, mask: Array, shape: Array) -> Array:
    lengths = [int(each) for each in shape]
    bits = np.unpackbits(mask, bitorder="little")[: int(np.prod(lengths))]
    return constexpr_sparse_to_dense(nonzero_data, bits.reshape(lengths))


@operator("constexpr_sparse_to_dense", since="ios18")
def constexpr_sparse_to_dense(nonzero_data: Array, mask: Array) -> Array:
    dense = np.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


@operator("constexpr_lut_to_sparse", since="ios18")
def constexpr_lut_to_sparse(
    indices_mask: Array, indices_nonzero_data: Array, lut: Array, vector_axis: Array | None = None
) -> tuple[Array, Array]:
    dense = constexpr_lut_to_dense(constexpr_sparse_to_dense(indices_nonzero_data, indices_mask), lut, vector_axis)
    mask = indices_mask if vector_axis is None else np.repeat(indices_mask, lut.shape[-1], axis=int(vector_axis))
    return mask, dense[mask != 0]


@operator("constexpr_blockwise_shift_scale", since="ios18")
def constexpr_blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    shifted = data.astype(np.float32)
    if offset is not None:
        shifted = shifted - _spread(offset.astype(np.float32), data.shape)
    return _spread(scale.astype(np.float32), data.shape) * shifted


@operator("constexpr_sparse_blockwise_shift_scale", since="ios18")
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None
) -> tuple[Array, Array]:
    dense = constexpr_blockwise_shift_scale(constexpr_sparse_to_dense(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]


def _spread(blocks: Array, lengths: Sequence[int]) -> Array:
    """Each block's value for each entry of it."""
    for axis, (count, length) in enumerate(zip(blocks.shape, lengths, strict=True)):
        if length % count:
            raise ValueError(f"{count} blocks do not divide an axis of {length}")
        blocks = np.repeat(blocks, length // count, axis=axis)
    return blocks


@operator("quantize", since="ios17")
def quantize(
    input: Array,  # noqa: A002 - the operator's own name for it
    scale: Array,
    output_dtype: str,
    zero_point: Array | None = None,
    axis: Array | None = None,
) -> Array:
    rank, place = input.ndim, _axis(axis)
    zero = 0 if zero_point is None else _along(zero_point.astype(np.float32), rank, place)
    limits = np.iinfo(output_dtype)
    rounded = np.round(input / _along(scale, rank, place)) + zero
    return np.clip(rounded, limits.min, limits.max).astype(output_dtype)


@operator("dequantize", since="ios17")
def dequantize(
    input: Array,  # noqa: A002 - the operator's own name for it
    scale: Array,
    zero_point: Array | None = None,
    axis: Array | None = None,
) -> Array:
    rank, place = input.ndim, _axis(axis)
    shifted = input.astype(np.float32)
    if zero_point is not None:
        shifted = shifted - _along(zero_point.astype(np.float32), rank, place)
    return _along(scale, rank, place) * shifted
