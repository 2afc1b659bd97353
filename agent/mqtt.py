"""The only door to MQTT: one paho client, whose thread does nothing but put events into a queue.

MQTT 3.1.1, QoS 1: every broker named in the design carries it.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from agent.errors import ConfigError
from agent.link import Connected, Delivered, Disconnected, Received
from agent.retries import backoff

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from paho.mqtt.client import SocketLike
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from agent.config import BrokerSection, TlsSection
    from agent.link import Link

_FIRST_DELAY = 2.0
_LONGEST_DELAY = 60.0
_IN_FLIGHT = 20


class _Connection:
    """One paho client."""

    def __init__(
        self, client: paho.Client, broker: BrokerSection, events: SimpleQueue[object], random: Callable[[], float]
    ) -> None:
        self._client = client
        self._broker = broker
        self._events = events
        self._random = random
        self._failures = 0
        self._topics: list[str] = []
        client.on_connect = self._connected
        client.on_connect_fail = self._failed
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_publish = self._delivered
        client.on_socket_open = _send_at_once

    @property
    def events(self) -> SimpleQueue[object]:
        return self._events

    def open(self) -> None:
        self._client.connect_async(self._broker.host, self._broker.port, self._broker.keepalive)
        self._client.loop_start()

    def subscribe(self, topic: str) -> None:
        self._topics.append(topic)
        if self._client.is_connected():
            self._client.subscribe(topic, qos=1)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(
        self,
        client: paho.Client,
        _userdata: object,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._events.put(Disconnected(str(reason)))
            return
        for topic in self._topics:
            client.subscribe(topic, qos=1)
        self._failures = 0
        self._events.put(Connected())

    def _failed(self, client: paho.Client, _userdata: object) -> None:
        self._put_off(client)
        self._events.put(Disconnected("nobody answers there, or the network or TLS refuses; it is tried again"))

    def _disconnected(
        self,
        client: paho.Client,
        _userdata: object,
        _flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._put_off(client)
        self._events.put(Disconnected(str(reason)))

    def _put_off(self, client: paho.Client) -> None:
        """Choose how long paho waits before it connects again: by itself it knows no chance."""
        wait = backoff(self._failures, first=_FIRST_DELAY, longest=_LONGEST_DELAY, random=self._random)
        self._failures += 1
        client.reconnect_delay_set(wait, wait)  # type: ignore[arg-type]  # paho only adds it to a time in fractions

    def _received(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        self._events.put(Received(message.topic, bytes(message.payload)))

    def _delivered(
        self,
        _client: paho.Client,
        _userdata: object,
        mid: int,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._events.put(Delivered(mid))


def client_id(device: str, role: str = "") -> str:
    """The MQTT client identifier of a device's daemon, or of another program of it.

    NATS takes no dots in one; a device's name has neither ``:`` nor ``=``, so no two devices share one.
    """
    return device.replace(".", ":") + (f"={role}" if role else "")


def _send_at_once(_client: paho.Client, _userdata: object, connection: SocketLike) -> None:
    # A request is small and its answer is waited for; Nagle's algorithm and delayed acknowledgements would add 40 ms.
    cast("socket.socket", connection).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def connect(
    broker: BrokerSection,
    identity: str,
    events: SimpleQueue[object],
    *,
    random: Callable[[], float],
    will: tuple[str, bytes] | None = None,
) -> Link:
    """A connection to the broker, not opened yet. With a will the session outlives the connection.

    `random` gives numbers from 0 to 1, by which reconnections are spread.

    Raises:
        ConfigError: the password or a certificate can't be read.
    """
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=identity, clean_session=will is None)
    client.max_inflight_messages_set(_IN_FLIGHT)
    if broker.username is not None:
        client.username_pw_set(broker.username, _password(broker))
    if broker.tls is not None:
        client.tls_set_context(_tls_context(broker.tls))
    if will is not None:
        topic, payload = will
        client.will_set(topic, payload, qos=1, retain=True)
    return _Connection(client, broker, events, random)


def _password(broker: BrokerSection) -> str | None:
    if broker.password_file is None:
        return None
    try:
        return broker.password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            "config.password", f"password file '{broker.password_file}' can't be read: {error.strerror}"
        ) from error


def _tls_context(tls: TlsSection) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("config.tls", f"the broker's certificates can't be loaded: {error}") from error
    return context
