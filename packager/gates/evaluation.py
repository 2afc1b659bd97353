"""All gates of one target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.gates.accuracy import gate_accuracy
from packager.gates.latency import gate_latency
from packager.gates.parity import gate_parity
from packager.gates.size import gate_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packager.gates import GateResult
    from packager.jobs.conversion import Conversion
    from packager.limits import Gates


def evaluate_gates(gates: Gates, made: Conversion, *, evaluated: bool) -> tuple[GateResult, ...]:
    """Parity, and what the project asks for; nothing is measured here, so a changed limit costs nothing.

    `evaluated` says whether the project has evaluation data.
    """
    artifact = made.artifact
    results = [gate_parity(gates.parity, made.parity, measure=artifact.parity_measure, default=artifact.parity_limit)]
    waivers = gates.waivers
    waiver = waivers.get("accuracy", "")
    accuracy = gate_accuracy(gates.accuracy_drop, made.scores, waiver=waiver, evaluated=evaluated)
    if accuracy is not None:
        results.append(accuracy)
    if gates.size is not None:
        results.append(gate_size(gates.size, made.artifact.resources.disk_bytes, waiver=waivers.get("size", "")))
    if gates.latency_p50 is not None:
        waiver = waivers.get("latency_p50", "")
        results.append(gate_latency("latency_p50", gates.latency_p50, made.latency, waiver=waiver))
    if gates.latency_p95 is not None:
        waiver = waivers.get("latency_p95", "")
        results.append(gate_latency("latency_p95", gates.latency_p95, made.latency, waiver=waiver))
    return tuple(results)


def gate_notes(results: Iterable[GateResult]) -> tuple[str, ...]:
    """Which limits there was nothing to hold against."""
    return tuple(
        f"the limit of {result.limit} on {result.name} was not checked: {result.note}"
        for result in results
        if result.verdict == "no-data" and result.limit
    )
