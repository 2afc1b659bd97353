"""The FPGAs that the open flow builds for: what they have, and how the tools call them."""

from __future__ import annotations

from typing import Literal

import msgspec

from targets._target import TargetError

Family = Literal["ecp5", "ice40", "gowin"]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One FPGA in one package."""

    name: str
    family: Family
    luts: int
    """Look-up tables of four inputs."""
    flip_flops: int
    dsps: int
    """Multipliers of 18 x 18 bits (ECP5, Gowin) or 16 x 16 bits (iCE40)."""
    memories: int
    """Blocks of RAM, of `memory_bits` each."""
    memory_bits: int
    synthesis: tuple[str, ...]
    """Arguments of Yosys' ``synth_...``."""
    buffers: str = ""
    """Yosys' command that puts buffers at the pins of the top module, where nextpnr does not."""
    placement: tuple[str, ...]
    """Arguments of nextpnr that name chip, package and speed grade."""
    packing: tuple[str, ...] = ()
    """Arguments of the program that writes the bitstream."""


def _ecp5(size: str, luts: int, dsps: int, memories: int) -> Device:
    """Lattice's FPGA-DS-02012, table 1.1; the counts of LUTs are those of Project Trellis' database."""
    return Device(
        name=f"ecp5-{size}",
        family="ecp5",
        luts=luts,
        flip_flops=luts,
        dsps=dsps,
        memories=memories,
        memory_bits=18432,
        synthesis=("synth_ecp5",),
        placement=(f"--{size}", "--package", "CABGA381", "--speed", "6"),
    )


def _gowin(name: str, part: str, family: str, sizes: tuple[int, int, int], synthesis: str) -> Device:
    """Gowin's DS117 (GW1NR) and DS226 (GW2AR), table 1-1; `sizes`: LUTs, flip-flops, blocks of RAM."""
    luts, flip_flops, memories = sizes
    return Device(
        name=name,
        family="gowin",
        luts=luts,
        flip_flops=flip_flops,
        # apycula's DSPs are new, and have no model to be simulated by: multipliers are built of LUTs.
        dsps=0,
        memories=memories,
        memory_bits=18432,
        # Buffers of pins are asked for apart, as they would be put around the core too, which is a module of its own.
        synthesis=("synth_gowin", "-family", synthesis, "-nodsp", "-noiopads"),
        buffers="iopadmap -bits -inpad IBUF O:I -outpad OBUF I:O",
        placement=("--device", part, "--vopt", f"family={family}"),
        packing=("-d", family),
    )


def _ice40(name: str, luts: int, memories: int, dsps: int, package: str) -> Device:
    """Lattice's FPGA-DS-02029 (LP/HX) and FPGA-DS-02008 (UltraPlus), table 1.1 of each."""
    kind = name.removeprefix("ice40-")
    dsp = ("-dsp",) if dsps else ()
    return Device(
        name=name,
        family="ice40",
        luts=luts,
        flip_flops=luts,
        dsps=dsps,
        memories=memories,
        memory_bits=4096,
        synthesis=("synth_ice40", "-device", "u" if dsps else "hx", *dsp),
        placement=(f"--{kind}", "--package", package),
    )


DEVICES = {
    device.name: device
    for device in (
        _ecp5("25k", 24288, 28, 56),
        _ecp5("45k", 43848, 72, 108),
        _ecp5("85k", 83640, 156, 208),
        _ice40("ice40-hx8k", 7680, 32, 0, "ct256"),
        _ice40("ice40-up5k", 5280, 30, 8, "sg48"),
        _gowin("gowin-gw1nr-9c", "GW1NR-LV9QN88PC6/I5", "GW1N-9C", (8640, 6480, 26), "gw1n"),
        _gowin("gowin-gw2ar-18c", "GW2AR-LV18QN88C8/I7", "GW2A-18C", (20736, 15552, 46), "gw2a"),
    )
}


def device_named(name: str) -> Device:
    """The device of that name.

    Raises:
        TargetError: there is none.
    """
    found = DEVICES.get(name)
    if found is None:
        raise TargetError(
            "fpga.device",
            f"device '{name}' is not known: expected {', '.join(DEVICES)}",
            hint="for another device, let a vendor's tools build it: the option 'vendor'",
        )
    return found
