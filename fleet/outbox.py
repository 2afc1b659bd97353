"""Carries retraining requests to their sinks: at least once, with growing pauses, as the database remembers it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from fleet.sinks._sink import DeliveryError, Event, deliver

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fleet.config import Sink
    from fleet.store import Store
    from fleet.store.retraining import DeliveryRow

FIRST_PAUSE = 5.0
"""Seconds before the second attempt; each later pause is twice the one before."""
LONGEST_PAUSE = 3600.0
LOOK_SECONDS = 1.0
"""Between two looks for deliveries that are due."""


class Outbox:
    """The deliveries of one server. Every attempt is a task of its own: none waits for another."""

    def __init__(self, store: Store, sinks: Sequence[Sink], workspace: Path, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._sinks = {sink.name: sink for sink in sinks}
        self._workspace = workspace
        self._clock = clock

    async def run(self) -> None:
        """Deliver what is due, until cancelled; what is on its way then is delivered again at the next start."""
        await asyncio.to_thread(self._store.retraining.resume_deliveries, now=self._clock())
        async with asyncio.TaskGroup() as tasks:
            while True:
                for delivery in await self.begin():
                    tasks.create_task(self.attempt(delivery))
                await asyncio.sleep(LOOK_SECONDS)

    async def begin(self) -> list[DeliveryRow]:
        """The deliveries that are due, each noted as being sent."""
        return await asyncio.to_thread(self._begin)

    async def attempt(self, delivery: DeliveryRow) -> None:
        """Try once, and note what came of it."""
        noted = msgspec.structs.replace(delivery, attempts=delivery.attempts + 1)
        sink = self._sinks.get(delivery.sink)
        event = await asyncio.to_thread(self._event, delivery.cause)
        if sink is None or event is None:
            await self._note(noted, "failed", "the configuration names no such sink any more")
            return
        try:
            message = await deliver(sink, event, self._workspace)
        except DeliveryError as error:
            if error.final or noted.attempts >= sink.attempts:
                await self._note(noted, "failed", str(error))
            else:
                wait = max(pause(noted.attempts), error.retry_after)
                await self._note(msgspec.structs.replace(noted, due=self._clock() + wait), "pending", str(error))
        else:
            await self._note(noted, "sent", message)

    def _begin(self) -> list[DeliveryRow]:
        now = self._clock()
        begun = []
        for delivery in self._store.retraining.due(now=now):
            begun.append(msgspec.structs.replace(delivery, state="sending", updated=now))
            self._store.retraining.note_delivery(begun[-1])
        return begun

    def _event(self, cause: str) -> Event | None:
        request = self._store.retraining.request(cause)
        if request is None:
            return None
        return Event(id=cause, model=request.model, version=request.version, body=request.body.encode())

    async def _note(self, delivery: DeliveryRow, state: str, message: str) -> None:
        noted = msgspec.structs.replace(delivery, state=state, message=message, updated=self._clock())
        await asyncio.to_thread(self._store.retraining.note_delivery, noted)


def pause(attempts: int) -> float:
    """Seconds to wait after so many attempts that failed."""
    return float(min(FIRST_PAUSE * 2 ** (attempts - 1), LONGEST_PAUSE))
