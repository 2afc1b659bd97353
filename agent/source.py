"""What the server gives on request: metadata, targets and chunks, by request and answer over MQTT."""

from __future__ import annotations

import queue
import secrets
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from agent.errors import RefusedError, UnreachableError
from agent.link import Connected, Disconnected, Received
from wire.chunks import Answer
from wire.errors import WireError
from wire.messages import Data, Get, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Literal

    from agent.link import Link

    Kind: TypeAlias = Literal["metadata", "target", "chunk"]

IN_FLIGHT = 8
"""Requests that wait for their answer at one time."""
TRIES = 4
TIMEOUT = 15.0
"""Seconds without any answer after which all that is in flight is asked for again."""


class MissingError(UnreachableError):
    """The server says that it has no such thing."""


class _Request(msgspec.Struct):
    """A request in flight."""

    name: str
    answer: Answer
    tries: int


class Source:
    """Asks over one link. `clock` gives monotonic seconds."""

    def __init__(
        self,
        link: Link,
        *,
        topic: str,
        clock: Callable[[], float],
        timeout: float = TIMEOUT,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self._link = link
        self._topic = topic
        self._clock = clock
        self._timeout = timeout
        self._limit = in_flight
        self._lost = ""

    def get(self, kind: Kind, name: str) -> bytes:
        """The content of that name.

        Raises:
            MissingError: the server has none.
            RefusedError: the server won't give it to this device.
            UnreachableError: no answer came.
        """
        for _, content in self.get_all(kind, [name]):
            return content
        raise AssertionError

    def get_all(self, kind: Kind, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Each content with its name, in the order in which the answers come.

        Raises:
            MissingError, RefusedError, UnreachableError: as `get`.
        """
        waiting = iter(names)
        flying: dict[str, _Request] = {}
        heard = self._clock()
        while True:
            while len(flying) < self._limit and (name := next(waiting, None)) is not None:
                self._ask(kind, name, flying, tries=1)
            if not flying:
                return
            data = self._receive(heard + self._timeout - self._clock())
            heard = self._clock() if data is not None else heard
            if data is None:
                if self._clock() >= heard + self._timeout:
                    self._ask_again(kind, flying)
                    heard = self._clock()
                continue
            done = _add(data, flying)
            if done is not None:
                yield done

    def _ask(self, kind: Kind, name: str, flying: dict[str, _Request], *, tries: int) -> None:
        identity = secrets.token_hex(8)
        flying[identity] = _Request(name, Answer(identity), tries)
        self._link.publish(self._topic, encode(Get(id=identity, kind=kind, name=name)))

    def _ask_again(self, kind: Kind, flying: dict[str, _Request]) -> None:
        silent = list(flying.values())
        flying.clear()
        for request in silent:
            if request.tries >= TRIES:
                why = f"; connection: {self._lost}" if self._lost else ""
                raise UnreachableError(
                    "source.silent",
                    f"no answer to {TRIES} requests for {kind} '{request.name}'{why}",
                    hint="is the server running, and may this device connect twice",
                )
            self._ask(kind, request.name, flying, tries=request.tries + 1)

    def _receive(self, seconds: float) -> Data | None:
        try:
            event = self._link.events.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if isinstance(event, Connected | Disconnected):
            self._lost = event.reason if isinstance(event, Disconnected) else ""
        if not isinstance(event, Received):
            return None
        try:
            return decode(event.payload, Data)
        except WireError:
            return None  # anything may stand on the topic; what is asked for is asked for again


def _add(data: Data, flying: dict[str, _Request]) -> tuple[str, bytes] | None:
    request = flying.get(data.id)
    if request is None:
        return None  # the answer to a request that was given up
    if data.status == "missing":
        raise MissingError("source.missing", f"the server has no '{request.name}'")
    if data.status == "refused":
        raise RefusedError("source.refused", f"the server refuses to give '{request.name}' to this device")
    try:
        content = request.answer.add(data)
    except WireError as error:
        raise UnreachableError(error.code, f"answer for '{request.name}' makes no sense: {error}") from error
    if content is None:
        return None
    del flying[data.id]
    return request.name, content
