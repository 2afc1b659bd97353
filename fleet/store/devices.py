"""Devices: who they are, and whether they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from fleet.errors import FleetError
from fleet.store.database import bump_changes
from fleet.store.tables import devices
from wire.messages import Inventory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from fleet.store.database import Database
    from wire.messages import Report, Status

PAST_BOOTS = 64
"""Boots of a device whose reports are known to be old."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device."""

    name: str
    public_key: str
    """PEM; its reports are signed with the private one."""
    labels: dict[str, str]
    """Given at enrolment; selectors go by them."""
    targets: tuple[str, ...]
    """The preferred first: given at enrolment, then as the device reports them."""
    enrolled: float
    online: bool
    seen: float | None
    """When anything last came from it; None: never."""
    boot: str
    agent: str
    """Version of packtrain on it."""
    inventory: Inventory | None
    report_boot: str
    report_sequence: int
    past_boots: tuple[str, ...]
    """Boots before `report_boot`, the newest first, at most `PAST_BOOTS`."""
    accepted: int
    """Sequence of the newest assignment that it accepted."""


class Devices:
    """The table of devices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enroll(
        self, name: str, public_key: str, *, targets: Sequence[str], labels: Mapping[str, str], now: float
    ) -> None:
        """Add a device.

        Raises:
            FleetError: there is one of that name.
        """
        row = {
            "name": name,
            "public_key": public_key,
            "labels": dict(labels),
            "targets": tuple(targets),
            "enrolled": now,
            "online": False,
            "seen": None,
            "boot": "",
            "agent": "",
            "inventory": None,
            "report_boot": "",
            "report_sequence": 0,
            "past_boots": (),
            "accepted": 0,
        }
        try:
            with self._database.writing() as connection:
                connection.execute(insert(devices).values(row))
                bump_changes(connection)
        except IntegrityError as error:
            raise FleetError(
                "fleet.device", f"device '{name}' is enrolled already", hint="choose another name"
            ) from error

    def find(self, name: str) -> Device | None:
        """The device of that name, or None."""
        with self._database.reading() as connection:
            row = connection.execute(select(devices).where(devices.c.name == name)).one_or_none()
        return None if row is None else Device(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

    def all(self, *, limit: int | None = None, offset: int = 0) -> list[Device]:
        """All devices, by name, or a page of them."""
        with self._database.reading() as connection:
            rows = connection.execute(select(devices).order_by(devices.c.name).limit(limit).offset(offset)).all()
        return [Device(**row._mapping) for row in rows]  # noqa: SLF001 - likewise

    def note_status(self, name: str, status: Status, *, now: float) -> None:
        """Remember a birth or a will; the will is the broker's word, by which nobody was seen."""
        values: dict[str, object] = {"online": status.state == "online", "boot": status.boot}
        if status.state == "online":
            values["seen"] = now
        if status.agent:
            values["agent"] = status.agent
        with self._database.writing() as connection:
            connection.execute(update(devices).where(devices.c.name == name).values(values))


def note_inventory(connection: Connection, report: Report, now: float) -> bool:
    """Remember, in this transaction, what a report says of the device itself; False: it is no newer than the last.

    A report of a boot that was over is not newer either, so nobody can show an old state by sending it again. Of a
    device that is not enrolled nothing is remembered.
    """
    row = connection.execute(select(devices).where(devices.c.name == report.device)).one_or_none()
    if row is None:
        return True
    if report.boot in row.past_boots or (row.report_boot == report.boot and report.sequence <= row.report_sequence):
        return False
    past = row.past_boots
    if row.report_boot not in ("", report.boot):
        past = (row.report_boot, *past)[:PAST_BOOTS]
    targets = report.inventory.targets or row.targets
    connection.execute(
        update(devices)
        .where(devices.c.name == report.device)
        .values(
            seen=now,
            agent=report.inventory.agent,
            inventory=report.inventory,
            targets=targets,
            report_boot=report.boot,
            report_sequence=report.sequence,
            past_boots=past,
            accepted=report.assignment,
        )
    )
    if targets != row.targets:
        bump_changes(connection)
    return True
