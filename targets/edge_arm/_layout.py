"""Orders of axes: how a tensor lies in memory against how the source model names its axes.

An order lists, for each axis in memory, the source's axis that it holds: a source tensor [N, C, H, W] that lies
channels-last has the order (0, 2, 3, 1). Everything here is pure.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets._source.shape import Shape

Order: TypeAlias = tuple[int, ...]


def identity(rank: int) -> Order:
    """The source's own order."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Batch, spatial axes, channels."""
    return (0, *range(2, rank), 1)


def permuted(shape: Sequence[int], order: Order) -> Shape:
    """The shape in memory of a source shape."""
    return tuple(shape[axis] for axis in order)


def move(current: Order, wanted: Order) -> Order:
    """The permutation that brings a tensor from one order in memory into another."""
    return tuple(current.index(axis) for axis in wanted)


def is_free(shape: Sequence[int], permutation: Order) -> bool:
    """Whether a transpose moves nothing but axes of size 1, so that the bytes stay."""
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved == sorted(moved)


def runs(permutation: Order) -> list[list[int]]:
    """The axes that move, in groups that stay side by side."""
    found: list[list[int]] = []
    for axis in permutation:
        if found and found[-1][-1] + 1 == axis:
            found[-1].append(axis)
        else:
            found.append([axis])
    return found


def reshaped(source: Shape, order: Order, target: Shape) -> Order | None:
    """The order in which the target shape lies in the same bytes; None where the bytes must move first.

    Axes are grouped so that each group of the source has as many elements as its group of the target; a group must
    stand together, and in the source's order, in memory.
    """
    groups = _groups(source, target)
    place = {axis: position for position, axis in enumerate(axis for axis in order if source[axis] != 1)}
    result: list[int] = []
    for axes, split in sorted(groups, key=lambda group: place[group[0][0]]):
        positions = [place[axis] for axis in axes]
        if positions != list(range(positions[0], positions[0] + len(positions))):
            return None
        result.extend(split)
    for axis, size in enumerate(target):
        if size == 1:
            result.insert(result.index(axis - 1) + 1 if axis else 0, axis)
    return tuple(result)


def gathered(source: Shape, order: Order, target: Shape) -> Order:
    """The order nearest to `order` in which the target shape lies in the source's bytes."""
    group = {axis: axes for axes, _ in _groups(source, target) for axis in axes}
    result: list[int] = []
    for axis in order:
        for each in group.get(axis, [axis]):
            if each not in result:
                result.append(each)
    return tuple(result)


def _groups(source: Shape, target: Shape) -> list[tuple[list[int], list[int]]]:
    """Pairs of axes, none of size 1, with equally many elements: of the source and of the target."""
    left = [axis for axis, size in enumerate(source) if size != 1]
    right = [axis for axis, size in enumerate(target) if size != 1]
    groups: list[tuple[list[int], list[int]]] = []
    while left:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (have := prod(source[axis] for axis in ours)) != (want := prod(target[axis] for axis in theirs)):
            if have < want:
                ours.append(left.pop(0))
            else:
                theirs.append(right.pop(0))
        groups.append((ours, theirs))
    return groups


def merged_axes(shapes: Sequence[Shape]) -> list[list[int]]:
    """Neighbouring axes that every shape treats alike (all of size 1, or all full), as groups, in order."""
    groups: list[list[int]] = []
    last: list[bool] | None = None
    for axis, sizes in enumerate(zip(*shapes, strict=True)):
        full = max(sizes)
        pattern = [size == full for size in sizes] if full != 1 else last
        if groups and (last is None or pattern == last):
            groups[-1].append(axis)
        else:
            groups.append([axis])
        last = pattern
    return groups
