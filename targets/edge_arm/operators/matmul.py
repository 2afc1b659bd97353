"""Matrix products."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm._registry import operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets._source.shape import Shape
    from targets.edge_arm._emission import Emission, Value
    from targets.edge_arm._graph import Tensor

_MATRIX = 2
_KERNEL_RANK = 5
_KEEPS_RANK = 5
"""The version of FULLY_CONNECTED that reads ``keep_num_dims``."""


@operator("MatMul")
def matmul(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """The product over the last axis of the left and the last but one of the right, as numpy's matmul."""
    del node
    return product(g, left, right)


def product(g: Emission, left: Value, right: Value) -> Value:
    """Numpy's matmul of two float values."""
    if left.stored != np.float32 or right.stored != np.float32:
        raise UnsupportedError(f"a matrix product of {left.dtype.name} has no kernel")
    if left.rank == 1:
        rows = product(g, g.reshape(left, (1, *left.shape)), right)
        axis = rows.rank - (1 if right.rank == 1 else 2)
        return g.reshape(rows, rows.shape[:axis] + rows.shape[axis + 1 :])
    if right.rank == 1:
        columns = product(g, left, g.reshape(right, (*right.shape, 1)))
        return g.reshape(columns, columns.shape[:-1])
    if right.rank == _MATRIX:
        return fully_connected(g, left, g.transpose(right, (1, 0)), None)
    return _batched(g, left, right)


def fully_connected(g: Emission, x: Value, weights: Value, bias: Value | None) -> Value:
    """X times the transpose of the weights [outputs, inputs], plus a bias [outputs]; ranks above 2 are kept."""
    tensor = g.tensor(x)
    shape = (*x.shape[:-1], weights.shape[0])
    keep = x.rank != _MATRIX
    options = schema.FullyConnectedOptionsT(keepNumDims=keep)
    inputs = [tensor, g.tensor(weights), g.tensor(bias) if bias is not None else None]
    g.macs += prod(shape) * weights.shape[1]
    return g.made(
        g.graph.add("FULLY_CONNECTED", inputs, shape, np.float32, options, _KEEPS_RANK if keep else 1), x.dtype
    )


def _batched(g: Emission, left: Value, right: Value) -> Value:
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    g.macs += prod(shape) * left.shape[-1]
    operands = [g.tensor(left), g.tensor(right)]
    small = shape
    if len(shape) > _KERNEL_RANK:
        operands = [_flat_batch(g, operand, batch) for operand in operands]
        small = (prod(batch), *shape[-2:])
    result = g.graph.add("BATCH_MATMUL", operands, small, np.float32, schema.BatchMatMulOptionsT())
    return g.made(g.graph.reshape(result, shape), left.dtype)


def _flat_batch(g: Emission, tensor: Tensor, batch: Shape) -> Tensor:
    """The matrices in one row, repeated where their batch is broadcast."""
    matrix = tensor.shape[-2:]
    ones = (1,) * (len(batch) + _MATRIX - len(tensor.shape))
    full = g.broadcast(g.graph.reshape(tensor, ones + tensor.shape), (*batch, *matrix))
    return g.graph.reshape(full, (prod(batch), *matrix))


@operator("Gemm", since=7)
def gemm(g: Emission, node: Node, a: Value, b: Value, c: Value | None = None) -> Value:
    """Alpha * a' b' + beta * c, where ' is an optional transpose."""
    if a.stored != np.float32:
        raise UnsupportedError(f"a matrix product of {a.dtype.name} has no kernel")
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if node.integer("transA", 0):
        a = g.transpose(a, (1, 0))
    weights = b if node.integer("transB", 0) else g.transpose(b, (1, 0))
    if alpha != 1 and weights.constant is not None:
        weights = g.constant((weights.constant * alpha).astype(weights.dtype))
        alpha = 1.0
    outputs = weights.shape[0]
    bias = None
    if alpha == 1 and c is not None and c.constant is not None and c.constant.size in {1, outputs} and beta != 0:
        row = c.constant.reshape(-1) if c.rank == 0 or c.shape[-1] == c.constant.size else None
        if row is not None:
            bias = g.constant(np.ascontiguousarray(np.broadcast_to(row * np.array(beta, row.dtype), (outputs,))))
    result = fully_connected(g, a, weights, bias)
    if alpha != 1:
        result = g.mul(result, g.scalar(alpha, result))
    if c is not None and bias is None and beta != 0:
        result = g.add(result, c if beta == 1 else g.mul(c, g.scalar(beta, c)))
    return result
