"""Parity: the shipped file computes what the source model does. Always asked for, and never waived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.gates import GateResult
from packager.quantities import Limit, quantity_text

if TYPE_CHECKING:
    from manifests.manifest import ParitySection


def gate_parity(limit: Limit | None, parity: ParitySection, *, default: float) -> GateResult:
    """The largest relative difference of all outputs; `default` is the target's own limit."""
    bound = limit or Limit(quantity_text(default, "ratio"), default, "ratio")
    worst = max(parity.outputs, key=lambda entry: entry.max_relative)
    return GateResult(
        name="parity",
        limit=bound.text,
        value=worst.max_relative,
        unit="ratio",
        verdict="passed" if worst.max_relative <= bound.value else "failed",
        note=f"output '{worst.output}' on {parity.samples} samples ({parity.inputs})",
    )
