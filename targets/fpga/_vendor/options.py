"""What ``[targets.fpga.hls]`` of ``pack.toml`` says, beside ``vendor``."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Vendor: TypeAlias = Literal["vitis", "quartus", "oneapi", "catapult", "libero"]


class Hls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hls4ml writes the project, and what the vendor's compiler must reach."""

    part: str = ""
    """The device by its vendor's name; empty: hls4ml's default for the vendor."""
    clock_mhz: Annotated[float, msgspec.Meta(gt=0, le=2000)] = 200.0
    """What the design must run at."""
    io: Literal["parallel", "stream"] = "parallel"
    """``parallel``: a whole tensor at once, for small dense networks; ``stream``: an element after another."""
    strategy: Literal["latency", "resource"] = "latency"
    """Which of the two hls4ml saves; ``resource`` shares multipliers between `reuse` products."""
    reuse: Annotated[int, msgspec.Meta(ge=1)] = 1
    """How many products one multiplier computes, one after another."""
    bits: Annotated[int, msgspec.Meta(ge=2, le=32)] = 16
    """Width of activations and weights; how many stand before the point is measured on the calibration data."""
    precision: str = ""
    """One fixed-point type for everything, such as ``fixed<16,6>``, instead of the measured ones."""
    softmax: Literal["host", "device"] = "host"
    """Who computes a final Softmax; on the device hls4ml's tables take part in what the gates compare."""
    synthesis: Literal["auto", "require", "never"] = "auto"
    """``auto``: where the vendor's compiler is on PATH; ``require``: a bundle without it fails."""
    hours: Annotated[float, msgspec.Meta(gt=0, le=72)] = 4.0
    """The longest that the vendor's compiler may take."""
