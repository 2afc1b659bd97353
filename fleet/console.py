"""What `pack-fleet` says and where: the result alone on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PIPE_WIDTH = 200
"""Columns of a table that no terminal shows: wide enough that nothing a script looks for is folded."""


class Output(StrEnum):
    """The forms of a result."""

    TEXT = "text"
    JSON = "json"


def print_json(document: object) -> None:
    """Print a result as indented JSON, for programs."""
    import msgspec

    data = msgspec.json.format(msgspec.json.encode(document), indent=2)
    sys.stdout.write(data.decode() + "\n")
    sys.stdout.flush()


def print_json_line(document: object) -> None:
    """Print one line of JSON at once, for programs that read while this one runs."""
    import msgspec

    print_line(msgspec.json.encode(document).decode())


def print_line(text: str) -> None:
    """Print one line of a result, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a result as a table without lines."""
    from rich.console import Console
    from rich.table import Table

    from fleet.config import wants_colour

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*row)
    terminal = sys.stdout.isatty()
    Console(
        file=sys.stdout,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=not (terminal and wants_colour()),
        width=None if terminal else _PIPE_WIDTH,
    ).print(made)


def say(text: str) -> None:
    """Tell something that is neither result nor error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def complain(message: str, *, code: str, hint: str = "") -> None:
    """Print an error with its code, and its hint: what went wrong, then what to do next."""
    _labelled("error", "31", f"{message} [{code}]")
    if hint:
        _labelled("hint", "36", hint)


def apologise(error: BaseException) -> None:
    """Print what is known of a bug: one line, and the traceback where ``PACK_DEBUG`` asks for it."""
    import traceback

    from fleet.config import wants_traceback

    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    hint = "PACK_DEBUG=1 shows the traceback that a report needs"
    if wants_traceback():
        traceback.print_exception(error)
        hint = "report it with the traceback above"
    complain(f"sorry, this is a bug in pack-fleet: {what}", code="bug", hint=hint)


def _labelled(word: str, colour: str, text: str) -> None:
    from fleet.config import wants_colour

    first, *others = text.splitlines() or [""]
    coloured = sys.stderr.isatty() and wants_colour()
    label = f"\x1b[1;{colour}m{word}:\x1b[0m" if coloured else f"{word}:"
    sys.stderr.write("\n".join([f"{label} {first}", *(f"  {line}" for line in others)]) + "\n")
