from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.lifecycle import RESTARTS, TABLE, Event, Record, advance, model_state, resumption, wanted
from wire.messages import Desired, Fault, Running

if TYPE_CHECKING:
    from agent.lifecycle import EventName, State

OLD = Running(version="1", counter=1, target="edge-arm", bundle="sha256:" + "1" * 64)
NEW = Desired(
    model="digits", version="2", counter=2, target="edge-arm", bundle="sha256:" + "2" * 64, release="r/2.json"
)
NEWER = Desired(
    model="digits", version="3", counter=3, target="edge-arm", bundle="sha256:" + "3" * 64, release="r/3.json"
)
BACK = Desired(model="digits", version="1", counter=1, target="edge-arm", bundle=OLD.bundle, release="r/1.json")
COMING = Running(version="2", counter=2, target="edge-arm", bundle=NEW.bundle)
FAULT = Fault(code="x.y", message="broken")

RESTING = {"empty", "committed", "failed"}
PENDING = {"downloading", "staged", "testing", "activated", "rolling-back"}
GOOD = {"downloading": "staged", "staged": "turn", "testing": "tested", "activated": "healthy"}
BAD = {"downloading": "refused", "staged": "turn", "testing": "test-failed", "activated": "unhealthy"}
SETTLES = {"rolling-back": "switched-back"}


def record(state: str, *, first: bool = False, restarts: int = 0) -> Record:
    pending = state in PENDING
    return Record(
        model="digits",
        state=state,
        active=None if first or state == "empty" else OLD,
        slot=None if first or state == "empty" else "a",
        next=COMING if pending else None,
        release=NEW.release if pending else "",
        sequence=2,
        fault=FAULT if state == "rolling-back" else None,
        restarts=restarts,
    )


def happen(before: Record, name: str) -> tuple[Record, tuple[str, ...]]:
    desired = NEW if name == "assigned" else None
    fault = FAULT if name in ("refused", "unreachable", "test-failed", "unhealthy", "looped") else None
    return advance(before, Event(name=name, desired=desired, sequence=5, fault=fault))


def drive(start: Record, course: dict[str, str]) -> Record:
    after = start
    while after.state not in RESTING:
        after, _ = happen(after, (course | SETTLES)[after.state])
    return after


ROWS = sorted(TABLE)


@pytest.mark.parametrize(("state", "event"), ROWS)
@pytest.mark.parametrize("first", [False, True])
def test_a_power_cut_after_any_row_ends_with_the_new_bundle_when_all_goes_well(
    state: State, event: EventName, *, first: bool
) -> None:
    cut, _ = happen(record(state, first=first), event)
    resumed, _ = advance(cut, resumption(cut))
    end = drive(resumed, GOOD)
    if cut.state in PENDING - {"rolling-back"}:
        assert (end.state, end.active, end.next, end.fault) == ("committed", COMING, None, None)
        assert end.slot == ("a" if first or state == "empty" else "b")
    else:
        assert end.state == cut.state if cut.state in RESTING else end.state == "failed"
        assert end.active == cut.active


@pytest.mark.parametrize(("state", "event"), ROWS)
@pytest.mark.parametrize("first", [False, True])
def test_a_power_cut_after_any_row_ends_with_the_old_bundle_when_all_goes_badly(
    state: State, event: EventName, *, first: bool
) -> None:
    cut, _ = happen(record(state, first=first), event)
    resumed, _ = advance(cut, resumption(cut))
    end = drive(resumed, BAD)
    assert end.state in RESTING
    assert end.next is None
    assert (end.active, end.slot) == (cut.active, cut.slot)
    if cut.state in PENDING:
        assert end.fault == FAULT


@pytest.mark.parametrize("state", sorted(RESTING | PENDING))
def test_every_state_says_what_a_restart_means(state: State) -> None:
    assert (state, "restarted") in TABLE


@pytest.mark.parametrize(("state", "event"), ROWS)
def test_the_link_moves_only_after_a_passed_self_test_or_back(state: State, event: EventName) -> None:
    actions = TABLE[state, event].actions
    if "switch" in actions:
        assert (state, event) in {("testing", "tested"), ("activated", "restarted")}
    if "switch-back" in actions:
        assert TABLE[state, event].state == "rolling-back"


@pytest.mark.parametrize(("state", "event"), ROWS)
def test_an_update_that_ends_leaves_nothing_behind(state: State, event: EventName) -> None:
    row = TABLE[state, event]
    if row.state in RESTING:
        assert row.actions[-1] in ("settle", "remove")


@pytest.mark.parametrize("state", ["testing", "activated"])
def test_a_bundle_that_takes_the_device_down_again_and_again_is_given_up(state: State) -> None:
    now = record(state)
    for _ in range(RESTARTS):
        now, _ = advance(now, resumption(now))
        assert now.state == state
    given_up, _ = advance(now, resumption(now))
    end = drive(given_up, GOOD)
    assert (end.state, end.active, end.slot) == ("failed", OLD, "a")
    assert end.fault is not None
    assert end.fault.code == f"lifecycle.loop-{state}"


def test_a_download_may_be_interrupted_any_number_of_times() -> None:
    now = record("downloading")
    for _ in range(10 * RESTARTS):
        now, actions = advance(now, resumption(now))
        assert (now.state, actions) == ("downloading", ("fetch",))


def test_restarts_are_counted_per_state() -> None:
    now, _ = happen(record("testing", restarts=RESTARTS), "tested")
    assert now.restarts == 0


def test_what_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no row for \(committed, tested\)"):
        happen(record("committed"), "tested")


def test_a_first_bundle_that_is_withdrawn_leaves_the_model_empty() -> None:
    end, _ = happen(record("downloading", first=True), "withdrawn")
    assert (end.state, end.active, end.next) == ("empty", None, None)


def test_removing_a_model_forgets_its_slot() -> None:
    end, actions = happen(record("committed"), "removed")
    assert (end.state, end.active, end.slot, actions) == ("empty", None, None, ("remove",))


@pytest.mark.parametrize("state", ["activated", "rolling-back"])
def test_between_the_switch_and_the_verdict_an_assignment_waits(state: State) -> None:
    assert wanted(record(state), NEWER, 9) is None
    assert wanted(record(state), None, 9) is None


@pytest.mark.parametrize("state", ["downloading", "staged", "testing"])
def test_before_the_switch_an_assignment_replaces_what_is_coming(state: State) -> None:
    assert wanted(record(state), NEWER, 9) == Event(name="assigned", desired=NEWER, sequence=9)
    assert wanted(record(state), NEW, 9) is None
    assert wanted(record(state), BACK, 9) == Event(name="withdrawn", sequence=9)
    assert wanted(record(state), None, 9) == Event(name="withdrawn", sequence=9)


def test_a_bundle_that_failed_is_not_tried_again_for_the_same_assignment_but_for_a_new_one() -> None:
    failed = record("failed")
    assert wanted(failed, NEW, 2) is None
    assert wanted(failed, NEW, 3) == Event(name="assigned", desired=NEW, sequence=3)


def test_an_assignment_back_to_what_is_active_clears_the_failure() -> None:
    assert wanted(record("failed"), BACK, 2) is None
    event = wanted(record("failed"), BACK, 3)
    assert event == Event(name="withdrawn", sequence=3)
    end, _ = advance(record("failed"), event)
    assert (end.state, end.fault, end.sequence) == ("committed", None, 3)


@pytest.mark.parametrize(
    ("state", "desired", "expected"),
    [
        ("empty", None, None),
        ("empty", NEW, "assigned"),
        ("committed", BACK, None),
        ("committed", NEW, "assigned"),
        ("committed", None, "removed"),
        ("failed", None, "removed"),
    ],
)
def test_at_rest_the_assignment_decides(state: State, desired: Desired | None, expected: str | None) -> None:
    event = wanted(record(state), desired, 9)
    assert (event.name if event else None) == expected


def test_a_fault_stays_in_the_record_until_an_update_succeeds() -> None:
    now, _ = happen(record("testing"), "test-failed")
    assert now.fault == FAULT
    now, _ = happen(now, "assigned")
    assert now.fault == FAULT
    assert drive(now, GOOD).fault is None


def test_a_report_calls_the_activated_bundle_active() -> None:
    told = model_state(record("activated"))
    assert (told.active, told.next) == (COMING, None)
    told = model_state(record("testing"))
    assert (told.active, told.next) == (OLD, COMING)
