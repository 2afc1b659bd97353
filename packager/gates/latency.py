"""Latency: how long one call takes on one thread of the machine that built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from packager.gates import GateResult

if TYPE_CHECKING:
    from packager.quantities import Limit


def gate_latency(
    name: Literal["latency_p50", "latency_p95"], limit: Limit, milliseconds: float, *, waiver: str
) -> GateResult:
    """A quantile of the calls' times."""
    failed = milliseconds > limit.value
    return GateResult(
        name=name,
        limit=limit.text,
        value=milliseconds,
        unit="ms",
        verdict=("waived" if waiver else "failed") if failed else "passed",
        waiver=waiver if failed else "",
        note="on the machine that built",
    )
