"""Normalisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm._fusion import fold_affine
from targets.edge_arm._registry import operator
from targets.edge_arm.operators.activations import along_last
from targets.edge_arm.operators.slicing import looked_up

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value


@operator("BatchNormalization", since=7)
def batch_normalization(  # noqa: PLR0913, PLR0917 - ONNX gives it five inputs
    g: Emission, node: Node, x: Value, scale: Value, bias: Value, mean: Value, variance: Value
) -> Value | tuple[Value, ...]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, taken into the weights of a convolution before it."""
    epsilon = node.number("epsilon", 1e-5)
    if node.integer("training_mode", 0):
        return _training(g, node, x, [scale, bias, mean, variance])
    parts = [scale, bias, mean, variance]
    channels = (-1,) + (1,) * (x.rank - 2)
    if all(part.constant is not None for part in parts):
        gamma, beta, centre, spread = (part.array("a parameter").astype(np.float64) for part in parts)
        factor = (gamma / np.sqrt(spread + epsilon)).reshape(channels)
        shift = beta.reshape(channels) - centre.reshape(channels) * factor
        if fold_affine(g, x, factor, shift):
            return x
        scaled = g.mul(x, g.constant(factor.astype(x.dtype)))
        return g.add(scaled, g.constant(shift.astype(x.dtype)))
    columns = [g.reshape(part, (part.shape[0], *channels[1:])) for part in parts]
    root = g.elementwise("RSQRT", g.add(columns[3], g.scalar(epsilon, columns[3])))
    return g.add(g.mul(g.mul(g.sub(x, columns[2]), root), columns[0]), columns[1])


def _training(g: Emission, node: Node, x: Value, parts: list[Value]) -> tuple[Value, ...]:
    """Standardised over the batch, then scaled and shifted; and the running mean and variance moved towards it."""
    axes = tuple(axis for axis in range(x.rank) if axis != 1)
    shape = (x.shape[1],) + (1,) * (x.rank - 2)
    scale, bias = (g.reshape(part, shape) for part in parts[:2])
    mean = g.reduce("MEAN", x, axes, keep=True)
    centred = g.sub(x, mean)
    variance = g.reduce("MEAN", g.mul(centred, centred), axes, keep=True)
    inverse = g.elementwise("RSQRT", g.add(variance, g.scalar(node.number("epsilon", 1e-5), variance)))
    keep = node.number("momentum", 0.9)
    moved = []
    for old, now in zip(parts[2:], (mean, variance), strict=True):
        fresh = g.reshape(now, old.shape)
        moved.append(g.add(g.mul(old, g.scalar(keep, old)), g.mul(fresh, g.scalar(1 - keep, fresh))))
    return g.add(g.mul(g.mul(centred, inverse), scale), bias), *moved


def _standardized(g: Emission, x: Value, axes: tuple[int, ...], epsilon: float) -> tuple[Value, Value, Value]:
    """X with mean 0 and variance 1 over the axes; the mean; the inverse deviation."""
    mean = g.reduce("MEAN", x, axes, keep=True)
    centred = g.sub(x, mean)
    variance = g.reduce("MEAN", g.mul(centred, centred), axes, keep=True)
    inverse = g.elementwise("RSQRT", g.add(variance, g.scalar(epsilon, variance)))
    return g.mul(centred, inverse), mean, inverse


@operator("LayerNormalization", since=17)
def layer_normalization(
    g: Emission, node: Node, x: Value, scale: Value, bias: Value | None = None
) -> tuple[Value, ...]:
    """Standardised over the trailing axes, then scaled and shifted; the mean and inverse deviation beside it."""
    axes = tuple(range(x.axis(node.integer("axis", -1)), x.rank))
    result, mean, inverse = _standardized(g, x, axes, node.number("epsilon", 1e-5))
    result = g.mul(result, scale)
    if bias is not None:
        result = g.add(result, bias)
    return result, g.cast(mean, np.float32), g.cast(inverse, np.float32)


@operator("RMSNormalization", since=23)
def rms_normalization(g: Emission, node: Node, x: Value, scale: Value) -> Value:
    """X over the root of its mean square along the trailing axes, scaled."""
    axes = tuple(range(x.axis(node.integer("axis", -1)), x.rank))
    square = g.reduce("MEAN", g.mul(x, x), axes, keep=True)
    root = g.elementwise("RSQRT", g.add(square, g.scalar(node.number("epsilon", 1e-5), square)))
    return g.mul(g.mul(x, root), scale)


@operator("InstanceNormalization", since=6)
def instance_normalization(g: Emission, node: Node, x: Value, scale: Value, bias: Value) -> Value:
    """Standardised over the spatial axes of each channel, then scaled and shifted."""
    result, _, _ = _standardized(g, x, tuple(range(2, x.rank)), node.number("epsilon", 1e-5))
    channels = (x.shape[1],) + (1,) * (x.rank - 2)
    return g.add(g.mul(result, g.reshape(scale, channels)), g.reshape(bias, channels))


@operator("GroupNormalization", since=18, until=20)
def group_normalization_per_group(g: Emission, node: Node, x: Value, scale: Value, bias: Value) -> Value:
    """Standardised over groups of channels, then scaled and shifted per group."""
    each = (np.arange(x.shape[1]) * scale.shape[0] // x.shape[1]).astype(np.int32)
    return group_normalization(g, node, x, looked_up(g, scale, 0, each), looked_up(g, bias, 0, each))


@operator("GroupNormalization", since=21)
def group_normalization(g: Emission, node: Node, x: Value, scale: Value, bias: Value) -> Value:
    """Standardised over groups of channels, then scaled and shifted per channel."""
    groups = node.integer("num_groups", 1)
    grouped = g.reshape(x, (x.shape[0], groups, -(-x.shape[1] // groups), *x.shape[2:]))
    result, _, _ = _standardized(g, grouped, tuple(range(2, grouped.rank)), node.number("epsilon", 1e-5))
    channels = (x.shape[1],) + (1,) * (x.rank - 2)
    result = g.reshape(result, x.shape)
    return g.add(g.mul(result, g.reshape(scale, channels)), g.reshape(bias, channels))


@operator("MeanVarianceNormalization", since=9)
def mean_variance_normalization(g: Emission, node: Node, x: Value) -> Value:
    """Standardised over the axes named; ONNX's function adds 1e-9 to the deviation."""
    axes = node.integers("axes") or (0, 2, 3)
    mean = g.reduce("MEAN", x, axes, keep=True)
    centred = g.sub(x, mean)
    deviation = g.elementwise("SQRT", g.reduce("MEAN", g.mul(centred, centred), axes, keep=True))
    return g.div(centred, g.add(deviation, g.scalar(1e-9, deviation)))


@operator("LpNormalization")
def lp_normalization(g: Emission, node: Node, x: Value) -> Value:
    """X over its norm along one axis; where that is 0, so is the result."""
    axis = (x.axis(node.integer("axis", -1)),)
    if node.integer("p", 2) == 1:
        norm = g.reduce("SUM", g.elementwise("ABS", x), axis, keep=True)
    else:
        norm = g.elementwise("SQRT", g.reduce("SUM", g.mul(x, x), axis, keep=True))
    empty = g.elementwise("EQUAL", norm, g.scalar(0, norm), dtype=bool, options=schema.EqualOptionsT())
    return g.div(x, g.select(empty, g.scalar(1, norm), norm))


@operator("LRN")
def local_response_normalization(g: Emission, node: Node, x: Value) -> Value:
    """X over a power of the sum of squares of neighbouring channels."""
    size = node.integer("size", 1)
    if size % 2 == 0 or x.rank != 4:  # noqa: PLR2004 - the kernel's one rank
        raise UnsupportedError(
            f"a window of {size} channels at rank {x.rank} has no kernel: expected an odd one at rank 4"
        )
    options = schema.LocalResponseNormalizationOptionsT(
        radius=size // 2,
        bias=node.number("bias", 1.0),
        alpha=node.number("alpha", 1e-4) / size,
        beta=node.number("beta", 0.75),
    )
    return along_last(g, x, 1, "LOCAL_RESPONSE_NORMALIZATION", options)
