"""The only door to MQTT: one connection to the broker, as an asynchronous context.

MQTT 3.1.1, QoS 1: every broker named in the design carries it.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiomqtt

from fleet.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

TIMEOUT = 10.0
"""Seconds for the broker to answer."""
KEEPALIVE = 30


class Connection:
    """An open connection."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """Topic and payload of each message, as they come.

        Raises:
            UnreachableError: the connection is lost.
        """
        try:
            async for message in self._client.messages:
                payload = message.payload
                yield str(message.topic), payload if isinstance(payload, bytes) else b""
        except aiomqtt.MqttError as error:
            raise UnreachableError("fleet.broker", f"connection to the broker is lost: {error}") from error

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send, and wait until the broker has taken it.

        Raises:
            UnreachableError: the connection is lost.
        """
        try:
            await self._client.publish(topic, payload, qos=1, retain=retain, timeout=TIMEOUT)
        except aiomqtt.MqttError as error:
            raise UnreachableError("fleet.broker", f"connection to the broker is lost: {error}") from error


@asynccontextmanager
async def connect(host: str, port: int, identifier: str, filters: Sequence[str]) -> AsyncIterator[Connection]:
    """A connection that is subscribed to `filters`; the broker keeps the session, so nothing is missed in between.

    Raises:
        UnreachableError: there is no broker, or it refuses.
    """
    try:
        async with aiomqtt.Client(
            host,
            port,
            identifier=identifier,
            clean_session=False,
            keepalive=KEEPALIVE,
            timeout=TIMEOUT,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        ) as client:
            for topic in filters:
                await client.subscribe(topic, qos=1)
            yield Connection(client)
    except aiomqtt.MqttError as error:
        raise UnreachableError("fleet.broker", f"broker at {host}:{port} does not answer: {error}") from error
