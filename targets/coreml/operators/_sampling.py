"""Entries of a map read between its places: where to look along each axis, and how much each place counts."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._arithmetic import clamped, equal, floor, remainder
from targets.coreml.operators.slicing import taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.coreml._emission import Emission, Value


class Tap(NamedTuple):
    """One neighbour along one axis, for each sample."""

    place: Value
    """A whole number within the axis, as a float."""
    weight: Value | None
    """How much it counts; all, if left out."""


def rows_of(g: Emission, x: Value) -> Value:
    """A map [batch, channels, ...] as rows [batch * places, channels]."""
    return g.reshape(g.transpose(x, (0, *range(2, x.rank), 1)), (x.size // x.shape[1], x.shape[1]))


def corners(g: Emission, rows: Value, base: Value, sizes: Sequence[int], taps: Sequence[Sequence[Tap]]) -> list[Value]:
    """For each combination of neighbours, one along each axis, their rows [..., channels], weighted.

    `base` is the row, as an integer, at which the map of a sample starts; it broadcasts over the taps.
    """
    found = []
    for chosen in product(*taps):
        place = base
        weight: Value | None = None
        for axis, tap in enumerate(chosen):
            step = g.cast(tap.place, np.int64)
            place = a.add(g, place, a.mul(g, step, g.scalar(prod(sizes[axis + 1 :]), step)))
            if tap.weight is not None:
                weight = tap.weight if weight is None else a.mul(g, weight, tap.weight)
        part = taken(g, rows, place, 0)
        found.append(part if weight is None else a.mul(g, part, g.reshape(weight, (*weight.shape, 1))))
    return found


def linear_taps(g: Emission, where: Value) -> list[tuple[Value, Value]]:
    """The two neighbours of each place, and their weights."""
    low = floor(g, where)
    ratio = a.sub(g, where, low)
    return [(low, a.sub(g, g.scalar(1, ratio), ratio)), (a.add(g, low, g.scalar(1, low)), ratio)]


def cubic_taps(g: Emission, where: Value) -> list[tuple[Value, Value]]:
    """The four neighbours of each place, and their weights by cubic convolution with the parameter -0.75."""
    c = -0.75
    low = floor(g, where)
    ratio = a.sub(g, where, low)
    rest = a.sub(g, g.scalar(1, ratio), ratio)

    def near(x: Value) -> Value:
        return _polynomial(g, x, (c + 2, -(c + 3), 0.0, 1.0))

    def far(x: Value) -> Value:
        return _polynomial(g, a.add(g, x, g.scalar(1, x)), (c, -5 * c, 8 * c, -4 * c))

    weights = (far(ratio), near(ratio), near(rest), far(rest))
    return [(a.add(g, low, g.scalar(step - 1, low)), weight) for step, weight in enumerate(weights)]


def _polynomial(g: Emission, x: Value, factors: tuple[float, ...]) -> Value:
    total = g.scalar(factors[0], x)
    for factor in factors[1:]:
        total = a.add(g, a.mul(g, total, x), g.scalar(factor, x))
    return total


def within(g: Emission, place: Value, weight: Value | None, size: int) -> Tap:
    """A neighbour that counts nothing where it lies outside."""
    inside = clamped(g, place, 0, size - 1)
    counts = g.cast(equal(g, inside, place), place.dtype)
    return Tap(inside, counts if weight is None else a.mul(g, weight, counts))


def reflected(g: Emission, where: Value, low: float, high: float) -> Value:
    """The place that a walk comes to which turns round at two borders."""
    reach = high - low
    if not reach:
        return a.mul(g, where, g.scalar(0, where))
    away = a.absolute(g, a.sub(g, where, g.scalar(low, where)))
    turn = a.sub(g, remainder(g, away, 2 * reach), g.scalar(reach, where))
    return a.sub(g, g.scalar(high, where), a.absolute(g, turn))
