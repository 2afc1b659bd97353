"""What `pack` says and where: the result alone on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import Console, RenderableType
    from rich.table import Table

_PIPE_WIDTH = 200
"""Columns of what no terminal shows: wide enough that nothing a script looks for is folded."""

_TERMINAL_WIDTH = 80
"""Columns of a terminal that does not say how wide it is."""


class Output(StrEnum):
    """The forms of a result."""

    TEXT = "text"
    JSON = "json"
    TAG = "tag"


def print_json(document: object) -> None:
    """Print a result as indented JSON."""
    import msgspec

    print_encoded(msgspec.json.encode(document))


def print_encoded(document: bytes) -> None:
    """Print a result that is JSON already, indented."""
    import msgspec

    sys.stdout.write(msgspec.json.format(document, indent=2).decode() + "\n")


def print_line(text: str) -> None:
    """Print one line of a result."""
    sys.stdout.write(text + "\n")


def print_result(*parts: RenderableType) -> None:
    """Print parts of a result for people."""
    _print(sys.stdout, parts)


def print_aside(*parts: RenderableType) -> None:
    """Print something for people that is not the result."""
    _print(sys.stderr, parts)


def open_console(stream: TextIO) -> Console:
    """A rich console on `stream`: text is taken as it is, and colour is only used where it is wanted."""
    from rich.console import Console

    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=not has_colour(stream),
        width=None if stream.isatty() else _PIPE_WIDTH,
    )


def table(*headings: str, right: Sequence[str] = ()) -> Table:
    """An empty table without lines; the columns named in `right` hold numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return made


def pairs(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """A table of names and values without a heading; rows whose value is empty are left out."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value != "":
            made.add_row(name, value)
    return made


def indented(part: RenderableType) -> RenderableType:
    """`part`, moved to the right below its heading."""
    from rich.padding import Padding

    return Padding(part, (0, 0, 0, 2))


def headline(reference: str, digest: str) -> Iterable[RenderableType]:
    """A bundle's name above its digest, which alone takes up most of a line."""
    from rich.text import Text

    yield Text(reference, style="bold")
    yield indented(Text(digest, style="dim"))


def has_colour(stream: TextIO) -> bool:
    """Whether text on `stream` may be coloured: it is a terminal, and nothing speaks against it."""
    from packager.config import read_environment

    environment = read_environment()
    return stream.isatty() and not environment.no_color and environment.term != "dumb"


def is_redrawn(stream: TextIO) -> bool:
    """Whether lines on `stream` may be redrawn: it is a terminal, and nothing speaks against it."""
    from packager.config import read_environment

    environment = read_environment()
    return stream.isatty() and not environment.ci and environment.term != "dumb"


def say(text: str) -> None:
    """Tell something that is neither result nor error."""
    sys.stderr.write(text + "\n")


def warn(text: str, *, hint: str = "") -> None:
    """Tell something that may not be what the user wants."""
    _labelled("warning", "33", text)
    if hint:
        _labelled("hint", "36", hint)


def complain(message: str, *, code: str, hint: str = "") -> None:
    """Print an error with its code, and its hint: what went wrong, then what to do next."""
    _labelled("error", "31", f"{message} [{code}]")
    if hint:
        _labelled("hint", "36", hint)


def apologise(error: BaseException) -> None:
    """Print what is known of a bug: one line, and the traceback where ``PACK_DEBUG`` asks for it."""
    import traceback

    from packager.config import read_environment

    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    hint = "PACK_DEBUG=1 shows the traceback that a report needs"
    if read_environment().debug:
        traceback.print_exception(error)
        hint = "report it with the traceback above"
    complain(f"sorry, this is a bug in pack: {what}", code="bug", hint=hint)


def _print(stream: TextIO, parts: Iterable[RenderableType]) -> None:
    console = open_console(stream)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    # A table fills its last column up with spaces, which no one sees and every `diff` does.
    stream.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _labelled(word: str, colour: str, text: str) -> None:
    lines = f"{word}: {text}".splitlines()
    if sys.stderr.isatty():
        lines = [part for line in lines for part in _wrapped(line)]
    if has_colour(sys.stderr):
        lines[0] = f"\x1b[1;{colour}m{word}:\x1b[0m{lines[0].removeprefix(word + ':')}"
    sys.stderr.write("\n  ".join(lines) + "\n")


def _wrapped(line: str) -> list[str]:
    """The line in pieces that fit the terminal, broken at spaces only, so that a path or a code can be copied whole."""
    import os
    import textwrap

    width = (os.get_terminal_size(sys.stderr.fileno()).columns or _TERMINAL_WIDTH) - len("  ")
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
