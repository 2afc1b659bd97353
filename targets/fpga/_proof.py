"""Proof that hardware computes what the network of integers says: every code of every vector, in RTL and netlist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
import numpy as np

from targets.fpga._hardware.simulation import require_match, simulate
from targets.fpga._hardware.simulators import simulator_version

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.runtimes._fixed.formats import Codes
    from agent.runtimes._fixed.network import Network
    from targets.fpga._core import Core
    from targets.fpga._hardware.simulation import Simulation, Source
    from targets.fpga._hardware.simulators import Simulator

_RANDOM = 4
"""One vector in so many is random codes, which reach what no sample does."""
_TIMED = 3
"""Vectors of the run that measures latency and interval."""
_BUSY = 2_000_000
"""Adder bits times vectors from which on a compiled simulation is done sooner, its compilation included."""
_SEED = 7


class Vectors(NamedTuple):
    """Codes of the input and of the output, shapes (vectors, elements)."""

    inputs: Codes
    outputs: Codes


def make_vectors(network: Network, samples: NDArray[np.generic] | None, count: int) -> Vectors:
    """`count` vectors: calibration samples, evenly picked; random codes; all codes the lowest, and the highest.

    Without samples all are random but the last two.
    """
    form, shape = network.input.format, network.input.shape
    generator = np.random.default_rng(_SEED)
    extremes = np.stack([np.full(shape, form.low), np.full(shape, form.high)])
    real = 0 if samples is None else min(count - 2 - count // _RANDOM, len(samples))
    random = generator.integers(form.low, form.high, (count - 2 - real, *shape), endpoint=True)
    parts = [random, extremes]
    if samples is not None and real:
        parts.insert(0, network.encode(samples[np.linspace(0, len(samples) - 1, real).astype(np.int64)]))
    inputs = np.concatenate(parts)
    return Vectors(inputs.reshape(count, -1), network.run(inputs).reshape(count, -1))


def prove(
    core: Core, vectors: Vectors, weight: int, what: Literal["RTL", "netlist"], source: Source | None = None
) -> Simulation:
    """The run over all vectors, with pauses on both sides, in which every code was right; latency is that without any.

    `weight` is about how much logic a cycle has, in bits.

    Raises:
        TargetError: a code is wrong (``fpga.mismatch``), or there is no simulator.
    """
    simulator = _simulator(weight * len(vectors.inputs))
    found = simulate(core, vectors.inputs, vectors.outputs, simulator=simulator, source=source)
    require_match(found, what)
    if what == "netlist":
        return found
    timed = Vectors(vectors.inputs[:_TIMED], vectors.outputs[:_TIMED])
    straight = simulate(core, *timed, pauses=0, simulator=simulator, source=source)
    require_match(straight, what)
    return msgspec.structs.replace(
        found, latency_cycles=straight.latency_cycles, interval_cycles=straight.interval_cycles
    )


def _simulator(work: int) -> Simulator | Literal["auto"]:
    return "verilator" if work > _BUSY and simulator_version("verilator") else "auto"
