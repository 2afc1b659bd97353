"""What a design takes of a device: counted by Yosys, by nextpnr, or estimated; and whether it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets.fpga._hardware.devices import Device, Family

_LUTS: dict[Family, dict[str, int]] = {
    # A carry cell takes two LUTs' places, a RAM of 16 x 4 bits six: nextpnr's packing of ECP5.
    "ecp5": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
    "ice40": {"SB_LUT4": 1},
    "gowin": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1, "RAM16SDP4": 8, "RAM16S4": 4},
}
_FLIP_FLOPS: dict[Family, tuple[str, ...]] = {"ecp5": ("TRELLIS_FF",), "ice40": ("SB_DFF",), "gowin": ("DFF",)}
_DSPS: dict[Family, tuple[str, ...]] = {"ecp5": ("MULT18X18D",), "ice40": ("SB_MAC16",), "gowin": ("MULT",)}
_MEMORIES: dict[Family, tuple[str, ...]] = {
    "ecp5": ("DP16KD",),
    "ice40": ("SB_RAM40_4K",),
    "gowin": ("SP", "SPX9", "SDP", "SDPX9", "DP", "DPX9", "pROM"),
}
_PLACED: dict[Family, dict[str, tuple[str, ...]]] = {
    "ecp5": {
        "luts": ("TRELLIS_COMB",),
        "flip_flops": ("TRELLIS_FF",),
        "dsps": ("MULT18X18D",),
        "memories": ("DP16KD",),
    },
    # A logic cell is a LUT with its flip-flop.
    "ice40": {"luts": ("ICESTORM_LC",), "dsps": ("ICESTORM_DSP",), "memories": ("ICESTORM_RAM",)},
    "gowin": {
        "luts": ("LUT4", "ALU", "RAM16SDP4"),
        "flip_flops": ("DFF",),
        "dsps": ("MULT18X18", "MULT9X9"),
        "memories": ("BSRAM",),
    },
}
_NAMES = {"luts": "LUTs", "flip_flops": "flip-flops", "dsps": "multipliers", "memories": "blocks of RAM"}


class Cells(msgspec.Struct, frozen=True, kw_only=True):
    """What a design takes, in the units of `Device`."""

    luts: int = 0
    flip_flops: int = 0
    dsps: int = 0
    memories: int = 0


def synthesised_cells(counts: Mapping[str, int], family: Family) -> Cells:
    """From the counts of a netlist's cells by their type."""

    def total(types: tuple[str, ...], *, by_prefix: bool) -> int:
        return sum(
            number for name, number in counts.items() if (name.startswith(types) if by_prefix else name in types)
        )

    return Cells(
        luts=sum(weight * counts.get(name, 0) for name, weight in _LUTS[family].items()),
        flip_flops=total(_FLIP_FLOPS[family], by_prefix=True),
        dsps=total(_DSPS[family], by_prefix=True),
        memories=total(_MEMORIES[family], by_prefix=False),
    )


def placed_cells(utilization: Mapping[str, Mapping[str, int]], family: Family, synthesised: Cells) -> Cells:
    """From nextpnr's report; flip-flops that it does not count apart are those of the netlist."""
    counts = {
        field: sum(utilization[name]["used"] for name in names if name in utilization)
        for field, names in _PLACED[family].items()
    }
    return Cells(**({"flip_flops": synthesised.flip_flops} | counts))


def require_fit(cells: Cells, device: Device, *, kind: str) -> None:
    """Nothing, where the device has all that the cells need.

    Args:
        cells: what is needed.
        device: what there is.
        kind: how `cells` are known: ``estimated`` or ``synthesised``.

    Raises:
        TargetError: it lacks some (``fpga.budget``).
    """
    over = [
        f"{getattr(cells, field)} {name} of {getattr(device, field)}"
        for field, name in _NAMES.items()
        if getattr(cells, field) > getattr(device, field)
    ]
    if over:
        raise TargetError(
            "fpga.budget",
            f"the design does not fit '{device.name}': {kind}, it needs {', '.join(over)}",
            hint="raise 'reuse', lower 'bits', or choose a larger device",
        )
