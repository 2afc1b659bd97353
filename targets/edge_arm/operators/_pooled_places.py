"""Where the largest of each window was, and a map built back from such places."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from targets._source.refusal import UnsupportedError
from targets.edge_arm._arithmetic import greater
from targets.edge_arm.operators.slicing import padded, strided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from targets._source.window import Window
    from targets.edge_arm._emission import Emission, Value

_TAPS = 64
"""Largest kernel whose elements are compared one by one."""


def pooled_places(g: Emission, x: Value, view: Window, *, by_columns: bool) -> tuple[Value, Value]:
    """The largest of each window, and its place in the whole tensor [batch, channels, ...], flattened.

    Places count the last axis fastest, or with `by_columns` the first of the spatial axes.
    """
    if prod(view.kernel) > _TAPS:
        raise UnsupportedError(f"places of a window of {list(view.kernel)}: expected at most {_TAPS} elements")
    x = g.cast(x, np.float32)
    after = [max(reach, 0) for reach in view.reach]
    lowest = g.scalar(float(np.finfo(np.float32).min), x)
    framed = padded(g, x, (0, 0, *view.before), (0, 0, *after), lowest)
    numbers = np.pad(_numbers(x.shape, by_columns=by_columns), [(0, 0), (0, 0), *zip(view.before, after, strict=True)])
    best: Value | None = None
    place: Value | None = None
    for tap in product(*(range(size) for size in view.kernel)):
        ranges = [range(framed.shape[0]), range(framed.shape[1])]
        for step, dilation, stride, count in zip(tap, view.dilations, view.strides, view.outputs, strict=True):
            ranges.append(range(step * dilation, step * dilation + (count - 1) * stride + 1, stride))
        part, number = strided(g, framed, ranges), g.constant(numbers[np.ix_(*ranges)])
        if best is None or place is None:
            best, place = part, number
        else:
            larger = greater(g, part, best)
            best, place = g.select(larger, part, best), g.select(larger, number, place)
    if best is None or place is None:
        raise UnsupportedError("the window is empty")
    return best, place


def _numbers(shape: tuple[int, ...], *, by_columns: bool) -> NDArray[np.int64]:
    if not by_columns:
        return np.arange(prod(shape)).reshape(shape)
    spatial = np.arange(prod(shape[2:])).reshape(shape[2:][::-1]).transpose()
    starts = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * (len(shape) - 2)) * prod(shape[2:])
    return np.asarray(starts + spatial, np.int64)
