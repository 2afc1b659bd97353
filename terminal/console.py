"""What a program says and where: the result alone on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from terminal.tables import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TextIO

    import rich.console
    from rich.console import RenderableType

_PIPE_WIDTH = 200
"""Columns of what no terminal shows: wide enough that nothing a script looks for is folded."""

_TERMINAL_WIDTH = 80
"""Columns of a terminal that does not say how wide it is."""


class Console:
    """The two streams of a program.

    Attributes:
        wants_colour: whether the user lets a terminal be coloured; asked when there is something to print, so that
            a program need not read its environment to start.
    """

    def __init__(self, wants_colour: Callable[[], bool]) -> None:
        self.wants_colour = wants_colour

    def print_json(self, document: object) -> None:
        """Print a result as indented JSON."""
        import msgspec

        self.print_encoded(msgspec.json.encode(document))

    def print_encoded(self, document: bytes) -> None:
        """Print a result that is JSON already, indented."""
        import msgspec

        self.print_line(msgspec.json.format(document, indent=2).decode())

    def print_json_line(self, document: object) -> None:
        """Print one line of JSON, for programs that read while this one runs."""
        import msgspec

        self.print_line(msgspec.json.encode(document).decode())

    def print_line(self, text: str) -> None:
        """Print one line of a result, at once."""
        _write(sys.stdout, text + "\n")

    def print_result(self, *parts: RenderableType) -> None:
        """Print parts of a result for people."""
        self._print(sys.stdout, parts)

    def print_table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a result as a table without lines."""
        made = table(*headings)
        for row in rows:
            made.add_row(*row)
        self.print_result(made)

    def print_aside(self, *parts: RenderableType) -> None:
        """Print something for people that is not the result."""
        self._print(sys.stderr, parts)

    def say(self, text: str) -> None:
        """Tell something that is neither result nor error."""
        _write(sys.stderr, text + "\n")

    def warn(self, text: str, *, hint: str = "") -> None:
        """Tell something that may not be what the user wants."""
        self._labelled("warning", "33", text)
        if hint:
            self._labelled("hint", "36", hint)

    def complain(self, message: str, *, code: str, hint: str = "") -> None:
        """Print an error with its code, and its hint: what went wrong, then what to do next."""
        self._labelled("error", "31", f"{message} [{code}]")
        if hint:
            self._labelled("hint", "36", hint)

    def has_colour(self, stream: TextIO) -> bool:
        """Whether text on `stream` may be coloured: it is a terminal, and the user has nothing against it."""
        return stream.isatty() and self.wants_colour()

    def open_console(self, stream: TextIO) -> rich.console.Console:
        """A rich console on `stream`: text is taken as it is, and colour is only used where it is wanted."""
        from rich.console import Console as RichConsole

        return RichConsole(
            file=stream,
            highlight=False,
            markup=False,
            emoji=False,
            no_color=not self.has_colour(stream),
            width=None if stream.isatty() else _PIPE_WIDTH,
        )

    def _print(self, stream: TextIO, parts: Iterable[RenderableType]) -> None:
        drawn = self.open_console(stream)
        with drawn.capture() as capture:
            for part in parts:
                drawn.print(part)
        # A table fills its last column up with spaces, which no one sees and every `diff` does.
        _write(stream, "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))

    def _labelled(self, word: str, colour: str, text: str) -> None:
        lines = f"{word}: {text}".splitlines()
        if sys.stderr.isatty():
            lines = [part for line in lines for part in _wrapped(line)]
        if self.has_colour(sys.stderr):
            lines[0] = f"\x1b[1;{colour}m{word}:\x1b[0m{lines[0].removeprefix(word + ':')}"
        _write(sys.stderr, "\n  ".join(lines) + "\n")


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


def _wrapped(line: str) -> list[str]:
    """The line in pieces that fit the terminal, broken at spaces only, so that a path or a code can be copied whole."""
    import os
    import textwrap

    width = (os.get_terminal_size(sys.stderr.fileno()).columns or _TERMINAL_WIDTH) - len("  ")
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
