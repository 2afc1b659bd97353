from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.audit import AuditLog
from fleet.ingest import AUDIT_SECONDS, Ingest
from fleet.store import Store
from fleet.store.releases import ReleaseRow
from manifests.signing import generate_key, public_pem, sign
from wire.messages import (
    ASSIGNMENT_TYPE,
    REPORT_TYPE,
    Inventory,
    ModelState,
    Report,
    Running,
    Status,
    Window,
    encode,
    encode_signed,
)
from wire.sketches import LatencySketch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUNDLE = "sha256:" + "ab" * 32
KEY = generate_key()
CHANNELS = ("reported", "telemetry", "status", "get", "data", "desired")


class Hall:
    """An ingest with a database and a log of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(f"sqlite:///{folder / 'fleet.db'}")
        self.audit = AuditLog(folder / "audit.jsonl")
        self.audit.append("init", {}, now=0.0)
        self.ingest = Ingest("demo", self.store, self.audit)
        self.store.devices.enroll("cam", public_pem(KEY.public_key), targets=("cloud",), labels={}, now=0.0)
        row = ReleaseRow(
            model="digits",
            version="1",
            target="cloud",
            counter=1,
            bundle=BUNDLE,
            path="releases/digits/1/cloud.json",
            size=1,
            published=0.0,
            source=BUNDLE,
            labels=(),
        )
        self.store.releases.add(row, None)

    def take(self, channel: str, payload: bytes, *, device: str = "cam", now: float = 100.0) -> str:
        before = self.ingest.counts.copy()
        self.ingest.take(f"pt/v1/demo/d/{device}/{channel}", payload, now=now)
        (outcome,) = self.ingest.counts - before
        return outcome

    def refusals(self) -> int:
        return sum(entry.action == "refuse-report" for entry in self.audit.entries())


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    made = Hall(tmp_path)
    yield made
    made.store.close()


def report(sequence: int = 1, **changes: object) -> Report:
    made = Report(
        fleet="demo",
        device="cam",
        boot="b1",
        sequence=sequence,
        time=1.0,
        assignment=0,
        inventory=Inventory(
            agent="0.1.0", architecture="x86_64", python="3.11", targets=("cloud",), runtimes=(), disk_free_bytes=1
        ),
        models=(
            ModelState(
                model="digits",
                state="committed",
                active=Running(version="1", counter=1, target="cloud", bundle=BUNDLE),
            ),
        ),
    )
    return msgspec.structs.replace(made, **changes)


def signed(made: Report) -> bytes:
    return sign(encode_signed(made), REPORT_TYPE, [KEY])


def window(**changes: object) -> Window:
    made = Window(
        model="digits",
        version="1",
        bundle=BUNDLE,
        boot="b1",
        sequence=1,
        start=1.0,
        end=2.0,
        rows=3,
        calls=1,
        latency=LatencySketch(),
    )
    return msgspec.structs.replace(made, **changes)


def test_a_signed_report_says_what_runs(hall: Hall) -> None:
    assert hall.take("reported", signed(report())) == "report.accepted"
    (placement,) = hall.store.placements.all(model="digits")
    assert (placement.device, placement.state, placement.since) == ("cam", "committed", 100.0)


def test_a_report_that_comes_twice_counts_once(hall: Hall) -> None:
    hall.take("reported", signed(report()))
    assert hall.take("reported", signed(report())) == "report.repeated"


def test_a_report_by_another_key_changes_nothing_and_is_audited(hall: Hall) -> None:
    forged = sign(encode_signed(report()), REPORT_TYPE, [generate_key()])
    assert hall.take("reported", forged) == "refused.signature.bad"
    assert hall.store.placements.all() == []
    assert hall.refusals() == 1


def test_refusals_of_one_device_are_audited_at_most_once_a_minute(hall: Hall) -> None:
    for second in range(10):
        hall.take("reported", b"junk", now=100.0 + second)
    assert hall.refusals() == 1
    hall.take("reported", b"junk", now=100.0 + AUDIT_SECONDS)
    assert hall.refusals() == 2


def test_a_report_for_another_device_or_fleet_is_refused(hall: Hall) -> None:
    assert hall.take("reported", signed(report(device="hub"))) == "refused.report-elsewhere"
    assert hall.take("reported", signed(report(fleet="other"))) == "refused.report-elsewhere"
    assert hall.store.placements.all() == []


def test_what_was_signed_as_something_else_is_no_report(hall: Hall) -> None:
    envelope = sign(encode_signed(report()), ASSIGNMENT_TYPE, [KEY])
    assert hall.take("reported", envelope) == "refused.signature.type"


@pytest.mark.parametrize(
    "made",
    [
        report(boot="b\x00"),
        report(boot="b" * 65),
        report(models=(ModelState(model="Not a name", state="empty"),)),
        report(models=(ModelState(model="digits", state="empty"),) * 2),
    ],
)
def test_names_that_no_database_takes_are_refused(hall: Hall, made: Report) -> None:
    assert hall.take("reported", signed(made)) == "refused.report-names"


def test_telemetry_of_a_bundle_that_was_never_published_is_dropped(hall: Hall) -> None:
    assert hall.take("telemetry", encode(window(bundle="sha256:" + "00" * 32))) == "refused.unknown-bundle"
    assert hall.take("telemetry", encode(window(model="faces"))) == "refused.unknown-bundle"
    assert hall.store.telemetry.all() == []


def test_telemetry_counts_once(hall: Hall) -> None:
    assert hall.take("telemetry", encode(window())) == "telemetry.accepted"
    assert hall.take("telemetry", encode(window())) == "telemetry.repeated"
    assert hall.take("telemetry", encode(window(boot="b2"))) == "telemetry.accepted"


def test_telemetry_that_ends_before_it_starts_is_dropped(hall: Hall) -> None:
    assert hall.take("telemetry", encode(window(start=3.0))) == "refused.window"


def test_birth_and_will_turn_a_device_on_and_off(hall: Hall) -> None:
    assert hall.take("status", encode(Status(state="online", boot="b1", agent="0.1.0"))) == "status.accepted"
    assert hall.store.devices.all()[0].online
    hall.take("status", encode(Status(state="offline", boot="b1")))
    assert not hall.store.devices.all()[0].online


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_device_that_is_not_enrolled_is_not_heard(hall: Hall, channel: str) -> None:
    assert hall.take(channel, signed(report()), device="stranger") == "refused.unknown-device"


def test_a_topic_of_another_fleet_is_not_heard(hall: Hall) -> None:
    hall.ingest.take("pt/v1/other/d/cam/reported", signed(report()), now=1.0)
    assert hall.ingest.counts == {"refused.unknown-device": 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    topic=st.sampled_from([f"pt/v1/demo/d/cam/{channel}" for channel in CHANNELS]) | st.text(max_size=50),
    payload=st.binary(max_size=300)
    | st.builds(encode, st.builds(Status, state=st.just("online"), boot=st.text(max_size=70), agent=st.text()))
    | st.builds(
        lambda sequence, rows, boot: encode(window(sequence=sequence, rows=rows, boot=boot)),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**64 - 1),
        st.text(max_size=70),
    )
    | st.builds(lambda data: sign(data, REPORT_TYPE, [KEY]), st.binary(max_size=200)),
)
def test_whatever_comes_on_whatever_topic_is_counted_and_stops_nothing(hall: Hall, topic: str, payload: bytes) -> None:
    before = hall.ingest.counts.total()
    hall.ingest.take(topic, payload, now=100.0)
    assert hall.ingest.counts.total() == before + 1
