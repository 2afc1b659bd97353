"""One request a cause: over restarts, repeated verdicts, cooldown, new versions and new episodes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.config import CommandSink, DriftTable, FleetConfig, WebhookSink
from fleet.drift import Details
from fleet.retraining import CloudEvent, drifting_since, look, name_cause, watch_drift
from fleet.store import Store
from fleet.store.releases import ReleaseRow
from manifests.manifest import BaselineSection, FeatureBaseline, PredictionBaseline
from wire.messages import FeatureCounts, Inventory, ModelState, Report, Running, Window
from wire.sketches import LatencySketch

if TYPE_CHECKING:
    from collections.abc import Iterator

BASELINE = BaselineSection(
    samples=1000,
    features=(FeatureBaseline(name="a", input="x", index=0, edges=(0.0,), counts=(500, 500)),),
    predictions=PredictionBaseline(output="label", counts=(600, 400)),
)
CONFIG = FleetConfig(
    fleet="demo",
    drift=DriftTable(window=100.0, window_rows=400, minimum_rows=200, cooldown=50.0),
    sinks=(
        CommandSink(command=("true",)),
        WebhookSink(url="http://127.0.0.1:1/", models=("other",)),
    ),
)


def digest(version: str) -> str:
    return "sha256:" + version * 64


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url)
    publish(opened, "1")
    for device in ("cam-1", "cam-2"):
        opened.devices.enroll(device, "pem", targets=("cloud",), labels={}, now=0.0)
        run(opened, device, "1")
    yield opened
    opened.close()


def publish(store: Store, version: str) -> None:
    row = ReleaseRow(
        model="digits",
        version=version,
        target="cloud",
        counter=int(version),
        bundle=digest(version),
        path=f"releases/digits/{version}/cloud.json",
        size=1,
        published=0.0,
        source=digest("a"),
        labels=("0", "1"),
    )
    store.releases.add(row, BASELINE)


def run(store: Store, device: str, version: str) -> None:
    running = Running(version=version, counter=int(version), target="cloud", bundle=digest(version))
    store.placements.note_report(
        Report(
            fleet="demo",
            device=device,
            boot="b",
            sequence=int(version),
            time=0.0,
            assignment=1,
            inventory=Inventory(
                agent="0", architecture="x", python="3", targets=("cloud",), runtimes=(), disk_free_bytes=1
            ),
            models=(ModelState(model="digits", state="committed", active=running),),
        ),
        now=0.0,
    )


def send(store: Store, now: float, *, moved: bool, rows: int = 400, device: str = "cam-1", version: str = "1") -> None:
    half = rows // 2
    counts = (0, rows) if moved else (half, rows - half)
    store.telemetry.add(
        device,
        Window(
            model="digits",
            version=version,
            bundle=digest(version),
            boot="b",
            sequence=int(now * 10),
            start=now,
            end=now,
            rows=rows,
            calls=rows,
            latency=LatencySketch(),
            features=(FeatureCounts(name="a", counts=counts),),
            predictions=(int(rows * 0.6), rows - int(rows * 0.6)),
        ),
        now=now,
    )


def see(store: Store, now: float, *, moved: bool, version: str = "1", config: FleetConfig = CONFIG) -> str:
    send(store, now, moved=moved, version=version)
    (verdict,) = look(store, config, now=now)
    return verdict.verdict


def test_drift_makes_one_request_with_what_was_seen(store: Store) -> None:
    assert see(store, 10.0, moved=True) == "drifted"
    (request,) = store.retraining.requests()
    event = msgspec.json.decode(request.body, type=CloudEvent)
    assert (event.id, event.source, event.subject) == (request.cause, "urn:packtrain:fleet:demo", "digits:1")
    assert (event.type, event.time) == ("dev.packtrain.retraining.requested.v1", "1970-01-01T00:00:10Z")
    assert (event.data.model, event.data.version, event.data.bundle) == ("digits", "1", digest("1"))
    assert [feature.name for feature in event.data.features] == ["a"]
    assert [(device.device, device.kind) for device in event.data.devices] == [("cam-1", "drifted")]


def test_request_goes_to_the_sinks_that_take_the_model(store: Store) -> None:
    see(store, 10.0, moved=True)
    assert [delivery.sink for delivery in store.retraining.due(now=10.0)] == ["command"]


def test_stable_windows_make_no_request(store: Store) -> None:
    assert see(store, 10.0, moved=False) == "stable"
    assert store.retraining.requests() == []


def test_episode_that_goes_on_makes_no_second_request_even_after_the_cooldown(store: Store) -> None:
    for now in (10.0, 100.0, 1000.0):
        assert see(store, now, moved=True) == "drifted"
    assert len(store.retraining.requests()) == 1


def test_restarted_server_does_not_ask_again(store: Store, url: str) -> None:
    see(store, 10.0, moved=True)
    again = Store(url)
    assert see(again, 1000.0, moved=True) == "drifted"
    assert len(again.retraining.requests()) == 1
    again.close()


def test_new_episode_makes_a_new_request(store: Store) -> None:
    see(store, 10.0, moved=True)
    see(store, 100.0, moved=False)
    see(store, 200.0, moved=True)
    assert [request.cause for request in store.retraining.requests()] == ["digits:1:200000", "digits:1:10000"]


def test_new_version_that_drifts_makes_a_new_request(store: Store) -> None:
    see(store, 10.0, moved=True)
    publish(store, "2")
    run(store, "cam-1", "2")
    see(store, 200.0, moved=True, version="2")
    assert [request.version for request in store.retraining.requests()] == ["2", "1"]


def test_cooldown_delays_the_request_of_a_new_cause_but_does_not_lose_it(store: Store) -> None:
    see(store, 10.0, moved=True)
    see(store, 20.0, moved=False)
    see(store, 30.0, moved=True)
    assert len(store.retraining.requests()) == 1
    see(store, 70.0, moved=True)
    assert [request.cause for request in store.retraining.requests()] == ["digits:1:30000", "digits:1:10000"]


def test_bundle_that_no_device_runs_is_not_judged(store: Store) -> None:
    publish(store, "2")
    send(store, 10.0, moved=True, version="2")
    assert look(store, CONFIG, now=10.0) == []


def test_bundle_that_was_never_published_here_is_not_judged(store: Store) -> None:
    run(store, "cam-1", "7")
    send(store, 10.0, moved=True, version="7")
    assert look(store, CONFIG, now=10.0) == []


def test_rows_are_judged_once_and_only_when_there_are_enough(store: Store) -> None:
    send(store, 10.0, moved=True, rows=399)
    assert look(store, CONFIG, now=10.0) == []
    send(store, 11.0, moved=True, rows=1)
    assert [verdict.rows for verdict in look(store, CONFIG, now=11.0)] == [400]
    assert look(store, CONFIG, now=500.0) == []


def test_window_that_ends_by_time_with_too_few_rows_is_insufficient(store: Store) -> None:
    send(store, 10.0, moved=True, rows=150)
    assert look(store, CONFIG, now=109.0) == []
    assert [verdict.verdict for verdict in look(store, CONFIG, now=110.0)] == ["insufficient"]
    assert store.retraining.requests() == []


def test_device_that_drifts_alone_is_named_first(store: Store) -> None:
    send(store, 10.0, moved=False, rows=300, device="cam-1")
    send(store, 10.0, moved=True, rows=300, device="cam-2")
    (verdict,) = look(store, CONFIG, now=11.0)
    details = msgspec.json.decode(verdict.details, type=Details)
    assert [(found.device, found.kind) for found in details.devices] == [("cam-2", "drifted"), ("cam-1", "stable")]


def test_device_that_claims_more_rows_than_a_database_counts_stops_nothing(store: Store) -> None:
    for now in range(1, 2000):
        send(store, float(now), moved=False, rows=2**53 - 2)
    (verdict,) = look(store, CONFIG, now=2000.0)
    assert verdict.rows < 2**63


def test_server_that_watches_finds_what_comes_while_it_runs(store: Store) -> None:
    config = FleetConfig(fleet="demo", drift=DriftTable(interval=0.01, window_rows=400))

    async def serve() -> None:
        watching = asyncio.create_task(watch_drift(store, config, clock=lambda: 10.0))
        send(store, 10.0, moved=True)
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(store.retraining.requests):
                assert not watching.done()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(serve())
    assert [verdict.verdict for verdict in store.retraining.verdicts()] == ["drifted"]


histories = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["stable", "drifted", "insufficient"])), max_size=20
)


@given(histories)
def test_episode_is_named_the_same_for_as_long_as_it_lasts(history: list[tuple[str, str]]) -> None:
    timed = [(bundle, verdict, float(index)) for index, (bundle, verdict) in enumerate(history)]
    starts = [drifting_since(timed[:length]) for length in range(len(timed) + 1)]
    for before, after, (_, verdict, decided) in zip(starts, starts[1:], timed, strict=False):
        if before is not None and after is not None:
            assert before == after
        if verdict == "insufficient":
            assert before == after
        if before is None and after is not None:
            assert after == decided


@given(histories)
def test_version_whose_bundles_are_all_stable_at_last_is_in_no_episode(history: list[tuple[str, str]]) -> None:
    timed = [(bundle, verdict, float(index)) for index, (bundle, verdict) in enumerate(history)]
    assert drifting_since([*timed, ("a", "stable", 98.0), ("b", "stable", 99.0)]) is None


def test_cause_names_model_version_and_episode() -> None:
    assert name_cause("digits", "3", 12.3456) == "digits:3:12346"
