"""Element by element: arithmetic, comparison, logic."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._emission import Value
from targets.coreml._registry import UnsupportedError, operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets._source.model import Node
    from targets.coreml._emission import Emission

_UNARY = {
    "Abs": "abs",
    "Acos": "acos",
    "Asin": "asin",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
_COMPARISONS = {
    "Equal": "equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
}
_LOGIC = {"And": "logical_and", "Or": "logical_or", "Xor": "logical_xor"}
_NARROW = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16}
"""Integers that wrap round at another number than int32 does."""


def wrapped(g: Emission, x: Value) -> Value:
    """An integer computed as int32, brought into the range of its own type as that type wraps round."""
    bits = _NARROW.get(x.dtype.name)
    if bits is None or x.constant is not None:
        return x
    low = int(np.iinfo(x.dtype).min)
    wide = Value(np.dtype(np.int32), x.var)
    rest = a.remainder(g, a.sub(g, wide, low), 1 << bits)
    return Value(x.dtype, a.add(g, rest, low).var)


def _arithmetic(name: str, g: Emission, node: Node, left: Value, right: Value) -> Value:
    del node
    return wrapped(g, g.op(name, x=left, y=right))


for _name, _operation in {"Add": "add", "Sub": "sub", "Mul": "mul"}.items():
    operator(_name, since=7)(partial(_arithmetic, _operation))


@operator("Div", since=7)
def div(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """Left / right; of integers, truncated towards zero."""
    del node
    if left.dtype.kind == "f":
        return a.div(g, left, right)
    if left.dtype.kind == "u":
        return a.quotient(g, left, right)
    size = a.quotient(g, a.absolute(g, left), a.absolute(g, right))
    return a.mul(g, size, a.mul(g, a.unary(g, "sign", left), a.unary(g, "sign", right)))


@operator("Pow", since=7)
def power(g: Emission, node: Node, base: Value, exponent: Value) -> Value:
    """Base ** exponent, in the base's element type."""
    del node
    if base.dtype.kind != "f":
        return _integer_power(g, base, exponent)
    if exponent.constant is not None and exponent.constant.size == 1 and exponent.rank <= base.rank:
        number = exponent.number("exponent")
        if number == 2:  # noqa: PLR2004 - the square
            return a.mul(g, base, base)
        if number == 0.5:  # noqa: PLR2004 - the root
            return a.root(g, base)
    return a.power(g, base, g.cast(exponent, base.dtype))


def _integer_power(g: Emission, base: Value, exponent: Value) -> Value:
    """By repeated multiplication: a power of floats is not exact."""
    known = exponent.array("the exponent of an integer")
    if (known != np.floor(known)).any() or known.min() < 0 or known.max() > 16:  # noqa: PLR2004 - 3 ** 16 is near int32's end
        raise UnsupportedError("a power of integers is served for whole exponents from 0 to 16")
    total = g.constant(np.ones(np.broadcast_shapes(base.shape, known.shape), base.dtype))
    for turn in range(int(known.max())):
        one = g.scalar(1, base)
        factor = base if known.min() > turn else a.select(g, g.constant(known > turn), base, one)
        total = a.mul(g, total, factor)
    return wrapped(g, total)


@operator("Neg")
def neg(g: Emission, node: Node, x: Value) -> Value:
    """-x."""
    del node
    return wrapped(g, a.negative(g, x))


@operator("Reciprocal")
def reciprocal(g: Emission, node: Node, x: Value) -> Value:
    """1 / x."""
    del node
    return a.inverse(g, x)


@operator("Log")
def log(g: Emission, node: Node, x: Value) -> Value:
    """The natural logarithm."""
    del node
    return a.logarithm(g, x)


def _unary(name: str, g: Emission, node: Node, x: Value) -> Value:
    del node
    return a.unary(g, name, x)


for _name, _operation in _UNARY.items():
    operator(_name)(partial(_unary, _operation))


@operator("Asinh")
def asinh(g: Emission, node: Node, x: Value) -> Value:
    """sign(x) * log(|x| + sqrt(x^2 + 1)); near zero its series, since the sum would lose what is small."""
    del node
    size = a.absolute(g, x)
    square = a.mul(g, x, x)
    far = a.logarithm(g, a.add(g, size, a.root(g, a.add(g, square, 1))))
    factor = a.add(g, a.mul(g, a.add(g, a.mul(g, square, 3 / 40), -1 / 6), square), 1)
    near = a.mul(g, size, factor)
    return a.mul(g, a.unary(g, "sign", x), a.select(g, a.less(g, size, 0.05), near, far))


@operator("Acosh")
def acosh(g: Emission, node: Node, x: Value) -> Value:
    """log(x + sqrt((x - 1) * (x + 1)))."""
    del node
    inside = a.mul(g, a.add(g, x, -1), a.add(g, x, 1))
    return a.logarithm(g, a.add(g, x, a.root(g, inside)))


def _comparison(name: str, g: Emission, node: Node, left: Value, right: Value) -> Value:
    del node
    return g.op(name, np.bool_, x=left, y=right)


for _name, _operation in _COMPARISONS.items():
    operator(_name, since=7)(partial(_comparison, _operation))
for _name, _operation in _LOGIC.items():
    operator(_name, since=7)(partial(_comparison, _operation))


@operator("Not")
def logical_not(g: Emission, node: Node, x: Value) -> Value:
    """Not x."""
    del node
    return a.negation(g, x)


@operator("IsNaN")
def is_nan(g: Emission, node: Node, x: Value) -> Value:
    """Whether x is not a number: nothing else differs from itself."""
    del node
    return a.unequal(g, x, x)


@operator("IsInf")
def is_inf(g: Emission, node: Node, x: Value) -> Value:
    """Whether x is infinite, with the signs that are asked for."""
    both = node.integer("detect_positive", 1), node.integer("detect_negative", 1)
    if both == (1, 1):
        x = a.absolute(g, x)
    elif both == (0, 1):
        x = a.negative(g, x)
    elif both == (0, 0):
        return a.both(g, a.less(g, x, 0), a.greater(g, x, 0))
    return a.equal(g, x, g.scalar(np.inf, x))


@operator("Where")
def where(g: Emission, node: Node, condition: Value, yes: Value, no: Value) -> Value:
    """`yes` where the condition holds, else `no`."""
    del node
    return a.select(g, condition, yes, no)


@operator("Mod", since=10)
def mod(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """The remainder: with the divisor's sign, or with the dividend's (``fmod``)."""
    if not node.integer("fmod", 0):
        return a.remainder(g, left, right)
    rest = a.remainder(g, a.absolute(g, left), a.absolute(g, right))
    return a.select(g, a.less(g, left, 0), a.negative(g, rest), rest)


def _variadic(combine: Callable[[Emission, Value, Value], Value], g: Emission, node: Node, *values: Value) -> Value:
    del node
    total = values[0]
    for value in values[1:]:
        total = combine(g, total, value)
    return total


for _name, _combine in {"Max": a.maximum, "Min": a.minimum, "Sum": a.add}.items():
    operator(_name, since=6)(partial(_variadic, _combine))


@operator("Mean", since=6)
def mean(g: Emission, node: Node, *values: Value) -> Value:
    """The mean of all inputs, element by element."""
    total = _variadic(a.add, g, node, *values)
    return a.mul(g, total, 1 / len(values)) if len(values) > 1 else total
