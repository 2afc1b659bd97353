"""The lifecycle carried out on a real disk: workers are played, everything else is what runs on a device."""

from __future__ import annotations

import itertools
import os
import queue
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import pytest

from agent import jobs
from agent.applications import Attachment, Health
from agent.config import AgentConfig, BrokerSection, HealthSection
from agent.errors import AgentError
from agent.journal import Journal
from agent.retries import Retries
from agent.slots import Content, Slots
from agent.timers import Timers
from agent.updates import Updates
from agent.workers import Ended, Output
from manifests.digests import digest_bytes
from wire.messages import Assignment, Desired, Fault, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.lifecycle import Record


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class PlayedWorkers:
    """Plays updater and self-test: stages for real, and answers in the workers' own lines."""

    def __init__(self, state: Path) -> None:
        self.events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.answers: dict[str, list[str]] = {}
        self.started: list[str] = []
        self.stopped: list[int] = []
        self._numbers = itertools.count(1)
        self._slots = Slots(state)
        self._state = state

    def start(self, module: str, arguments: Sequence[str], job: bytes) -> int:
        number = next(self._numbers)
        if module == "agent.selftest":
            version = Slots(self._state).folder("digits", "a").parent / Path(arguments[0]).name / "slot.json"
            version = msgspec.json.decode(version.read_bytes(), type=Content).running.version
            self.started.append(f"test {version}")
            line = {"ok": jobs.Tested(samples=4), "bad": FAILED}.get(self._answer("test"))
        else:
            task = msgspec.json.decode(job, type=jobs.AnyJob)
            if isinstance(task, jobs.Verify):
                self.started.append("verify")
                line = {
                    "ok": jobs.Verified(assignment=msgspec.json.decode(task.envelope, type=Assignment)),
                    "bad": FAILED,
                    "offline": OFFLINE,
                }.get(self._answer("verify"))
            else:
                self.started.append(f"fetch {task.desired.version}")
                line = self._fetch(task)
        if line == HANG:
            return number
        if line is not None:
            self.events.put(Output(number, msgspec.json.encode(line)))
        self.events.put(Ended(number, 0 if line else -11, "Segmentation fault"))
        return number

    def stop(self, worker: int) -> None:
        self.stopped.append(worker)
        self.events.put(Ended(worker, -9, ""))

    def _answer(self, task: str) -> str:
        answers = self.answers.get(task) or ["ok"]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _fetch(self, task: jobs.Fetch) -> object:
        answer = self._answer("fetch")
        if answer != "ok":
            return {"bad": FAILED, "offline": OFFLINE, "hang": HANG}.get(answer)
        blob = self._state / "blob"
        blob.write_bytes(task.desired.version.encode())
        wanted = task.desired
        running = Running(version=wanted.version, counter=wanted.counter, target=wanted.target, bundle=wanted.bundle)
        content = Content(running=running, manifest=digest_bytes(b"{}"))
        self._slots.stage(wanted.model, task.slot, content, b"{}", [("model.onnx", blob)])
        blob.unlink()
        return jobs.Staged(fetched=1, kept=0)


FAULT = Fault(code="played.fault", message="as the test wants it")
FAILED = jobs.Failed(outcome="refused", fault=FAULT)
OFFLINE = jobs.Failed(outcome="unreachable", fault=FAULT)
HANG = "hang"


class Device:
    """One start of the agent on a state folder."""

    def __init__(
        self, state: Path, policy: Literal["application", "self-test"] = "self-test", timeout: float = 10.0
    ) -> None:
        config = AgentConfig(
            device="d",
            fleet="f",
            state=state,
            targets=("cloud",),
            key=state / "device.key",
            root=state / "root.json",
            broker=BrokerSection(host="localhost", port=1883),
            health=HealthSection(timeout=timeout, policy=policy),
        )
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.journal = Journal(state / "journal.json")
        self.slots = Slots(state)
        self.workers = PlayedWorkers(state)
        self.changes = 0
        self.updates = Updates(
            state / "agent.toml",
            config,
            journal=self.journal,
            slots=self.slots,
            workers=self.workers,
            timers=self.timers,
            retries=Retries(self.timers, lambda: 1.0),
            clock=self.clock,
            changed=self._changed,
        )

    def _changed(self) -> None:
        self.changes += 1

    def settle(self, until: Callable[[], object] = lambda: False) -> None:
        """Run the event loop until nothing is left to do, or `until` holds; waiting turns the clock."""
        for _ in range(400):
            if until():
                return
            try:
                event = self.workers.events.get_nowait()
            except queue.Empty:
                wait = self.timers.wait()
                if wait is None:
                    return
                self.clock.now += wait
            else:
                self.updates.output(event) if isinstance(event, Output) else self.updates.ended(event)
            self.timers.run_due()
        raise AssertionError("the device does not come to rest")

    def assign(self, sequence: int, *versions: str) -> None:
        self.updates.desire(_envelope(sequence, *versions))

    def record(self) -> Record:
        return self.journal.entry.models["digits"]

    def told(self) -> list[tuple[str, str, str | None]]:
        """The steps in the journal."""
        steps = self.journal.entry.steps
        return [(step.version, step.step, step.fault.code if step.fault else None) for step in steps]

    def active(self) -> str | None:
        try:
            return self.slots.open_active("digits").content.running.version
        except AgentError:
            return None


def _envelope(sequence: int, *versions: str) -> bytes:
    models = tuple(
        Desired(
            model="digits",
            version=version,
            counter=int(version),
            target="cloud",
            bundle=digest_bytes(version.encode()),
            release=f"releases/digits/{version}/cloud.json",
        )
        for version in versions
    )
    return msgspec.json.encode(Assignment(fleet="f", device="d", sequence=sequence, models=models))


class Application:
    """What an embedded `agent.model.Model` tells, without the model."""

    def __init__(self, state: Path, bundle: str) -> None:
        self.attachment = Attachment(state, "digits")
        self.tell(bundle, calls=100)

    def tell(self, version: str, *, calls: int = 0, errors: int = 0, refused: str = "") -> None:
        self.attachment.tell(
            Health(
                model="digits",
                pid=os.getpid(),
                bundle=digest_bytes(version.encode()),
                calls=calls,
                errors=errors,
                refused=digest_bytes(refused.encode()) if refused else "",
                fault=FAULT if refused else None,
            )
        )


class Agents:
    """Starts the agent on one state folder, again and again."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def start(self, policy: Literal["application", "self-test"] = "self-test", timeout: float = 10.0) -> Device:
        return Device(self.state, policy, timeout)

    def installed(self) -> Device:
        """With version 1 committed."""
        device = self.start()
        device.assign(1, "1")
        device.settle()
        assert device.active() == "1"
        return device

    def activated(self, timeout: float = 10.0) -> tuple[Device, Application]:
        """With version 1 committed, an application attached, and version 2 just activated."""
        self.installed()
        application = Application(self.state, "1")
        device = self.start(policy="application", timeout=timeout)
        device.assign(2, "2")
        device.settle(until=lambda: "digits" in device.journal.entry.models and device.record().state == "activated")
        return device, application


@pytest.fixture
def agents(tmp_path: Path) -> Agents:
    return Agents(tmp_path)
