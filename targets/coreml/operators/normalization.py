"""Normalisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._registry import operator
from targets.coreml.operators.slicing import looked_up, padded, span

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.coreml._emission import Emission, Value


@operator("BatchNormalization", since=7)
def batch_normalization(  # noqa: PLR0913, PLR0917 - ONNX gives it five inputs
    g: Emission, node: Node, x: Value, scale: Value, bias: Value, mean: Value, variance: Value
) -> Value | tuple[Value, ...]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias."""
    epsilon = node.number("epsilon", 1e-5)
    if node.integer("training_mode", 0):
        return _training(g, node, x, [scale, bias, mean, variance])
    parts = [scale, bias, mean, variance]
    known = all(part.constant is not None for part in parts)
    if known and x.rank in {3, 4, 5} and x.constant is None:
        return g.op(
            "batch_norm", x=x, mean=mean, variance=variance, gamma=scale, beta=bias, epsilon=np.float32(epsilon)
        )
    shape = (1,) * min(x.rank - 2, x.rank)
    columns = [g.reshape(part, (part.shape[0], *shape)) for part in parts] if x.rank > 1 else parts
    inverse = a.inverse(g, a.root(g, a.add(g, columns[3], epsilon)))
    return a.add(g, a.mul(g, a.mul(g, a.sub(g, x, columns[2]), inverse), columns[0]), columns[1])


def _training(g: Emission, node: Node, x: Value, parts: list[Value]) -> tuple[Value, ...]:
    """Standardised over the batch, then scaled and shifted; and the running mean and variance moved towards it."""
    axes = tuple(axis for axis in range(x.rank) if axis != 1)
    shape = (x.shape[1],) + (1,) * (x.rank - 2)
    scale, bias = (g.reshape(part, shape) for part in parts[:2])
    mean = a.reduced(g, "reduce_mean", x, axes, keep=True)
    centred = a.sub(g, x, mean)
    variance = a.reduced(g, "reduce_mean", a.mul(g, centred, centred), axes, keep=True)
    inverse = a.inverse(g, a.root(g, a.add(g, variance, node.number("epsilon", 1e-5))))
    keep = node.number("momentum", 0.9)
    moved = []
    for old, now in zip(parts[2:], (mean, variance), strict=True):
        fresh = g.reshape(now, old.shape)
        moved.append(a.add(g, a.mul(g, old, keep), a.mul(g, fresh, 1 - keep)))
    return a.add(g, a.mul(g, a.mul(g, centred, inverse), scale), bias), *moved


def standardized(g: Emission, x: Value, axes: tuple[int, ...], epsilon: float) -> tuple[Value, Value, Value]:
    """X with mean 0 and variance 1 over the axes; the mean; the inverse deviation."""
    mean = a.reduced(g, "reduce_mean", x, axes, keep=True)
    centred = a.sub(g, x, mean)
    variance = a.reduced(g, "reduce_mean", a.mul(g, centred, centred), axes, keep=True)
    inverse = a.inverse(g, a.root(g, a.add(g, variance, epsilon)))
    return a.mul(g, centred, inverse), mean, inverse


@operator("LayerNormalization", since=17)
def layer_normalization(
    g: Emission, node: Node, x: Value, scale: Value, bias: Value | None = None
) -> tuple[Value, ...]:
    """Standardised over the trailing axes, then scaled and shifted; the mean and inverse deviation beside it."""
    axes = tuple(range(x.axis(node.integer("axis", -1)), x.rank))
    known = scale.constant is not None and (bias is None or bias.constant is not None)
    if len(node.outputs) == 1 and known and scale.rank == len(axes) and (bias is None or bias.rank == len(axes)):
        result = g.op(
            "layer_norm",
            x=x,
            axes=list(axes),
            gamma=scale,
            epsilon=np.float32(node.number("epsilon", 1e-5)),
            **({} if bias is None else {"beta": bias}),
        )
        return (result,)
    result, mean, inverse = standardized(g, x, axes, node.number("epsilon", 1e-5))
    result = a.mul(g, result, scale)
    if bias is not None:
        result = a.add(g, result, bias)
    return result, g.cast(mean, np.float32), g.cast(inverse, np.float32)


@operator("RMSNormalization", since=23)
def rms_normalization(g: Emission, node: Node, x: Value, scale: Value) -> Value:
    """X over the root of its mean square along the trailing axes, scaled."""
    axes = tuple(range(x.axis(node.integer("axis", -1)), x.rank))
    square = a.reduced(g, "reduce_mean", a.mul(g, x, x), axes, keep=True)
    root = a.root(g, a.add(g, square, node.number("epsilon", 1e-5)))
    return a.mul(g, a.div(g, x, root), scale)


@operator("InstanceNormalization", since=6)
def instance_normalization(g: Emission, node: Node, x: Value, scale: Value, bias: Value) -> Value:
    """Standardised over the spatial axes of each channel, then scaled and shifted."""
    epsilon = node.number("epsilon", 1e-5)
    if scale.constant is not None and bias.constant is not None and x.rank in {3, 4}:
        return g.op("instance_norm", x=x, gamma=scale, beta=bias, epsilon=np.float32(epsilon))
    result, _, _ = standardized(g, x, tuple(range(2, x.rank)), epsilon)
    channels = (x.shape[1],) + (1,) * (x.rank - 2)
    return a.add(g, a.mul(g, result, g.reshape(scale, channels)), g.reshape(bias, channels))


@operator("GroupNormalization", since=18, until=20)
def group_normalization_per_group(g: Emission, node: Node, x: Value, scale: Value, bias: Value) -> Value:
    """Standardised over groups of channels, then scaled and shifted per group."""
    each = np.arange(x.shape[1]) * scale.shape[0] // x.shape[1]
    return group_normalization(g, node, x, looked_up(g, scale, 0, each), looked_up(g, bias, 0, each))


@operator("GroupNormalization", since=21)
def group_normalization(g: Emission, node: Node, x: Value, scale: Value, bias: Value) -> Value:
    """Standardised over groups of channels, then scaled and shifted per channel."""
    groups = node.integer("num_groups", 1)
    grouped = g.reshape(x, (x.shape[0], groups, x.size // x.shape[0] // groups))
    result, _, _ = standardized(g, grouped, (2,), node.number("epsilon", 1e-5))
    channels = (x.shape[1],) + (1,) * (x.rank - 2)
    result = g.reshape(result, x.shape)
    return a.add(g, a.mul(g, result, g.reshape(scale, channels)), g.reshape(bias, channels))


@operator("MeanVarianceNormalization", since=9)
def mean_variance_normalization(g: Emission, node: Node, x: Value) -> Value:
    """Standardised over the axes named; ONNX's function adds 1e-9 to the deviation."""
    axes = node.integers("axes") or (0, 2, 3)
    mean = a.reduced(g, "reduce_mean", x, axes, keep=True)
    centred = a.sub(g, x, mean)
    deviation = a.root(g, a.reduced(g, "reduce_mean", a.mul(g, centred, centred), axes, keep=True))
    return a.div(g, centred, a.add(g, deviation, 1e-9))


@operator("LpNormalization")
def lp_normalization(g: Emission, node: Node, x: Value) -> Value:
    """X over its norm along one axis; where that is 0, so is the result."""
    axis = (x.axis(node.integer("axis", -1)),)
    norm = a.reduced(g, "reduce_l1_norm" if node.integer("p", 2) == 1 else "reduce_l2_norm", x, axis, keep=True)
    return a.div(g, x, a.select(g, a.equal(g, norm, 0), g.scalar(1, norm), norm))


@operator("LRN")
def local_response_normalization(g: Emission, node: Node, x: Value) -> Value:
    """X over a power of the sum of squares of neighbouring channels."""
    size = node.integer("size", 1)
    alpha, beta, bias = node.number("alpha", 1e-4), node.number("beta", 0.75), node.number("bias", 1.0)
    if size % 2 and x.rank in {3, 4}:
        numbers = [np.float32(number) for number in (alpha, beta, bias)]
        return g.op("local_response_norm", x=x, size=size, alpha=numbers[0], beta=numbers[1], k=numbers[2])
    channels = x.shape[1]
    before = (size - 1) // 2
    low, high = [0] * x.rank, [0] * x.rank
    low[1], high[1] = before, size - 1 - before
    squares = padded(g, a.mul(g, x, x), low, high)
    total = span(g, squares, 1, 0, channels)
    for place in range(1, size):
        total = a.add(g, total, span(g, squares, 1, place, place + channels))
    return a.div(g, x, a.power(g, a.add(g, a.mul(g, total, alpha / size), bias), beta))
