"""What `pack` says and where, beyond what every program does: its forms of a result, and how it names a bundle."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from terminal.console import Console
from terminal.tables import indented

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import RenderableType


class Output(StrEnum):
    """The forms of a result."""

    TEXT = "text"
    JSON = "json"
    TAG = "tag"


def headline(reference: str, digest: str) -> Iterable[RenderableType]:
    """A bundle's name above its digest, which alone takes up most of a line."""
    from rich.text import Text

    yield Text(reference, style="bold")
    yield indented(Text(digest, style="dim"))


def is_redrawn(stream: TextIO) -> bool:
    """Whether lines on `stream` may be redrawn: it is a terminal, and nothing speaks against it."""
    from packager.config import read_environment

    environment = read_environment()
    return stream.isatty() and not environment.ci and environment.term != "dumb"


def _wants_colour() -> bool:
    from packager.config import read_environment

    environment = read_environment()
    return not environment.no_color and environment.term != "dumb"


console = Console(_wants_colour)
"""The streams of `pack`."""
