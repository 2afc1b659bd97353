from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, inspect, text

from fleet.errors import FleetError, UnreachableError
from fleet.store import Store
from fleet.store.database import _with_driver, bump_changes, count_changes
from fleet.store.devices import PAST_BOOTS
from fleet.store.releases import ReleaseRow
from fleet.store.retraining import RequestRow, VerdictRow
from manifests.manifest import BaselineSection, FeatureBaseline
from wire.messages import Inventory, ModelState, Report, Running, Status, Step, Window
from wire.sketches import LatencySketch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUNDLE = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    yield opened
    opened.close()


def release(counter: int = 1, bundle: str = BUNDLE, version: str = "1") -> ReleaseRow:
    return ReleaseRow(
        model="digits",
        version=version,
        target="cloud",
        counter=counter,
        bundle=bundle,
        path=f"releases/digits/{version}/cloud.json",
        size=10,
        published=1.0,
        source=OTHER,
        labels=("0", "1"),
    )


def report(sequence: int, *, state: str = "committed", targets: tuple[str, ...] = ("cloud",)) -> Report:
    running = Running(version="1", counter=1, target="cloud", bundle=BUNDLE)
    return Report(
        fleet="f",
        device="cam",
        boot="b1",
        sequence=sequence,
        time=5.0,
        assignment=3,
        inventory=Inventory(
            agent="0.1.0", architecture="x86_64", python="3.11.7", targets=targets, runtimes=(), disk_free_bytes=1
        ),
        models=(ModelState(model="digits", state=state, active=running),),  # type: ignore[arg-type]  # test data
        steps=(Step(model="digits", version="1", bundle=BUNDLE, step="commit", time=4.0),),
    )


def window(sequence: int, boot: str = "b1") -> Window:
    return Window(
        model="digits",
        version="1",
        bundle=BUNDLE,
        boot=boot,
        sequence=sequence,
        start=0.0,
        end=1.0,
        rows=4,
        calls=1,
        latency=LatencySketch(bins={3: 1}),
    )


def enroll(store: Store, name: str = "cam") -> None:
    store.devices.enroll(name, "PEM", targets=("cloud",), labels={"site": "north"}, now=1.0)


def test_a_device_is_found_as_it_was_enrolled(store: Store) -> None:
    enroll(store)
    device = store.devices.find("cam")
    assert device is not None
    assert (device.public_key, device.labels, device.targets, device.online, device.seen) == (
        "PEM",
        {"site": "north"},
        ("cloud",),
        False,
        None,
    )
    assert store.devices.find("other") is None


def test_a_name_is_enrolled_once(store: Store) -> None:
    enroll(store)
    with pytest.raises(FleetError, match="enrolled already"):
        enroll(store)


def test_status_turns_a_device_on_and_off(store: Store) -> None:
    enroll(store)
    store.devices.note_status("cam", Status(state="online", boot="b1", agent="0.1.0"), now=2.0)
    store.devices.note_status("cam", Status(state="offline", boot="b1"), now=3.0)
    (device,) = store.devices.all()
    assert (device.online, device.agent, device.boot) == (False, "0.1.0", "b1")
    assert device.seen == 2.0, "a will is the broker's word, by which nobody was seen"


def test_a_report_that_is_no_newer_changes_nothing(store: Store) -> None:
    enroll(store)
    assert store.placements.note_report(report(2), now=2.0)
    assert not store.placements.note_report(report(2), now=3.0)
    assert not store.placements.note_report(report(1), now=3.0)
    device = store.devices.find("cam")
    assert device is not None
    assert (device.seen, device.report_sequence, device.accepted) == (2.0, 2, 3)


def test_an_old_report_does_not_come_true_again_after_a_restart(store: Store) -> None:
    enroll(store)
    old = report(7, state="failed")
    assert store.placements.note_report(old, now=2.0)
    for number in range(PAST_BOOTS):
        assert store.placements.note_report(msgspec.structs.replace(report(1), boot=f"later-{number}"), now=3.0)
        assert not store.placements.note_report(old, now=4.0)
        assert not store.placements.note_report(msgspec.structs.replace(old, sequence=8), now=4.0)
    (placement,) = store.placements.all()
    assert placement.state == "committed"


def test_changes_grow_only_with_what_may_change_an_assignment(store: Store) -> None:
    counts = [store.changes()]
    enroll(store)
    counts.append(store.changes())
    store.releases.add(release(), None)
    counts.append(store.changes())
    store.wishes.add("digits", None, "all", now=1.0)
    counts.append(store.changes())
    store.placements.note_report(report(1, targets=("edge-arm", "cloud")), now=2.0)
    counts.append(store.changes())
    assert counts == sorted(set(counts))
    store.placements.note_report(report(2, targets=("edge-arm", "cloud")), now=2.0)
    store.releases.add(release(), None)
    store.telemetry.add("cam", window(1), now=9.0)
    assert store.changes() == counts[-1]


def test_a_release_is_added_once_and_keeps_its_baseline(store: Store) -> None:
    feature = FeatureBaseline(name="x", input="x", index=0, edges=(1.0,), counts=(2, 3))
    baseline = BaselineSection(samples=5, features=(feature,))
    assert store.releases.add(release(), baseline)
    assert not store.releases.add(release(), baseline)
    assert store.releases.baseline(BUNDLE) == baseline
    assert store.releases.baseline(OTHER) is None
    assert store.releases.find(BUNDLE) == release()


def test_two_releases_never_share_a_counter(store: Store) -> None:
    store.releases.add(release(), None)
    with pytest.raises(FleetError, match="counter 1"):
        store.releases.add(release(bundle=OTHER, version="2"), None)


def test_the_newest_release_has_the_highest_counter(store: Store) -> None:
    store.releases.add(release(counter=7, bundle=OTHER, version="b"), None)
    store.releases.add(release(counter=3, version="c"), None)
    newest = store.releases.newest("digits", "cloud")
    assert newest is not None
    assert newest.version == "b"
    assert [row.counter for row in store.releases.all("digits")] == [7, 3]
    assert store.releases.newest("digits", "edge-arm") is None


def test_a_wish_replaces_the_older_one_of_its_selector(store: Store) -> None:
    store.wishes.add("digits", "1", "all", now=1.0)
    store.wishes.add("digits", None, "cam", now=2.0)
    store.wishes.add("digits", "2", "all", now=3.0)
    assert [(wish.version, wish.selector) for wish in store.wishes.all()] == [(None, "cam"), ("2", "all")]


def test_a_placement_is_as_old_as_its_last_change(store: Store) -> None:
    enroll(store)
    store.placements.note_report(report(1, state="testing"), now=1.0)
    store.placements.note_report(report(2), now=2.0)
    store.placements.note_report(report(3), now=3.0)
    (placement,) = store.placements.all(model="digits")
    assert (placement.state, placement.since, placement.updated) == ("committed", 2.0, 3.0)
    assert len(store.placements.steps(device="cam")) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["b1", "b2"]), st.integers(0, 5)), max_size=20))
def test_a_window_counts_once_however_often_it_comes(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[str, int]]
) -> None:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'fleet.db'}")
    added = [store.telemetry.add("cam", window(sequence, boot), now=1.0) for boot, sequence in sent]
    kept = store.telemetry.all(model="digits")
    store.close()
    assert sum(added) == len(kept) == len(set(sent))
    assert {(row.window.boot, row.window.sequence) for row in kept} == set(sent)


def test_telemetry_shows_that_a_device_is_there(store: Store) -> None:
    enroll(store)
    store.telemetry.add("cam", window(1), now=9.0)
    assert store.devices.all()[0].seen == 9.0


def test_windows_are_chosen_by_time_and_bundle(store: Store) -> None:
    store.telemetry.add("cam", window(1), now=1.0)
    store.telemetry.add("cam", window(2), now=2.0)
    assert [row.window.sequence for row in store.telemetry.all(bundle=BUNDLE, since=1.5)] == [2]
    assert store.telemetry.all(bundle=OTHER) == []
    assert store.telemetry.bundles(since=0) == [BUNDLE]


def test_what_is_old_is_forgotten_and_nothing_else(store: Store) -> None:
    enroll(store)
    for time in (1.0, 2.0, 3.0):
        store.telemetry.add("cam", window(int(time)), now=time)
        store.placements.note_report(report(int(time)), now=time)
    assert (store.telemetry.forget(before=3.0), store.placements.forget_steps(before=3.0)) == (2, 2)
    assert [row.received for row in store.telemetry.all()] == [3.0]
    assert [row.received for row in store.placements.steps()] == [3.0]
    assert len(store.placements.all()) == 1


def test_one_cause_makes_one_request_with_a_delivery_for_each_sink(store: Store) -> None:
    request = RequestRow(cause="c", model="digits", version="1", bundle=BUNDLE, score=0.5, body="{}", created=1.0)
    assert store.retraining.add_request(request, ["command", "webhook"])
    assert not store.retraining.add_request(request, ["command", "webhook"])
    assert store.retraining.requests("digits") == [request]
    assert [delivery.sink for delivery in store.retraining.due(now=1.0)] == ["command", "webhook"]


def test_the_latest_verdict_of_each_device_is_found(store: Store) -> None:
    for device, verdict in (("cam", "stable"), ("", "stable"), ("cam", "drifted")):
        store.retraining.add_verdict(
            VerdictRow(
                model="digits",
                version="1",
                bundle=BUNDLE,
                device=device,
                verdict=verdict,
                score=0.1,
                rows=4,
                details="{}",
                decided=1.0,
            )
        )
    assert {row.device: row.verdict for row in store.retraining.latest_verdicts()} == {"": "stable", "cam": "drifted"}
    assert len(store.retraining.verdicts(BUNDLE)) == 3


def test_a_database_of_another_schema_is_refused(database_url: str) -> None:
    Store(database_url).close()
    engine = create_engine(_with_driver(database_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE counters SET value = 99 WHERE name = 'schema'"))
    engine.dispose()
    with pytest.raises(FleetError, match="expected version 2, got 99"):
        Store(database_url)


def test_a_database_of_an_older_version_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        for line in (
            "CREATE TABLE counters (name VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL)",
            "INSERT INTO counters VALUES ('schema', 1), ('changes', 0)",
            "CREATE TABLE devices (name VARCHAR(64) PRIMARY KEY)",
        ):
            connection.execute(text(line))
    with pytest.raises(FleetError, match="expected version 2, got 1") as caught:
        Store(url)
    assert "an older packtrain made it" in caught.value.hint
    assert set(inspect(engine).get_table_names()) == {"counters", "devices"}
    engine.dispose()


def test_a_database_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        Store(f"sqlite:///{tmp_path / 'missing' / 'fleet.db'}")


def test_a_postgresql_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        Store(f"postgresql://fleet@/fleet?host={tmp_path}")


@pytest.mark.parametrize("url", ["nonsense", "cobol://host/fleet"])
def test_what_is_no_database_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(FleetError) as caught:
        Store(url)
    assert url not in str(caught.value)
    assert caught.value.hint


def test_those_who_write_at_once_take_turns(store: Store) -> None:
    def bump(_: int) -> None:
        for _ in range(10):
            with store._database.writing() as connection:
                before = count_changes(connection)
                bump_changes(connection)
                assert count_changes(connection) == before + 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bump, range(4)))
    with store._database.reading() as connection:
        assert count_changes(connection) == 40


def test_a_reader_sees_one_state_while_another_writes(store: Store) -> None:
    with store._database.reading() as connection:
        before = count_changes(connection)
        with store._database.writing() as writer:
            bump_changes(writer)
        assert count_changes(connection) == before
    with store._database.reading() as connection:
        assert count_changes(connection) == before + 1
