"""Latency: how long one call takes on one thread of the machine that built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from packager.gates import GateResult

if TYPE_CHECKING:
    from packager.measures.latency import Latency
    from packager.quantities import Limit

_QUIET = 0.5
"""Processors that others may keep busy before it is worth a word."""


def gate_latency(
    name: Literal["latency_p50", "latency_p95"], limit: Limit, latency: Latency, *, waiver: str
) -> GateResult:
    """A quantile of the calls' times; the note says when the machine was not quiet."""
    milliseconds = latency.p50 if name == "latency_p50" else latency.p95
    failed = milliseconds > limit.value
    return GateResult(
        name=name,
        limit=limit.text,
        value=milliseconds,
        unit="ms",
        verdict=("waived" if waiver else "failed") if failed else "passed",
        waiver=waiver if failed else "",
        note="on the machine that built" + _beside(latency),
    )


def _beside(latency: Latency) -> str:
    others = latency.others or 0.0
    if latency.alone and others < _QUIET:
        return ""
    return f", beside {others:g} busy processors" if others else ", beside other conversions"
