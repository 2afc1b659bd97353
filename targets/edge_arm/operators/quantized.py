"""Quantize and dequantize, as arithmetic in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm._registry import UnsupportedError, operator

if TYPE_CHECKING:
    from targets.edge_arm._emission import Emission, Value
    from targets.edge_arm._source import Node

_INTEGERS = {"int8", "uint8", "int16"}


def _spread(g: Emission, node: Node, x: Value, parameter: Value) -> Value:
    """A scale or zero point in a shape that broadcasts over x: per tensor, per axis, or per block."""
    if parameter.rank == 0 or parameter.shape == (1,):
        return g.reshape(parameter, ())
    axis = x.axis(node.integer("axis", 1))
    block = node.integer("block_size", 0)
    if block:
        return g.constant(parameter.array("a block's parameter").repeat(block, axis=axis)[_window(x)])
    return g.reshape(parameter, [size if place == axis else 1 for place, size in enumerate(x.shape)])


def _window(x: Value) -> tuple[slice, ...]:
    return tuple(slice(size) for size in x.shape)


@operator("DequantizeLinear", since=10)
def dequantize_linear(g: Emission, node: Node, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """(x - zero point) * scale."""
    if x.dtype.name not in {*_INTEGERS, "int32"}:
        raise UnsupportedError(f"a dequantization of {x.dtype.name} has no kernel")
    real = g.cast(x, np.float32)
    if zero is not None:
        real = g.sub(real, g.cast(_spread(g, node, x, zero), np.float32))
    result = g.mul(real, g.cast(_spread(g, node, x, scale), np.float32))
    return g.cast(result, scale.dtype)


@operator("QuantizeLinear", since=10)
def quantize_linear(g: Emission, node: Node, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """round(x / scale) + zero point, kept within the integer's range; half to even."""
    dtype = zero.dtype if zero is not None else np.dtype(np.uint8)
    if dtype.name not in _INTEGERS or x.dtype.kind != "f" or (zero is None and node.integer("output_dtype", 0)):
        raise UnsupportedError(f"a quantization of {x.dtype.name} to {dtype.name} is not served")
    limits = np.iinfo(dtype)
    level = g.elementwise("ROUND", g.div(g.cast(x, np.float32), g.cast(_spread(g, node, x, scale), np.float32)))
    if zero is not None:
        level = g.add(level, g.cast(_spread(g, node, x, zero), np.float32))
    level = g.elementwise("MAXIMUM", level, g.scalar(limits.min, level), options=schema.MaximumMinimumOptionsT())
    level = g.elementwise("MINIMUM", level, g.scalar(limits.max, level), options=schema.MaximumMinimumOptionsT())
    return g.cast(level, dtype)
