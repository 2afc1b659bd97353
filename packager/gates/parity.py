"""Parity: the shipped file computes what the source model does. Always asked for, and never waived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from packager.gates import GateResult
from packager.quantities import Limit, quantity_text

if TYPE_CHECKING:
    from manifests.manifest import OutputParity, ParitySection

_NAMES = {"max": "largest difference", "rms": "root mean square of the differences"}


def gate_parity(
    limit: Limit | None, parity: ParitySection, *, measure: Literal["max", "rms"], default: float
) -> GateResult:
    """The largest relative difference of all outputs, by the measure and, without a `limit`, the limit of the target.

    One value of a rounded model may move far where it is near a border, and says little of the others: such a target
    declares ``rms``.
    """
    bound = limit or Limit(quantity_text(default, "ratio"), default, "ratio")

    def measured(entry: OutputParity) -> float:
        return entry.max_relative if measure == "max" else entry.rms_relative

    worst = max(parity.outputs, key=measured)
    value = measured(worst)
    return GateResult(
        name="parity",
        limit=bound.text,
        value=value,
        unit="ratio",
        verdict="passed" if value <= bound.value else "failed",
        note=f"{_NAMES[measure]} of output '{worst.output}' on {parity.samples} samples ({parity.inputs})",
    )
