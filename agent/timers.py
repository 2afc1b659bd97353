"""What is to be done later, by name; the event loop asks how long it may wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Timers:
    """Deadlines on a clock that gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[str, tuple[float, Callable[[], None]]] = {}

    def set(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` once, that many seconds from now; what had the name before is forgotten."""
        self._due[name] = (self._clock() + seconds, action)

    def cancel(self, name: str) -> None:
        """Forget it; what is not there is no error."""
        self._due.pop(name, None)

    def wait(self) -> float | None:
        """Seconds until the next is due; None: nothing is."""
        if not self._due:
            return None
        return max(0.0, min(at for at, _ in self._due.values()) - self._clock())

    def run_due(self) -> None:
        """Run what is due, the longest due first."""
        now = self._clock()
        due = sorted((at, name) for name, (at, _) in self._due.items() if at <= now)
        for _, name in due:
            entry = self._due.pop(name, None)
            if entry is not None:
                entry[1]()
