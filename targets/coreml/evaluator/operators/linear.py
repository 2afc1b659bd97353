"""Products of matrices, and attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator._registry import operator
from targets.coreml.evaluator.operators.activations import softmax

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array


@operator("linear")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = np.matmul(x, weight.T)
    return cast("Array", y if bias is None else y + bias)


@operator("matmul")
def matmul(x: Array, y: Array, transpose_x: Array | bool = False, transpose_y: Array | bool = False) -> Array:
    left = x.swapaxes(-1, -2) if bool(transpose_x) and x.ndim > 1 else x
    right = y.swapaxes(-1, -2) if bool(transpose_y) and y.ndim > 1 else y
    return cast("Array", np.matmul(left, right))


@operator("einsum")
def einsum(values: tuple[Array, ...], equation: str) -> Array:
    return cast("Array", np.einsum(equation, *values, optimize=True))


@operator("scaled_dot_product_attention", since="ios18")
def scaled_dot_product_attention(query: Array, key: Array, value: Array, attn_mask: Array | None = None) -> Array:
    scores = np.matmul(query, key.swapaxes(-2, -1)) / np.float32(np.sqrt(query.shape[-1]))
    if attn_mask is not None:
        added = np.where(attn_mask, np.float32(0), np.float32(-np.inf)) if attn_mask.dtype == np.bool_ else attn_mask
        scores = scores + added
    return cast("Array", np.matmul(softmax(scores), value))
