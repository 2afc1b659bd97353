"""What a design will take of a device, before it is synthesised: an estimate, by factors measured over many designs.

``python -m bench.fpga_designs`` synthesises networks of many sizes and formats for every family, and finds the factors
that fit best; they and every design behind them stand in ``bench/results/fpga-designs.json``. An estimate is no
promise: `Estimate.error` says how far the measured designs were from it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
import numpy as np

from agent.runtimes._fixed.layers import Conv, Dense, Trees
from targets.fpga._cost import weight_width
from targets.fpga._hardware.cells import Cells, require_fit

if TYPE_CHECKING:
    from agent.runtimes._fixed.network import Network
    from targets.fpga._hardware.devices import Device, Family

_LIKE: Family = "ecp5"
"""Whose factors are taken where a family's were not measured: for products written out on Gowin."""
Architecture: TypeAlias = Literal["unrolled", "sequential", "trees"]
Work: TypeAlias = dict[str, float]
"""What a design has to do, in quantities that don't depend on the device."""


class Factors(msgspec.Struct, frozen=True, kw_only=True):
    """Of one architecture on one family."""

    luts: dict[str, float]
    """LUTs for one of each quantity of the work."""
    flip_flops: dict[str, float]
    error: float
    """The LUTs of nine in ten measured designs were within this share of the estimate that the others gave."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate, and how far off it may be."""

    cells: Cells
    error: float
    """Of the LUTs, as `Factors.error`."""

    @property
    def least(self) -> Cells:
        """What the design takes if the estimate is too high by all of its error."""
        return msgspec.structs.replace(
            self.cells,
            luts=int(self.cells.luts / (1 + self.error)),
            flip_flops=int(self.cells.flip_flops / (1 + self.error)),
        )


def unrolled_work(network: Network, adder_bits: float, register_bits: float) -> Work:
    """Of products that are written out: da4ml's count of full adders, the pipeline's registers, and both ends."""
    return {
        "adder_bits": float(adder_bits),
        "register_bits": float(register_bits),
        "stream_bits": _stream_bits(network),
    }


def sequential_work(network: Network, lanes: dict[str, int]) -> Work:
    """Of engines that take turns: their multipliers' accumulators and operands, and the engines themselves."""
    accumulators = operands = 0.0
    for layer in network.layers:
        if isinstance(layer, Dense | Conv):
            source = network.sources(layer)[0]
            count = lanes.get(layer.name, 1)
            accumulators += count * layer.accumulator([source]).width
            operands += count * weight_width(layer) * source.format.width
    widths = sum(layer.output.format.width for layer in network.layers)
    return {"engines": float(len(network.layers)), "accumulator_bits": accumulators, "operand_bits": operands} | {
        "output_bits": float(widths)
    }


def trees_work(network: Network) -> Work:
    """Of tree ensembles: comparisons that differ, nodes, what leaves say, and the sums of all trees."""
    comparisons = nodes = leaf_bits = sum_bits = 0.0
    for layer in network.layers:
        if isinstance(layer, Trees):
            width = network.sources(layer)[0].format.width
            asked = {tuple(row) for row in np.stack([layer.feature, layer.least, layer.most, layer.missing], axis=1)}
            comparisons += len(asked) * width
            nodes += len(layer.feature)
            bits = max(int(np.abs(layer.leaves).max(initial=1)).bit_length() + 1, 1)
            leaf_bits += layer.leaves.size * bits
            sum_bits += len(layer.roots) * prod(layer.output.shape) * bits
    return {"comparison_bits": comparisons, "nodes": nodes, "leaf_bits": leaf_bits, "sum_bits": sum_bits} | {
        "stream_bits": _stream_bits(network)
    }


def estimate(work: Work, architecture: Architecture, device: Device, *, dsps: int = 0, memories: int = 0) -> Estimate:
    """An estimate for a device.

    Args:
        work: what the design does: `unrolled_work`, `sequential_work` or `trees_work`.
        architecture: which of them.
        device: what it is for.
        dsps: multipliers of the device's own, which are planned, not estimated.
        memories: blocks of RAM, likewise.
    """
    factors = FACTORS[architecture].get(device.family, FACTORS[architecture][_LIKE])
    cells = Cells(
        luts=round(predicted(work, factors.luts)),
        flip_flops=round(predicted(work, factors.flip_flops)),
        dsps=dsps,
        memories=memories,
    )
    return Estimate(cells=cells, error=factors.error)


def predicted(work: Work, factors: dict[str, float]) -> float:
    """The cells that the work takes."""
    return sum(factors.get(name, 0.0) * amount for name, amount in work.items())


def require_room(found: Estimate, device: Device) -> None:
    """Nothing, where the device may have room for the design; only what surely does not fit is refused so early.

    Raises:
        TargetError: even the least that the estimate allows does not fit (``fpga.budget``).
    """
    require_fit(found.least, device, kind="estimated at the least")


def _stream_bits(network: Network) -> float:
    """Of a sample and an answer, which the ends keep."""
    return float(network.input.size * network.input.format.width + network.output.size * network.output.format.width)


FACTORS: dict[Architecture, dict[Family, Factors]] = {
    "unrolled": {
        "ecp5": Factors(
            luts={"adder_bits": 1.565, "stream_bits": 0.913},
            flip_flops={"adder_bits": 0.032, "register_bits": 0.786, "stream_bits": 0.672},
            error=0.17,
        ),
        "ice40": Factors(
            luts={"adder_bits": 1.41, "stream_bits": 0.988},
            flip_flops={"adder_bits": 0.032, "register_bits": 0.78, "stream_bits": 0.677},
            error=0.07,
        ),
    },
    "sequential": {
        "ecp5": Factors(
            luts={"accumulator_bits": 2.416, "engines": 487.352, "operand_bits": 0.28},
            flip_flops={"accumulator_bits": 2.212, "engines": 260.623, "operand_bits": 0.453},
            error=0.24,
        ),
        "gowin": Factors(
            luts={"accumulator_bits": 7.374, "engines": 450.735, "operand_bits": 4.204},
            flip_flops={"accumulator_bits": 2.219, "engines": 256.441, "operand_bits": 0.452},
            error=0.14,
        ),
        "ice40": Factors(
            luts={"accumulator_bits": 1.851, "engines": 291.783, "operand_bits": 0.26},
            flip_flops={"accumulator_bits": 1.577, "engines": 270.185, "operand_bits": 0.253},
            error=0.24,
        ),
    },
    "trees": {
        "ecp5": Factors(
            luts={"comparison_bits": 1.079, "stream_bits": 1.965, "sum_bits": 1.941},
            flip_flops={"comparison_bits": 0.275, "stream_bits": 0.818, "sum_bits": 2.06},
            error=0.16,
        ),
        "gowin": Factors(
            luts={"comparison_bits": 1.067, "stream_bits": 1.675, "sum_bits": 1.937},
            flip_flops={"comparison_bits": 0.275, "stream_bits": 0.818, "sum_bits": 2.06},
            error=0.13,
        ),
        "ice40": Factors(
            luts={"comparison_bits": 0.249, "stream_bits": 1.697, "sum_bits": 1.917},
            flip_flops={"comparison_bits": 0.275, "stream_bits": 0.818, "sum_bits": 2.06},
            error=0.27,
        ),
    },
}
