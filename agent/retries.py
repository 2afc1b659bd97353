"""What failed for want of an answer is tried again: later each time, and not by all devices at the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.timers import Timers

FIRST_RETRY = 2.0
LAST_RETRY = 300.0
"""Seconds between two tries, at most: doubled each time, between these two."""


def backoff(tried: int, *, first: float, longest: float, random: Callable[[], float]) -> float:
    """Seconds to wait after `tried` tries before that failed: between half and all of ``first * 2**tried``.

    Nothing waits for more than `longest`. `random` gives numbers from 0 to 1: what one cause made fail on many
    devices at once, such as a broker that was started again, comes back spread out.
    """
    # 2.0**1024 is no float any more; by then `longest` was reached long ago.
    return min(first * 2.0 ** min(tried, 64), longest) * (1 + random()) / 2


class Retries:
    """What waits to be tried again, by name."""

    def __init__(self, timers: Timers, random: Callable[[], float]) -> None:
        self._timers = timers
        self._random = random
        self._tried: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        """Whether it failed since it was last forgotten."""
        return name in self._tried

    def later(self, name: str, action: Callable[[], None]) -> None:
        """Run `action` some time later: the more often it failed, the later."""
        tried = self._tried.get(name, 0)
        self._tried[name] = tried + 1
        wait = backoff(tried, first=FIRST_RETRY, longest=LAST_RETRY, random=self._random)
        self._timers.set(name, wait, action)

    def forget(self, name: str) -> None:
        """It need not be tried again; what is not there is no error."""
        self._timers.cancel(name)
        self._tried.pop(name, None)

    def take_all(self) -> list[str]:
        """Forget all that waits; their names."""
        names = list(self._tried)
        for name in names:
            self.forget(name)
        return names
