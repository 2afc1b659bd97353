"""The lifecycle carried out on a real disk: workers are played, everything else is what runs on a device."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest

from agent import jobs
from agent.applications import Attachment, Health
from agent.config import AgentConfig, BrokerSection, HealthSection
from agent.errors import AgentError
from agent.journal import Journal
from agent.slots import Content, Slots
from agent.timers import Timers
from agent.updates import Updates
from agent.workers import Ended, Output
from manifests.digests import digest_bytes
from wire.messages import Assignment, Desired, Fault, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.lifecycle import Record


class PowerCutError(BaseException):
    pass


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
        self.updates.desire(envelope(sequence, *versions))

    def record(self) -> Record:
        return self.journal.entry.models["digits"]

    def active(self) -> str | None:
        try:
            return self.slots.open_active("digits").content.running.version
        except AgentError:
            return None


def envelope(sequence: int, *versions: str) -> bytes:
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


def installed(state: Path, version: str = "1", sequence: int = 1) -> Device:
    device = Device(state)
    device.assign(sequence, version)
    device.settle()
    assert device.active() == version
    return device


def told(device: Device) -> list[tuple[str, str, str | None]]:
    return [(step.version, step.step, step.fault.code if step.fault else None) for step in device.journal.entry.steps]


def test_a_first_bundle_is_committed_and_every_step_is_told(tmp_path: Path) -> None:
    device = installed(tmp_path)
    assert device.record().state == "committed"
    assert told(device) == [
        ("1", "self-test", None),
        ("1", "activate", None),
        ("1", "health", None),
        ("1", "commit", None),
    ]


def test_an_upgrade_goes_into_the_other_slot_and_keeps_the_old_one(tmp_path: Path) -> None:
    device = installed(tmp_path)
    device.assign(2, "2")
    device.settle()
    assert (device.active(), device.slots.active("digits")) == ("2", "b")
    assert device.slots.folder("digits", "a").is_dir()


def test_a_failed_self_test_leaves_what_was_active(tmp_path: Path) -> None:
    installed(tmp_path)
    device = Device(tmp_path)
    device.workers.answers["test"] = ["bad"]
    device.assign(2, "2")
    device.settle()
    assert (device.active(), device.record().state, device.record().fault) == ("1", "failed", FAULT)
    assert told(device)[-1] == ("2", "self-test", "played.fault")


def test_a_self_test_that_crashes_is_a_failed_one(tmp_path: Path) -> None:
    installed(tmp_path)
    device = Device(tmp_path)
    device.workers.answers["test"] = ["crash"]
    device.assign(2, "2")
    device.settle()
    assert device.record().fault.code == "self-test.crash"
    assert "signal 11" in device.record().fault.message


def test_a_self_test_that_hangs_is_ended_and_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path)
    device = Device(tmp_path)
    monkeypatch.setattr(device.workers, "_answer", lambda task: "hang" if task == "test" else "ok")
    start = device.workers.start

    def hang(module: str, arguments: Sequence[str], job: bytes) -> int:
        if module == "agent.selftest":
            device.workers.started.append("test hangs")
            return 999
        return start(module, arguments, job)

    monkeypatch.setattr(device.workers, "start", hang)
    device.assign(2, "2")
    device.settle()
    assert device.workers.stopped == [999]
    assert device.record().fault.code == "self-test.time-out"


def test_a_bundle_that_failed_is_tried_again_for_a_newer_assignment_only(tmp_path: Path) -> None:
    installed(tmp_path)
    device = Device(tmp_path)
    device.workers.answers["test"] = ["bad", "ok"]
    device.assign(2, "2")
    device.settle()
    device.updates.resume()
    device.settle()
    assert device.workers.started == ["verify", "fetch 2", "test 2"]
    device.assign(3, "2")
    device.settle()
    assert device.active() == "2"


def test_a_refused_bundle_is_a_failed_update(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.workers.answers["fetch"] = ["bad"]
    device.assign(1, "1")
    device.settle()
    assert (device.active(), device.record().state) == (None, "failed")


def test_an_unreachable_server_is_tried_again_with_growing_patience(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.workers.answers["fetch"] = ["offline", "offline", "crash", "ok"]
    device.assign(1, "1")
    begin = device.clock.now
    device.settle()
    assert device.active() == "1"
    assert device.clock.now - begin == 2 + 4 + 8


def test_a_reconnection_ends_the_wait(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.workers.answers["verify"] = ["offline", "ok"]
    device.assign(1, "1")
    begin = device.clock.now
    device.settle(until=lambda: device.journal.entry.steps)
    device.updates.reconnected()
    device.settle()
    assert device.active() == "1"
    assert device.clock.now == begin


def test_a_refused_assignment_changes_nothing_and_is_told(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.workers.answers["verify"] = ["bad"]
    device.assign(1, "1")
    device.settle()
    assert device.journal.entry.models == {}
    assert device.journal.entry.sequence == 0
    assert told(device) == [("none", "assignment", "played.fault")]


def test_the_assignment_that_is_in_force_is_not_verified_again(tmp_path: Path) -> None:
    device = installed(tmp_path)
    device.assign(1, "1")
    device.settle()
    assert device.workers.started.count("verify") == 1


def test_a_newer_assignment_stops_the_download_under_way(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.workers.answers["fetch"] = ["hang", "ok"]
    device.assign(1, "1")
    device.settle()
    device.assign(2, "2")
    # The download holds the only place for workers; the daemon must not wait for it to hear of a newer assignment.
    device.settle()
    assert device.active() == "2"


def test_a_model_that_is_no_longer_assigned_is_removed(tmp_path: Path) -> None:
    device = installed(tmp_path)
    device.assign(2)
    device.settle()
    assert (device.active(), device.record().state) == (None, "empty")
    assert not (tmp_path / "models" / "digits").exists()


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


def activated(state: Path, timeout: float = 10.0) -> tuple[Device, Application]:
    installed(state)
    application = Application(state, "1")
    device = Device(state, policy="application", timeout=timeout)
    device.assign(2, "2")
    device.settle(until=lambda: "digits" in device.journal.entry.models and device.record().state == "activated")
    return device, application


def test_an_application_that_is_served_lets_the_bundle_stay(tmp_path: Path) -> None:
    device, application = activated(tmp_path)
    application.tell("2", calls=5)
    device.settle()
    assert (device.active(), device.record().state) == ("2", "committed")
    application.attachment.close()


@pytest.mark.parametrize(
    ("news", "code"),
    [
        ({"version": "1", "refused": "2"}, "health.open"),
        ({"version": "2", "calls": 4, "errors": 3}, "health.errors"),
        ({"version": "1", "calls": 500}, "health.timeout"),
    ],
)
def test_an_application_that_is_not_served_brings_the_old_bundle_back(
    tmp_path: Path, news: dict[str, Any], code: str
) -> None:
    device, application = activated(tmp_path)
    assert device.active() == "2"
    application.tell(**news)
    device.settle()
    assert (device.active(), device.record().state, device.record().fault.code) == ("1", "failed", code)
    assert [step[1] for step in told(device)][-2:] == ["health", "roll-back"]
    application.attachment.close()


def test_applications_that_die_of_a_bundle_bring_the_old_one_back(tmp_path: Path) -> None:
    device, application = activated(tmp_path)
    os.close(application.attachment._lock)  # what the kernel does when a process ends
    device.settle()
    assert (device.active(), device.record().fault.code) == ("1", "health.died")


def test_an_assignment_that_comes_between_switch_and_verdict_is_carried_out_after_it(tmp_path: Path) -> None:
    device, application = activated(tmp_path)
    device.assign(3, "3")
    device.settle(until=lambda: device.journal.entry.sequence == 3)
    assert device.record().state == "activated"
    application.tell("2", calls=5)
    device.settle(until=lambda: device.active() == "3")
    application.tell("3", calls=5)
    device.settle()
    assert (device.active(), device.record().state) == ("3", "committed")
    application.attachment.close()


def cut_power_at(monkeypatch: pytest.MonkeyPatch, count: int) -> list[int]:
    flush = os.fsync
    left = [count]

    def fsync(handle: int) -> None:
        if left[0] == 0:
            raise PowerCutError
        left[0] -= 1
        flush(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return left


@pytest.mark.parametrize("verdict", ["ok", "bad"])
@pytest.mark.parametrize("flush", range(40))
def test_a_power_cut_at_any_flush_of_an_update_ends_in_one_of_the_two_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: int, verdict: str
) -> None:
    installed(tmp_path)
    device = Device(tmp_path)
    device.workers.answers["test"] = [verdict]
    with monkeypatch.context() as patch:
        cut_power_at(patch, flush)
        try:
            device.assign(2, "2")
            device.settle()
        except PowerCutError:
            pass
    assert device.active() in ({"1", "2"} if verdict == "ok" else {"1"})
    again = Device(tmp_path)
    again.workers.answers["test"] = [verdict]
    again.updates.resume()
    again.assign(2, "2")
    again.settle()
    assert again.active() == ("2" if verdict == "ok" else "1")
    assert again.record().state == ("committed" if verdict == "ok" else "failed")
    assert again.record().next is None
    assert not list((tmp_path / "models" / "digits").glob(".*"))


@pytest.mark.parametrize("flush", range(6))
def test_a_power_cut_at_any_flush_of_a_roll_back_ends_with_the_old_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: int
) -> None:
    device, application = activated(tmp_path)
    application.tell("1", refused="2")
    with monkeypatch.context() as patch:
        cut_power_at(patch, flush)
        with contextlib.suppress(PowerCutError):
            device.settle()
    again = Device(tmp_path, policy="application")
    again.updates.resume()
    again.settle()
    assert (again.active(), again.record().state) == ("1", "failed")
    application.attachment.close()


def test_an_update_takes_fewer_flushes_than_the_power_is_cut_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path)
    device = Device(tmp_path)
    left = cut_power_at(monkeypatch, 1000)
    device.assign(2, "2")
    device.settle()
    assert 1000 - left[0] <= 40
