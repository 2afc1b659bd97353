"""What the agent asks of a connection to the broker, and what the connection tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from queue import SimpleQueue


class Connected(msgspec.Struct, frozen=True):
    """The broker took the connection; subscriptions are in force, or will be before any message comes."""


class Disconnected(msgspec.Struct, frozen=True):
    """The connection is lost, or could not be made; it is tried again by itself."""

    reason: str


class Received(msgspec.Struct, frozen=True):
    """A message came."""

    topic: str
    payload: bytes


class Delivered(msgspec.Struct, frozen=True):
    """The broker has taken a message over (PUBACK)."""

    message: int


class Stop(msgspec.Struct, frozen=True):
    """The daemon is to end: a signal says so, not the connection; it takes its turn in the same queue."""


class Link(Protocol):
    """A connection that keeps itself up. Its events come through one queue, whichever thread they arise in."""

    @property
    def events(self) -> SimpleQueue[object]:
        """Holds `Connected`, `Disconnected`, `Received` and `Delivered`; others may put theirs there too."""
        ...

    def open(self) -> None:
        """Begin to connect; returns at once."""
        ...

    def subscribe(self, topic: str) -> None:
        """Receive the topic, now and after every reconnection; at least once."""
        ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Send at least once; the number returned comes back in `Delivered`."""
        ...

    def close(self) -> None:
        """Say good-bye: the will is not sent."""
        ...
