"""Tensors of more axes than Core ML takes, on the way from one reshape to another.

A picture cut into windows has six axes for a moment: its rows and its columns are split in two, the parts are put into
another order, and joined again. Nothing is computed meanwhile, so such a tensor is kept as its elements in order, with
the shape that they stand for; its axes change places with those that stay side by side joined into one.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from targets._source.shape import Shape


def steps(shape: Shape, permutation: Sequence[int], most: int) -> Iterator[tuple[Shape, tuple[int, ...]]]:
    """Reshapes of at most `most` axes, each with the order of its axes, that together permute those of `shape`.

    One, where enough of the axes stay side by side; else each brings one part to the front, the last one first.
    """
    parts = _parts(shape, permutation)
    if len(parts) <= 1:
        return
    order = sorted(range(len(parts)), key=lambda place: parts[place][0])
    sizes = [prod(shape[axis] for axis in parts[place]) for place in order]
    wanted = [order.index(place) for place in range(len(parts))]
    if len(parts) <= most:
        yield tuple(sizes), tuple(wanted)
        return
    now = list(range(len(parts)))
    for part in reversed(wanted):
        at = now.index(part)
        before, after = prod(sizes[each] for each in now[:at]), prod(sizes[each] for each in now[at + 1 :])
        if before > 1:
            yield (before, sizes[part], after), (1, 0, 2)
        now.insert(0, now.pop(at))


def _parts(shape: Shape, permutation: Sequence[int]) -> list[list[int]]:
    """The axes in their new order, those that were side by side before in one part; axes of size 1 do not count."""
    counted = [axis for axis in range(len(shape)) if shape[axis] != 1]
    following = dict(pairwise(counted))
    parts: list[list[int]] = []
    for axis in permutation:
        if shape[axis] == 1:
            continue
        if parts and following.get(parts[-1][-1]) == axis:
            parts[-1].append(axis)
        else:
            parts.append([axis])
    return parts
