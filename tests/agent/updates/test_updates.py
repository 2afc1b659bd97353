"""The lifecycle carried out on a real disk: workers are played, everything else is what runs on a device."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.agent.updates.conftest import Application
from wire.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.agent.updates.conftest import Agents

FAULT = Fault(code="played.fault", message="as the test wants it")


def test_a_first_bundle_is_committed_and_every_step_is_told(agents: Agents) -> None:
    device = agents.installed()
    assert device.record().state == "committed"
    assert device.told() == [
        ("1", "self-test", None),
        ("1", "activate", None),
        ("1", "health", None),
        ("1", "commit", None),
    ]


def test_an_upgrade_goes_into_the_other_slot_and_keeps_the_old_one(agents: Agents) -> None:
    device = agents.installed()
    device.assign(2, "2")
    device.settle()
    assert (device.active(), device.slots.active("digits")) == ("2", "b")
    assert device.slots.folder("digits", "a").is_dir()


def test_a_failed_self_test_leaves_what_was_active(agents: Agents) -> None:
    agents.installed()
    device = agents.start()
    device.workers.answers["test"] = ["bad"]
    device.assign(2, "2")
    device.settle()
    assert (device.active(), device.record().state, device.record().fault) == ("1", "failed", FAULT)
    assert device.told()[-1] == ("2", "self-test", "played.fault")


def test_a_self_test_that_crashes_is_a_failed_one(agents: Agents) -> None:
    agents.installed()
    device = agents.start()
    device.workers.answers["test"] = ["crash"]
    device.assign(2, "2")
    device.settle()
    assert device.record().fault.code == "self-test.crash"
    assert "signal 11" in device.record().fault.message


def test_a_self_test_that_hangs_is_ended_and_failed(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    agents.installed()
    device = agents.start()
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


def test_a_bundle_that_failed_is_tried_again_for_a_newer_assignment_only(agents: Agents) -> None:
    agents.installed()
    device = agents.start()
    device.workers.answers["test"] = ["bad", "ok"]
    device.assign(2, "2")
    device.settle()
    device.updates.resume()
    device.settle()
    assert device.workers.started == ["verify", "fetch 2", "test 2"]
    device.assign(3, "2")
    device.settle()
    assert device.active() == "2"


def test_a_refused_bundle_is_a_failed_update(agents: Agents) -> None:
    device = agents.start()
    device.workers.answers["fetch"] = ["bad"]
    device.assign(1, "1")
    device.settle()
    assert (device.active(), device.record().state) == (None, "failed")


def test_an_unreachable_server_is_tried_again_with_growing_patience(agents: Agents) -> None:
    device = agents.start()
    device.workers.answers["fetch"] = ["offline", "offline", "crash", "ok"]
    device.assign(1, "1")
    begin = device.clock.now
    device.settle()
    assert device.active() == "1"
    assert device.clock.now - begin == 2 + 4 + 8


def test_a_reconnection_ends_the_wait(agents: Agents) -> None:
    device = agents.start()
    device.workers.answers["verify"] = ["offline", "ok"]
    device.assign(1, "1")
    begin = device.clock.now
    device.settle(until=lambda: device.journal.entry.steps)
    device.updates.reconnected()
    device.settle()
    assert device.active() == "1"
    assert device.clock.now == begin


def test_a_refused_assignment_changes_nothing_and_is_told(agents: Agents) -> None:
    device = agents.start()
    device.workers.answers["verify"] = ["bad"]
    device.assign(1, "1")
    device.settle()
    assert device.journal.entry.models == {}
    assert device.journal.entry.sequence == 0
    assert device.told() == [("none", "assignment", "played.fault")]


def test_the_assignment_that_is_in_force_is_not_verified_again(agents: Agents) -> None:
    device = agents.installed()
    device.assign(1, "1")
    device.settle()
    assert device.workers.started.count("verify") == 1


def test_a_newer_assignment_stops_the_download_under_way(agents: Agents) -> None:
    device = agents.start()
    device.workers.answers["fetch"] = ["hang", "ok"]
    device.assign(1, "1")
    device.settle()
    device.assign(2, "2")
    # The download holds the only place for workers; the daemon must not wait for it to hear of a newer assignment.
    device.settle()
    assert device.active() == "2"


def test_a_model_that_is_no_longer_assigned_is_removed(agents: Agents) -> None:
    device = agents.installed()
    device.assign(2)
    device.settle()
    assert (device.active(), device.record().state) == (None, "empty")
    assert not (agents.state / "models" / "digits").exists()


def test_an_application_that_is_served_lets_the_bundle_stay(agents: Agents) -> None:
    device, application = agents.activated()
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
    agents: Agents, news: dict[str, object], code: str
) -> None:
    device, application = agents.activated()
    assert device.active() == "2"
    application.tell(**news)
    device.settle()
    assert (device.active(), device.record().state, device.record().fault.code) == ("1", "failed", code)
    assert [step[1] for step in device.told()][-2:] == ["health", "roll-back"]
    application.attachment.close()


def test_applications_that_die_of_a_bundle_bring_the_old_one_back(agents: Agents) -> None:
    device, application = agents.activated()
    os.close(application.attachment._lock)  # what the kernel does when a process ends
    device.settle()
    assert (device.active(), device.record().fault.code) == ("1", "health.died")


def test_what_dead_applications_left_is_buried_between_updates(agents: Agents) -> None:
    device = agents.installed()
    living, dead = Application(agents.state, "1"), Application(agents.state, "1")
    os.close(dead.attachment._lock)
    dead.attachment._place.with_suffix(".partial").touch()  # killed while it wrote
    device.updates.bury()
    left = {path.name.partition(".")[0] for path in (agents.state / "applications" / "digits").iterdir()}
    assert left == {living.attachment._place.stem}
    living.attachment.close()


def test_burying_takes_no_death_from_the_verdict(agents: Agents) -> None:
    device, application = agents.activated()
    os.close(application.attachment._lock)
    device.updates.bury()
    device.settle()
    assert (device.active(), device.record().fault.code) == ("1", "health.died")


def test_an_assignment_that_comes_between_switch_and_verdict_is_carried_out_after_it(agents: Agents) -> None:
    device, application = agents.activated()
    device.assign(3, "3")
    device.settle(until=lambda: device.journal.entry.sequence == 3)
    assert device.record().state == "activated"
    application.tell("2", calls=5)
    device.settle(until=lambda: device.active() == "3")
    application.tell("3", calls=5)
    device.settle()
    assert (device.active(), device.record().state) == ("3", "committed")
    application.attachment.close()
