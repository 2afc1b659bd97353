"""Wishes, which operators state, and assignments, which follow from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import delete, insert, select

from fleet.store.database import bump_changes
from fleet.store.tables import assignments, wishes
from wire.messages import Desired

if TYPE_CHECKING:
    from fleet.store.database import Database


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator asked for."""

    id: int
    """Grows: the newest wish that matches a device holds."""
    model: str
    version: str | None
    """None: the newest release, whenever it comes."""
    selector: str
    created: float


class Assigned(msgspec.Struct, frozen=True, kw_only=True):
    """The newest assignment of a device, as it was signed."""

    device: str
    sequence: int
    models: tuple[Desired, ...]
    envelope: bytes
    created: float


class Wishes:
    """The tables of wishes and of assignments."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, model: str, version: str | None, selector: str, *, now: float) -> None:
        """Add a wish; it replaces an older one of the same model and selector."""
        values = {"model": model, "version": version, "selector": selector, "created": now}
        with self._database.writing() as connection:
            connection.execute(delete(wishes).where((wishes.c.model == model) & (wishes.c.selector == selector)))
            connection.execute(insert(wishes).values(values))
            bump_changes(connection)

    def all(self) -> list[Wish]:
        """All wishes, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(wishes).order_by(wishes.c.id)).all()
        return [Wish(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

    def assigned(self) -> dict[str, Assigned]:
        """The newest assignment of each device that has one."""
        with self._database.reading() as connection:
            rows = connection.execute(select(assignments)).all()
        return {row.device: Assigned(**row._mapping) for row in rows}  # noqa: SLF001 - likewise

    def note_assigned(self, assigned: Assigned) -> None:
        """Remember an assignment before it is sent."""
        with self._database.writing() as connection:
            connection.execute(delete(assignments).where(assignments.c.device == assigned.device))
            connection.execute(insert(assignments).values(msgspec.structs.asdict(assigned)))
