from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Never

import pytest

from tests.terminal.conftest import DamagedError, LibraryError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from terminal.console import Console
    from tests.terminal.conftest import Run

TALKER = """
import sys
from terminal.console import Console
from terminal.program import Program, open_app, run

console = Console(lambda: False)


def make_app():
    app = open_app("talker")
    app.callback(invoke_without_command=True)(talk)
    return app


def talk():
    for _ in range(LINES):
        TALK("a line")


class Own(Exception):
    pass


sys.exit(run(Program("talker", make_app, console, Own, tuple, "TALKER_DEBUG", bool), []))
"""
"""A program that writes LINES lines with TALK."""


def raising(error: BaseException) -> Callable[[Console], Never]:
    def work(_: Console) -> Never:
        raise error

    return work


@pytest.mark.parametrize("code", [None, 0, 4])
def test_what_a_command_returns_is_the_exit_code(toy: Run, code: int | None) -> None:
    assert toy("work", work=lambda _: code) == (code or 0, "", "")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RefusedError("no"), 4, "error: no [toy.refused]\nhint: ask again\n"),
        (LibraryError("odd"), 3, "error: odd [library.odd]\n"),
        (DamagedError("broken"), 5, "error: broken [library.odd]\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x"),
            2,
            "error: can't use '/x': no space left on device [disk]\n",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_that_was_foreseen_has_the_exit_code_of_its_row(
    toy: Run, error: Exception, code: int, said: str
) -> None:
    assert toy("work", work=raising(error)) == (code, "", said)


def test_a_bug_is_an_apology_that_names_the_variable_for_its_traceback(toy: Run) -> None:
    ran = toy("work", work=raising(ZeroDivisionError("by nobody\nat all")))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        "error: sorry, this is a bug in toy: ZeroDivisionError: by nobody [bug]",
        "hint: TOY_DEBUG=1 shows the traceback that a report needs",
    ]


def test_a_bug_shows_its_traceback_where_that_is_asked_for(toy: Run) -> None:
    ran = toy("work", work=raising(ZeroDivisionError()), traceback=True)
    assert ", in work\n" in ran.err
    assert ran.err.endswith("hint: report it with the traceback above\n")


@pytest.mark.parametrize(
    ("interrupted", "said"), [("", ""), ("half is done", "error: half is done [interrupted]\n")], ids=["silent", "told"]
)
def test_an_interruption_exits_130(toy: Run, interrupted: str, said: str) -> None:
    assert toy("work", work=raising(KeyboardInterrupt()), interrupted=interrupted) == (130, "", said)


@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("talk", ["console.print_line", "print"])
def test_a_reader_that_leaves_is_no_error_and_exits_141(lines: int, talk: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as stdout:  # noqa: PTH123 - a file descriptor
        program = TALKER.replace("LINES", str(lines)).replace("TALK(", f"{talk}(")
        ran = subprocess.run([sys.executable, "-c", program], stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (141, b"")


@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("talk", ["console.print_line", "print"])
def test_a_full_disk_is_one_line_and_exits_2(lines: int, talk: str) -> None:
    with open("/dev/full", "wb") as stdout:  # noqa: PTH123 - a device
        program = TALKER.replace("LINES", str(lines)).replace("TALK(", f"{talk}(")
        ran = subprocess.run([sys.executable, "-c", program], stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (2, b"error: can't use: no space left on device [disk]\n")


def test_a_program_starts_without_tables_and_json() -> None:
    program = (
        TALKER.replace("LINES", "1").replace("TALK(", "console.print_line(").replace("sys.exit(", "assert not (")
        + "\nprint(sorted({'rich', 'msgspec', 'terminal.usage'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
