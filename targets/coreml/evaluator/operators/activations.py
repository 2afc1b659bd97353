"""Activation functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator import _kernels
from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array

_SQRT_HALF = np.float32(np.sqrt(0.5))
_SQRT_TWO_OVER_PI = np.float32(np.sqrt(2 / np.pi))


@operator("relu")
def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@operator("relu6")
def relu6(x: Array) -> Array:
    return np.minimum(np.maximum(x, 0), 6)


@operator("clamped_relu")
def clamped_relu(x: Array, alpha: Array, beta: Array) -> Array:
    return np.minimum(beta, np.where(x >= 0, x, alpha * x))


@operator("leaky_relu")
def leaky_relu(x: Array, alpha: Array) -> Array:
    return np.where(x >= 0, x, alpha * x)


@operator("prelu")
def prelu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, _by_channel(alpha, x) * x)


@operator("thresholded_relu")
def thresholded_relu(x: Array, alpha: Array) -> Array:
    return np.where(x >= alpha, x, np.zeros_like(x))


@operator("elu")
def elu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@operator("linear_activation")
def linear_activation(x: Array, alpha: Array, beta: Array) -> Array:
    return x * alpha + beta


@operator("sigmoid")
def sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return cast("Array", np.where(x >= 0, 1, small) / (1 + small))


@operator("sigmoid_hard")
def sigmoid_hard(x: Array, alpha: Array, beta: Array) -> Array:
    return cast("Array", np.minimum(np.maximum(alpha * x + beta, 0), 1))


@operator("silu")
def silu(x: Array) -> Array:
    return x * sigmoid(x)


@operator("scaled_tanh")
def scaled_tanh(x: Array, alpha: Array, beta: Array) -> Array:
    return cast("Array", alpha * np.tanh(x * beta))


@operator("softplus")
def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@operator("softplus_parametric")
def softplus_parametric(x: Array, alpha: Array, beta: Array) -> Array:
    return _by_channel(alpha, x) * softplus(_by_channel(beta, x) * x)


@operator("softsign")
def softsign(x: Array) -> Array:
    return cast("Array", x / (1 + np.abs(x)))


@operator("gelu")
def gelu(x: Array, mode: str = "EXACT") -> Array:
    match mode:
        case "EXACT":
            return cast("Array", 0.5 * x * (1 + _kernels.run("Erf", [x * _SQRT_HALF])))
        case "TANH_APPROXIMATION":
            return cast("Array", 0.5 * x * (1 + np.tanh(_SQRT_TWO_OVER_PI * (x + 0.044715 * x**3))))
        case "SIGMOID_APPROXIMATION":
            return x * sigmoid(1.702 * x)
    raise ValueError(f"unknown mode '{mode}'")


@operator("softmax")
def softmax(x: Array, axis: Array | int = -1) -> Array:
    shifted = np.exp(x - np.max(x, axis=int(axis), keepdims=True))
    return cast("Array", shifted / np.sum(shifted, axis=int(axis), keepdims=True))


def _by_channel(parameter: Array, x: Array) -> Array:
    """One value for each entry of the second axis."""
    return parameter.reshape((1, -1, *([1] * (x.ndim - 2)))) if parameter.ndim else parameter
