"""The daemon: one thread that takes events from one queue, and timers."""

from __future__ import annotations

import fcntl
import logging
import queue
import random
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent.errors import AgentError, ConfigError
from agent.journal import Journal
from agent.link import Connected, Delivered, Disconnected, Received, Stop
from agent.mqtt import client_id, connect
from agent.reports import Reports
from agent.retries import Retries
from agent.slots import Slots
from agent.telemetry import Telemetry
from agent.timers import Timers
from agent.updates import Updates
from agent.workers import Ended, Output, Processes
from manifests.durable import write_durably
from wire.messages import Status, encode
from wire.spool import Settings, Spool, write_settings
from wire.topics import PAYLOAD_LIMIT, device_topic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.config import AgentConfig
    from agent.link import Link

TELEMETRY_PERIOD = 2.0
"""Seconds between two looks at the spool."""
BURY_PERIOD = 600.0
"""Seconds between two looks for what dead applications left behind."""
FAREWELL = 3.0
"""Seconds that the last message may take when the daemon is told to stop."""

_log = logging.getLogger(__name__)


class Daemon:
    """One device's daemon. `run` returns after a `Stop`."""

    def __init__(self, config_path: Path, config: AgentConfig, events: queue.SimpleQueue[object]) -> None:
        """Read the journal and prepare the connection.

        Raises:
            AgentError: the journal is damaged, or a file that the configuration names can't be read.
        """
        boot = secrets.token_hex(8)
        self._config = config
        self._events = events
        self._birth = encode(Status(state="online", boot=boot))
        self._death = encode(Status(state="offline", boot=boot))
        self._topics = {
            channel: device_topic(config.fleet, config.device, channel)
            for channel in ("desired", "reported", "telemetry", "status")
        }
        config.state.mkdir(parents=True, exist_ok=True)
        journal = Journal(config.state / "journal.json")
        self._link: Link = connect(
            config.broker,
            client_id(config.device),
            events,
            random=random.random,
            will=(self._topics["status"], self._death),
        )
        self._link.subscribe(self._topics["desired"])
        self._timers = Timers(time.monotonic)
        self._workers = Processes(events)
        self._reports = Reports(
            config_path,
            journal=journal,
            link=self._link,
            topic=self._topics["reported"],
            workers=self._workers,
            timers=self._timers,
            boot=boot,
        )
        self._updates = Updates(
            config_path,
            config,
            journal=journal,
            slots=Slots(config.state),
            workers=self._workers,
            timers=self._timers,
            retries=Retries(self._timers, random.random),
            clock=time.monotonic,
            changed=self._reports.changed,
        )
        spool = Spool(config.state, config.telemetry.spool_bytes, write_durably)
        self._telemetry = Telemetry(spool, self._link, self._topics["telemetry"])

    def run(self) -> None:
        """Take up what was under way, connect, and serve until told to stop."""
        telemetry = self._config.telemetry
        settings = Settings(interval=telemetry.interval, spool_bytes=telemetry.spool_bytes)
        write_settings(self._config.state, settings, write_durably)
        self._updates.resume()
        self._reports.changed()
        self._link.open()
        self._look_at_spool()
        self._bury()
        try:
            while self._turn():
                pass
        finally:
            self._workers.close()
            self._take_leave()

    def _turn(self) -> bool:
        try:
            event = self._events.get(timeout=self._timers.wait())
        except queue.Empty:
            self._timers.run_due()
            return True
        self._take(event)
        self._timers.run_due()
        return not isinstance(event, Stop)

    def _take(self, event: object) -> None:
        match event:
            case Connected():
                _log.info("connected to %s:%d", self._config.broker.host, self._config.broker.port)
                self._link.publish(self._topics["status"], self._birth, retain=True)
                self._reports.changed()
                self._updates.reconnected()
                self._telemetry.send()
            case Disconnected():
                broker = self._config.broker
                _log.warning("not connected to %s:%d: %s", broker.host, broker.port, event.reason)
            case Received() if event.topic == self._topics["desired"] and len(event.payload) <= PAYLOAD_LIMIT:
                self._updates.desire(event.payload)
            case Delivered():
                self._reports.delivered(event.message)
                self._telemetry.delivered(event.message)
            case Output():
                self._reports.output(event)
                self._updates.output(event)
            case Ended():
                self._reports.ended(event)
                self._updates.ended(event)
            case _:
                pass

    def _look_at_spool(self) -> None:
        self._telemetry.send()
        self._timers.set("spool", TELEMETRY_PERIOD, self._look_at_spool)

    def _bury(self) -> None:
        self._updates.bury()
        self._timers.set("bury", BURY_PERIOD, self._bury)

    def _take_leave(self) -> None:
        """A clean end says itself that it is offline: the broker sends the will for the others alone."""
        message = self._link.publish(self._topics["status"], self._death, retain=True)
        deadline = time.monotonic() + FAREWELL
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(event, Delivered) and event.message == message:
                break
        self._link.close()


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Hold the state folder against a second daemon.

    Raises:
        AgentError: another one holds it.
        ConfigError: it can't be made, or not be written.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "lock").open("w")
    except OSError as error:
        raise ConfigError(
            "config.state",
            f"state folder '{state}' can't be used: {(error.strerror or '').lower()}",
            hint="name another one in agent.toml, or let the agent's user write there",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AgentError("agent.running", f"another agent is running on '{state}'") from error
        yield
