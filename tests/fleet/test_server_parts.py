from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from fleet.broker import Broker, Plan, free_port, plan_broker, same_port
from fleet.config import BrokerTable
from fleet.errors import FleetError, UnreachableError
from fleet.serve import keep_fresh, listen, run_until
from fleet.trust import utc

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.workspace import Workspace

DAY = 86_400.0


def test_the_server_renews_what_its_keys_may_and_complains_of_the_rest(workspace: Workspace) -> None:
    said: list[str] = []
    now = time.time()
    keep_fresh(workspace, said.append, now=now)
    assert said == []
    (workspace.folder / "keys" / "offline" / "root.key").unlink()
    (workspace.folder / "keys" / "offline" / "targets.key").unlink()
    keep_fresh(workspace, said.append, now=now + 80 * DAY)
    assert said[0] == "renewed: snapshot, timestamp"
    assert said[1].startswith("the targets metadata expires on")
    assert len(said) == 2
    assert workspace.repository.expiries()["timestamp"] > utc(now + 80 * DAY)


def test_a_port_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnreachableError, match=f"port {port} of 127.0.0.1") as caught:
            listen("127.0.0.1", port)
    assert caught.value.exit_code == 6


def test_a_port_that_was_left_to_chance_is_kept_while_it_is_free() -> None:
    with listen("127.0.0.1", 0) as taken:
        last = taken.getsockname()[1]
        assert same_port("127.0.0.1", 0, last) == 0
        assert same_port("127.0.0.1", last, 1) == last
    assert same_port("127.0.0.1", 0, last) == last
    assert same_port("127.0.0.1", 0, 0) == 0


def test_a_broker_is_not_started_on_a_port_that_is_taken(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        table = BrokerTable(port=taken.getsockname()[1])
        with pytest.raises(UnreachableError, match="can't be had"):
            asyncio.run(Broker(plan_broker(table, tmp_path)).start())


def test_a_broker_that_ends_at_once_says_why(tmp_path: Path) -> None:
    plan = Plan(
        engine="mosquitto",
        command=("sh", "-c", "echo out of luck; exit 3"),
        host="127.0.0.1",
        port=free_port("127.0.0.1"),
        log=tmp_path / "log",
    )
    with pytest.raises(UnreachableError, match="out of luck"):
        asyncio.run(Broker(plan).start())


def test_without_a_broker_the_hint_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(FleetError, match="no broker is installed") as caught:
        plan_broker(BrokerTable(), tmp_path)
    assert "pip install" in caught.value.hint


def test_a_job_that_fails_ends_all_with_its_own_error() -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    async def fails() -> None:
        raise FleetError("fleet.test", "it failed")

    with pytest.raises(FleetError, match="it failed"):
        asyncio.run(_run([waits(), fails()]))
    assert ended == ["waits"]


async def _run(jobs: list) -> None:  # type: ignore[type-arg]  # coroutines
    await run_until(asyncio.Event(), jobs)
