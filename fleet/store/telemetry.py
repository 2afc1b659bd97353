"""Telemetry: the windows that devices sent, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Double, cast, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from fleet.store.tables import devices, windows
from wire.messages import Window, decode, encode

if TYPE_CHECKING:
    from fleet.store.database import Database


class StoredWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window, and where it came from."""

    device: str
    received: float
    window: Window


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What came from one bundle after some time."""

    rows: int
    first: float | None
    """When the first of it was received; None: nothing came."""


class Telemetry:
    """The table of windows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, device: str, window: Window, *, now: float) -> bool:
        """Add a window; False: the device sent it before, so it counts once."""
        try:
            with self._database.writing() as connection:
                connection.execute(update(devices).where(devices.c.name == device).values(seen=now))
                connection.execute(
                    insert(windows).values(
                        device=device,
                        boot=window.boot,
                        sequence=window.sequence,
                        model=window.model,
                        version=window.version,
                        bundle=window.bundle,
                        rows=window.rows,
                        received=now,
                        body=encode(window),
                    )
                )
        except IntegrityError:
            return False
        return True

    def all(
        self, *, model: str | None = None, bundle: str | None = None, device: str | None = None, since: float = 0.0
    ) -> list[StoredWindow]:
        """The windows received at `since` or later, in the order in which they came."""
        query = select(windows.c.device, windows.c.received, windows.c.body).where(windows.c.received >= since)
        for column, value in ((windows.c.model, model), (windows.c.bundle, bundle), (windows.c.device, device)):
            if value is not None:
                query = query.where(column == value)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(windows.c.received, windows.c.sequence)).all()
        return [StoredWindow(device=row.device, received=row.received, window=decode(row.body, Window)) for row in rows]

    def forget(self, *, before: float) -> int:
        """Delete what was received before; how many windows that were."""
        with self._database.writing() as connection:
            return connection.execute(delete(windows).where(windows.c.received < before)).rowcount

    def bundles(self, *, since: float = 0.0) -> list[str]:
        """Digests of the bundles that sent something at `since` or later."""
        query = select(windows.c.bundle).where(windows.c.received >= since).distinct().order_by(windows.c.bundle)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def waiting(self, bundle: str, *, after: float) -> Waiting:
        """How much came from the bundle later than `after`."""
        # Summed as floating point: a device may claim any number of rows, and integers would overflow.
        query = select(
            func.coalesce(func.sum(cast(windows.c.rows, Double)), 0).label("rows"),
            func.min(windows.c.received).label("first"),
        )
        with self._database.reading() as connection:
            row = connection.execute(query.where((windows.c.bundle == bundle) & (windows.c.received > after))).one()
        return Waiting(rows=int(row.rows), first=row.first)

    def after(self, bundle: str, *, after: float, limit: int) -> list[StoredWindow]:
        """The first windows received from the bundle later than `after`, in the order in which they came.

        At most `limit`, and besides those that were received at the same instant as the last of them.
        """
        of_bundle = (windows.c.bundle == bundle) & (windows.c.received > after)
        order = (windows.c.received, windows.c.device, windows.c.sequence)
        nth = select(windows.c.received).where(of_bundle).order_by(*order).offset(limit - 1).limit(1)
        query = select(windows.c.device, windows.c.received, windows.c.body).where(of_bundle).order_by(*order)
        with self._database.reading() as connection:
            last = connection.execute(nth).scalar_one_or_none()
            if last is not None:
                query = query.where(windows.c.received <= last)
            rows = connection.execute(query).all()
        return [StoredWindow(device=row.device, received=row.received, window=decode(row.body, Window)) for row in rows]
