"""The clock of a design: the board's own, or one that a PLL makes of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from targets._target import TargetError
from targets.fpga._hardware.tools import run

if TYPE_CHECKING:
    from pathlib import Path

    from targets.fpga._hardware.devices import Family

_SECONDS = 300
_CLOSE = 0.02
"""A clock that is faster than asked by more would be another goal."""
_PLL_FILE = "packtrain_pll.v"


class Clock(NamedTuple):
    """How the design gets its clock."""

    hz: int
    """What it really is."""
    verilog: str
    """Lines of the top module that make ``clock`` and ``locked`` of ``clk``; empty: ``clk`` it is."""
    files: tuple[str, ...]
    """Written for it."""


def clock_from(board_hz: int, wanted_hz: int, family: Family, folder: Path) -> Clock:
    """The clock that is wanted, or the nearest that the device's PLL makes; its module is written to `folder`.

    Raises:
        TargetError: the PLL has nothing near it (``fpga.clock``), or the tools are missing.
    """
    if abs(wanted_hz - board_hz) < 1:
        return Clock(board_hz, "", ())
    have, want = f"{board_hz / 1e6:g}", f"{wanted_hz / 1e6:g}"
    if family == "ecp5":
        told = _told("ecppll", ["-i", have, "-o", want, "-n", "packtrain_pll", "-f", _PLL_FILE], folder)
        ports = "    packtrain_pll pll (.clkin(clk), .clkout0(clock), .locked(locked));\n"
        found = re.search(r"clkout0 frequency:\s*([\d.]+)", told, re.IGNORECASE)
    elif family == "ice40":
        # The pin of an oscillator belongs to the PLL: the one that takes its clock from within has no place beside it.
        told = _told("icepll", ["-i", have, "-o", want, "-p", "-m", "-n", "packtrain_pll", "-f", _PLL_FILE], folder)
        ports = "    packtrain_pll pll (.clock_in(clk), .clock_out(clock), .locked(locked));\n"
        found = re.search(r"F_PLLOUT:\s*([\d.]+) MHz \(achieved\)", told)
    else:
        raise TargetError(
            "fpga.clock",
            f"a clock of {want} MHz can't be made: the board has {have} MHz, and no PLL is known here",
            hint=f"set 'clock_mhz' to {have}",
        )
    achieved = round(float(found.group(1)) * 1e6) if found else 0
    if not achieved or abs(achieved / wanted_hz - 1) > _CLOSE:
        raise TargetError(
            "fpga.clock",
            f"the device's PLL makes no clock near {want} MHz from {have} MHz: nearest is {achieved / 1e6:g} MHz",
            hint=f"set 'clock_mhz' to {achieved / 1e6:g}" if achieved else f"set 'clock_mhz' to {have}",
        )
    return Clock(achieved, f"    wire clock, locked;\n{ports}", (_PLL_FILE,))


def _told(name: str, arguments: list[str], folder: Path) -> str:
    return run(name, arguments, folder, seconds=_SECONDS, code="fpga.clock")
