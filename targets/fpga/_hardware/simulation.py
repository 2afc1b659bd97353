"""Stream cores, run in a simulator over vectors of the integer model and compared with it, code by code."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from targets._target import TargetError
from targets.fpga._hardware.simulators import Design, simulated, simulator_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from targets.fpga._core import Core
    from targets.fpga._hardware.simulators import Simulator

    Codes = NDArray[np.int64]
    """Shape (samples, elements), in the order in which they go through the port."""

_TESTBENCHES = Path(__file__).with_name("testbenches")
_MANY_CYCLES = 100_000
"""From here on, what verilator saves is more than its compiler takes."""
_WAYS_IT_ENDS = {
    "silent": "the core stopped: no element went in or out any more",
    "surplus": "the core answered more elements than it has to",
    "withdrawn": "the core changed or took back an answer before it was taken",
    "undefined": "in_ready or out_valid is undefined after the reset",
}


class Mismatch(msgspec.Struct, frozen=True):
    """The first element on which hardware and integer model disagree."""

    vector: int
    element: int
    wanted: int
    got: int | None
    """None: no answer, or undefined bits."""
    reason: str = ""
    """What happened, where it is not a wrong code."""
    layer: str = ""
    """The layer that computes it wrong, where that was looked for."""


class Simulation(msgspec.Struct, frozen=True):
    """What one run over all vectors showed."""

    vectors: int
    matched: int
    """Vectors whose every code is right, up to the first that is not."""
    mismatch: Mismatch | None
    cycles: int
    latency_cycles: int
    """Of the first vector: from the edge that took its first element to that which gave its last answer."""
    interval_cycles: int
    """Between two vectors, on the average."""
    simulator: str
    """Name and version."""


class Stage(NamedTuple):
    """The network up to one layer, as a core of its own."""

    layer: str
    core: Core
    wanted: Codes
    """Of that layer, for the vectors on which it is run."""


class Source(NamedTuple):
    """What is simulated in place of a core's own files, such as its netlist and the models of its cells."""

    files: tuple[Path, ...]


def simulate(
    core: Core,
    inputs: Codes,
    wanted: Codes,
    *,
    pauses: int = 1,
    simulator: Simulator | Literal["auto"] = "auto",
    source: Source | None = None,
) -> Simulation:
    """The core over all vectors, compared with what the integer model says of them.

    Args:
        core: what is run.
        inputs: codes, shape (samples, core.in_count).
        wanted: codes, shape (samples, core.out_count).
        pauses: seed of the pauses that sender and receiver make at random; 0: none, which is how to measure latency.
        simulator: ``auto`` takes verilator for long runs where it is installed, else iverilog.
        source: what is run in place of the core's files, with the same ports.

    Raises:
        TargetError: no simulator (``fpga.simulator``), it refuses the sources (``fpga.verilog``), or it takes too long
            (``fpga.simulation-time``).
    """
    samples = len(inputs)
    if inputs.shape != (samples, core.in_count) or wanted.shape != (samples, core.out_count):
        raise ValueError(
            f"vectors don't fit the core: expected {core.in_count} in and {core.out_count} out, "
            f"got shapes {inputs.shape} and {wanted.shape}"
        )
    steps = core.in_count + core.out_count + core.latency_cycles + core.interval_cycles
    chosen = _chosen(simulator, samples * max(core.in_count, core.out_count, core.interval_cycles))
    design = Design(
        top="stream_tb",
        files=(_TESTBENCHES / "stream_tb.v", *(core.sources if source is None else source.files)),
        parameters={
            "IN_WIDTH": core.in_width,
            "OUT_WIDTH": core.out_width,
            "IN_COUNT": core.in_count,
            "OUT_COUNT": core.out_count,
            "SAMPLES": samples,
            "SEED": pauses,
            # A receiver that takes every eighth element lets a core stand still for that long.
            "PATIENCE": 1000 + 20 * steps,
        },
        folder=core.folder,
    )
    with tempfile.TemporaryDirectory(prefix="packtrain-sim-") as scratch:
        given, answers = Path(scratch, "in.hex"), Path(scratch, "out.txt")
        given.write_text(_hexadecimal(inputs, core.in_width), encoding="ascii")
        simulated(design, chosen, Path(scratch), {"in": given, "out": answers})
        lines = answers.read_text(encoding="ascii").splitlines()
    _, ending, cycles, _, latency, interval = lines[-1].split()
    mismatch = _compared(core, lines[:-1], wanted, ending)
    return Simulation(
        vectors=samples,
        matched=samples if mismatch is None else mismatch.vector,
        mismatch=mismatch,
        cycles=int(cycles),
        latency_cycles=int(latency),
        interval_cycles=int(interval),
        simulator=simulator_version(chosen),
    )


def require_match(simulation: Simulation, what: str) -> None:
    """Nothing, where hardware and integer model agree.

    Args:
        simulation: of all vectors.
        what: was simulated, such as ``RTL`` or ``netlist``.

    Raises:
        TargetError: they don't (``fpga.mismatch``); the message names the first element.
    """
    found = simulation.mismatch
    if found is None:
        return
    layer = f" of layer '{found.layer}'" if found.layer else ""
    got = found.reason or f"got {found.got}"
    raise TargetError(
        "fpga.mismatch",
        f"{what} does not match the integer model in vector {found.vector}, element {found.element}{layer}: "
        f"expected {found.wanted}, {got} ({simulation.matched} of {simulation.vectors} vectors matched before)",
        hint="this is a fault of packtrain or of the synthesis tools: please report it with the model",
    )


def first_wrong_layer(inputs: Codes, stages: Iterable[Stage]) -> Mismatch | None:
    """The first mismatch of the first stage that has one, with its layer; None: every stage is right.

    `stages` grow from the input on, and are made one by one, as only those up to the wrong one are needed.
    """
    for stage in stages:
        found = simulate(stage.core, inputs, stage.wanted).mismatch
        if found is not None:
            return msgspec.structs.replace(found, layer=stage.layer)
    return None


def _chosen(simulator: Simulator | Literal["auto"], cycles: int) -> Simulator:
    if simulator != "auto":
        return simulator
    return "verilator" if cycles > _MANY_CYCLES and simulator_version("verilator") else "iverilog"


def _hexadecimal(codes: Codes, width: int) -> str:
    """One code a line, in two's complement."""
    digits = -(-width // 4)
    return "\n".join(f"{int(code) & ((1 << width) - 1):0{digits}x}" for code in codes.ravel()) + "\n"


def _compared(core: Core, answers: Sequence[str], wanted: Codes, ending: str) -> Mismatch | None:
    flat: list[int] = wanted.ravel().tolist()
    for index, (line, right) in enumerate(zip(answers, flat, strict=False)):
        vector, element = divmod(index, core.out_count)
        text, last, _ = line.split()
        try:
            code = int(text, 16)
        except ValueError:
            return Mismatch(vector, element, right, None, f"got undefined bits ({text})")
        if core.out_signed and code >> (core.out_width - 1):
            code -= 1 << core.out_width
        if code != right:
            return Mismatch(vector, element, right, code)
        if last != str(int(element == core.out_count - 1)):
            return Mismatch(vector, element, right, code, f"got the right code with out_last = {last}")
    if ending == "complete" and len(answers) == len(flat):
        return None
    missing = min(len(answers), len(flat) - 1)
    vector, element = divmod(missing, core.out_count)
    return Mismatch(vector, element, flat[missing], None, _WAYS_IT_ENDS.get(ending, f"the run ended with '{ending}'"))
