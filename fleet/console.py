"""What `pack-fleet` says and where: as every program does, with its forms of a result."""

from __future__ import annotations

from enum import StrEnum

from terminal.console import Console


class Output(StrEnum):
    """The forms of a result."""

    TEXT = "text"
    JSON = "json"


def _wants_colour() -> bool:
    from fleet.config import wants_colour

    return wants_colour()


console = Console(_wants_colour)
"""The streams of `pack-fleet`."""
