"""Arithmetic, comparison and rounding, one element at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from targets.coreml.evaluator import _kernels
from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array


@operator("add")
def add(x: Array, y: Array) -> Array:
    return x + y


@operator("sub")
def sub(x: Array, y: Array) -> Array:
    return x - y


@operator("mul")
def mul(x: Array, y: Array) -> Array:
    return x * y


@operator("real_div")
def real_div(x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu":
        # The quotient of integers is an integer: it is cut towards zero where the result is stored.
        return np.trunc(np.true_divide(x, y))
    return np.true_divide(x, y)


@operator("floor_div")
def floor_div(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.floor(x / y)
    return np.floor_divide(x, y)


@operator("mod")
def mod(x: Array, y: Array) -> Array:
    return np.mod(x, y)


@operator("pow")
def power(x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu":
        return np.power(x.astype(np.float64), y)
    return np.power(x, y)


@operator("maximum")
def maximum(x: Array, y: Array) -> Array:
    return np.maximum(x, y)


@operator("minimum")
def minimum(x: Array, y: Array) -> Array:
    return np.minimum(x, y)


@operator("equal")
def equal(x: Array, y: Array) -> Array:
    return np.equal(x, y)


@operator("not_equal")
def not_equal(x: Array, y: Array) -> Array:
    return np.not_equal(x, y)


@operator("greater")
def greater(x: Array, y: Array) -> Array:
    return np.greater(x, y)


@operator("greater_equal")
def greater_equal(x: Array, y: Array) -> Array:
    return np.greater_equal(x, y)


@operator("less")
def less(x: Array, y: Array) -> Array:
    return np.less(x, y)


@operator("less_equal")
def less_equal(x: Array, y: Array) -> Array:
    return np.less_equal(x, y)


@operator("logical_and")
def logical_and(x: Array, y: Array) -> Array:
    return np.logical_and(x, y)


@operator("logical_or")
def logical_or(x: Array, y: Array) -> Array:
    return np.logical_or(x, y)


@operator("logical_xor")
def logical_xor(x: Array, y: Array) -> Array:
    return np.logical_xor(x, y)


@operator("logical_not")
def logical_not(x: Array) -> Array:
    return np.logical_not(x)


@operator("select")
def select(cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond.astype(np.bool_), a, b)


@operator("abs")
def absolute(x: Array) -> Array:
    return np.abs(x)


@operator("acos")
def acos(x: Array) -> Array:
    return np.arccos(x)


@operator("asin")
def asin(x: Array) -> Array:
    return np.arcsin(x)


@operator("atan")
def atan(x: Array) -> Array:
    return np.arctan(x)


@operator("atanh")
def atanh(x: Array) -> Array:
    return np.arctanh(x)


@operator("ceil")
def ceil(x: Array) -> Array:
    return np.ceil(x)


@operator("clip")
def clip(x: Array, alpha: Array, beta: Array) -> Array:
    return np.minimum(np.maximum(x, alpha), beta)


@operator("cos")
def cos(x: Array) -> Array:
    return np.cos(x)


@operator("cosh")
def cosh(x: Array) -> Array:
    return np.cosh(x)


@operator("erf")
def erf(x: Array) -> Array:
    return _kernels.run("Erf", [x])


@operator("exp")
def exp(x: Array) -> Array:
    return np.exp(x)


@operator("exp2")
def exp2(x: Array) -> Array:
    return np.exp2(x)


@operator("floor")
def floor(x: Array) -> Array:
    return np.floor(x)


@operator("inverse")
def inverse(x: Array, epsilon: Array | float = 1e-4) -> Array:
    return cast("Array", 1 / (x + np.float32(epsilon)))


@operator("log")
def log(x: Array, epsilon: Array | float = 1e-45) -> Array:
    return np.log(x + np.float32(epsilon))


@operator("round")
def nearest(x: Array) -> Array:
    return np.round(x)


@operator("rsqrt")
def rsqrt(x: Array, epsilon: Array | float = 1e-12) -> Array:
    return cast("Array", 1 / np.sqrt(x + np.float32(epsilon)))


@operator("sign")
def sign(x: Array) -> Array:
    return np.sign(x)


@operator("sin")
def sin(x: Array) -> Array:
    return np.sin(x)


@operator("sinh")
def sinh(x: Array) -> Array:
    return np.sinh(x)


@operator("sqrt")
def sqrt(x: Array) -> Array:
    return np.sqrt(x)


@operator("square")
def square(x: Array) -> Array:
    return x * x


@operator("tan")
def tan(x: Array) -> Array:
    return np.tan(x)


@operator("tanh")
def tanh(x: Array) -> Array:
    return np.tanh(x)


@operator("threshold")
def threshold(x: Array, alpha: Array) -> Array:
    return np.maximum(x, alpha)


_NUMPY = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}


@operator("cast")
def cast_to(x: Array, dtype: str) -> Array:
    target = np.dtype(_NUMPY.get(dtype, dtype))
    if target.kind == "b":
        return np.not_equal(x, 0)
    return x.astype(target)
