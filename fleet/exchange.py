"""The conversation with the devices: assignments go out, messages come in, requests are answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fleet.answers import answer
from fleet.assignments import renew_assignments
from fleet.errors import UnreachableError
from fleet.mqtt import connect
from wire.errors import WireError
from wire.messages import Get, decode, encode
from wire.topics import device_topic, fleet_filter, parse_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.ingest import Ingest
    from fleet.mqtt import Connection
    from fleet.store import Store
    from fleet.store.wishes import Assigned
    from fleet.workspace import Workspace

POLL_SECONDS = 0.5
"""How often the database is asked whether assignments may have to change."""
RECONNECT_SECONDS = 1.0
ANSWERERS = 4
"""Requests that are answered at once."""
WAITING_GETS = 1000
"""Requests that wait; one more is dropped, and the device asks again."""


class Exchange:
    """What one server does on the broker."""

    def __init__(self, workspace: Workspace, store: Store, ingest: Ingest, *, clock: Callable[[], float]) -> None:
        self._fleet = workspace.config.fleet
        self._repository = workspace.repository.folder
        self._assigner = workspace.assigner()
        self._store = store
        self._ingest = ingest
        self._clock = clock
        self._gets: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(WAITING_GETS)
        self.connected = asyncio.Event()
        """Set while messages come in."""

    async def run(self, host: str, port: int, say: Callable[[str], None]) -> None:
        """Converse until cancelled; a lost connection is made again."""
        filters = [fleet_filter(self._fleet, channel) for channel in ("reported", "telemetry", "status", "get")]
        identifier = f"packtrain-{self._fleet}".replace(".", "-")  # NATS makes subjects of it, where a dot separates
        while True:
            try:
                async with connect(host, port, identifier, filters) as connection:
                    say(f"connected to the broker at {host}:{port}")
                    self.connected.set()
                    await self._converse(connection)
            except UnreachableError as error:
                say(f"{error}; trying again in {RECONNECT_SECONDS} s")
            finally:
                self.connected.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _converse(self, connection: Connection) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._receive(connection))
                tasks.create_task(self._assign(connection))
                for _ in range(ANSWERERS):
                    tasks.create_task(self._answer(connection))
        except ExceptionGroup as group:
            lost, others = group.split(UnreachableError)
            if lost is None or others is not None:
                raise
            raise UnreachableError("fleet.broker", str(lost.exceptions[0])) from lost

    async def _receive(self, connection: Connection) -> None:
        async for topic, payload in connection.messages():
            if not topic.endswith("/get"):
                await asyncio.to_thread(self._ingest.take, topic, payload, now=self._clock())
            elif self._gets.full():
                self._ingest.counts["get.dropped"] += 1
            else:
                self._gets.put_nowait((topic, payload))

    async def _assign(self, connection: Connection) -> None:
        for assigned in (await asyncio.to_thread(self._store.wishes.assigned)).values():
            await self._send(connection, assigned)
        seen = None
        while True:
            changes = await asyncio.to_thread(self._store.changes)
            if changes != seen:
                for assigned in await asyncio.to_thread(self._renew):
                    await self._send(connection, assigned)
                seen = changes
            await asyncio.sleep(POLL_SECONDS)

    async def _answer(self, connection: Connection) -> None:
        while True:
            topic, payload = await self._gets.get()
            try:
                device, get = await asyncio.to_thread(self._read_get, topic, payload)
            except WireError as error:
                self._ingest.counts[f"refused.{error.code}"] += 1
                continue
            if device is None:
                self._ingest.counts["refused.unknown-device"] += 1
                continue
            for data in await asyncio.to_thread(list, answer(self._repository, get)):
                await connection.publish(device_topic(self._fleet, device, "data"), encode(data))
                self._ingest.counts[f"get.{data.status}"] += 1

    def _read_get(self, topic: str, payload: bytes) -> tuple[str | None, Get]:
        """The device that asks, None where it is not enrolled, and what it asks for."""
        name = parse_topic(topic).device
        get = decode(payload, Get)
        return (name if self._store.devices.find(name) else None), get

    def _renew(self) -> list[Assigned]:
        return renew_assignments(self._store, self._fleet, self._assigner, now=self._clock())

    async def _send(self, connection: Connection, assigned: Assigned) -> None:
        await connection.publish(device_topic(self._fleet, assigned.device, "desired"), assigned.envelope, retain=True)
