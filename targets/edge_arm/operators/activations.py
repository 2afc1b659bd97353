"""Activations."""

from __future__ import annotations

from dataclasses import replace
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm._fusion import fuse_activation
from targets.edge_arm._registry import operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_FUSED = {(0.0, np.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
"""Clips that TFLite has as activations."""


@operator("Relu")
def relu(g: Emission, node: Node, x: Value) -> Value:
    """max(x, 0)."""
    del node
    return clipped(g, x, 0.0, np.inf)


@operator("Clip", since=6, until=10)
def clip_between_numbers(g: Emission, node: Node, x: Value) -> Value:
    """X between two numbers that the node declares."""
    return clipped(g, x, node.number("min", -np.inf), node.number("max", np.inf))


@operator("Clip", since=11)
def clip(g: Emission, node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    """X between two bounds, which may be computed; low wins where they cross as ONNX says min(max(x, low), high)."""
    del node
    constant = all(bound is None or bound.constant is not None for bound in (low, high))
    if constant and x.dtype.kind == "f":
        bottom = -np.inf if low is None else low.number("min")
        top = np.inf if high is None else high.number("max")
        return clipped(g, x, bottom, top)
    if low is not None:
        x = g.elementwise("MAXIMUM", x, low, options=schema.MaximumMinimumOptionsT())
    if high is not None:
        x = g.elementwise("MINIMUM", x, high, options=schema.MaximumMinimumOptionsT())
    return x


def clipped(g: Emission, x: Value, low: float, high: float) -> Value:
    """A float value between two numbers; fused into what made it, or one operator, where TFLite has the pair."""
    if x.dtype.kind != "f":
        return g.elementwise("MAXIMUM", x, g.scalar(0, x), options=schema.MaximumMinimumOptionsT())
    code = _FUSED.get((low, high))
    if code:
        return x if fuse_activation(x, code) else g.elementwise(code, x)
    if low > -np.inf:
        x = g.elementwise("MAXIMUM", x, g.scalar(low, x), options=schema.MaximumMinimumOptionsT())
    if high < np.inf:
        x = g.elementwise("MINIMUM", x, g.scalar(high, x), options=schema.MaximumMinimumOptionsT())
    return x


@operator("Sigmoid")
def sigmoid(g: Emission, node: Node, x: Value) -> Value:
    """1 / (1 + exp(-x))."""
    del node
    return g.elementwise("LOGISTIC", x)


@operator("Tanh")
def tanh(g: Emission, node: Node, x: Value) -> Value:
    """Hyperbolic tangent."""
    del node
    return g.elementwise("TANH", x)


@operator("Elu")
def elu(g: Emission, node: Node, x: Value) -> Value:
    """X where positive, else alpha * (exp(x) - 1); TFLite's own has no alpha."""
    return elu_of(g, x, node.number("alpha", 1.0))


@operator("Selu")
def selu(g: Emission, node: Node, x: Value) -> Value:
    """Gamma * elu(x)."""
    alpha = node.number("alpha", 1.6732632423543772)
    gamma = node.number("gamma", 1.0507009873554805)
    return g.mul(elu_of(g, x, alpha), g.scalar(gamma, x))


@operator("Celu")
def celu(g: Emission, node: Node, x: Value) -> Value:
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1)), which is alpha * elu(x / alpha)."""
    alpha = node.number("alpha", 1.0)
    if alpha == 1:
        return g.elementwise("ELU", x)
    return g.mul(g.elementwise("ELU", g.mul(x, g.scalar(1 / alpha, x))), g.scalar(alpha, x))


def elu_of(g: Emission, x: Value, alpha: float) -> Value:
    """X where positive, else alpha * (exp(x) - 1)."""
    unit = g.elementwise("ELU", x)
    if alpha == 1:
        return unit
    return g.add(_maximum(g, unit, 0.0), g.mul(_minimum(g, unit, 0.0), g.scalar(alpha, x)))


def _maximum(g: Emission, x: Value, bound: float) -> Value:
    return g.elementwise("MAXIMUM", x, g.scalar(bound, x), options=schema.MaximumMinimumOptionsT())


def _minimum(g: Emission, x: Value, bound: float) -> Value:
    return g.elementwise("MINIMUM", x, g.scalar(bound, x), options=schema.MaximumMinimumOptionsT())


@operator("LeakyRelu")
def leaky_relu(g: Emission, node: Node, x: Value) -> Value:
    """X where positive, else alpha * x."""
    return g.elementwise("LEAKY_RELU", x, options=schema.LeakyReluOptionsT(alpha=node.number("alpha", 0.01)))


@operator("PRelu", since=7)
def prelu(g: Emission, node: Node, x: Value, slope: Value) -> Value:
    """X where positive, else slope * x; the slope broadcasts over x."""
    del node
    return g.add(g.elementwise("RELU", x), g.mul(slope, _minimum(g, x, 0.0)))


@operator("ThresholdedRelu")
def thresholded_relu(g: Emission, node: Node, x: Value) -> Value:
    """X where above alpha, else 0."""
    return thresholded(g, x, node.number("alpha", 1.0))


def thresholded(g: Emission, x: Value, limit: float) -> Value:
    """X where above a limit, else 0."""
    above = g.elementwise("GREATER", x, g.scalar(limit, x), dtype=bool, options=schema.GreaterOptionsT())
    return g.select(above, x, g.scalar(0, x))


@operator("ai.onnx.ml.Binarizer")
def binarizer(g: Emission, node: Node, x: Value) -> Value:
    """1 where x is above the threshold, else 0."""
    above = g.elementwise(
        "GREATER", x, g.scalar(node.number("threshold", 0.0), x), dtype=bool, options=schema.GreaterOptionsT()
    )
    return g.cast(above, x.dtype)


@operator("HardSigmoid")
def hard_sigmoid(g: Emission, node: Node, x: Value) -> Value:
    """Alpha * x + beta between 0 and 1."""
    slope, shift = 6 * node.number("alpha", 0.2), 6 * node.number("beta", 0.5)
    line = x if np.isclose(slope, 1, rtol=1e-6) else g.mul(x, g.scalar(slope, x))
    return g.mul(clipped(g, g.add(line, g.scalar(shift, x)), 0.0, 6.0), g.scalar(1 / 6, x))


@operator("HardSwish")
def hard_swish(g: Emission, node: Node, x: Value) -> Value:
    """X * max(0, min(1, x / 6 + 1 / 2))."""
    del node
    return g.elementwise("HARD_SWISH", x)


@operator("Swish", since=24)
def swish(g: Emission, node: Node, x: Value) -> Value:
    """X * sigmoid(alpha * x)."""
    alpha = node.number("alpha", 1.0)
    scaled = x if alpha == 1 else g.mul(x, g.scalar(alpha, x))
    return g.mul(x, g.elementwise("LOGISTIC", scaled))


@operator("Softplus")
def softplus(g: Emission, node: Node, x: Value) -> Value:
    """log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|)), which can't overflow."""
    del node
    return softplus_of(g, x)


def softplus_of(g: Emission, x: Value) -> Value:
    """log(1 + exp(x))."""
    small = g.elementwise("EXP", g.elementwise("NEG", g.elementwise("ABS", x)))
    return g.add(_maximum(g, x, 0.0), g.elementwise("LOG", g.add(small, g.scalar(1, x))))


@operator("Mish")
def mish(g: Emission, node: Node, x: Value) -> Value:
    """X * tanh(softplus(x))."""
    del node
    return g.mul(x, g.elementwise("TANH", softplus_of(g, x)))


@operator("Softsign")
def softsign(g: Emission, node: Node, x: Value) -> Value:
    """X / (1 + |x|)."""
    del node
    return g.div(x, g.add(g.elementwise("ABS", x), g.scalar(1, x)))


@operator("Shrink")
def shrink(g: Emission, node: Node, x: Value) -> Value:
    """X + bias below -lambd, x - bias above lambd, else 0."""
    bias, limit = node.number("bias", 0.0), node.number("lambd", 0.5)
    below = g.elementwise("LESS", x, g.scalar(-limit, x), dtype=bool, options=schema.LessOptionsT())
    above = g.elementwise("GREATER", x, g.scalar(limit, x), dtype=bool, options=schema.GreaterOptionsT())
    raised = g.select(below, g.add(x, g.scalar(bias, x)), g.scalar(0, x))
    return g.select(above, g.sub(x, g.scalar(bias, x)), raised)


@operator("Gelu", since=20)
def gelu(g: Emission, node: Node, x: Value) -> Value:
    """X times the normal distribution's cumulative function, or its approximation by tanh."""
    approximate = node.text("approximate", "none") == "tanh"
    return g.elementwise("GELU", x, options=schema.GeluOptionsT(approximate=approximate))


@operator("Erf")
def erf(g: Emission, node: Node, x: Value) -> Value:
    """The error function, out of TFLite's Gelu.

    That one is z / 2 * (1 + erf(z / sqrt 2)), which is solved for erf. Near zero the quotient loses its digits, and
    the series 2 / sqrt(pi) * (x - x^3 / 3 + x^5 / 10 - x^7 / 42 + x^9 / 216) takes over.
    """
    del node
    near = _minimum(g, _maximum(g, x, -0.3), 0.3)
    square = g.mul(near, near)
    series = g.scalar(1 / 216, x)
    for factor in (-1 / 42, 1 / 10, -1 / 3, 1.0):
        series = g.add(g.mul(series, square), g.scalar(factor, x))
    series = g.mul(g.mul(series, near), g.scalar(2 / sqrt(np.pi), x))
    is_near = g.elementwise("EQUAL", near, x, dtype=bool, options=schema.EqualOptionsT())
    z = g.mul(g.select(is_near, g.scalar(1, x), x), g.scalar(sqrt(2), x))
    bell = g.elementwise("GELU", z, options=schema.GeluOptionsT(approximate=False))
    far = g.sub(g.div(g.mul(bell, g.scalar(2, x)), z), g.scalar(1, x))
    return g.select(is_near, series, far)


@operator("Softmax", until=12)
def softmax_of_rows(g: Emission, node: Node, x: Value) -> Value:
    """exp(x) over its sum along all axes from one on."""
    return _along_rows(g, node, x, softmax)


@operator("LogSoftmax", until=12)
def log_softmax_of_rows(g: Emission, node: Node, x: Value) -> Value:
    """The logarithm of softmax along all axes from one on."""
    return _along_rows(g, node, x, log_softmax)


@operator("Hardmax", until=12)
def hardmax_of_rows(g: Emission, node: Node, x: Value) -> Value:
    """1 at the first largest element along all axes from one on, else 0."""
    return _along_rows(g, node, x, hardmax)


def _along_rows(g: Emission, node: Node, x: Value, emit: Callable[[Emission, Node, Value], Value]) -> Value:
    """An operator along one axis, applied to the matrix that x is when it is cut before an axis."""
    axis = x.axis(node.integer("axis", 1))
    last = replace(node, attributes={**node.attributes, "axis": -1})
    if axis == x.rank - 1:
        return emit(g, last, x)
    rows = g.reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))
    return g.reshape(emit(g, last, rows), x.shape)


@operator("Softmax", since=13)
def softmax(g: Emission, node: Node, x: Value) -> Value:
    """exp(x) over its sum along one axis."""
    return along_last(g, x, node.integer("axis", -1), "SOFTMAX", schema.SoftmaxOptionsT(beta=1.0))


@operator("LogSoftmax", since=13)
def log_softmax(g: Emission, node: Node, x: Value) -> Value:
    """The logarithm of softmax along one axis."""
    return along_last(g, x, node.integer("axis", -1), "LOG_SOFTMAX", schema.LogSoftmaxOptionsT())


def along_last(g: Emission, x: Value, axis: int, code: str, options: object) -> Value:
    """An operator that TFLite has for the last axis in memory alone."""
    if x.stored != np.float32:
        raise UnsupportedError(f"{code} of {x.dtype.name} has no kernel")
    if x.rank == 0:
        raise UnsupportedError(f"{code} of a scalar has no kernel")
    axis = x.axis(axis)
    order = (*(other for other in x.order if other != axis), axis)
    tensor = g.tensor(x, order)
    return g.made(g.graph.add(code, [tensor], tensor.shape, tensor.dtype, options), x.dtype, order)


@operator("Hardmax", since=13)
def hardmax(g: Emission, node: Node, x: Value) -> Value:
    """1 at the first largest element along one axis, else 0."""
    axis = x.axis(node.integer("axis", -1))
    order = (*(other for other in x.order if other != axis), axis)
    tensor = g.tensor(x, order)
    options = schema.ArgMaxOptionsT(outputType=schema.TensorType.INT32)
    places = g.graph.add("ARG_MAX", [tensor, g.graph.integers([x.rank - 1])], tensor.shape[:-1], np.int32, options)
    depth = g.graph.constant(np.array(x.shape[axis], np.int32))
    on, off = (g.graph.constant(np.array(number, np.float32)) for number in (1, 0))
    result = g.graph.add("ONE_HOT", [places, depth, on, off], tensor.shape, np.float32, schema.OneHotOptionsT(axis=-1))
    return g.made(result, x.dtype, order)
