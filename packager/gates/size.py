"""Size: what the model's files take on the device's disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.gates import GateResult

if TYPE_CHECKING:
    from packager.quantities import Limit


def gate_size(limit: Limit, disk_bytes: int, *, waiver: str) -> GateResult:
    """Bytes of the files that the target made; golden samples don't count."""
    failed = disk_bytes > limit.value
    return GateResult(
        name="size",
        limit=limit.text,
        value=float(disk_bytes),
        unit="bytes",
        verdict=("waived" if waiver else "failed") if failed else "passed",
        waiver=waiver if failed else "",
    )
