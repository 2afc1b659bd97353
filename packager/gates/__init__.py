"""What a bundle must hold before it exists: one gate a file, each a pure function of a limit and a measurement."""

from __future__ import annotations

from typing import Literal

import msgspec

from packager.quantities import Unit, quantity_text


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """One gate's verdict on one target."""

    name: str
    """``parity``, ``accuracy``, ``size``, ``latency_p50`` or ``latency_p95``."""
    limit: str
    """As it was written; the target's own default where nothing was."""
    value: float | None
    """What was measured, in `unit`; None: there was nothing to measure it on."""
    unit: Unit
    verdict: Literal["passed", "failed", "waived", "no-data"]
    waiver: str = ""
    """The reason why a failed gate was let pass."""
    note: str = ""
    """What the number alone does not say."""

    @property
    def measured(self) -> str:
        """The value as people read it; ``no data`` where there is none."""
        return "no data" if self.value is None else quantity_text(self.value, self.unit)
