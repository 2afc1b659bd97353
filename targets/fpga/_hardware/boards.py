"""Boards whose pins are known: the constraints that nextpnr reads, and the clock that the board brings."""

from __future__ import annotations

import msgspec

from targets._target import TargetError
from targets.fpga._hardware.interfaces import Interface


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """One board."""

    name: str
    devices: tuple[str, ...]
    """What it is sold with; the first is assumed where nothing is said."""
    clock_hz: int
    clock_pin: str
    pins: dict[Interface, dict[str, str]]
    """Of each interface: the port of the top module and its pin."""
    constants: dict[str, tuple[str, int]] = {}
    """Outputs that the board needs at a fixed level: pin and level, by name."""
    programmer: str
    """The command that loads the bitstream, with ``{}`` for the file."""

    def ports(self, interface: Interface) -> dict[str, str]:
        """Every port of the top module with its pin.

        Raises:
            TargetError: that interface has no pins on this board.
        """
        if interface not in self.pins:
            raise TargetError(
                "fpga.board",
                f"board '{self.name}' has no pins for interface '{interface}': expected {' or '.join(self.pins)}",
                hint="give 'device' instead of 'board' to get the core and its report without a bitstream",
            )
        fixed = {name: pin for name, (pin, _) in self.constants.items()}
        return {"clk": self.clock_pin} | self.pins[interface] | fixed


# The maker's constraints, emard/ulx3s: doc/constraints/ulx3s_v20.lpf. The serial port is that of the USB socket US1;
# SPI is on the header J1: GP0 clock, GN0 select, GP1 from the master, GN1 to it. Without a high level on wifi_gpio0,
# the ESP32 on the board may take the FPGA over.
_ULX3S = Board(
    name="ulx3s",
    devices=("ecp5-85k", "ecp5-45k", "ecp5-25k"),
    clock_hz=25_000_000,
    clock_pin="G2",
    pins={
        "uart": {"rx": "M1", "tx": "L4"},
        "spi": {"sck": "B11", "cs_n": "C11", "mosi": "A10", "miso": "A11"},
    },
    constants={"wifi_gpio0": ("L2", 1)},
    programmer="openFPGALoader --board ulx3s {}",
)
# The makers' constraints, YosysHQ/icestorm: examples/icebreaker/icebreaker.pcf. The serial port is that of the USB
# socket; SPI is on the upper row of PMOD 1A, as Digilent's interface specification orders it (type 2: select, from
# the master, to the master, clock).
_ICEBREAKER = Board(
    name="icebreaker",
    devices=("ice40-up5k",),
    clock_hz=12_000_000,
    clock_pin="35",
    pins={
        "uart": {"rx": "6", "tx": "9"},
        "spi": {"cs_n": "4", "mosi": "2", "miso": "47", "sck": "45"},
    },
    programmer="openFPGALoader --board ice40_generic {}",
)
# Sipeed's boards, from the schematics at dl.sipeed.com: the serial port is that of the USB socket.
_TANG_NANO_9K = Board(
    name="tang-nano-9k",
    devices=("gowin-gw1nr-9c",),
    clock_hz=27_000_000,
    clock_pin="52",
    pins={"uart": {"rx": "18", "tx": "17"}},
    programmer="openFPGALoader --board tangnano9k {}",
)
_TANG_NANO_20K = Board(
    name="tang-nano-20k",
    devices=("gowin-gw2ar-18c",),
    clock_hz=27_000_000,
    clock_pin="4",
    pins={"uart": {"rx": "70", "tx": "69"}},
    programmer="openFPGALoader --board tangnano20k {}",
)
BOARDS = {board.name: board for board in (_ULX3S, _ICEBREAKER, _TANG_NANO_9K, _TANG_NANO_20K)}


def board_named(name: str) -> Board:
    """The board of that name.

    Raises:
        TargetError: there is none.
    """
    found = BOARDS.get(name)
    if found is None:
        raise TargetError(
            "fpga.board",
            f"board '{name}' is not known: expected {', '.join(BOARDS)}",
            hint="give 'device' instead, and pins of your own in the constraints file that the bundle has",
        )
    return found


def constraints(board: Board, interface: Interface, family: str) -> tuple[str, str]:
    """Name and text of the file that ties the top module's ports to the board's pins.

    Raises:
        TargetError: that interface has no pins on this board.
    """
    ports = board.ports(interface)
    if family == "ecp5":
        lines = [f'FREQUENCY PORT "clk" {board.clock_hz / 1e6:g} MHZ;']
        for port, pin in ports.items():
            pull = "NONE" if port == "clk" else "UP"
            lines += [f'LOCATE COMP "{port}" SITE "{pin}";', f'IOBUF PORT "{port}" PULLMODE={pull} IO_TYPE=LVCMOS33;']
        return f"{board.name}.lpf", "\n".join(lines) + "\n"
    if family == "gowin":
        lines = [
            line
            for port, pin in ports.items()
            for line in (f'IO_LOC "{port}" {pin};', f'IO_PORT "{port}" IO_TYPE=LVCMOS33 PULL_MODE=UP;')
        ]
        return f"{board.name}.cst", "\n".join(lines) + "\n"
    lines = [f"set_io {port} {pin}" for port, pin in ports.items()]
    lines.append(f"set_frequency clk {board.clock_hz / 1e6:g}")
    return f"{board.name}.pcf", "\n".join(lines) + "\n"
