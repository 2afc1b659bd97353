"""Quantize and dequantize, and what is computed between them, as arithmetic in float32."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from targets._source.refusal import UnsupportedError
from targets.edge_arm._arithmetic import clamped, less, negative
from targets.edge_arm._registry import operator
from targets.edge_arm.operators.convolution import conv
from targets.edge_arm.operators.matmul import product
from targets.edge_arm.operators.slicing import looked_up, span

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_INTEGERS = {"int8", "uint8", "int16", "uint16"}
_EXACT = 1 << 24
"""Up to here float32 counts every integer."""


def _spread(g: Emission, node: Node, x: Value, parameter: Value) -> Value:
    """A scale or zero point, as float32, in a shape that broadcasts over x: per tensor, per axis, or per block."""
    parameter = g.cast(parameter, np.float32)
    if parameter.rank == 0 or parameter.shape == (1,):
        return g.reshape(parameter, ())
    axis = x.axis(node.integer("axis", 1))
    block = node.integer("block_size", 0)
    if block:
        return looked_up(g, parameter, axis, (np.arange(x.shape[axis]) // block).astype(np.int32))
    return g.reshape(parameter, [size if place == axis else 1 for place, size in enumerate(x.shape)])


def _centred(g: Emission, node: Node, x: Value, zero: Value | None) -> Value:
    """X - zero point, as float32."""
    real = g.cast(x, np.float32)
    return real if zero is None else g.sub(real, _spread(g, node, x, zero))


@operator("DequantizeLinear", since=10)
def dequantize_linear(g: Emission, node: Node, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """(x - zero point) * scale."""
    if x.dtype.name not in {*_INTEGERS, "int32"}:
        raise UnsupportedError(f"a dequantization of {x.dtype.name} has no kernel")
    return g.cast(g.mul(_centred(g, node, x, zero), _spread(g, node, x, scale)), scale.dtype)


@operator("QuantizeLinear", since=10)
def quantize_linear(g: Emission, node: Node, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """round(x / scale) + zero point, kept within the integer's range; half to even."""
    wanted = node.integer("output_dtype", 0)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(wanted)) if wanted else np.dtype(np.uint8)
    dtype = zero.dtype if zero is not None else dtype
    if dtype.name not in _INTEGERS or x.dtype.kind != "f":
        raise UnsupportedError(f"a quantization of {x.dtype.name} to {dtype.name} is not served")
    level = g.elementwise("ROUND", g.div(g.cast(x, np.float32), _spread(g, node, x, scale)))
    if zero is not None:
        level = g.add(level, _spread(g, node, x, zero))
    return _levels(g, level, dtype)


def _levels(g: Emission, x: Value, dtype: np.dtype[Any]) -> Value:
    limits = np.iinfo(dtype)
    return g.cast(clamped(g, x, float(limits.min), float(limits.max)), dtype)


def _requantized(g: Emission, total: Value, factor: Value, zero: Value) -> Value:
    """round(total * factor) + zero point, kept within the integer's range."""
    level = g.elementwise("ROUND", g.mul(total, factor))
    return _levels(g, g.add(level, g.cast(zero, np.float32)), zero.dtype)


def _factor(g: Emission, left: Value, right: Value, result: Value) -> Value:
    scales = [g.cast(scale, np.float32) for scale in (left, right, result)]
    return g.div(g.mul(scales[0], scales[1]), scales[2])


@operator("QLinearMatMul", since=10)
def qlinear_matmul(  # noqa: PLR0913, PLR0917 - ONNX gives it eight inputs
    g: Emission,
    node: Node,
    a: Value,
    a_scale: Value,
    a_zero: Value,
    b: Value,
    b_scale: Value,
    b_zero: Value,
    y_scale: Value,
    y_zero: Value,
) -> Value:
    """The product of two quantized matrices, quantized again; parameters are per tensor, per row or per column."""
    del node
    left = g.sub(g.cast(a, np.float32), _beside(g, a, a_zero, -2))
    right = g.sub(g.cast(b, np.float32), _beside(g, b, b_zero, -1))
    factor = _factor(g, _beside(g, a, a_scale, -2), _beside(g, b, b_scale, -1), y_scale)
    return _requantized(g, product(g, left, right), factor, y_zero)


def _beside(g: Emission, x: Value, parameter: Value, axis: int) -> Value:
    """A parameter, as float32, per tensor or along one axis of a matrix."""
    parameter = g.cast(parameter, np.float32)
    if parameter.shape in {(), (1,)}:
        return g.reshape(parameter, ())
    if parameter.rank > 1:
        return parameter
    return g.reshape(parameter, (1, x.shape[-1]) if axis == -1 else (x.shape[-2], 1))


@operator("QLinearConv", since=10)
def qlinear_conv(  # noqa: PLR0913, PLR0917 - ONNX gives it nine inputs
    g: Emission,
    node: Node,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    w: Value,
    w_scale: Value,
    w_zero: Value,
    y_scale: Value,
    y_zero: Value,
    bias: Value | None = None,
) -> Value:
    """The convolution of two quantized values, quantized again; the weights' parameters may be per channel."""
    outputs = (w.shape[0], *(1,) * (x.rank - 2))

    def per_channel(value: Value, shape: tuple[int, ...]) -> Value:
        value = g.cast(value, np.float32)
        return g.reshape(value, () if value.shape in {(), (1,)} else shape)

    left = g.sub(g.cast(x, np.float32), per_channel(x_zero, ()))
    right = g.sub(g.cast(w, np.float32), per_channel(w_zero, (w.shape[0], *(1,) * (w.rank - 1))))
    total = conv(g, node, left, right, None if bias is None else g.cast(bias, np.float32))
    factor = _factor(g, per_channel(x_scale, ()), per_channel(w_scale, outputs), per_channel(y_scale, ()))
    return _requantized(g, total, factor, g.reshape(y_zero, ()))


@operator("MatMulInteger", since=10)
def matmul_integer(
    g: Emission, node: Node, a: Value, b: Value, a_zero: Value | None = None, b_zero: Value | None = None
) -> Value:
    """The product of two integer matrices less their zero points, as int32: exactly, in parts that float32 counts."""
    del node
    left, right = g.cast(a, np.float32), g.cast(b, np.float32)
    left = left if a_zero is None else g.sub(left, _beside(g, a, a_zero, -2))
    right = right if b_zero is None else g.sub(right, _beside(g, b, b_zero, -1))
    total: Value | None = None
    depth = max(b.rank - 2, 0)
    sums = np.full((a.shape[-1], 1), 255) if right.constant is None else _magnitudes(right.constant, depth)
    for start, end in _exact_parts(sums.reshape(a.shape[-1], -1)):
        rows, columns = span(g, left, a.rank - 1, start, end), span(g, right, depth, start, end)
        part = g.cast(product(g, rows, columns), np.int32)
        total = part if total is None else g.add(total, part)
    if total is None:
        raise UnsupportedError("the product is over nothing")
    return total


@operator("ConvInteger", since=10)
def conv_integer(
    g: Emission, node: Node, x: Value, w: Value, x_zero: Value | None = None, w_zero: Value | None = None
) -> Value:
    """The convolution of two integer values less their zero points, as int32: exactly, in parts that float32 counts."""
    left, right = g.cast(x, np.float32), g.cast(w, np.float32)
    left = left if x_zero is None else g.sub(left, g.reshape(g.cast(x_zero, np.float32), ()))
    if w_zero is not None:
        shape = () if w_zero.shape in {(), (1,)} else (w.shape[0], *(1,) * (w.rank - 1))
        right = g.sub(right, g.reshape(g.cast(w_zero, np.float32), shape))
    taps = tuple(range(2, w.rank))
    if right.constant is None:
        parts = _exact_parts(np.full((w.shape[1], 1), 255 * int(np.prod(w.shape[2:]))))
    else:
        parts = _exact_parts(_magnitudes(right.constant, 1).sum(axis=taps))
    if len(parts) == 1:
        return g.cast(conv(g, node, left, right), np.int32)
    if node.integer("group", 1) > 1:
        raise UnsupportedError(f"sums over {int(np.prod(w.shape[1:]))} products of integers are not exact in float32")
    totals = [
        g.cast(conv(g, node, span(g, left, 1, start, end), span(g, right, 1, start, end)), np.int32)
        for start, end in parts
    ]
    return reduce(g.add, totals)


def _magnitudes(weights: NDArray[np.generic], depth: int) -> NDArray[np.int64]:
    """Whole numbers without their signs, the axis that sums go along first."""
    found: NDArray[np.int64] = np.moveaxis(np.abs(weights.astype(np.int64)), depth, 0)
    return found


def _exact_parts(magnitudes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """From where to where sums of products with numbers up to 255 stay exact in float32; a row for each place.

    Raises:
        UnsupportedError: not even at one place.
    """
    parts, start, total = [], 0, np.zeros(magnitudes.shape[1:], np.int64)
    for place, row in enumerate(magnitudes * 255):
        if (row > _EXACT).any():
            raise UnsupportedError("sums over products of integers are not exact in float32")
        if (total + row > _EXACT).any():
            parts.append((start, place))
            start, total = place, np.zeros_like(total)
        total = total + row
    return [*parts, (start, len(magnitudes))] if len(magnitudes) else []


@operator("onnx.brevitas.Quant")
@operator("qonnx.custom_op.general.Quant")
@operator("finn.custom_op.general.Quant")
def quant(g: Emission, node: Node, x: Value, scale: Value, zero: Value, bits: Value) -> Value:
    """X on the grid of an integer of so many bits, still as a float; source: QONNX, "Quant"."""
    modes = {"ROUND": "ROUND", "CEIL": "CEIL", "FLOOR": "FLOOR"}
    mode = node.text("rounding_mode", "ROUND").upper()
    if mode not in modes:
        raise UnsupportedError(f"rounding_mode '{mode}' is not served: expected one of {', '.join(modes)}")
    width, signed, narrow = bits.number("bit_width"), node.integer("signed", 1), node.integer("narrow", 0)
    low = -(2.0 ** (width - 1)) + narrow if signed else 0.0
    high = 2.0 ** (width - 1) - 1 if signed else 2.0**width - 1 - narrow
    level = clamped(g, g.add(g.div(x, scale), zero), low, high)
    return g.mul(g.sub(g.elementwise(modes[mode], level), zero), scale)


@operator("onnx.brevitas.BipolarQuant")
@operator("qonnx.custom_op.general.BipolarQuant")
@operator("finn.custom_op.general.BipolarQuant")
def bipolar_quant(g: Emission, node: Node, x: Value, scale: Value) -> Value:
    """The scale where x is not negative, else minus the scale."""
    del node
    return g.select(less(g, x, 0.0), negative(g, scale), scale)
