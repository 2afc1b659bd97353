"""Steps of arithmetic that many operators are composed of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    from targets.edge_arm._emission import Emission, Value


def maximum(g: Emission, left: Value, right: Value | float) -> Value:
    """The larger of two."""
    return g.elementwise("MAXIMUM", left, _value(g, left, right), options=schema.MaximumMinimumOptionsT())


def minimum(g: Emission, left: Value, right: Value | float) -> Value:
    """The smaller of two."""
    return g.elementwise("MINIMUM", left, _value(g, left, right), options=schema.MaximumMinimumOptionsT())


def clamped(g: Emission, x: Value, low: float, high: float) -> Value:
    """X between two numbers."""
    return minimum(g, maximum(g, x, low), high)


def less(g: Emission, left: Value, right: Value | float) -> Value:
    """Left < right."""
    return g.elementwise("LESS", left, _value(g, left, right), dtype=bool, options=schema.LessOptionsT())


def greater(g: Emission, left: Value, right: Value | float) -> Value:
    """Left > right."""
    return g.elementwise("GREATER", left, _value(g, left, right), dtype=bool, options=schema.GreaterOptionsT())


def equal(g: Emission, left: Value, right: Value | float) -> Value:
    """Left == right."""
    return g.elementwise("EQUAL", left, _value(g, left, right), dtype=bool, options=schema.EqualOptionsT())


def both(g: Emission, left: Value, right: Value) -> Value:
    """Left and right."""
    return g.elementwise("LOGICAL_AND", left, right, options=schema.LogicalAndOptionsT())


def either(g: Emission, left: Value, right: Value) -> Value:
    """Left or right."""
    return g.elementwise("LOGICAL_OR", left, right, options=schema.LogicalOrOptionsT())


def remainder(g: Emission, x: Value, divisor: Value | float) -> Value:
    """The remainder with the divisor's sign."""
    return g.elementwise("FLOOR_MOD", x, _value(g, x, divisor), options=schema.FloorModOptionsT())


def quotient(g: Emission, x: Value, divisor: Value | float) -> Value:
    """The quotient rounded down."""
    return g.elementwise("FLOOR_DIV", x, _value(g, x, divisor), options=schema.FloorDivOptionsT())


def absolute(g: Emission, x: Value) -> Value:
    """|x|."""
    return g.elementwise("ABS", x, options=schema.AbsOptionsT())


def negative(g: Emission, x: Value) -> Value:
    """-x."""
    return g.elementwise("NEG", x, options=schema.NegOptionsT())


def floor(g: Emission, x: Value) -> Value:
    """X rounded down."""
    return g.elementwise("FLOOR", x)


def rounded(g: Emission, x: Value) -> Value:
    """X rounded, half to even."""
    return g.elementwise("ROUND", x)


def _value(g: Emission, like: Value, number: Value | float) -> Value:
    return g.scalar(number, like) if isinstance(number, int | float) else number
