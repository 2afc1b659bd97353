"""A stream core: what a generator of hardware hands to simulation, synthesis and the interfaces of a board.

The module is called ``core`` and has these ports; `TOP` and `PORTS` name them for whoever writes or wraps one::

    module core(
        input clk, input rst,
        input in_valid, output in_ready, input [IN_WIDTH-1:0] in_data, input in_last,
        output out_valid, input out_ready, output [OUT_WIDTH-1:0] out_data, output out_last);

The rules are those of AMBA AXI4-Stream (IHI 0051A, 2.2): an element passes on a rising edge of ``clk`` where valid and
ready are both high, and who has raised valid keeps it and the data until then. One element a beat, in the tensor's
row-major order; ``in_last`` and ``out_last`` go with the last element of a sample. A sample may enter before the one
before has left. ``rst`` is synchronous and active high, and forgets every sample that is under way.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

TOP = "core"
"""The module's name."""
PORTS = (
    "clk",
    "rst",
    "in_valid",
    "in_ready",
    "in_data",
    "in_last",
    "out_valid",
    "out_ready",
    "out_data",
    "out_last",
)


class Core(msgspec.Struct, frozen=True, kw_only=True):
    """Verilog-2001 of one network, and what its ports carry."""

    folder: Path
    files: tuple[str, ...]
    """Verilog sources relative to `folder`, in the order in which to read them."""
    data: tuple[str, ...] = ()
    """What the sources read by ``$readmemh``, relative to `folder`; tools run with `folder` as their working folder."""
    in_width: int
    """Bits of an input's code."""
    in_count: int
    """Elements of a sample."""
    in_signed: bool
    out_width: int
    """Bits of an output's code."""
    out_count: int
    out_signed: bool
    latency_cycles: int
    """From the edge that takes a sample's first element to the one that gives its last output, nothing waiting."""
    interval_cycles: int
    """Between the first elements of two samples that follow each other, nothing waiting."""
    clock_hint: float = 0.0
    """MHz that the generator aimed at; 0: it had no goal."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """The Verilog files, in the order in which to read them."""
        return tuple(self.folder / name for name in self.files)


def element_bytes(width: int) -> int:
    """Bytes of an element of that many bits on a wire that carries bytes."""
    return -(-width // 8)
