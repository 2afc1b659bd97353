"""The outermost loop of a program: whatever goes wrong becomes lines on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import typer

    from terminal.console import Console

OK, BUG, USAGE = 0, 1, 2
"""The exit codes that mean the same in every program; `USAGE` is that of a wrong configuration too."""
_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
_PIPE_CLOSED = 141
"""128 + SIGPIPE: what other programs exit with when the reader of their output has left."""
_NO_BUG = {errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT}
"""What a disk refuses, which the user can mend and we can't."""


class CodedError(Protocol):
    """An error that the user can do something about.

    Attributes:
        code: stable identifier, such as ``config.field``.
        hint: what to do next; empty where nothing is known to help.
    """

    code: str
    hint: str


class ProgramError(CodedError, Protocol):
    """An error of the program itself, which knows what it ends with."""

    @property
    def exit_code(self) -> int:
        """What the program exits with."""


class Program(NamedTuple):
    """What differs between programs."""

    name: str
    make_app: Callable[[], typer.Typer]
    console: Console
    errors: type[ProgramError]
    """The class of its own errors."""
    exit_codes: Callable[[], Sequence[tuple[type[CodedError], int]]]
    """The table for the errors of libraries: the first row that fits counts. It is asked after an error, so it may
    import what a start must not."""
    debug_variable: str
    """The environment variable that makes a bug show its traceback."""
    wants_traceback: Callable[[], bool]
    """Whether it is set."""
    interrupted: str = ""
    """What an interruption has left undone; empty: nothing is said."""
    words_meant: Mapping[str, str] = {}
    """Hints for words that people type for commands, and that are none."""


def open_app(name: str) -> typer.Typer:
    """A command line without commands, whose help and errors are plain text."""
    import typer

    return typer.Typer(
        name=name,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        suggest_commands=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def run(program: Program, arguments: Sequence[str] | None) -> int:
    """Run `program` and return its exit code; without `arguments`, with those of the process."""
    try:
        code = _run(program, arguments)
    except BrokenPipeError:
        code = _PIPE_CLOSED
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is still buffered would be written, and fail again, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code == OK:
            code = _PIPE_CLOSED if isinstance(error, BrokenPipeError) else _failed(program, error)
    return code


def _run(program: Program, arguments: Sequence[str] | None) -> int:
    try:
        code = program.make_app()(arguments, prog_name=program.name, standalone_mode=False)
    except SystemExit as left:
        # Typer leaves so when it has completed a word for the shell, and, with 1, when stdout was closed.
        return _PIPE_CLOSED if left.code else OK
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return _interrupted(program)
    except Exception as error:  # noqa: BLE001 - the outermost loop: whatever was not foreseen is a bug, and said to be one
        return _failed(program, error)
    return _interrupted(program) if code == _INTERRUPTED else int(code or OK)


def _interrupted(program: Program) -> int:
    if program.interrupted:
        program.console.complain(program.interrupted, code="interrupted")
    return _INTERRUPTED


def _failed(program: Program, error: Exception) -> int:
    from typer.exceptions import TyperException

    console = program.console
    if isinstance(error, program.errors):
        console.complain(str(error), code=error.code, hint=error.hint)
        return error.exit_code
    for kind, exit_code in program.exit_codes():
        if isinstance(error, kind):
            console.complain(str(error), code=error.code, hint=error.hint)
            return exit_code
    if isinstance(error, TyperException):
        from terminal.usage import explain_usage

        message, hint = explain_usage(error, program=program.name, meant=program.words_meant)
        console.complain(message, code="usage", hint=hint)
        return USAGE
    if isinstance(error, OSError) and error.errno in _NO_BUG:
        place = f" '{error.filename}'" if error.filename else ""
        console.complain(f"can't use{place}: {(error.strerror or '').lower()}", code="disk")
        return USAGE
    _apologise(program, error)
    return BUG


def _apologise(program: Program, error: Exception) -> None:
    """Print what is known of a bug: one line, and the traceback where it is asked for."""
    import traceback

    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    hint = f"{program.debug_variable}=1 shows the traceback that a report needs"
    if program.wants_traceback():
        traceback.print_exception(error)
        hint = "report it with the traceback above"
    program.console.complain(f"sorry, this is a bug in {program.name}: {what}", code="bug", hint=hint)
