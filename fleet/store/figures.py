"""Figures over all the tables, counted by the database: for metrics and overviews."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select

from fleet.store.tables import deliveries, devices, placements, verdicts, windows
from wire.messages import Running

if TYPE_CHECKING:
    from fleet.store.database import Database


class InUse(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices have a model in one state, with one active bundle."""

    model: str
    state: str
    active: Running | None
    devices: int


class Figures:
    """Counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def devices(self) -> tuple[int, int]:
        """How many devices are online, and how many are not."""
        with self._database.reading() as connection:
            rows = connection.execute(select(devices.c.online, func.count()).group_by(devices.c.online)).all()
        found = {bool(online): count for online, count in rows}
        return found.get(True, 0), found.get(False, 0)

    def in_use(self) -> list[InUse]:
        """What the devices run, by model."""
        columns = (placements.c.model, placements.c.state, placements.c.active)
        query = select(*columns, func.count().label("devices")).group_by(*columns).order_by(placements.c.model)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [InUse(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

    def windows(self) -> int:
        """How many windows of telemetry are stored."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(windows)).scalar_one())

    def verdicts(self) -> list[tuple[str, str, int]]:
        """Model, verdict and how many of them are stored."""
        columns = (verdicts.c.model, verdicts.c.verdict)
        query = select(*columns, func.count()).group_by(*columns).order_by(*columns)
        with self._database.reading() as connection:
            return [(model, verdict, count) for model, verdict, count in connection.execute(query)]

    def deliveries(self) -> list[tuple[str, int]]:
        """State of a delivery, and how many are in it."""
        query = select(deliveries.c.state, func.count()).group_by(deliveries.c.state).order_by(deliveries.c.state)
        with self._database.reading() as connection:
            return [(state, count) for state, count in connection.execute(query)]
