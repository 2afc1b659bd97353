"""The power goes at every flush of an update; the agent is started again on what is on the disk."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.agent.updates.conftest import Agents


class PowerCutError(BaseException):
    pass


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
    agents: Agents, monkeypatch: pytest.MonkeyPatch, flush: int, verdict: str
) -> None:
    agents.installed()
    device = agents.start()
    device.workers.answers["test"] = [verdict]
    with monkeypatch.context() as patch:
        cut_power_at(patch, flush)
        try:
            device.assign(2, "2")
            device.settle()
        except PowerCutError:
            pass
    assert device.active() in ({"1", "2"} if verdict == "ok" else {"1"})
    again = agents.start()
    again.workers.answers["test"] = [verdict]
    again.updates.resume()
    again.assign(2, "2")
    again.settle()
    assert again.active() == ("2" if verdict == "ok" else "1")
    assert again.record().state == ("committed" if verdict == "ok" else "failed")
    assert again.record().next is None
    assert not list((agents.state / "models" / "digits").glob(".*"))


@pytest.mark.parametrize("flush", range(6))
def test_a_power_cut_at_any_flush_of_a_roll_back_ends_with_the_old_bundle(
    agents: Agents, monkeypatch: pytest.MonkeyPatch, flush: int
) -> None:
    device, application = agents.activated()
    application.tell("1", refused="2")
    with monkeypatch.context() as patch:
        cut_power_at(patch, flush)
        with contextlib.suppress(PowerCutError):
            device.settle()
    again = agents.start(policy="application")
    again.updates.resume()
    again.settle()
    assert (again.active(), again.record().state) == ("1", "failed")
    application.attachment.close()


def test_an_update_takes_fewer_flushes_than_the_power_is_cut_at(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents.installed()
    device = agents.start()
    left = cut_power_at(monkeypatch, 1000)
    device.assign(2, "2")
    device.settle()
    assert 1000 - left[0] <= 40
