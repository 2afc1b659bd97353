"""What a design takes of an FPGA and what it was proved to do: `resources.fpga` of the manifest (SPEC 3.8.4)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from manifests.section import Section, Size


class FpgaSection(Section, frozen=True, kw_only=True):
    """A design's size, speed and proof (since 1.2)."""

    device: str
    """Such as ``ecp5-25k``, or the vendor's part; empty: the part that the vendor's flow takes by itself."""
    architecture: str
    """How the network became hardware: such as ``unrolled``, ``sequential``, ``trees``, or a vendor's strategy."""
    basis: Literal["estimate", "synthesised", "placed"]
    """Where `cells` come from: an estimate ahead of synthesis, the compiler of a vendor, or place and route."""
    clock_goal_mhz: Annotated[float, msgspec.Meta(gt=0)]
    """What was asked for."""
    clock_mhz: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """What the design reaches by timing analysis."""
    seed: Size | None = None
    """Of the placement."""
    cells: dict[str, Size] = msgspec.field(default_factory=dict)
    """How many of each kind it takes, such as ``luts``, ``flip_flops``, ``dsps``, ``memories``, or a vendor's names."""
    latency_cycles: Size | None = None
    """From a sample's first element to its last answer."""
    interval_cycles: Size | None = None
    """Between two samples that follow each other."""
    rtl_vectors: Size = 0
    """Samples that the simulated Verilog answered bit for bit."""
    netlist_vectors: Size = 0
    """Those that the simulated netlist did."""
    tools: dict[str, str] = msgspec.field(default_factory=dict)
    """Name to version, of what made and simulated it."""
