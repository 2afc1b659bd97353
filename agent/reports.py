"""Tells the server what the device is and does: one report on its way at a time, none lost."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import msgspec

from agent.jobs import AnyLine, Failed, Sign, Signed
from agent.lifecycle import model_state

if TYPE_CHECKING:
    from pathlib import Path

    from agent.journal import Journal
    from agent.link import Link
    from agent.timers import Timers
    from agent.workers import Ended, Output, Workers

PERIOD = 600.0
"""Seconds after which a device that has no news says so: a server takes longer silence for failure."""
RETRY = 30.0
"""Seconds until a report that could not be signed is tried again."""
STEPS_AT_ONCE = 64
"""Steps in one report: with them it stays below the limit of a message."""
_LONGEST = 600
"""Characters of a fault's message that are sent."""

_log = logging.getLogger(__name__)


class Reports:
    """Signs and sends. Steps leave the journal when the broker has taken over the report that holds them."""

    def __init__(  # noqa: PLR0913 - the parts that the daemon is made of
        self,
        config_path: Path,
        *,
        journal: Journal,
        link: Link,
        topic: str,
        workers: Workers,
        timers: Timers,
        boot: str,
    ) -> None:
        self._config_path = config_path
        self._journal = journal
        self._link = link
        self._topic = topic
        self._workers = workers
        self._timers = timers
        self._boot = boot
        self._sequence = 0
        self._news = False
        self._worker: int | None = None
        self._answered = False
        self._upto = 0
        self._in_flight: int | None = None

    def changed(self) -> None:
        """There is news. What else happens in this turn of the event loop goes into the same report."""
        self._news = True
        self._timers.set("report", 0.0, self.send)

    def send(self) -> None:
        """Sign the news, unless a report is on its way; it is sent when it is signed."""
        if not self._news or self._worker is not None or self._in_flight is not None:
            return
        entry = self._journal.entry
        steps = entry.steps[:STEPS_AT_ONCE]
        self._news = len(steps) < len(entry.steps)
        self._sequence += 1
        self._upto = entry.gone + len(steps)
        job = Sign(
            config=str(self._config_path),
            boot=self._boot,
            sequence=self._sequence,
            time=time.time(),
            assignment=entry.sequence,
            models=tuple(model_state(record) for record in entry.models.values()),
            steps=tuple(
                msgspec.structs.replace(
                    step, fault=msgspec.structs.replace(step.fault, message=step.fault.message[:_LONGEST])
                )
                if step.fault
                else step
                for step in steps
            ),
        )
        self._answered = False
        self._worker = self._workers.start("agent.report", [], msgspec.json.encode(job))

    def output(self, output: Output) -> None:
        """A worker wrote a line."""
        if output.worker != self._worker:
            return
        line = msgspec.json.decode(output.line, type=AnyLine)
        if isinstance(line, Signed):
            self._answered = True
            self._in_flight = self._link.publish(self._topic, line.envelope)
        elif isinstance(line, Failed):
            self._answered = True
            _log.error("report can't be signed: %s: %s", line.fault.code, line.fault.message)

    def ended(self, ended: Ended) -> None:
        """A worker ended."""
        if ended.worker != self._worker:
            return
        self._worker = None
        if not self._answered:
            _log.error("report was not signed: exit status %d: %s", ended.status, ended.errors)
            self._news = True
            self._timers.set("report", RETRY, self.send)
        elif self._news:
            self.changed()

    def delivered(self, message: int) -> None:
        """The broker has taken a message over; if it was a report, its steps are told."""
        if message == self._in_flight:
            self._in_flight = None
            self._journal.forget(self._upto)
            self._timers.set("report", 0.0 if self._news else PERIOD, self._due)

    def _due(self) -> None:
        self._news = True
        self.send()
