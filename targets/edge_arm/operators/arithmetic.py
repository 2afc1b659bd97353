"""Element by element: arithmetic, comparison, logic."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets._source.refusal import UnsupportedError
from targets.edge_arm._fusion import fold_affine, hard_swish_input, merge_factor
from targets.edge_arm._registry import operator

if TYPE_CHECKING:
    from targets._source.model import Node
    from targets.edge_arm._emission import Emission, Value

_FLOAT_UNARY = {
    "Ceil": "CEIL",
    "Cos": "COS",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "Log": "LOG",
    "Round": "ROUND",
    "Sin": "SIN",
    "Sqrt": "SQRT",
}
_COMPARISONS = {
    "Equal": ("EQUAL", schema.EqualOptionsT),
    "Less": ("LESS", schema.LessOptionsT),
    "LessOrEqual": ("LESS_EQUAL", schema.LessEqualOptionsT),
    "Greater": ("GREATER", schema.GreaterOptionsT),
    "GreaterOrEqual": ("GREATER_EQUAL", schema.GreaterEqualOptionsT),
}


@operator("Add", since=7)
def add(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """Left + right; a constant becomes the bias of what made the other."""
    del node
    for value, other in ((left, right), (right, left)):
        if _folds(value, other) and fold_affine(g, value, None, other.constant):
            return value
    return g.add(left, right)


@operator("Sub", since=7)
def sub(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """Left - right; a constant becomes the bias of what made the left."""
    del node
    if _folds(left, right) and right.constant is not None and fold_affine(g, left, None, -right.constant):
        return left
    return g.sub(left, right)


@operator("Mul", since=7)
def mul(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """Left * right; a constant is taken into the weights of what made the other."""
    del node
    for value, other in ((left, right), (right, left)):
        if _folds(value, other) and fold_affine(g, value, other.constant, None):
            return value
        if value.constant is None and merge_factor(g, value, other.constant):
            return value
    product = g.mul(left, right)
    return _hard_swish(g, product, scaled=True) or product


def _hard_swish(g: Emission, product: Value, *, scaled: bool) -> Value | None:
    """TFLite's HARD_SWISH, where a value was computed by its parts."""
    order, tensor = next(iter(product.forms.items()))
    x = hard_swish_input(tensor, scaled=scaled)
    if x is None or x.dtype != np.float32:
        return None
    return g.made(g.graph.add("HARD_SWISH", [x], x.shape, x.dtype), product.dtype, order)


def _folds(value: Value, other: Value) -> bool:
    """Whether `other` is a constant that leaves the shape of `value` as it is."""
    if value.constant is not None or other.constant is None or value.dtype.kind != "f":
        return False
    return bool(np.isfinite(other.constant).all()) and np.broadcast_shapes(value.shape, other.shape) == value.shape


@operator("Div", since=7)
def div(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """Left / right; of integers, truncated towards zero."""
    del node
    if left.dtype.kind == "f":
        sixth = right.constant is not None and right.constant.size == 1 and right.number("divisor") == 6  # noqa: PLR2004 - as in hard swish
        swish = _hard_swish(g, left, scaled=False) if sixth and left.constant is None else None
        if swish is None and _folds(left, right) and right.constant is not None and right.constant.all():
            with np.errstate(over="ignore"):
                inverse = 1 / right.constant.astype(np.float64)
            if np.isfinite(inverse).all() and fold_affine(g, left, inverse, None):
                return left
        return swish or g.div(left, right)
    if left.stored != np.int32:
        raise UnsupportedError(f"division of {left.dtype.name} has no kernel")
    return g.div(left, right)


@operator("Pow", since=7)
def power(g: Emission, node: Node, base: Value, exponent: Value) -> Value:
    """Base ** exponent, in the base's element type."""
    del node
    if base.dtype.kind != "f":
        raise UnsupportedError(f"a power of {base.dtype.name} is not exact in any kernel")
    if exponent.constant is not None and exponent.constant.size == 1 and exponent.rank <= base.rank:
        number = exponent.number("exponent")
        if number == 2:  # noqa: PLR2004 - the square
            return g.mul(base, base)
        if number == 0.5:  # noqa: PLR2004 - the root
            return g.elementwise("SQRT", base)
    return g.elementwise("POW", base, g.cast(exponent, base.dtype), options=schema.PowOptionsT())


@operator("Neg")
def neg(g: Emission, node: Node, x: Value) -> Value:
    """-x; the sign is taken into the weights of what made x."""
    del node
    if x.constant is None and x.dtype.kind == "f" and fold_affine(g, x, np.array(-1.0), None):
        return x
    return g.elementwise("NEG", x, options=schema.NegOptionsT())


@operator("Abs")
def absolute(g: Emission, node: Node, x: Value) -> Value:
    """|x|."""
    del node
    return g.elementwise("ABS", x, options=schema.AbsOptionsT())


@operator("Reciprocal")
def reciprocal(g: Emission, node: Node, x: Value) -> Value:
    """1 / x."""
    del node
    return g.div(g.scalar(1, x), x)


@operator("Sign")
def sign(g: Emission, node: Node, x: Value) -> Value:
    """-1, 0 or 1."""
    del node
    return g.elementwise("SIGN", x)


def _float_unary(code: str, g: Emission, node: Node, x: Value) -> Value:
    del node
    if x.dtype.kind != "f":
        raise UnsupportedError(f"{code} of {x.dtype.name} has no kernel")
    return g.elementwise(code, x)


for _name, _code in _FLOAT_UNARY.items():
    operator(_name)(partial(_float_unary, _code))


def _comparison(code: str, options: type, g: Emission, node: Node, left: Value, right: Value) -> Value:
    del node
    return g.elementwise(code, left, right, dtype=bool, options=options())


for _name, (_code, _options) in _COMPARISONS.items():
    operator(_name, since=7)(partial(_comparison, _code, _options))


@operator("And", since=7)
def logical_and(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """Left and right."""
    del node
    return g.elementwise("LOGICAL_AND", left, right, options=schema.LogicalAndOptionsT())


@operator("Or", since=7)
def logical_or(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """Left or right."""
    del node
    return g.elementwise("LOGICAL_OR", left, right, options=schema.LogicalOrOptionsT())


@operator("Xor", since=7)
def logical_xor(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """Left or right, not both."""
    del node
    return g.elementwise("NOT_EQUAL", left, right, options=schema.NotEqualOptionsT())


@operator("Not")
def logical_not(g: Emission, node: Node, x: Value) -> Value:
    """Not x."""
    del node
    return g.elementwise("LOGICAL_NOT", x, options=schema.LogicalNotOptionsT())


@operator("IsNaN")
def is_nan(g: Emission, node: Node, x: Value) -> Value:
    """Whether x is not a number: nothing else differs from itself."""
    del node
    return g.elementwise("NOT_EQUAL", x, x, dtype=bool, options=schema.NotEqualOptionsT())


@operator("IsInf")
def is_inf(g: Emission, node: Node, x: Value) -> Value:
    """Whether x is infinite, with the signs that are asked for."""
    both = node.integer("detect_positive", 1), node.integer("detect_negative", 1)
    if both == (1, 1):
        x = g.elementwise("ABS", x)
    elif both == (0, 1):
        x = g.elementwise("NEG", x)
    elif both == (0, 0):
        raise UnsupportedError("it is asked to detect neither sign")
    return g.elementwise("EQUAL", x, g.scalar(np.inf, x), dtype=bool, options=schema.EqualOptionsT())


@operator("Where")
def where(g: Emission, node: Node, condition: Value, yes: Value, no: Value) -> Value:
    """`yes` where the condition holds, else `no`."""
    del node
    return g.select(condition, yes, no)


@operator("Mod", since=10)
def mod(g: Emission, node: Node, left: Value, right: Value) -> Value:
    """The remainder: with the divisor's sign, or with the dividend's (``fmod``)."""
    if not node.integer("fmod", 0):
        return g.elementwise("FLOOR_MOD", left, right, options=schema.FloorModOptionsT())
    rest = g.elementwise(
        "FLOOR_MOD", g.elementwise("ABS", left), g.elementwise("ABS", right), options=schema.FloorModOptionsT()
    )
    negative = g.elementwise("LESS", left, g.scalar(0, left), dtype=bool, options=schema.LessOptionsT())
    return g.select(negative, g.elementwise("NEG", rest), rest)


def _variadic(code: str, g: Emission, node: Node, *values: Value) -> Value:
    del node
    total = values[0]
    for value in values[1:]:
        if code == "ADD":
            total = g.add(total, value)
        else:
            total = g.elementwise(code, total, value, options=schema.MaximumMinimumOptionsT())
    return total


for _name, _code in {"Max": "MAXIMUM", "Min": "MINIMUM", "Sum": "ADD"}.items():
    operator(_name, since=6)(partial(_variadic, _code))


@operator("Mean", since=6)
def mean(g: Emission, node: Node, *values: Value) -> Value:
    """The mean of all inputs, element by element."""
    total = _variadic("ADD", g, node, *values)
    return g.mul(total, g.scalar(1 / len(values), total)) if len(values) > 1 else total
