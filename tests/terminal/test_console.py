from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

import pytest

from terminal.console import Console
from terminal.tables import pairs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def plain() -> Console:
    return Console(lambda: False)


@contextmanager
def terminal() -> Iterator[int]:
    """The other end of a terminal of 40 columns that is stderr as long as the block runs."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(theirs, "w") as stream, redirect_stderr(stream):
        yield ours
    os.close(ours)


def test_results_go_to_stdout_alone_and_all_else_to_stderr(plain: Console, capsys: pytest.CaptureFixture[str]) -> None:
    plain.print_line("a result")
    plain.say("a remark")
    plain.print_aside("aside")
    plain.warn("careful", hint="look")
    plain.complain("wrong", code="toy.wrong", hint="mend it")
    said = capsys.readouterr()
    assert said.out == "a result\n"
    assert said.err.splitlines() == [
        "a remark",
        "aside",
        "warning: careful",
        "hint: look",
        "error: wrong [toy.wrong]",
        "hint: mend it",
    ]


def test_json_is_indented_for_one_result_and_one_line_for_one_of_many(
    plain: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    plain.print_json({"a": [1]})
    plain.print_encoded(b'{"a":[1]}')
    plain.print_json_line({"a": [1]})
    indented = '{\n  "a": [\n    1\n  ]\n}\n'
    assert capsys.readouterr().out == f'{indented}{indented}{{"a":[1]}}\n'


def test_a_table_in_a_pipe_is_neither_folded_nor_filled_up(plain: Console, capsys: pytest.CaptureFixture[str]) -> None:
    plain.print_table(("name", "value"), [("x" * 120, "1"), ("[bold]", "")])
    assert capsys.readouterr().out.splitlines() == [f"name{' ' * 118}value", f"{'x' * 120}  1", "[bold]"]


def test_a_pair_without_a_value_is_left_out(plain: Console, capsys: pytest.CaptureFixture[str]) -> None:
    plain.print_result(pairs([("size", "1"), ("note", ""), ("key", "2")]))
    assert capsys.readouterr().out == "size  1\nkey   2\n"


def test_more_lines_of_an_error_are_moved_to_the_right(plain: Console, capsys: pytest.CaptureFixture[str]) -> None:
    plain.complain("first\nsecond", code="toy")
    assert capsys.readouterr().err == "error: first\n  second [toy]\n"


def test_an_error_on_a_terminal_is_broken_at_spaces_only_and_coloured() -> None:
    path = "/a-long/path-that/no-line-of-this/terminal-has-room-for"
    with terminal() as screen:
        Console(lambda: True).complain(f"no such file {path}", code="toy.file")
        shown = os.read(screen, 4096).decode()
    assert shown.splitlines() == ["\x1b[1;31merror:\x1b[0m no such file", f"  {path}", "  [toy.file]"]


def test_nothing_is_coloured_where_that_is_not_wanted(plain: Console) -> None:
    with terminal() as screen:
        plain.complain("wrong", code="toy")
        assert os.read(screen, 4096) == b"error: wrong [toy]\r\n"
