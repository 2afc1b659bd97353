"""Trigonometric and hyperbolic functions, composed of what TFLite has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm._registry import operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value


def _one(g: Emission, x: Value) -> Value:
    return g.scalar(1, x)


@operator("Tan")
def tan(g: Emission, node: Node, x: Value) -> Value:
    """Sin x / cos x."""
    del node
    return g.div(g.elementwise("SIN", x), g.elementwise("COS", x))


@operator("Atan")
def atan(g: Emission, node: Node, x: Value) -> Value:
    """The angle of (1, x)."""
    del node
    return g.elementwise("ATAN2", x, _ones(g, x))


def _ones(g: Emission, x: Value) -> Value:
    return g.constant(np.ones(x.shape, x.dtype))


@operator("Asin")
def asin(g: Emission, node: Node, x: Value) -> Value:
    """The angle of (sqrt((1 - x)(1 + x)), x)."""
    del node
    return g.elementwise("ATAN2", x, _leg(g, x))


@operator("Acos")
def acos(g: Emission, node: Node, x: Value) -> Value:
    """The angle of (x, sqrt((1 - x)(1 + x)))."""
    del node
    return g.elementwise("ATAN2", _leg(g, x), x)


def _leg(g: Emission, x: Value) -> Value:
    return g.elementwise("SQRT", g.mul(g.sub(_one(g, x), x), g.add(_one(g, x), x)))


@operator("Sinh")
def sinh(g: Emission, node: Node, x: Value) -> Value:
    """(e^x - e^-x) / 2, with e^x - 1 taken from Elu, so that small x keep their digits."""
    del node
    size = g.elementwise("ABS", x)
    decay = g.elementwise("ELU", g.elementwise("NEG", size))
    growth = g.elementwise("EXP", size)
    half = g.mul(g.sub(g.mul(g.elementwise("NEG", decay), growth), decay), g.scalar(0.5, x))
    return g.mul(half, g.elementwise("SIGN", x))


@operator("Cosh")
def cosh(g: Emission, node: Node, x: Value) -> Value:
    """(e^x + e^-x) / 2."""
    del node
    total = g.add(g.elementwise("EXP", x), g.elementwise("EXP", g.elementwise("NEG", x)))
    return g.mul(total, g.scalar(0.5, x))


@operator("Asinh")
def asinh(g: Emission, node: Node, x: Value) -> Value:
    """sign(x) * log(|x| + sqrt(x^2 + 1)); below 0.1 by the series x - x^3 / 6 + 3 x^5 / 40 - 15 x^7 / 336."""
    del node
    size = g.elementwise("ABS", x)
    square = g.mul(x, x)
    root = g.elementwise("SQRT", g.add(square, _one(g, x)))
    far = g.mul(g.elementwise("LOG", g.add(size, root)), g.elementwise("SIGN", x))
    series = g.scalar(-15 / 336, x)
    for factor in (3 / 40, -1 / 6, 1.0):
        series = g.add(g.mul(series, square), g.scalar(factor, x))
    return _near(g, size, g.mul(series, x), far)


@operator("Acosh")
def acosh(g: Emission, node: Node, x: Value) -> Value:
    """log(x + sqrt((x - 1)(x + 1)))."""
    del node
    root = g.elementwise("SQRT", g.mul(g.sub(x, _one(g, x)), g.add(x, _one(g, x))))
    return g.elementwise("LOG", g.add(x, root))


@operator("Atanh")
def atanh(g: Emission, node: Node, x: Value) -> Value:
    """log((1 + x) / (1 - x)) / 2; below 0.1 by the series x + x^3 / 3 + x^5 / 5 + x^7 / 7."""
    del node
    ratio = g.div(g.add(_one(g, x), x), g.sub(_one(g, x), x))
    far = g.mul(g.elementwise("LOG", ratio), g.scalar(0.5, x))
    square = g.mul(x, x)
    series = g.scalar(1 / 7, x)
    for factor in (1 / 5, 1 / 3, 1.0):
        series = g.add(g.mul(series, square), g.scalar(factor, x))
    return _near(g, g.elementwise("ABS", x), g.mul(series, x), far)


def _near(g: Emission, size: Value, near: Value, far: Value) -> Value:
    small = g.elementwise("LESS", size, g.scalar(0.1, size), dtype=bool, options=schema.LessOptionsT())
    return g.select(small, near, far)
