"""Sends what is in the spool: one window at a time, removed when the broker has taken it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from agent.link import Link
    from wire.spool import Spool


class Telemetry:
    """The daemon's half of the spool."""

    def __init__(self, spool: Spool, link: Link, topic: str) -> None:
        self._spool = spool
        self._link = link
        self._topic = topic
        self._in_flight: tuple[int, Path] | None = None

    def send(self) -> None:
        """Send the oldest window, unless one is on its way. A lost connection is the link's to mend: it sends again."""
        if self._in_flight is not None:
            return
        oldest = self._spool.oldest()
        if oldest is not None:
            path, payload = oldest
            self._in_flight = (self._link.publish(self._topic, payload), path)

    def delivered(self, message: int) -> None:
        """The broker has taken a message over; if it was ours, the next one goes."""
        if self._in_flight is not None and self._in_flight[0] == message:
            self._spool.remove(self._in_flight[1])
            self._in_flight = None
            self.send()
