"""Scales and offsets by constants: on the host before the input, in the weights of the layer before, or as a layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from agent.runtimes._fixed.host import Affine
from targets._source.refusal import UnsupportedError
from targets.fpga._layers import RealAdd, RealConv, RealDense
from targets.fpga._reading import Constant, Hosted, Raw
from targets.fpga._registry import operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.fpga._layers import Reals
    from targets.fpga._reading import Reading, Stream, Value

_PLAIN = np.ones(())
_NOTHING = np.zeros(())


@operator("Add")
def _add(g: Reading, node: Node, a: Value, b: Value) -> Value:
    if isinstance(a, Constant) or isinstance(b, Constant):
        constant, value = (a, b) if isinstance(a, Constant) else (b, a)
        return affine(g, node, value, _PLAIN, g.reals(constant, "offset"))
    if isinstance(a, Hosted) or isinstance(b, Hosted):
        raise UnsupportedError("it adds what the host has: expected tensors in the FPGA")
    first, second = g.stream(a), g.stream(b)
    if first.shape != second.shape:
        raise UnsupportedError(f"its tensors have unlike shapes: {list(first.shape)} and {list(second.shape)}")
    return g.add(RealAdd(sources=(first.name, second.name), output=node.outputs[0], shape=first.shape, node=node.label))


@operator("Sub")
def _sub(g: Reading, node: Node, a: Value, b: Value) -> Value:
    if isinstance(b, Constant):
        return affine(g, node, a, _PLAIN, -g.reals(b, "offset"))
    minuend = g.reals(a, "first input")
    if isinstance(b, Hosted) and np.all(minuend == 1) and b.shape and b.shape[-1] == 1:
        return replace(b, complement=not b.complement)
    return affine(g, node, b, -_PLAIN, minuend)


@operator("Mul")
def _mul(g: Reading, node: Node, a: Value, b: Value) -> Value:
    constant, value = (a, b) if isinstance(a, Constant) else (b, a)
    return affine(g, node, value, g.reals(constant, "factor"), _NOTHING)


@operator("Div")
def _div(g: Reading, node: Node, a: Value, b: Value) -> Value:
    return affine(g, node, a, 1.0 / g.reals(b, "divisor"), _NOTHING)


@operator("Neg")
def _neg(g: Reading, node: Node, a: Value) -> Value:
    return affine(g, node, a, -_PLAIN, _NOTHING)


@operator("BatchNormalization", since=7)
def _batch_normalization(g: Reading, node: Node, x: Value, *parameters: Value) -> Value:
    if node.integer("training_mode", 0):
        raise UnsupportedError("it is in training mode: its mean is that of the batch")
    scale, bias, mean, variance = (g.reals(value, "parameters") for value in parameters)
    factor = scale / np.sqrt(variance + node.number("epsilon", 1e-5))
    rank = len(x.shape) if isinstance(x, Raw | Hosted) else len(g.stream(x).shape)
    spread = (-1, *[1] * (rank - 1))
    return affine(g, node, x, factor.reshape(spread), (bias - mean * factor).reshape(spread))


@operator("ai.onnx.ml.Scaler")
def _scaler(g: Reading, node: Node, x: Value) -> Value:
    offset = np.asarray(node.attributes.get("offset", (0.0,)), np.float64)
    scale = np.asarray(node.attributes.get("scale", (1.0,)), np.float64)
    return affine(g, node, x, scale, -offset * scale)


def affine(g: Reading, node: Node, value: Value, scale: Reals, offset: Reals) -> Value:
    """``value * scale + offset``; both are broadcast to the value's shape."""
    if not isinstance(value, Raw | Hosted):
        value = g.stream(value)
    shape = value.shape
    scale, offset = _one_sample(scale), _one_sample(offset)
    spread = np.broadcast_shapes(shape, scale.shape, offset.shape)
    if spread != shape:
        raise UnsupportedError(f"it spreads its input to another shape: {list(spread)} from {list(shape)}")
    if isinstance(value, Hosted):
        return g.host(value, Affine(scale=np.atleast_1d(scale), offset=np.atleast_1d(offset)), shape)
    if isinstance(value, Raw):
        return Raw(shape, value.scale * scale, value.offset * scale + offset)
    return _on_stream(g, node, value, scale, offset)


def _on_stream(g: Reading, node: Node, stream: Stream, scale: Reals, offset: Reals) -> Stream:
    """In the weights of the layer that made the tensor, where no one else reads that; else as a layer of its own."""
    full_scale, full_offset = (np.broadcast_to(array, stream.shape) for array in (scale, offset))
    maker = g.maker(stream)
    if isinstance(maker, RealDense | RealConv) and maker.low is None and maker.high is None:
        axis = 0 if isinstance(maker, RealConv) else -1
        factor, extra = _along(full_scale, axis), _along(full_offset, axis)
        changed = replace(maker, weights=maker.scaled(factor), bias=maker.bias * factor + extra)
        return replace(stream, name=g.add(changed).name)
    return _layer(g, node, stream, full_scale, full_offset)


def _layer(g: Reading, node: Node, stream: Stream, scale: Reals, offset: Reals) -> Stream:
    """A layer of its own: a convolution of one element, each channel for itself; for features, a diagonal."""
    factor, extra = _along(scale, 0), _along(offset, 0)
    output, sources, label = node.outputs[0], (stream.name,), node.label
    if len(stream.shape) == 1:
        layer = RealDense(
            sources=sources, output=output, shape=stream.shape, node=label, weights=np.diag(factor), bias=extra
        )
        return g.add(layer)
    axes = len(stream.shape) - 1
    return g.add(
        RealConv(
            sources=sources,
            output=output,
            shape=stream.shape,
            node=label,
            weights=factor.reshape(-1, 1, *[1] * axes),
            bias=extra,
            strides=(1,) * axes,
            pads=(0,) * (2 * axes),
            dilations=(1,) * axes,
            groups=len(factor),
        )
    )


def _one_sample(array: Reals) -> Reals:
    """A constant without the axis of the batch, where it has one."""
    return array[0] if array.ndim > 1 and array.shape[0] == 1 else array


def _along(array: Reals, axis: int) -> Reals:
    """The numbers along an axis.

    Raises:
        UnsupportedError: they change along another one too.
    """
    moved = np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])
    if not np.all(moved == moved[:1]):
        raise UnsupportedError("its constant changes from place to place: expected one number a channel")
    numbers: Reals = moved[0].copy()
    return numbers
