"""A quiet machine for measuring time: the workers of one machine take turns."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

PATIENCE_S = 60.0
"""How long a measurement waits for others to end; a conversion may take much longer than that."""
_POLL_S = 0.02
_TICKS = 10


class Turns:
    """Jobs work side by side; a measurement has the machine alone, as far as our own workers go.

    Two files are locked. The first is held shared by all who work, and alone by whom measures. The second is the door
    to the first: who waits for quiet holds it, so that nobody new begins to work meanwhile.
    """

    def __init__(
        self, path: Path, *, patience: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`path` is a file that the workers of this machine share; `patience` is in seconds of `clock`."""
        self._path = path
        self._patience = patience
        self._clock = clock

    def __enter__(self) -> Self:
        """Work beside others; waits while somebody measures, or is about to."""
        self._work = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._door = os.open(self._path.with_suffix(".door"), os.O_RDWR | os.O_CREAT, 0o600)
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._work)
        os.close(self._door)

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else works; False after waiting in vain."""
        deadline = self._clock() + self._patience
        fcntl.flock(self._work, fcntl.LOCK_UN)
        alone = self._seize(self._door, deadline) and self._seize(self._work, deadline)
        if not alone:
            fcntl.flock(self._door, fcntl.LOCK_UN)
            self._begin()
        try:
            yield alone
        finally:
            fcntl.flock(self._work, fcntl.LOCK_SH)
            fcntl.flock(self._door, fcntl.LOCK_UN)

    def _begin(self) -> None:
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._work, fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def _seize(self, descriptor: int, deadline: float) -> bool:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock() > deadline:
                    return False
                time.sleep(_POLL_S)
            else:
                return True


class Busy:
    """How many of the machine's processors other processes keep busy. Source: proc(5), ``/proc/stat``, first line."""

    def __init__(self) -> None:
        self._start = _busy_seconds()
        self._own = time.process_time()
        self._begun = time.perf_counter()

    def others(self) -> float | None:
        """On average since this was made; None where the system does not say, or in less than ten of its ticks."""
        end = _busy_seconds()
        passed = time.perf_counter() - self._begun
        if self._start is None or end is None or passed < _TICKS / os.sysconf("SC_CLK_TCK"):
            return None
        own = time.process_time() - self._own
        return round(max(0.0, (end - self._start - own) / passed), 2)


def _busy_seconds() -> float | None:
    """Processor seconds of all processes since the machine started."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
    except FileNotFoundError:
        return None
    user, nice, system, _, _, irq, softirq, stolen = (int(word) for word in words[1:9])
    return (user + nice + system + irq + softirq + stolen) / os.sysconf("SC_CLK_TCK")
