"""When each engine works on each sample: what a core's latency and interval are, from the rules of its buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROUNDS = 6
"""Samples for each stage, after which the intervals between them repeat."""


class Stage(NamedTuple):
    """One engine between buffers."""

    sources: tuple[str, ...]
    output: str
    cycles: int


class Pace(NamedTuple):
    """In cycles."""

    latency: int
    interval: int


def pace(stages: Sequence[Stage], sizes: Mapping[str, int], banks: int, ends: tuple[str, str]) -> Pace:
    """The latency and the steady interval of stages in the order of their data.

    Args:
        stages: the engines.
        sizes: elements of each buffer, by name.
        banks: of every buffer.
        ends: the buffers that the stream fills and empties.
    """
    entry, leave = ends
    rounds = _ROUNDS * (len(stages) + 2)
    free: dict[str, list[int]] = {name: [] for name in sizes}  # the cycle from which on a sample's bank is free again
    began: list[int] = []
    ended: list[int] = []
    entered, left = 0, 0
    done = [0] * len(stages)
    for sample in range(rounds):
        there: dict[str, int] = {}
        released = dict.fromkeys(sizes, 0)

        def room(name: str, sample: int = sample) -> int:
            return free[name][sample - banks] if sample >= banks else 0

        begin = max(entered, room(entry))
        entered = begin + sizes[entry]
        there[entry] = entered
        for index, stage in enumerate(stages):
            start = max(done[index], room(stage.output), *(there[name] for name in stage.sources))
            done[index] = start + stage.cycles + 1
            there[stage.output] = done[index]
            for name in stage.sources:
                released[name] = max(released[name], done[index])
        read = max(there[leave], left)
        # The buffer hears of it a cycle after the last element was read.
        left = read + sizes[leave] + 1
        released[leave] = max(released[leave], left)
        for name, cycle in released.items():
            free[name].append(cycle)
        began.append(begin)
        ended.append(read + sizes[leave])
    half = rounds // 2
    return Pace(ended[0] - began[0], -(-(ended[-1] - ended[half - 1]) // (rounds - half)))
