"""The limits of the gates: what ``[gates]`` and a target's own ``gates`` say together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from packager.errors import ConfigError
from packager.quantities import Limit, QuantityError, parse_limit

if TYPE_CHECKING:
    from packager.quantities import Unit
    from packager.tables import GatesTable

_UNITS: dict[str, Unit] = {
    "parity": "ratio",
    "accuracy_drop": "share",
    "size": "bytes",
    "latency_p50": "ms",
    "latency_p95": "ms",
}
_Written: TypeAlias = str | float | int | None


class Gates(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one target: ``[gates]`` overridden by the target's own; None: not asked for."""

    parity: Limit | None = None
    accuracy_drop: Limit | None = None
    size: Limit | None = None
    latency_p50: Limit | None = None
    latency_p95: Limit | None = None
    waivers: dict[str, str] = {}


def combine_gates(shared: GatesTable, own: GatesTable, path: str) -> Gates:
    """The limits of the target whose table stands at `path`.

    Raises:
        ConfigError: one is no quantity, or a waiver has no reason.
    """
    limits = {}
    for field, unit in _UNITS.items():
        where, written = f"{path}.gates.{field}", getattr(own, field)
        if written is None:
            where, written = f"gates.{field}", getattr(shared, field)
        limits[field] = read_limit(where, written, unit)
    waivers: dict[str, str] = {}
    for name in own.waivers.__struct_fields__:
        reason = getattr(own.waivers, name)
        reason = getattr(shared.waivers, name) if reason is None else reason
        if reason is not None and not reason.strip():
            raise ConfigError("config.field", f"'gates.waivers.{name}' is empty", hint="write why it may be let pass")
        if reason is not None:
            waivers[name] = reason
    return Gates(waivers=waivers, **limits)


def read_limit(path: str, written: _Written, unit: Unit) -> Limit | None:
    """The limit that stands at `path`.

    Raises:
        ConfigError: it is no quantity of that unit.
    """
    if written is None:
        return None
    try:
        return parse_limit(written, unit)
    except QuantityError as error:
        raise ConfigError("config.field", f"'{path}': {error}", hint=error.hint) from error
