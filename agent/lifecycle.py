"""The life of an update, as one table: (state, event) to (next state, actions). Pure: nothing here touches a disk.

The rules, which the table states row by row:

1. The record is written to the journal after `advance` and before its actions run. So an action may run twice, never
   not at all: every action can be repeated.
2. Nothing but ``switch`` and ``switch-back`` moves the active link, and ``switch`` follows a passed self-test only.
   What runs on the device is at every moment either the bundle committed last or one whose self-test passed here.
3. After a power cut the state's ``restarted`` row goes on where the journal stands: a download is resumed, a self-test
   is run again, a switch is made again, a roll back is finished.
4. A self-test, or the first minutes of a bundle, that takes the device down with it would do so for ever: after
   `RESTARTS` restarts in one state the ``looped`` row gives the bundle up.
5. A newer assignment replaces what is being brought in up to the switch. From the switch to the verdict it waits.
6. An update that failed leaves the device with the bundle it had, and the fault in the record. The same bundle is
   taken up again by a newer assignment only.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from wire.messages import Desired, Fault, ModelState, Running, State

EventName: TypeAlias = Literal[
    "assigned", "withdrawn", "removed", "staged", "refused", "unreachable", "turn", "tested", "test-failed", "healthy",
    "unhealthy", "switched-back", "restarted", "looped",
]  # fmt: skip
Action: TypeAlias = Literal[
    "stop", "fetch", "retry", "queue", "test", "switch", "watch", "switch-back", "settle", "remove"
]
Slot: TypeAlias = Literal["a", "b"]

RESTARTS = 3
"""How often a state with a ``looped`` row is taken up again after a restart."""


class Row(msgspec.Struct, frozen=True):
    """One row of the table."""

    state: State
    """The next state; ``committed`` means ``empty`` where nothing was ever committed."""
    actions: tuple[Action, ...]
    why: str
    """For the reader of the table; the documentation renders it."""


TABLE: dict[tuple[State, EventName], Row] = {
    ("empty", "assigned"): Row("downloading", ("fetch",), "the first bundle of this model"),
    ("empty", "restarted"): Row("empty", ("settle",), "nothing was under way"),
    ("downloading", "assigned"): Row("downloading", ("stop", "fetch"), "a newer assignment names another bundle"),
    ("downloading", "withdrawn"): Row("committed", ("stop", "settle"), "no longer wanted"),
    ("downloading", "staged"): Row("staged", ("queue",), "every byte is here and vouched for, in the idle slot"),
    ("downloading", "refused"): Row("failed", ("settle",), "not trusted, or not for this device"),
    ("downloading", "unreachable"): Row("downloading", ("retry",), "what came so far is kept"),
    ("downloading", "restarted"): Row("downloading", ("fetch",), "resumes with the chunks that are on the disk"),
    ("staged", "assigned"): Row("downloading", ("fetch",), "a newer assignment names another bundle"),
    ("staged", "withdrawn"): Row("committed", ("settle",), "no longer wanted"),
    ("staged", "turn"): Row("testing", ("test",), "no other self-test is running"),
    ("staged", "restarted"): Row("staged", ("queue",), "the idle slot is complete"),
    ("testing", "assigned"): Row("downloading", ("stop", "fetch"), "a newer assignment names another bundle"),
    ("testing", "withdrawn"): Row("committed", ("stop", "settle"), "no longer wanted"),
    ("testing", "tested"): Row("activated", ("switch", "watch"), "it computes here what it computed when built"),
    ("testing", "test-failed"): Row("failed", ("settle",), "the active slot was never touched"),
    ("testing", "restarted"): Row("testing", ("test",), "the verdict was not reached"),
    ("testing", "looped"): Row("failed", ("settle",), "the self-test takes the device down"),
    ("activated", "healthy"): Row("committed", ("settle",), "applications are served by it"),
    ("activated", "unhealthy"): Row("rolling-back", ("switch-back",), "applications are not served by it"),
    ("activated", "restarted"): Row("activated", ("switch", "watch"), "the switch may not have reached the disk"),
    ("activated", "looped"): Row("rolling-back", ("switch-back",), "the device does not stay up with it"),
    ("rolling-back", "switched-back"): Row("failed", ("settle",), "the previous bundle is active again"),
    ("rolling-back", "restarted"): Row("rolling-back", ("switch-back",), "the roll back may not have reached the disk"),
    ("committed", "assigned"): Row("downloading", ("fetch",), "a newer bundle"),
    ("committed", "removed"): Row("empty", ("remove",), "the assignment no longer names the model"),
    ("committed", "restarted"): Row("committed", ("settle",), "nothing was under way"),
    ("failed", "assigned"): Row("downloading", ("fetch",), "a newer assignment"),
    ("failed", "withdrawn"): Row("committed", ("settle",), "a newer assignment wants what is active"),
    ("failed", "removed"): Row("empty", ("remove",), "the assignment no longer names the model"),
    ("failed", "restarted"): Row("failed", ("settle",), "nothing was under way"),
}
"""What is not in the table can't happen: `advance` raises."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model's place in the table, as the journal has it."""

    model: str
    state: State = "empty"
    active: Running | None = None
    """What was committed last."""
    slot: Slot | None = None
    """Where it stands."""
    next: Running | None = None
    """What is being brought in, into the other slot."""
    release: str = ""
    """TUF path of the release record of `next`."""
    sequence: int = 0
    """Of the assignment that named what was tried last."""
    fault: Fault | None = None
    restarts: int = 0
    """How often the agent started in this state."""

    @property
    def idle(self) -> Slot:
        """The slot that is not the active one."""
        return "b" if self.slot == "a" else "a"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to one model."""

    name: EventName
    desired: Desired | None = None
    """With ``assigned``."""
    sequence: int = 0
    """With ``assigned`` and ``withdrawn``: of the assignment."""
    fault: Fault | None = None
    """With what went wrong."""


def advance(record: Record, event: Event) -> tuple[Record, tuple[Action, ...]]:
    """The record after the event, and what is to be done once it is journaled.

    Raises:
        ValueError: the table has no such row.
    """
    row = TABLE.get((record.state, event.name))
    if row is None:
        raise ValueError(f"no row for ({record.state}, {event.name})")
    changes: dict[str, object] = {"state": row.state, "fault": event.fault or record.fault}
    if event.name == "restarted":
        changes["restarts"] = record.restarts + 1
    elif row.state != record.state:
        changes["restarts"] = 0
    if event.desired is not None:
        desired = event.desired
        changes["next"] = Running(
            version=desired.version, counter=desired.counter, target=desired.target, bundle=desired.bundle
        )
        changes["release"] = desired.release
        changes["sequence"] = event.sequence
    changes |= _settled(record, event, row)
    return msgspec.structs.replace(record, **changes), row.actions


def resumption(record: Record) -> Event:
    """What a start of the agent means for the record."""
    if record.restarts >= RESTARTS and (record.state, "looped") in TABLE:
        return Event(
            name="looped",
            fault=Fault(
                code=f"lifecycle.loop-{record.state}",
                message=f"the agent was started {record.restarts + 1} times while the bundle was {record.state}",
                hint="the bundle may take the device down; look at its memory and at the runtime",
            ),
        )
    return Event(name="restarted")


def wanted(record: Record, desired: Desired | None, sequence: int) -> Event | None:
    """What the accepted assignment of that sequence means for the record; None: nothing, or nothing yet."""
    pending = record.state in ("downloading", "staged", "testing")
    if record.state in ("activated", "rolling-back"):
        return None
    held = record.active.bundle if record.active else None
    if desired is None or desired.bundle == held:
        if pending or (record.state == "failed" and sequence > record.sequence and desired is not None):
            return Event(name="withdrawn", sequence=sequence)
        return Event(name="removed") if desired is None and record.state in ("committed", "failed") else None
    if pending:
        same = record.next is not None and desired.bundle == record.next.bundle
        return None if same else Event(name="assigned", desired=desired, sequence=sequence)
    if record.state == "failed" and sequence <= record.sequence:
        return None
    return Event(name="assigned", desired=desired, sequence=sequence)


def model_state(record: Record) -> ModelState:
    """The record as a report tells it. While `next` is activated it is what runs, so it stands as active."""
    running = record.next if record.state == "activated" else record.active
    coming = None if record.state == "activated" else record.next
    return ModelState(model=record.model, state=record.state, active=running, next=coming, fault=record.fault)


def _settled(record: Record, event: Event, row: Row) -> dict[str, object]:
    match row.state:
        case "committed" if event.name == "healthy":
            return {"active": record.next, "slot": record.idle, "next": None, "release": "", "fault": None}
        case "committed":
            state: State = "committed" if record.active else "empty"
            sequence = max(event.sequence, record.sequence)
            return {"state": state, "next": None, "release": "", "fault": None, "sequence": sequence}
        case "failed":
            return {"next": None, "release": ""}
        case "empty":
            return {"active": None, "slot": None, "next": None, "release": "", "fault": None}
        case _:
            return {}
