"""Steps of arithmetic that many operators are composed of; element by element, broadcast as numpy does."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.coreml._emission import Emission, Value

    Operand: TypeAlias = Value | float


def _value(g: Emission, like: Value, number: Operand) -> Value:
    return g.scalar(number, like) if isinstance(number, int | float) else number


def _binary(g: Emission, name: str, left: Value, right: Operand) -> Value:
    return g.op(name, x=left, y=_value(g, left, right))


def add(g: Emission, left: Value, right: Operand) -> Value:
    """Left + right."""
    return _binary(g, "add", left, right)


def sub(g: Emission, left: Value, right: Operand) -> Value:
    """Left - right."""
    return _binary(g, "sub", left, right)


def mul(g: Emission, left: Value, right: Operand) -> Value:
    """Left * right."""
    return _binary(g, "mul", left, right)


def div(g: Emission, left: Value, right: Operand) -> Value:
    """Left / right, of floats."""
    return _binary(g, "real_div", left, right)


def power(g: Emission, left: Value, right: Operand) -> Value:
    """Left to the power of right, of floats."""
    return _binary(g, "pow", left, right)


def maximum(g: Emission, left: Value, right: Operand) -> Value:
    """The larger of two."""
    return _binary(g, "maximum", left, right)


def minimum(g: Emission, left: Value, right: Operand) -> Value:
    """The smaller of two."""
    return _binary(g, "minimum", left, right)


def clamped(g: Emission, x: Value, low: float, high: float) -> Value:
    """X between two numbers."""
    return minimum(g, maximum(g, x, low), high)


def remainder(g: Emission, x: Value, divisor: Operand) -> Value:
    """The remainder with the divisor's sign."""
    return _binary(g, "mod", x, divisor)


def quotient(g: Emission, x: Value, divisor: Operand) -> Value:
    """The quotient rounded down."""
    return _binary(g, "floor_div", x, divisor)


def _compared(g: Emission, name: str, left: Value, right: Operand) -> Value:
    return g.op(name, np.bool_, x=left, y=_value(g, left, right))


def less(g: Emission, left: Value, right: Operand) -> Value:
    """Left < right."""
    return _compared(g, "less", left, right)


def greater(g: Emission, left: Value, right: Operand) -> Value:
    """Left > right."""
    return _compared(g, "greater", left, right)


def equal(g: Emission, left: Value, right: Operand) -> Value:
    """Left == right."""
    return _compared(g, "equal", left, right)


def unequal(g: Emission, left: Value, right: Operand) -> Value:
    """Left != right."""
    return _compared(g, "not_equal", left, right)


def both(g: Emission, left: Value, right: Value) -> Value:
    """Left and right, of booleans."""
    return g.op("logical_and", np.bool_, x=left, y=right)


def either(g: Emission, left: Value, right: Value) -> Value:
    """Left or right, of booleans."""
    return g.op("logical_or", np.bool_, x=left, y=right)


def negation(g: Emission, x: Value) -> Value:
    """Not x."""
    return g.op("logical_not", np.bool_, x=x)


def select(g: Emission, condition: Value, yes: Value, no: Operand) -> Value:
    """`yes` where the condition holds, else `no`."""
    other = _value(g, yes, no)
    if condition.constant is not None and condition.constant.size == 1 and None not in (*yes.sizes, *other.sizes):
        whole = np.broadcast_shapes(condition.shape, yes.shape, other.shape)
        chosen = yes if condition.constant.reshape(-1)[0] else other
        if chosen.shape == whole:
            return chosen
    if None not in (*condition.sizes, *yes.sizes, *other.sizes):
        # MIL's result has the shape of the two that are chosen from: a condition may not be larger.
        whole = np.broadcast_shapes(condition.shape, yes.shape, other.shape)
        if np.broadcast_shapes(yes.shape, other.shape) != whole:
            if other.constant is not None:
                other = g.constant(np.broadcast_to(other.constant, whole).copy())
            elif yes.constant is not None:
                yes = g.constant(np.broadcast_to(yes.constant, whole).copy())
            else:
                other = repeated(g, other, whole)
    elif condition.constant is None and _is_larger(condition, yes, other):
        sizes = g.op("shape", np.int32, x=condition)
        other = add(g, other, g.op("fill", yes.dtype, shape=sizes, value=g.scalar(0, yes)))
    return g.op("select", yes.dtype, cond=condition, a=yes, b=other)


def _is_larger(condition: Value, yes: Value, other: Value) -> bool:
    """Whether a condition, some size of which is free, has axes that neither of the two has."""
    rank = condition.rank
    sides = [(1,) * (rank - each.rank) + each.sizes[max(0, each.rank - rank) :] for each in (yes, other)]
    return any(
        wanted != 1 and all(have == 1 for have in sizes) for wanted, *sizes in zip(condition.sizes, *sides, strict=True)
    )


def repeated(g: Emission, x: Value, shape: Sequence[int]) -> Value:
    """X repeated along its axes of size 1, and along new ones before it."""
    if x.constant is not None:
        return g.constant(np.broadcast_to(x.constant, tuple(shape)).copy())
    if x.shape == tuple(shape):
        return x
    x = g.reshape(x, (1,) * (len(shape) - x.rank) + x.shape)
    return g.op("tile", x=x, reps=[want // have for want, have in zip(shape, x.shape, strict=True)])


def unary(g: Emission, name: str, x: Value) -> Value:
    """An operation of one value without parameters."""
    return g.op(name, x=x)


def absolute(g: Emission, x: Value) -> Value:
    """|x|."""
    return unary(g, "abs", x)


def negative(g: Emission, x: Value) -> Value:
    """-x."""
    return mul(g, x, -1)


def floor(g: Emission, x: Value) -> Value:
    """X rounded down."""
    return unary(g, "floor", x)


def root(g: Emission, x: Value) -> Value:
    """The square root."""
    return unary(g, "sqrt", x)


def logarithm(g: Emission, x: Value) -> Value:
    """The natural logarithm, of nothing but x: MIL adds a number to it unless told otherwise."""
    return g.op("log", x=x, epsilon=np.float32(0))


def inverse(g: Emission, x: Value) -> Value:
    """1 / x."""
    return div(g, g.scalar(1, x), x)


def reduced(g: Emission, name: str, x: Value, axes: Sequence[int], *, keep: bool) -> Value:
    """A reduction along some axes."""
    if not axes:
        return x
    return g.op(name, x=x, axes=g.integers([x.axis(axis) for axis in axes]), keep_dims=keep)


def matmul(g: Emission, left: Value, right: Value, *, flipped: bool = False) -> Value:
    """The matrix product of the last two axes, of floats; with `flipped`, by the transposed right one."""
    return g.op("matmul", x=left, y=right, transpose_x=False, transpose_y=flipped)
