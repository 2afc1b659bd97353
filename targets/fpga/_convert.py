"""From the source model to the artifact: read, find the formats, write hardware, prove it, synthesise, describe."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx

from agent.runtimes._fixed.network import network_identity, write_arrays, write_network
from agent.runtimes._frames import write_link
from targets._target import TargetError
from targets.fpga._architecture import build, leaning
from targets.fpga._description import Synthesis, describe
from targets.fpga._hardware.boards import board_named
from targets.fpga._hardware.conversations import Board as SimulatedBoard
from targets.fpga._hardware.conversations import require_answers
from targets.fpga._hardware.devices import device_named
from targets.fpga._hardware.netlists import design_source, netlist_source
from targets.fpga._hardware.synthesis import Place, host_link, place_and_route, synthesise, write_design
from targets.fpga._proof import make_vectors, prove
from targets.fpga._reading import read_model, source_of
from targets.fpga._search import Limits, search
from targets.fpga._trees import is_trees, read_trees, unsupported_trees

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.runtimes._fixed.network import Network
    from targets._target import Arrays, Artifact, Finding
    from targets.fpga._architecture import Built
    from targets.fpga._hardware.boards import Board
    from targets.fpga._hardware.devices import Device
    from targets.fpga._options import Options
    from targets.fpga._proof import Vectors
    from targets.fpga._search import Found

VECTORS_FILE = "vectors.npz"
RTL_FOLDER = "rtl"
_SPOKEN = 2
"""Vectors that are asked of the whole board, by the bits of its interface."""
_DEVICE, _CLOCK_MHZ = "ecp5-85k", 25.0


class Made(NamedTuple):
    """The network, and how it was found."""

    network: Network
    found: Found | None
    """None: a tree ensemble, of which nothing is searched."""
    leaf_error: float
    samples: NDArray[np.generic] | None


def findings(model: onnx.ModelProto, options: Options) -> list[Finding]:
    """Every node that can't be taken."""
    if options.vendor:
        from targets.fpga._vendor.source import unsupported_nodes

        return unsupported_nodes(model)
    source = source_of(model)
    return unsupported_trees(source) if is_trees(source) else read_model(model, host_tail=options.host_tail).findings


def convert(model: Path, options: Options, calibration: Arrays | None, out: Path) -> Artifact:
    """The artifact of a model file, written below `out`."""
    board, device = place_of(options)
    clock = options.clock_mhz or (board.clock_hz / 1e6 if board else _CLOCK_MHZ)
    made = _network(onnx.load(model), options, device, calibration)
    write_network(made.network, out)
    vectors = make_vectors(made.network, made.samples, options.vectors)
    write_arrays(out / VECTORS_FILE, {"inputs": vectors.inputs, "outputs": vectors.outputs})
    rtl = out / RTL_FOLDER
    rtl.mkdir()
    built = build(made.network, options, device, clock, rtl)
    proof = prove(built.core, vectors, built.estimate.luts, "RTL")
    synthesis = None
    if options.synthesis != "estimate":
        place = Place(
            device=device,
            board=board,
            interface=options.interface,
            clock_hz=round(clock * 1e6),
            identity=network_identity(out),
        )
        synthesis = _synthesised(built, place, vectors, options, out)
    return describe(out, options, device, clock, made, built, proof, synthesis)


def place_of(options: Options) -> tuple[Board | None, Device]:
    """The board, where one is asked for, and the device.

    Raises:
        TargetError: one is not known, they don't go together, or a bitstream is asked for without a board.
    """
    board = board_named(options.board) if options.board else None
    device = device_named(options.device or (board.devices[0] if board else _DEVICE))
    if board is not None and device.name not in board.devices:
        raise TargetError(
            "fpga.board",
            f"board '{board.name}' has no device '{device.name}': expected {' or '.join(board.devices)}",
        )
    if options.synthesis == "bitstream" and board is None:
        raise TargetError(
            "fpga.board",
            "a bitstream is for the pins of a board, and none is given",
            hint="set targets.fpga.board, or synthesis = 'placed' for cells and clock without a bitstream",
        )
    return board, device


def _network(model: onnx.ModelProto, options: Options, device: Device, calibration: Arrays | None) -> Made:
    source = source_of(model)
    if is_trees(source):
        _refuse(unsupported_trees(source))
        trees = read_trees(source, options.bits)
        samples = None if calibration is None else np.asarray(calibration[source.inputs[0]])
        return Made(trees.network, None, trees.error, samples)
    reading = read_model(model, host_tail=options.host_tail)
    _refuse(reading.findings)
    samples = _samples(calibration, reading.accepts.name, reading.accepts.shape)
    _, cost = leaning(sum(layer.macs for layer in reading.layers.values()), options, device)
    limits = Limits(options.max_error, options.max_drop)
    found = search(reading, samples, limits, options.bits, cost)
    return Made(found.network, found, 0.0, samples)


def _refuse(found: list[Finding]) -> None:
    if not found:
        return
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    raise TargetError(
        "fpga.operators",
        f"node '{first.node}' ({first.operator}) can't be expressed{more}: {first.reason}",
        hint=first.hint or "pack plan lists every such node",
    )


def _samples(calibration: Arrays | None, name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    if calibration is None:
        raise TargetError(
            "fpga.calibration",
            "formats are chosen by what passes through the network, and there is no calibration data",
            hint="give `calibration` in [data]",
        )
    samples = np.asarray(calibration[name])
    if samples.shape[1:] != shape or not len(samples):
        raise TargetError(
            "fpga.calibration",
            f"calibration data of input '{name}' does not fit: expected {['samples', *shape]}, "
            f"got {list(samples.shape)}",
        )
    return samples


def _synthesised(built: Built, place: Place, vectors: Vectors, options: Options, out: Path) -> Synthesis:
    """What the open tools made of it; the netlist is simulated, and the files that a board needs go into `out`."""
    with tempfile.TemporaryDirectory(prefix="packtrain-fpga-") as scratch:
        design = write_design(built.core, place, Path(scratch))
        for name in design.files:
            (out / RTL_FOLDER / name).write_bytes((design.folder / name).read_bytes())
        if place.interface != "stream":
            simulated = SimulatedBoard(source=design_source(design), link=design.link, folder=design.folder)
            require_answers(simulated, built.core, vectors.inputs[:_SPOKEN], vectors.outputs[:_SPOKEN])
        netlist = synthesise(design)
        matched = 0
        if options.netlist:
            weight = netlist.cells.luts * 4
            matched = prove(built.core, vectors, weight, "netlist", netlist_source(netlist)).matched
        placement = place_and_route(netlist, tuple(range(1, options.seeds + 1)))
        for path in (placement.bitstream, design.folder / design.constraints if design.constraints else None):
            if path is not None:
                (out / path.name).write_bytes(path.read_bytes())
        if placement.bitstream is not None:
            write_link(host_link(design, placement), out)
        bitstream = placement.bitstream.name if placement.bitstream else ""
        return Synthesis(netlist.cells, placement, matched, bitstream, design.constraints)
