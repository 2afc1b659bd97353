"""Short-lived processes: started with a job, their output put into the daemon's queue line by line."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from queue import SimpleQueue

LINE_LIMIT = 1 << 20
"""Longest line of output that is read, in bytes."""
_TAIL = 2000


class Output(msgspec.Struct, frozen=True):
    """A worker wrote a line."""

    worker: int
    line: bytes


class Ended(msgspec.Struct, frozen=True):
    """A worker ended; no more of its lines will come."""

    worker: int
    status: int
    """Exit status; negative: the signal that killed it."""
    errors: str
    """The end of what it wrote to standard error."""


class Workers(Protocol):
    """Starts workers."""

    def start(self, module: str, arguments: Sequence[str], job: bytes) -> int:
        """Start a module of the agent; the number returned names the worker in its events."""
        ...

    def stop(self, worker: int) -> None:
        """Kill a worker; its `Ended` still comes."""
        ...


class Processes:
    """Workers that are processes of this interpreter."""

    def __init__(self, events: SimpleQueue[object]) -> None:
        self._events = events
        self._numbers = itertools.count(1)
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, module: str, arguments: Sequence[str], job: bytes) -> int:
        """As `Workers.start`. The worker's standard input stays open until it ends, or this process does."""
        number = next(self._numbers)
        process = subprocess.Popen(  # noqa: S603 - a module of the agent, in this interpreter
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._running[number] = process
        threading.Thread(target=self._follow, args=(number, process, job), daemon=True).start()
        return number

    def stop(self, worker: int) -> None:
        """As `Workers.stop`."""
        process = self._running.get(worker)
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Kill what is running."""
        for process in list(self._running.values()):
            process.kill()
            process.wait()

    def _follow(self, number: int, process: subprocess.Popen[bytes], job: bytes) -> None:
        errors = bytearray()
        reader = threading.Thread(target=_collect, args=(process, errors), daemon=True)
        reader.start()
        if process.stdin is not None and process.stdout is not None:
            try:
                process.stdin.write(job + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                pass  # it ended at once; its exit status says why
            while line := process.stdout.readline(LINE_LIMIT):
                self._events.put(Output(number, line))
        status = process.wait()
        reader.join()
        self._running.pop(number, None)
        for stream in (process.stdin, process.stdout, process.stderr):
            _close(stream)
        self._events.put(Ended(number, status, errors.decode(errors="replace")))


def _collect(process: subprocess.Popen[bytes], errors: bytearray) -> None:
    if process.stderr is not None:
        for line in process.stderr:
            errors += line
            del errors[:-_TAIL]


def _close(stream: IO[bytes] | None) -> None:
    with contextlib.suppress(BrokenPipeError):
        if stream is not None:
            stream.close()
