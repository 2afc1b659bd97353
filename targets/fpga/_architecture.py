"""Which hardware a network becomes: written out where that fits the device, else taking turns at few multipliers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.runtimes._fixed.layers import Conv, Dense, Trees
from targets.fpga._cost import adder_bits, memory_bits, weight_width
from targets.fpga._hardware.estimate import estimate, require_room, sequential_work, trees_work, unrolled_work
from targets.fpga._sequential import plan, plan_reuse, write_sequential
from targets.fpga._trees import write_trees
from targets.fpga._unrolled import MOST_PRODUCTS, products, unroll

if TYPE_CHECKING:
    from pathlib import Path

    from agent.runtimes._fixed.network import Network
    from targets.fpga._core import Core
    from targets.fpga._hardware.cells import Cells
    from targets.fpga._hardware.devices import Device
    from targets.fpga._options import Options
    from targets.fpga._search import Cost
    from targets.fpga._sequential import Plan

    Architecture = Literal["unrolled", "sequential", "trees"]

_NANOSECONDS = {"ecp5": 3.0, "gowin": 4.0, "ice40": 5.0}
"""What an addition takes of a cycle, with the way to it, in the devices' slow corners."""
_MOST_LEVELS = 12
_LUTS_PER_PRODUCT = 12
"""Of a written-out product of narrow formats: a guess by which the search knows what to save."""
_FILL = 0.8
"""What of a device's LUTs and multipliers a design is planned to take: the rest is for interface and routing."""
_MEMORY_WIDTH = 36
"""Bits that a block of RAM gives in a cycle, at most."""
_LUTS_PER_MULTIPLIER = 600
"""Where a device has no multipliers of its own."""


class Built(NamedTuple):
    """A core, and what it is estimated to take."""

    core: Core
    architecture: Architecture
    estimate: Cells
    multipliers: int | None
    """Of a sequential design."""


def leaning(macs: int, options: Options, device: Device) -> tuple[Architecture, Cost]:
    """The architecture that a model of so many multiplications will have, as far as it can be told, and its cost."""
    if options.architecture == "sequential":
        return "sequential", memory_bits
    fits = macs <= MOST_PRODUCTS and macs * _LUTS_PER_PRODUCT <= device.luts * _FILL
    return ("unrolled", adder_bits) if fits or options.architecture == "unrolled" else ("sequential", memory_bits)


def build(network: Network, options: Options, device: Device, clock_mhz: float, folder: Path) -> Built:
    """The core of a network, its files below `folder`, of the architecture that the options ask for.

    Raises:
        TargetError: it does not fit the device by the estimate (``fpga.budget``), with the numbers.
    """
    if any(isinstance(layer, Trees) for layer in network.layers):
        expected = estimate(trees_work(network), "trees", device)
        require_room(expected, device)
        return Built(write_trees(network, folder), "trees", expected.cells, None)
    if _is_worth_writing_out(network, options, device):
        levels = int(min(max(1000 / clock_mhz / _NANOSECONDS[device.family], 1), _MOST_LEVELS))
        made = unroll(network, folder, levels)
        expected = estimate(unrolled_work(network, made.adder_bits, made.register_bits), "unrolled", device)
        if options.architecture == "unrolled" or expected.cells.luts <= device.luts * _FILL:
            require_room(expected, device)
            return Built(made.core, "unrolled", expected.cells, None)
        for path in made.core.sources:
            path.unlink()
    return _sequential(network, options, device, folder)


def _is_worth_writing_out(network: Network, options: Options, device: Device) -> bool:
    if options.architecture != "auto":
        return options.architecture == "unrolled"
    # What da4ml shares is about half of the adders.
    return products(network) <= MOST_PRODUCTS and adder_bits(network) <= device.luts * _FILL * 2


def _sequential(network: Network, options: Options, device: Device, folder: Path) -> Built:
    chosen = _plan(network, options, device)
    dsps = chosen.multipliers if device.dsps else 0
    memories = _memories(network, chosen, device)
    expected = estimate(sequential_work(network, chosen.lanes), "sequential", device, dsps=dsps, memories=memories)
    require_room(expected, device)
    return Built(write_sequential(network, folder, chosen), "sequential", expected.cells, chosen.multipliers)


def _plan(network: Network, options: Options, device: Device) -> Plan:
    if options.reuse != "auto":
        return plan_reuse(network, options.reuse)
    most = int((device.dsps or device.luts // _LUTS_PER_MULTIPLIER) * _FILL)
    return plan(network, max(most, 1))


def _memories(network: Network, chosen: Plan, device: Device) -> int:
    """Blocks of RAM for the tables of weights, and for both halves of each buffer."""
    memories = 0
    for layer in network.layers:
        if isinstance(layer, Dense | Conv):
            lanes, width = chosen.lanes.get(layer.name, 1), weight_width(layer)
            memories += max(-(-layer.weights.size * width // device.memory_bits), -(-lanes * width // _MEMORY_WIDTH))
        memories += -(-2 * layer.output.size * layer.output.format.width // device.memory_bits)
    return memories + -(-2 * network.input.size * network.input.format.width // device.memory_bits)
