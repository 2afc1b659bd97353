"""Activations."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._registry import UnsupportedError, operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value


@operator("Relu")
def relu(g: Emission, node: Node, x: Value) -> Value:
    """max(x, 0)."""
    del node
    return a.unary(g, "relu", x) if x.dtype.kind == "f" else a.maximum(g, x, 0)


@operator("Clip", since=6, until=10)
def clip_between_numbers(g: Emission, node: Node, x: Value) -> Value:
    """X between two numbers that the node declares."""
    return clipped(g, x, node.number("min", -np.inf), node.number("max", np.inf))


@operator("Clip", since=11)
def clip(g: Emission, node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    """X between two bounds, which may be computed; where they cross the upper one wins, as ONNX says."""
    del node
    known = all(bound is None or bound.constant is not None for bound in (low, high))
    if known and x.dtype.kind == "f":
        bottom = -np.inf if low is None else low.number("min")
        top = np.inf if high is None else high.number("max")
        return clipped(g, x, bottom, top)
    if low is not None:
        x = a.maximum(g, x, low)
    if high is not None:
        x = a.minimum(g, x, high)
    return x


def clipped(g: Emission, x: Value, low: float, high: float) -> Value:
    """A value between two numbers; one operator, where MIL has it."""
    if x.dtype.kind == "f":
        if (low, high) == (0.0, np.inf):
            return a.unary(g, "relu", x)
        if (low, high) == (0.0, 6.0):
            return a.unary(g, "relu6", x)
        if np.isfinite(low) and np.isfinite(high) and low <= high:
            return g.op("clip", x=x, alpha=np.float32(low), beta=np.float32(high))
    if low > -np.inf:
        x = a.maximum(g, x, low)
    return a.minimum(g, x, high) if high < np.inf else x


@operator("Sigmoid")
def sigmoid(g: Emission, node: Node, x: Value) -> Value:
    """1 / (1 + exp(-x))."""
    del node
    return a.unary(g, "sigmoid", x)


@operator("Elu")
def elu(g: Emission, node: Node, x: Value) -> Value:
    """X where positive, else alpha * (exp(x) - 1)."""
    return elu_of(g, x, node.number("alpha", 1.0))


@operator("Selu")
def selu(g: Emission, node: Node, x: Value) -> Value:
    """Gamma * elu(x)."""
    alpha = node.number("alpha", 1.6732632423543772)
    return a.mul(g, elu_of(g, x, alpha), node.number("gamma", 1.0507009873554805))


@operator("Celu")
def celu(g: Emission, node: Node, x: Value) -> Value:
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1)), which is alpha * elu(x / alpha)."""
    alpha = node.number("alpha", 1.0)
    if alpha == 1:
        return elu_of(g, x, 1.0)
    return a.mul(g, elu_of(g, a.mul(g, x, 1 / alpha), 1.0), alpha)


def elu_of(g: Emission, x: Value, alpha: float) -> Value:
    """X where positive, else alpha * (exp(x) - 1)."""
    return g.op("elu", x=x, alpha=np.float32(alpha))


@operator("LeakyRelu")
def leaky_relu(g: Emission, node: Node, x: Value) -> Value:
    """X where positive, else alpha * x."""
    return leaky(g, x, node.number("alpha", 0.01))


def leaky(g: Emission, x: Value, alpha: float) -> Value:
    """X where positive, else alpha * x."""
    return g.op("leaky_relu", x=x, alpha=np.float32(alpha))


@operator("PRelu", since=7)
def prelu(g: Emission, node: Node, x: Value, slope: Value) -> Value:
    """X where positive, else slope * x; the slope broadcasts over x."""
    del node
    channels = (x.sizes[1], *(1,) * (x.rank - 2)) if x.rank in {3, 4, 5} else ()
    if slope.constant is not None and x.dtype.kind == "f" and slope.shape in {channels, (1, *channels)}:
        return g.op("prelu", x=x, alpha=g.constant(slope.constant.reshape(-1)))
    if x.dtype.kind != "f":
        return a.add(g, a.maximum(g, x, 0), a.mul(g, a.minimum(g, x, 0), slope))
    return a.add(g, a.unary(g, "relu", x), a.mul(g, a.minimum(g, x, 0), slope))


@operator("ThresholdedRelu")
def thresholded_relu(g: Emission, node: Node, x: Value) -> Value:
    """X where above alpha, else 0."""
    return thresholded(g, x, node.number("alpha", 1.0))


def thresholded(g: Emission, x: Value, limit: float) -> Value:
    """X where above a limit, else 0; MIL's own keeps what equals it."""
    return a.select(g, a.greater(g, x, limit), x, 0)


@operator("ai.onnx.ml.Binarizer")
def binarizer(g: Emission, node: Node, x: Value) -> Value:
    """1 where x is above the threshold, else 0."""
    return g.cast(a.greater(g, x, node.number("threshold", 0.0)), x.dtype)


@operator("HardSigmoid")
def hard_sigmoid(g: Emission, node: Node, x: Value) -> Value:
    """Alpha * x + beta between 0 and 1."""
    return hard_sigmoid_of(g, x, node.number("alpha", 0.2), node.number("beta", 0.5))


def hard_sigmoid_of(g: Emission, x: Value, alpha: float, beta: float) -> Value:
    """Alpha * x + beta between 0 and 1."""
    return g.op("sigmoid_hard", x=x, alpha=np.float32(alpha), beta=np.float32(beta))


@operator("HardSwish")
def hard_swish(g: Emission, node: Node, x: Value) -> Value:
    """X * max(0, min(1, x / 6 + 1 / 2))."""
    del node
    return a.mul(g, x, hard_sigmoid_of(g, x, 1 / 6, 0.5))


@operator("Swish", since=24)
def swish(g: Emission, node: Node, x: Value) -> Value:
    """X * sigmoid(alpha * x)."""
    alpha = node.number("alpha", 1.0)
    if alpha == 1:
        return a.unary(g, "silu", x)
    return a.mul(g, x, a.unary(g, "sigmoid", a.mul(g, x, alpha)))


@operator("Softplus")
def softplus(g: Emission, node: Node, x: Value) -> Value:
    """log(1 + exp(x))."""
    del node
    return a.unary(g, "softplus", x)


@operator("Mish")
def mish(g: Emission, node: Node, x: Value) -> Value:
    """X * tanh(softplus(x))."""
    del node
    return a.mul(g, x, a.unary(g, "tanh", a.unary(g, "softplus", x)))


@operator("Softsign")
def softsign(g: Emission, node: Node, x: Value) -> Value:
    """X / (1 + |x|)."""
    del node
    return a.unary(g, "softsign", x)


@operator("Shrink")
def shrink(g: Emission, node: Node, x: Value) -> Value:
    """X + bias below -lambd, x - bias above lambd, else 0."""
    bias, limit = node.number("bias", 0.0), node.number("lambd", 0.5)
    raised = a.select(g, a.less(g, x, -limit), a.add(g, x, bias), 0)
    return a.select(g, a.greater(g, x, limit), a.sub(g, x, bias), raised)


@operator("Gelu", since=20)
def gelu(g: Emission, node: Node, x: Value) -> Value:
    """X times the normal distribution's cumulative function, or its approximation by tanh."""
    approximate = node.text("approximate", "none") == "tanh"
    return g.op("gelu", x=x, mode="TANH_APPROXIMATION" if approximate else "EXACT")


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
    return g.op("softmax", x=x, axis=x.axis(node.integer("axis", -1)))


@operator("LogSoftmax", since=13)
def log_softmax(g: Emission, node: Node, x: Value) -> Value:
    """The logarithm of softmax along one axis, without its underflow."""
    axis = (node.integer("axis", -1),)
    shifted = a.sub(g, x, a.reduced(g, "reduce_max", x, axis, keep=True))
    return a.sub(g, shifted, a.reduced(g, "reduce_log_sum_exp", shifted, axis, keep=True))


@operator("Hardmax", since=13)
def hardmax(g: Emission, node: Node, x: Value) -> Value:
    """1 at the first largest element along one axis, else 0."""
    axis = x.axis(node.integer("axis", -1))
    if x.dtype.kind != "f":
        raise UnsupportedError(f"of {x.dtype.name} it is not served")
    largest = g.op("reduce_argmax", np.int64, x=x, axis=axis, keep_dims=True)
    shape = [-1 if place == axis else 1 for place in range(x.rank)]
    places = g.constant(np.arange(x.shape[axis], dtype=np.int64).reshape(shape))
    return g.cast(a.equal(g, largest, places), x.dtype)
