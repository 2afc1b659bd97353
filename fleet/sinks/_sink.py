"""What a receiver is, and how one is found by its kind."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.config import Sink


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A request on its way."""

    id: str
    model: str
    version: str
    body: bytes
    """The CloudEvent in its JSON format."""


class DeliveryError(Exception):
    """A receiver did not take the event.

    Attributes:
        final: it will never take it, so trying again is of no use.
        retry_after: seconds for which the receiver asked to be left alone.
    """

    def __init__(self, message: str, *, final: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.final = final
        self.retry_after = retry_after


class _Module(Protocol):
    async def deliver(self, sink: Sink, event: Event, workspace: Path) -> str: ...


async def deliver(sink: Sink, event: Event, workspace: Path) -> str:
    """What the receiver said, once it took the event; it may get the same event again, and knows it by its id.

    Raises:
        DeliveryError: it didn't take it.
    """
    kind = type(sink).__struct_config__.tag
    module = cast("_Module", importlib.import_module(f"fleet.sinks.{kind}"))
    return await module.deliver(sink, event, workspace)
