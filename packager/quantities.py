"""Limits as people write them: ``1%``, ``64 KB``, ``5 ms``."""

from __future__ import annotations

import math
import re
from typing import Literal, TypeAlias

import msgspec

Unit: TypeAlias = Literal["ratio", "share", "bytes", "ms"]
"""A share is a ratio of at most the whole."""

_FACTORS: dict[Unit, dict[str, float]] = {
    "ratio": {"": 1.0, "%": 1e-2, "ppm": 1e-6},
    "share": {"": 1.0, "%": 1e-2, "ppm": 1e-6},
    "bytes": {
        "": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
    },
    "ms": {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3},
}  # fmt: skip
_EXAMPLES: dict[Unit, str] = {
    "ratio": "'1%' or 0.01",
    "share": "'1%' or 0.01",
    "bytes": "'64 KB' or '64 KiB'",
    "ms": "'5 ms' or '2 s'",
}
_SMALLEST_PERCENTAGE = 1e-3
"""A smaller ratio is written as a number."""
_QUANTITY = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ%]*)\s*")


class QuantityError(ValueError):
    """What was written is no quantity of that unit.

    Attributes:
        hint: what was perhaps meant.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Limit(msgspec.Struct, frozen=True):
    """An upper bound."""

    text: str
    """As it was written."""
    value: float
    """In `unit`."""
    unit: Unit


def parse_limit(written: str | float, unit: Unit) -> Limit:
    """The limit that was written.

    KB, MB and GB are powers of 1000; KiB, MiB and GiB are powers of 1024. A bare number is a ratio or bytes; a time
    always says its unit. A share of 1 must be written as ``100%``: who writes 1 means one percent.

    Raises:
        QuantityError: it is not a quantity of that unit.
    """
    text = written.strip() if isinstance(written, str) else f"{written:g}"
    match = _QUANTITY.fullmatch(text)
    factor = _FACTORS[unit].get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise QuantityError(f"expected a quantity such as {_EXAMPLES[unit]}, got '{text}'")
    value = float(match[1].replace("_", "")) * factor
    if not math.isfinite(value):
        raise QuantityError(f"expected a finite quantity, got '{text}'")
    if unit == "share" and (value > 1 or (value == 1 and not match[2])):
        raise QuantityError(f"expected at most '100%', got '{text}'", hint="" if match[2] else f"write '{text}%'")
    return Limit(text, value, unit)


def quantity_text(value: float, unit: Unit) -> str:
    """A value as people read it."""
    if unit in {"ratio", "share"}:
        return f"{100 * value:.4g}%" if abs(value) >= _SMALLEST_PERCENTAGE or value == 0 else f"{value:.2g}"
    if unit == "ms":
        return f"{value:.3g} ms"
    for suffix, size in (("MB", 1e6), ("KB", 1e3)):
        if value >= size:
            return f"{value / size:.4g} {suffix}"
    return f"{value:.0f} B"
