"""Placements: what runs where, by the devices' own reports, and every step that led there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import delete, insert, select

from fleet.store.devices import note_inventory
from fleet.store.tables import placements, steps
from wire.messages import Fault, Running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.store.database import Database
    from wire.messages import Report


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one device."""

    device: str
    model: str
    state: str
    active: Running | None
    next: Running | None
    fault: Fault | None
    since: float
    """When state or active bundle last changed."""
    updated: float


class StepRow(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an update on one device."""

    device: str
    model: str
    version: str
    bundle: str
    step: str
    fault: Fault | None
    seconds: float
    time: float
    """By the device's clock."""
    received: float


_STEP_COLUMNS = tuple(steps.c[name] for name in StepRow.__struct_fields__)


class Placements:
    """The tables of placements and steps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_report(self, report: Report, *, now: float) -> bool:
        """Replace what is known of the device and its models, and append its steps.

        False: the report is no newer than the last, so nothing changed.
        """
        with self._database.writing() as connection:
            if not note_inventory(connection, report, now):
                return False
            query = select(placements).where(placements.c.device == report.device)
            before = {row.model: row for row in connection.execute(query)}
            connection.execute(delete(placements).where(placements.c.device == report.device))
            for model in report.models:
                old = before.get(model.model)
                same = old is not None and (old.state, old.active) == (model.state, model.active)
                connection.execute(
                    insert(placements).values(
                        device=report.device,
                        model=model.model,
                        state=model.state,
                        active=model.active,
                        next=model.next,
                        fault=model.fault,
                        since=old.since if same and old is not None else now,
                        updated=now,
                    )
                )
            for step in report.steps:
                values = msgspec.structs.asdict(step)
                connection.execute(insert(steps).values(values | {"device": report.device, "received": now}))
        return True

    def all(
        self, *, model: str | None = None, device: str | None = None, limit: int | None = None, offset: int = 0
    ) -> list[Placement]:
        """All placements, or those of one model or device, or a page of them: by model, then by device."""
        query = select(placements).order_by(placements.c.model, placements.c.device).limit(limit).offset(offset)
        if model is not None:
            query = query.where(placements.c.model == model)
        if device is not None:
            query = query.where(placements.c.device == device)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [Placement(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

    def of(self, devices: Sequence[str]) -> list[Placement]:
        """The placements on these devices, by model."""
        query = select(placements).where(placements.c.device.in_(devices)).order_by(placements.c.model)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [Placement(**row._mapping) for row in rows]  # noqa: SLF001 - likewise

    def steps(self, *, model: str | None = None, device: str | None = None, limit: int = 100) -> list[StepRow]:
        """The newest steps, the newest first."""
        query = select(*_STEP_COLUMNS).order_by(steps.c.id.desc()).limit(limit)
        if model is not None:
            query = query.where(steps.c.model == model)
        if device is not None:
            query = query.where(steps.c.device == device)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [StepRow(**row._mapping) for row in rows]  # noqa: SLF001 - likewise

    def forget_steps(self, *, before: float) -> int:
        """Delete the steps that were received before; how many they were."""
        with self._database.writing() as connection:
            return connection.execute(delete(steps).where(steps.c.received < before)).rowcount
