"""``[targets.fpga]`` of ``pack.toml``."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from targets.fpga._vendor.options import Hls, Vendor


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.fpga]`` of ``pack.toml``."""

    device: str = ""
    """Such as ``ecp5-25k``; empty: the one of the board, and without a board ``ecp5-85k``."""
    board: str = ""
    """Such as ``ulx3s``: its pins and its clock. Without one there is no bitstream."""
    interface: Literal["uart", "spi", "stream"] = "uart"
    """How samples get in and answers out; ``stream``: the core's own ports, to be built into another design."""
    clock_mhz: Annotated[float, msgspec.Meta(ge=0, le=500)] = 0
    """What the design must run at; 0: the board's clock, and without a board 25."""
    bits: Annotated[int, msgspec.Meta(ge=2, le=24)] = 12
    """The widest format of weights and of values; the search narrows it. Of trees: of the leaves."""
    max_error: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    """What rounding may cost: root mean square of the differences over that of the output."""
    max_drop: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    """The largest share of calibration samples whose class may change, where the output holds classes."""
    architecture: Literal["auto", "unrolled", "sequential"] = "auto"
    """``unrolled``: every product written out; ``sequential``: layers take turns at few multipliers; ``auto``: the
    first where it fits, else the second."""
    reuse: Annotated[int, msgspec.Meta(ge=1)] | Literal["auto"] = "auto"
    """How many products of a position one multiplier of a sequential design computes; ``auto``: what the device has."""
    synthesis: Literal["estimate", "placed", "bitstream"] = "estimate"
    """``estimate``: cells are estimated; ``placed``: synthesised, placed and timed; ``bitstream``: for a board, too."""
    netlist: bool = True
    """Whether what synthesis made is simulated over the vectors, too."""
    seeds: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    """How many placements are tried until one meets the clock."""
    vectors: Annotated[int, msgspec.Meta(ge=4, le=100_000)] = 48
    """Samples over which hardware is compared with the network of integers, bit for bit."""
    host_tail: bool = True
    """Whether a last Softmax, Sigmoid or ArgMax may move to the host."""
    vendor: Literal[""] | Vendor = ""
    """Whose tools build it instead of the open ones, by hls4ml: see `hls`."""
    hls: Hls = Hls()
    """For `vendor` alone."""
