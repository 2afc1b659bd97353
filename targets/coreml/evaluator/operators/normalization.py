"""Normalizations."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array

_SPATIAL_RANK = 3


def _by_channel(values: Array, rank: int) -> Array:
    return values.reshape((1, -1, *([1] * (rank - 2))))


def _normalized(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    wide = x.astype(np.float64)
    mean = wide.mean(axis=axes, keepdims=True)
    variance = wide.var(axis=axes, keepdims=True)
    return cast("Array", ((wide - mean) / np.sqrt(variance + epsilon)).astype(np.float32))


@operator("batch_norm")
def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Array | float = 1e-5,
) -> Array:
    scale = 1 / np.sqrt(variance.astype(np.float64) + float(epsilon))
    if gamma is not None:
        scale = scale * gamma
    offset = -mean * scale if beta is None else beta - mean * scale
    return x * _by_channel(scale.astype(np.float32), x.ndim) + _by_channel(offset.astype(np.float32), x.ndim)


@operator("instance_norm")
def instance_norm(
    x: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: Array | float = 1e-5
) -> Array:
    y = _normalized(x, tuple(range(2, x.ndim)), float(epsilon))
    if gamma is not None:
        y = y * _by_channel(gamma, x.ndim)
    if beta is not None:
        y = y + _by_channel(beta, x.ndim)
    return y


@operator("layer_norm")
def layer_norm(
    x: Array,
    axes: Array | None = None,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Array | float = 1e-5,
) -> Array:
    over = tuple(range(x.ndim)) if axes is None else tuple(sorted(int(axis) % x.ndim for axis in axes))
    y = _normalized(x, over, float(epsilon))
    shape = [x.shape[axis] if axis in over else 1 for axis in range(x.ndim)]
    if gamma is not None:
        y = y * gamma.reshape(shape)
    if beta is not None:
        y = y + beta.reshape(shape)
    return y


@operator("l2_norm")
def l2_norm(x: Array, epsilon: Array | float = 1e-6) -> Array:
    axes = tuple(range(x.ndim - _SPATIAL_RANK, x.ndim))
    total = np.sum(np.square(x.astype(np.float64)), axis=axes, keepdims=True)
    return cast("Array", x / np.sqrt(total + float(epsilon)))


@operator("local_response_norm")
def local_response_norm(
    x: Array,
    size: Array | int,
    alpha: Array | float = 1e-4,
    beta: Array | float = 0.75,
    k: Array | float = 1.0,
) -> Array:
    count = int(size)
    before = count // 2
    edges = [(0, 0)] * x.ndim
    edges[1] = (before, count - 1 - before)
    squares = np.pad(np.square(x.astype(np.float64)), edges)
    total = sum(squares[:, place : place + x.shape[1]] for place in range(count))
    return cast("Array", x / np.power(float(k) + float(alpha) / count * total, float(beta)))
