"""Matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value

_MATRIX = 2
_LINEAR_RANK = 3


@operator("MatMul")
def matmul(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """The product over the last axis of the left and the last but one of the right, as numpy's matmul."""
    del node
    return product(g, left, right)


def product(g: Emission, left: Value, right: Value) -> Value:
    """Numpy's matmul of two values."""
    if left.rank == 1:
        rows = product(g, g.reshape(left, (1, *left.shape)), right)
        axis = rows.rank - (1 if right.rank == 1 else 2)
        return g.reshape(rows, rows.shape[:axis] + rows.shape[axis + 1 :])
    if right.rank == 1:
        columns = product(g, left, g.reshape(right, (*right.shape, 1)))
        return g.reshape(columns, columns.shape[:-1])
    if right.rank == _MATRIX and right.constant is not None and left.dtype.kind == "f":
        return fully_connected(g, left, g.transpose(right, (1, 0)), None)
    return a.matmul(g, left, right)


def fully_connected(g: Emission, x: Value, weights: Value, bias: Value | None) -> Value:
    """X times the transpose of the weights [outputs, inputs], plus a bias [outputs]."""
    known = weights.constant is not None and (bias is None or bias.constant is not None)
    if known and x.rank in {_MATRIX, _LINEAR_RANK} and x.constant is None:
        return g.op("linear", x=x, weight=weights, **({} if bias is None else {"bias": bias}))
    result = a.matmul(g, x, weights, flipped=True)
    return result if bias is None else a.add(g, result, bias)


@operator("Gemm", since=7)
def gemm(g: Emission, node: Node, left: Value, right: Value, shift: Value | None = None) -> Value:
    """Alpha * a' b' + beta * c, where ' is an optional transpose."""
    if left.dtype.kind != "f":
        raise UnsupportedError(f"a matrix product of {left.dtype.name} with factors is not served")
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if node.integer("transA", 0):
        left = g.transpose(left, (1, 0))
    weights = right if node.integer("transB", 0) else g.transpose(right, (1, 0))
    if alpha != 1 and weights.constant is not None:
        weights = g.constant((weights.constant * alpha).astype(weights.dtype))
        alpha = 1.0
    outputs = weights.shape[0]
    bias = None
    if alpha == 1 and shift is not None and shift.constant is not None and beta != 0:
        number = shift.constant
        if number.size == 1 or (number.size == outputs and number.shape[-1] == outputs):
            row = number.reshape(-1) * np.array(beta, number.dtype)
            bias = g.constant(np.ascontiguousarray(np.broadcast_to(row, (outputs,))))
    result = fully_connected(g, left, weights, bias)
    if alpha != 1:
        result = a.mul(g, result, alpha)
    if shift is not None and bias is None and beta != 0:
        result = a.add(g, result, shift if beta == 1 else a.mul(g, shift, beta))
    return result
