"""What the bundle says of itself: the report, the card, and the sections of the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import msgspec

from agent.runtimes._fixed.layers import Conv, Dense
from agent.runtimes._fixed.network import NETWORK_FILE, WEIGHTS_FILE
from manifests.digests import digest_file
from manifests.fpga import FpgaSection
from manifests.manifest import (
    FileSection,
    QuantizationSection,
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
    TensorSection,
)
from targets._target import Artifact
from targets.fpga._cost import weight_width
from targets.fpga._hardware.cells import Cells
from targets.fpga._search import Score
from targets.fpga._shipped import KIND
from targets.fpga._unrolled import products

if TYPE_CHECKING:
    from pathlib import Path

    from agent.runtimes._fixed.host import Port
    from manifests.section import DType
    from targets.fpga._architecture import Built
    from targets.fpga._convert import Made
    from targets.fpga._hardware.devices import Device
    from targets.fpga._hardware.simulation import Simulation
    from targets.fpga._hardware.synthesis import Placement
    from targets.fpga._options import Options

REPORT_FILE, CARD_FILE = "report.json", "card.md"
_MEDIA_TYPES = {
    ".json": "application/json",
    ".npz": "application/vnd.numpy.npz",
    ".v": "text/x-verilog",
    ".hex": "text/plain",
    ".md": "text/markdown",
}
_CLOCK_DIGITS = 2
_SURE = 1e-5
"""Relative error of the host's last steps in float64, shown as float32."""


class Synthesis(NamedTuple):
    """What the open tools made."""

    cells: Cells
    placement: Placement
    netlist_matched: int
    """Vectors that the netlist answered right; 0: it was not simulated."""
    bitstream: str
    constraints: str


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of the network of integers."""

    name: str
    source_node: str
    kind: str
    shape: tuple[int, ...]
    format: str
    """Of its output: s or u, bits left of the point, bits right of it."""
    weight_bits: int | None = None


class SearchReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the formats were found."""

    steering: Score
    test: Score
    """On calibration samples that the search never looked at."""
    held_back: bool
    """Whether there were enough samples to keep some for `test`."""
    uniform_bits: int
    """The narrowest width for all that stays within the limits."""
    tried: int


class SynthesisReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was synthesised, placed and timed."""

    cells: Cells
    seed: int
    seeds_tried: dict[str, float]
    """MHz by seed."""
    goal_mhz: float
    achieved_mhz: float
    netlist_vectors: int
    tools: dict[str, str]
    bitstream: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``report.json``."""

    device: str
    board: str
    interface: str
    architecture: str
    multipliers: int | None
    input_format: str
    host_before: tuple[str, ...]
    host_after: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    search: SearchReport | None
    leaf_error: float
    rtl_vectors: int
    simulator: str
    latency_cycles: int
    interval_cycles: int
    estimate: Cells
    """Before synthesis: an estimate."""
    synthesis: SynthesisReport | None
    """None: nothing was synthesised, and nothing is claimed but what the simulation of the RTL shows."""


def describe(  # noqa: PLR0913, PLR0917 - what convert found, each a thing of its own
    out: Path,
    options: Options,
    device: Device,
    clock_mhz: float,
    made: Made,
    built: Built,
    proof: Simulation,
    synthesis: Synthesis | None,
) -> Artifact:
    """The artifact whose files stand below `out`; its report and card are written here.

    clock_mhz: what was asked for.
    """
    report = _report(options, device, made, built, proof, synthesis)
    (out / REPORT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    (out / CARD_FILE).write_text("\n".join(_card(report)) + "\n", encoding="utf-8")
    network = made.network
    files = _files(out)
    return Artifact(
        files=files,
        signature=SignatureSection(inputs=(_tensor(network.accepts),), outputs=(_tensor(network.returns),)),
        runtime=RuntimeSection(
            kind=KIND,
            minimum="",
            entry=NETWORK_FILE,
            operators=tuple(sorted({_kind(layer) for layer in network.layers})),
        ),
        resources=ResourcesSection(
            disk_bytes=sum(file.size for file in files), macs=products(network), fpga=_figures(report, clock_mhz)
        ),
        quantization=QuantizationSection(
            scheme="ranks" if made.found is None else "fixed-point",
            calibration_samples=0 if made.samples is None else len(made.samples),
        ),
        golden_tolerance=(_SURE, _SURE),
        parity_limit=options.max_error,
        parity_measure="rms",
        notes=tuple(_notes(report)),
    )


def _report(
    options: Options,
    device: Device,
    made: Made,
    built: Built,
    proof: Simulation,
    synthesis: Synthesis | None,
) -> Report:
    network, found = made.network, made.found
    return Report(
        device=device.name,
        board=options.board,
        interface=options.interface,
        architecture=built.architecture,
        multipliers=built.multipliers,
        input_format=str(network.input.format),
        host_before=tuple(type(step).__name__ for step in network.before),
        host_after=tuple(type(step).__name__ for step in network.after),
        layers=tuple(
            LayerReport(
                name=layer.name,
                source_node=layer.source_node,
                kind=_kind(layer),
                shape=layer.output.shape,
                format=str(layer.output.format),
                weight_bits=weight_width(layer) if isinstance(layer, Dense | Conv) else None,
            )
            for layer in network.layers
        ),
        search=SearchReport(
            steering=found.steering,
            test=found.test,
            held_back=found.held_back,
            uniform_bits=found.uniform,
            tried=found.tried,
        )
        if found
        else None,
        leaf_error=made.leaf_error,
        rtl_vectors=proof.matched,
        simulator=proof.simulator,
        latency_cycles=proof.latency_cycles,
        interval_cycles=proof.interval_cycles,
        estimate=built.estimate,
        synthesis=_synthesis_report(synthesis) if synthesis else None,
    )


def _synthesis_report(synthesis: Synthesis) -> SynthesisReport:
    placement = synthesis.placement
    return SynthesisReport(
        cells=placement.cells,
        seed=placement.seed,
        seeds_tried={str(trial.seed): round(trial.mhz, _CLOCK_DIGITS) for trial in placement.trials},
        goal_mhz=placement.goal_mhz,
        achieved_mhz=round(placement.achieved_mhz, _CLOCK_DIGITS),
        netlist_vectors=synthesis.netlist_matched,
        tools=placement.versions,
        bitstream=synthesis.bitstream,
    )


def _figures(report: Report, clock_mhz: float) -> FpgaSection:
    """What the manifest says of the design."""
    simulator, _, version = report.simulator.partition(" ")
    estimated = FpgaSection(
        device=report.device,
        architecture=report.architecture,
        basis="estimate",
        clock_goal_mhz=round(clock_mhz, _CLOCK_DIGITS),
        cells=_counted(report.estimate),
        latency_cycles=report.latency_cycles,
        interval_cycles=report.interval_cycles,
        rtl_vectors=report.rtl_vectors,
        tools={simulator: version},
    )
    done = report.synthesis
    if done is None:
        return estimated
    return msgspec.structs.replace(
        estimated,
        basis="placed",
        clock_goal_mhz=round(done.goal_mhz, _CLOCK_DIGITS),
        clock_mhz=done.achieved_mhz,
        seed=done.seed,
        cells=_counted(done.cells),
        netlist_vectors=done.netlist_vectors,
        tools=done.tools | estimated.tools,
    )


def _counted(cells: Cells) -> dict[str, int]:
    """Cells by their kind, without the kinds of which there are none."""
    return {name: count for name, count in msgspec.structs.asdict(cells).items() if count}


def _notes(report: Report) -> list[str]:
    """What the user should know."""
    vectors = f"{report.rtl_vectors} vectors matched bit for bit in RTL ({report.simulator})"
    notes = [f"{report.architecture}, {report.latency_cycles} cycles a sample; {vectors}"]
    if report.search:
        test = report.search.test
        where = "held-back" if report.search.held_back else "calibration"
        classes = "" if test.changed is None else f", {test.changed} classes changed"
        notes.append(f"fixed point: error {test.error:.3g} on {test.samples} {where} samples{classes}")
    elif report.leaf_error:
        notes.append(f"thresholds are exact; a score is off by {report.leaf_error:.3g} at most")
    else:
        notes.append("thresholds and leaves are exact")
    if report.host_before or report.host_after:
        notes.append(f"the host computes {', '.join((*report.host_before, *report.host_after))}")
    if report.synthesis is None:
        cells = _cells(report.estimate)
        return [*notes, f"not synthesised; estimate for {report.device}: {cells or 'none'}"]
    done = report.synthesis
    reached = f"{done.achieved_mhz:g} MHz of {done.goal_mhz:g} MHz with seed {done.seed}"
    notes.append(f"{report.device}: {_cells(done.cells)}; {reached}")
    if not done.bitstream:
        notes.append("placed without a board's pins: no bitstream")
    if not done.netlist_vectors:
        notes.append("the netlist was not simulated")
    return notes


def _cells(cells: Cells) -> str:
    names = {"luts": "LUTs", "flip_flops": "flip-flops", "dsps": "multipliers", "memories": "blocks of RAM"}
    return ", ".join(f"{getattr(cells, field)} {name}" for field, name in names.items() if getattr(cells, field))


def _card(report: Report) -> list[str]:
    lines = ["# On an FPGA", "", *(f"- {note}" for note in _notes(report)), ""]
    lines += ["| layer | kind | shape | format | weights | ONNX node |", "|---|---|---|---|---|---|"]
    for layer in report.layers:
        bits = "" if layer.weight_bits is None else f"{layer.weight_bits} bits"
        shape = " x ".join(map(str, layer.shape))
        lines.append(f"| `{layer.name}` | {layer.kind} | {shape} | {layer.format} | {bits} | `{layer.source_node}` |")
    return lines


def _tensor(port: Port) -> TensorSection:
    return TensorSection(name=port.name, dtype=cast("DType", port.dtype), shape=(1, *port.shape))


def _kind(layer: object) -> str:
    return type(layer).__name__.lower()


def _files(out: Path) -> tuple[FileSection, ...]:
    """Every file below `out`, the network first."""
    roles: dict[str, Literal["model", "weights"]] = {NETWORK_FILE: "model", WEIGHTS_FILE: "weights"}
    paths = sorted(path for path in out.rglob("*") if path.is_file())
    names = sorted((path.relative_to(out).as_posix() for path in paths), key=lambda name: (name not in roles, name))
    return tuple(
        FileSection(
            path=name,
            role=roles.get(name, "other"),
            digest=digest_file(out / name),
            size=(out / name).stat().st_size,
            media_type=_MEDIA_TYPES.get((out / name).suffix, "application/octet-stream"),
        )
        for name in names
    )
