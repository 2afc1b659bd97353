"""How many multipliers each layer gets: the reuse factor, or the fastest that a number of multipliers allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.runtimes._fixed.layers import Conv, Dense
from targets.fpga._sequential.walks import product_walk

if TYPE_CHECKING:
    from agent.runtimes._fixed.network import Network
    from targets.fpga._sequential.walks import Walk

PRODUCT_DELAY = 8
"""Cycles from a window's last element to its first code, less one."""


class Plan(msgspec.Struct, frozen=True):
    """Multipliers of each layer that has some, by the layer's name."""

    lanes: dict[str, int]

    @property
    def multipliers(self) -> int:
        """Of all layers together."""
        return sum(self.lanes.values())


def passes(walk: Walk, lanes: int) -> int:
    """How often an engine goes over each group of its input."""
    return -(-walk.outputs // lanes)


def product_cycles(walk: Walk, lanes: int) -> int:
    """From the cycle in which the engine starts to that in which it writes its last code."""
    windows = walk.groups * passes(walk, lanes) * walk.windows
    rest = walk.outputs - (passes(walk, lanes) - 1) * lanes
    return walk.taps + (windows - 1) * max(walk.taps, lanes) + PRODUCT_DELAY + rest


def plan_reuse(network: Network, reuse: int) -> Plan:
    """Each multiplier is used `reuse` times for a position of the result, or as often as its layer allows."""
    lanes = {}
    for name, walk in _walks(network).items():
        wanted = -(-walk.outputs * walk.taps // reuse)
        lanes[name] = _even(walk, max(1, min(walk.outputs, wanted)))
    return Plan(lanes)


def plan(network: Network, multipliers: int) -> Plan:
    """The lanes whose slowest layer is the fastest that so many multipliers allow; of those, the fewest.

    A layer has one lane at least: where there are more layers than multipliers, the plan has more than was asked for.
    """
    walks = _walks(network)
    choices = {
        name: sorted({_even(walk, lanes) for lanes in range(1, walk.outputs + 1)}) for name, walk in walks.items()
    }
    lanes = {name: found[0] for name, found in choices.items()}
    while lanes:
        cycles = {name: product_cycles(walk, lanes[name]) for name, walk in walks.items()}
        slowest = max(cycles, key=cycles.__getitem__)
        walk = walks[slowest]
        faster = [count for count in choices[slowest] if product_cycles(walk, count) < cycles[slowest]]
        if not faster or sum(lanes.values()) - lanes[slowest] + min(faster) > multipliers:
            break
        lanes[slowest] = min(faster)
    return Plan(lanes)


def _walks(network: Network) -> dict[str, Walk]:
    return {
        layer.name: product_walk(layer, network.sources(layer)[0])
        for layer in network.layers
        if isinstance(layer, (Dense, Conv))
    }


def _even(walk: Walk, lanes: int) -> int:
    """The fewest lanes that go over the input as often."""
    return -(-walk.outputs // passes(walk, lanes))
