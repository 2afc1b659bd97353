"""From Verilog to a bitstream with Yosys, nextpnr and the programs that pack bitstreams, every step's report read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent.runtimes import _frames as frames
from targets._target import TargetError
from targets.fpga._core import Core
from targets.fpga._hardware.boards import Board, constraints
from targets.fpga._hardware.cells import Cells, placed_cells, require_fit, synthesised_cells
from targets.fpga._hardware.clocks import clock_from
from targets.fpga._hardware.devices import Device
from targets.fpga._hardware.interfaces import TOP, Interface, Link, uart_rate, write_top
from targets.fpga._hardware.tools import run, tool

if TYPE_CHECKING:
    from collections.abc import Sequence


_SECONDS = 3600
"""For each program."""
_MAPPING = "+&scorr;&sweep;&dc2;&dch,-f;&ps;&if,{C},{W},{D},{R},-v;&ps"
"""ABC9's own steps but for the last, ``&mfs``, which took minutes on a few hundred adders, and saved little."""
_NETLIST = "netlist.v"
_DESIGN = "design.json"
_STATISTICS = "statistics.json"
_REPORT = "placement.json"
_PLACERS = {"ecp5": "nextpnr-ecp5", "ice40": "nextpnr-ice40", "gowin": "nextpnr-himbaechel-gowin"}
_PACKERS = {"ecp5": "ecppack", "ice40": "icepack", "gowin": "gowin_pack"}
_PLACED = {"ecp5": "placed.config", "ice40": "placed.asc", "gowin": "placed.json"}
_BITSTREAMS = {"ecp5": "bitstream.bit", "ice40": "bitstream.bin", "gowin": "bitstream.fs"}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a design is built for."""

    device: Device
    board: Board | None = None
    """None: place and route choose the pins, to measure cells and clock, and no bitstream is made."""
    interface: Interface = "uart"
    clock_hz: int = 0
    """The goal; 0: the board's own clock."""
    baud: int = 0
    """Of a UART; 0: the fastest that the clock allows, up to 1 Mbaud."""
    identity: bytes = bytes(8)
    """What the board answers when it is asked which network it holds."""


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """A core with its interface, written down for one place."""

    core: Core
    place: Place
    link: Link
    folder: Path
    files: tuple[str, ...]
    """Verilog below `folder`, in reading order."""
    constraints: str = ""
    """Name of the file that ties ports to pins; empty: there is none."""


class Netlist(msgspec.Struct, frozen=True, kw_only=True):
    """What Yosys made of a design."""

    design: Design
    path: Path
    """Verilog of cells; the core is a module of its own in it."""
    cells: Cells
    counts: dict[str, int]
    """Cells by Yosys' own types."""
    version: str


class Trial(msgspec.Struct, frozen=True):
    """One placement."""

    seed: int
    mhz: float
    """The fastest clock that it bears, in the slowest corner that nextpnr knows."""


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A design that was placed and routed, and met its clock."""

    seed: int
    goal_mhz: float
    achieved_mhz: float
    trials: tuple[Trial, ...]
    """Every seed that was tried, the last one's result is this."""
    cells: Cells
    versions: dict[str, str]
    """Of every tool, by its name."""
    bitstream: Path | None


def write_design(core: Core, place: Place, folder: Path) -> Design:
    """The core, its interface and the constraints, as files in `folder`.

    Raises:
        TargetError: the board has no such interface, or the clock can't be had.
    """
    board, device = place.board, place.device
    if board is not None and device.name not in board.devices:
        raise TargetError(
            "fpga.board",
            f"board '{board.name}' has no device '{device.name}': expected {' or '.join(board.devices)}",
        )
    for path in (*core.files, *core.data):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / path).exists() or not (folder / path).samefile(core.folder / path):
            shutil.copyfile(core.folder / path, folder / path)
    if board is None and not place.clock_hz:
        raise TargetError("fpga.clock", "without a board there is no clock to go by", hint="set 'clock_mhz'")
    wanted = place.clock_hz or (board.clock_hz if board else 0)
    clock = clock_from(board.clock_hz if board else wanted, wanted, device.family, folder)
    baud = (place.baud or uart_rate(clock.hz)) if place.interface == "uart" else 0
    link = Link(interface=place.interface, clock_hz=clock.hz, baud=baud, identity=place.identity)
    fixed = {name: level for name, (_, level) in board.constants.items()} if board else {}
    files = write_top(core, link, folder, clock=clock.verilog, constants=fixed)
    name = ""
    if board is not None:
        name, text = constraints(board, place.interface, device.family)
        (folder / name).write_text(text, encoding="ascii")
    return Design(
        core=core, place=place, link=link, folder=folder, files=(*core.files, *clock.files, *files), constraints=name
    )


def synthesise(design: Design, *, seconds: int = _SECONDS) -> Netlist:
    """The netlist of a design.

    Raises:
        TargetError: Yosys is missing, refuses the design (``fpga.synthesis``), or takes too long; or the device lacks
            cells (``fpga.budget``).
    """
    device = design.place.device
    # On Gowin, whose LUTs combine up to eight inputs, the last step saves a third.
    script = [] if device.family == "gowin" else [f"scratchpad -set abc9.script {_MAPPING}"]
    script += [f"read_verilog {' '.join(design.files)}"]
    script += [f"{' '.join(device.synthesis)} -top {TOP}"]
    script += [f"{device.buffers} {TOP}"] if device.buffers else []
    script += [f"write_json {_DESIGN}", f"write_verilog -noattr {_NETLIST}", f"tee -q -o {_STATISTICS} stat -json"]
    run("yosys", ["-q", "-p", "; ".join(script)], design.folder, seconds=seconds, code="fpga.synthesis")
    counts = _statistics(design.folder / _STATISTICS)
    cells = synthesised_cells(counts, device.family)
    require_fit(cells, device, kind="synthesised")
    return Netlist(
        design=design, path=design.folder / _NETLIST, cells=cells, counts=counts, version=tool("yosys").version
    )


def place_and_route(netlist: Netlist, seeds: Sequence[int] = (1, 2, 4), *, seconds: int = _SECONDS) -> Placement:
    """The first placement in the seeds' order that meets the clock; with its bitstream where the board is known.

    Raises:
        TargetError: none does (``fpga.timing``), the device is full (``fpga.placement``), or a tool fails or takes too
            long.
    """
    design = netlist.design
    device = design.place.device
    goal = design.link.clock_hz / 1e6
    trials: list[Trial] = []
    for seed in seeds:
        report = _placed(design, seed, seconds)
        trials.append(Trial(seed, _slowest(report)))
        if trials[-1].mhz >= goal:
            break
    else:
        best = max(trials, key=lambda trial: trial.mhz)
        tried = ", ".join(f"{trial.mhz:.1f} with seed {trial.seed}" for trial in trials)
        raise TargetError(
            "fpga.timing",
            f"the clock is missed on '{device.name}': expected {goal:g} MHz, got {tried}",
            hint=f"lower 'clock_mhz' to {int(best.mhz)} or less, give more 'seeds', or raise 'reuse'",
        )
    versions = {name: tool(name).version for name in ("yosys", _PLACERS[device.family])}
    bitstream = None
    if design.constraints:
        packer = _PACKERS[device.family]
        bitstream = design.folder / _BITSTREAMS[device.family]
        _pack(design, packer, bitstream.name, seconds)
        versions[packer] = tool(packer).version
    return Placement(
        seed=trials[-1].seed,
        goal_mhz=goal,
        achieved_mhz=trials[-1].mhz,
        trials=tuple(trials),
        cells=placed_cells(report.utilization, device.family, netlist.cells),
        versions=versions,
        bitstream=bitstream,
    )


def host_link(design: Design, placement: Placement) -> frames.Link:
    """How a host speaks to the board: what ``link.json`` says.

    Raises:
        ValueError: there is no board, or no bitstream.
    """
    board, core, link = design.place.board, design.core, design.link
    if board is None or placement.bitstream is None:
        raise ValueError("a host speaks to a board with a bitstream alone")
    # The frames' module takes three cycles for an element on its way into the core.
    cycles = core.latency_cycles + 3 * core.in_count + core.out_count
    return frames.Link(
        interface=link.interface,
        baud=link.baud,
        timeout_ms=link.timeout_ms,
        compute_ms=round(1000 * cycles / link.clock_hz, 3),
        programmer=board.programmer,
        bitstream=placement.bitstream.name,
    )


class _Counts(msgspec.Struct):
    num_cells_by_type: dict[str, int]


class _Statistics(msgspec.Struct):
    """Of Yosys' ``stat -json``, what is read."""

    design: _Counts


class _Frequency(msgspec.Struct):
    achieved: float
    constraint: float


class _Report(msgspec.Struct):
    """Of nextpnr's ``--report``, what is read."""

    fmax: dict[str, _Frequency]
    utilization: dict[str, dict[str, int]]


def _statistics(path: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Statistics).design.num_cells_by_type
    except msgspec.DecodeError as error:
        raise TargetError("fpga.synthesis", f"Yosys' statistics can't be read: {error}") from error


def _placed(design: Design, seed: int, seconds: int) -> _Report:
    device = design.place.device
    arguments = [*device.placement, "--json", _DESIGN, "--report", _REPORT, "--seed", str(seed), "--quiet"]
    arguments += ["--freq", f"{design.link.clock_hz / 1e6:g}", "--timing-allow-fail"]
    placed, pins = _PLACED[device.family], design.constraints
    if device.family == "ecp5":
        arguments += ["--textcfg", placed, *(["--lpf", pins] if pins else ["--lpf-allow-unconstrained"])]
    elif device.family == "ice40":
        arguments += ["--asc", placed, *(["--pcf", pins] if pins else ["--pcf-allow-unconstrained"])]
    else:
        arguments += ["--write", placed, *(["--vopt", f"cst={pins}"] if pins else [])]
    run(_PLACERS[device.family], arguments, design.folder, seconds=seconds, code="fpga.placement")
    try:
        return msgspec.json.decode((design.folder / _REPORT).read_bytes(), type=_Report)
    except msgspec.DecodeError as error:
        raise TargetError("fpga.placement", f"nextpnr's report can't be read: {error}") from error


def _slowest(report: _Report) -> float:
    """MHz of the slowest clock; a design without a path from register to register has none, and bears any."""
    return min((entry.achieved for entry in report.fmax.values()), default=float("inf"))


def _pack(design: Design, packer: str, name: str, seconds: int) -> None:
    device = design.place.device
    placed = _PLACED[device.family]
    arguments = [*device.packing, "-o", name, placed] if device.family == "gowin" else [*device.packing, placed, name]
    run(packer, arguments, design.folder, seconds=seconds, code="fpga.bitstream")
