"""Entries of a map read between its places: where to look along each axis, and how much each place counts."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from targets.edge_arm import _layout
from targets.edge_arm._arithmetic import absolute, clamped, equal, floor, remainder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.edge_arm._emission import Emission, Value


class Tap(NamedTuple):
    """One neighbour along one axis, for each sample."""

    place: Value
    """A whole number within the axis, as a float."""
    weight: Value | None
    """How much it counts; all, if left out."""


def rows_of(g: Emission, x: Value) -> Value:
    """A map [batch, channels, ...] as rows [batch * places, channels]."""
    tensor = g.tensor(x, _layout.channels_last(x.rank))
    return g.made(g.graph.reshape(tensor, (prod(x.shape) // x.shape[1], x.shape[1])), x.dtype)


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
            place = g.add(place, g.mul(step, g.scalar(prod(sizes[axis + 1 :]), step)))
            if tap.weight is not None:
                weight = tap.weight if weight is None else g.mul(weight, tap.weight)
        shape = (*place.shape, rows.shape[1])
        options = schema.GatherOptionsT(axis=0)
        part = g.made(g.graph.add("GATHER", [g.tensor(rows), g.tensor(place)], shape, rows.stored, options), rows.dtype)
        found.append(part if weight is None else g.mul(part, g.reshape(weight, (*weight.shape, 1))))
    return found


def linear_taps(g: Emission, where: Value) -> list[tuple[Value, Value]]:
    """The two neighbours of each place, and their weights."""
    low = floor(g, where)
    ratio = g.sub(where, low)
    return [(low, g.sub(g.scalar(1, ratio), ratio)), (g.add(low, g.scalar(1, low)), ratio)]


def cubic_taps(g: Emission, where: Value) -> list[tuple[Value, Value]]:
    """The four neighbours of each place, and their weights by cubic convolution with the parameter -0.75."""
    a = -0.75
    low = floor(g, where)
    ratio = g.sub(where, low)
    rest = g.sub(g.scalar(1, ratio), ratio)

    def near(x: Value) -> Value:
        return _polynomial(g, x, (a + 2, -(a + 3), 0.0, 1.0))

    def far(x: Value) -> Value:
        return _polynomial(g, g.add(x, g.scalar(1, x)), (a, -5 * a, 8 * a, -4 * a))

    weights = (far(ratio), near(ratio), near(rest), far(rest))
    return [(g.add(low, g.scalar(step - 1, low)), weight) for step, weight in enumerate(weights)]


def _polynomial(g: Emission, x: Value, factors: tuple[float, ...]) -> Value:
    total = g.scalar(factors[0], x)
    for factor in factors[1:]:
        total = g.add(g.mul(total, x), g.scalar(factor, x))
    return total


def within(g: Emission, place: Value, weight: Value | None, size: int) -> Tap:
    """A neighbour that counts nothing where it lies outside."""
    inside = clamped(g, place, 0, size - 1)
    counts = g.cast(equal(g, inside, place), place.dtype)
    return Tap(inside, counts if weight is None else g.mul(weight, counts))


def reflected(g: Emission, where: Value, low: float, high: float) -> Value:
    """The place that a walk comes to which turns round at two borders."""
    reach = high - low
    if not reach:
        return g.mul(where, g.scalar(0, where))
    away = absolute(g, g.sub(where, g.scalar(low, where)))
    turn = g.sub(remainder(g, away, 2 * reach), g.scalar(reach, where))
    return g.sub(g.scalar(high, where), absolute(g, turn))
