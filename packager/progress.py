"""What a build is doing, on stderr: redrawn lines in a terminal, one line a finished step anywhere else."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from packager.console import console, is_redrawn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Display
    from rich.progress import TaskID

    from packager.build import Progress, Step

_DOING: dict[Step, str] = {
    "fetch": "fetching the model",
    "import": "importing the model",
    "convert": "converting and measuring",
    "gate": "checking the gates",
    "bundle": "writing the bundle",
    "sign": "signing",
}
_SHARED = "model"
"""What stands in the place of a target for the steps that all targets share."""
_NOTICED = 0.05
"""Seconds."""
_ALWAYS_TOLD = {"fetch", "import", "convert"}
"""The steps that may come from the cache; of the others only those are told that took a time which people notice."""


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Progress on stderr as long as the block runs."""
    if not is_redrawn(sys.stderr):
        yield PlainProgress(sys.stderr)
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[target]}"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console.open_console(sys.stderr), transient=True) as display:
        yield RedrawnProgress(display)


class PlainProgress:
    """One line for every step that ended; safe to call from several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def started(self, target: str, step: Step) -> None:
        """Nothing: a line a step is enough where no one watches."""

    def finished(self, target: str, step: Step, seconds: float, *, cached: bool) -> None:
        """Write ``edge-arm: convert, 3.2 s``."""
        line = _line(target, step, seconds, cached=cached)
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


class RedrawnProgress:
    """A spinner for every target at work, and a line above for every step that ended."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}

    def started(self, target: str, step: Step) -> None:
        """Show what the target is at."""
        with self._lock:
            if target in self._tasks:
                self._display.remove_task(self._tasks[target])
            self._tasks[target] = self._display.add_task(_DOING[step], total=None, target=target or _SHARED)

    def finished(self, target: str, step: Step, seconds: float, *, cached: bool) -> None:
        """Write the line, and take the spinner away until the next step."""
        with self._lock:
            task = self._tasks.pop(target, None)
            if task is not None:
                self._display.remove_task(task)
            self._display.console.print(_line(target, step, seconds, cached=cached), style="dim", end="")


def _line(target: str, step: Step, seconds: float, *, cached: bool) -> str:
    """The line that tells of a step that ended; empty where it is not worth one."""
    name = target or _SHARED
    if cached:
        return f"{name}: {step}, from the cache\n"
    if step in _ALWAYS_TOLD or seconds >= _NOTICED:
        return f"{name}: {step}, {seconds:.1f} s\n"
    return ""
