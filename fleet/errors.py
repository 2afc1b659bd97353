"""The errors of the fleet, by what the caller does: correct the input, distrust the bundle, or try again later."""

from __future__ import annotations


class FleetError(Exception):
    """Something the fleet was asked to do can't be done.

    Attributes:
        code: stable identifier, such as ``fleet.device``.
        hint: what to do next; empty where nothing is known to help.
        exit_code: what ``pack-fleet`` ends with.
    """

    exit_code = 2

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class RefusedError(FleetError):
    """A signature is missing or bad, or a rule of trust forbids it."""

    exit_code = 5


class UnreachableError(FleetError):
    """A broker, a receiver or a database does not answer."""

    exit_code = 6
