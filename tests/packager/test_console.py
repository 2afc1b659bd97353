from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from packager.progress import PlainProgress

if TYPE_CHECKING:
    from pathlib import Path

PACK = (sys.executable, "-c", "import sys; from packager.cli import main; sys.exit(main())")


def on_terminal(*arguments: str, at: Path, **environment: str) -> str:
    """What `pack` writes to stderr when that is a terminal."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR", "TERM"}}
    with subprocess.Popen(
        [*PACK, *arguments], stdout=subprocess.DEVNULL, stderr=theirs, cwd=at, env=kept | environment
    ) as running:
        os.close(theirs)
        said = b""
        while piece := read(ours):
            said += piece
        running.wait(60)
    os.close(ours)
    return said.decode()


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:  # how Linux says that the other end was closed
        return b""


def test_an_error_is_coloured_on_a_terminal(tmp_path: Path) -> None:
    assert on_terminal("plan", at=tmp_path, TERM="xterm").startswith("\x1b[1;31merror:\x1b[0m ")


@pytest.mark.parametrize("environment", [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_nothing_is_coloured_where_that_is_not_wanted(tmp_path: Path, environment: dict[str, str]) -> None:
    said = on_terminal("plan", at=tmp_path, **environment)
    assert said.startswith("error: ")
    assert "\x1b" not in said


def test_a_step_that_took_a_while_or_came_from_the_cache_is_one_line() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.started("cloud", "convert")
    progress.finished("", "fetch", 0.0, cached=True)
    progress.finished("cloud", "convert", 3.21, cached=False)
    progress.finished("cloud", "gate", 0.001, cached=False)
    assert stream.getvalue() == "model: fetch, from the cache\ncloud: convert, 3.2 s\n"
