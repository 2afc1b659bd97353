"""The errors of what crosses the network."""

from __future__ import annotations


class WireError(Exception):
    """A message or a sketch can't be read, or doesn't fit.

    Attributes:
        code: stable identifier, such as ``wire.message``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
