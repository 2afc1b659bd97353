"""A small program of its own, to be run in this process."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol

import pytest
import typer

from terminal.console import Console
from terminal.program import Program, open_app, run

if TYPE_CHECKING:
    from collections.abc import Callable


class RefusedError(Exception):
    """The program's own."""

    exit_code = 4

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = "toy.refused"
        self.hint = "ask again"


class LibraryError(Exception):
    """One of a library, which knows no exit codes."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = "library.odd"
        self.hint = ""


class DamagedError(LibraryError):
    """A special case of it."""


class Form(StrEnum):
    """The forms of its result."""

    TEXT = "text"
    JSON = "json"


class Ran(NamedTuple):
    """What a run left behind."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs the program, whose command `work` does what `work` says."""

    def __call__(
        self,
        *arguments: str,
        work: Callable[[Console], int | None] = lambda _: None,
        traceback: bool = False,
        interrupted: str = "",
    ) -> Ran: ...


@pytest.fixture
def toy(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_toy(
        *arguments: str,
        work: Callable[[Console], int | None] = lambda _: None,
        traceback: bool = False,
        interrupted: str = "",
    ) -> Ran:
        console = Console(lambda: True)

        def command(
            *,
            level: Annotated[int, typer.Option("--level")] = 0,
            form: Annotated[Form, typer.Option("--form")] = Form.TEXT,
        ) -> int | None:
            del level, form
            return work(console)

        def make_app() -> typer.Typer:
            app = open_app("toy")
            app.callback()(lambda: None)
            app.command("work")(command)
            return app

        program = Program(
            name="toy",
            make_app=make_app,
            console=console,
            errors=RefusedError,
            exit_codes=lambda: ((DamagedError, 5), (LibraryError, 3)),
            debug_variable="TOY_DEBUG",
            wants_traceback=lambda: traceback,
            interrupted=interrupted,
            words_meant={"help": "toy --help"},
        )
        return Ran(run(program, arguments), *capsys.readouterr())

    return run_toy
