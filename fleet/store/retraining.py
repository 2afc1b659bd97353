"""Drift verdicts, and the retraining requests that follow from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from fleet.store.tables import requests, verdicts

if TYPE_CHECKING:
    from fleet.store.database import Database


class VerdictRow(msgspec.Struct, frozen=True, kw_only=True):
    """What drift detection found for one bundle, on one device or on all."""

    model: str
    version: str
    bundle: str
    device: str = ""
    """Empty: the whole fleet."""
    verdict: str
    score: float
    rows: int
    details: str
    """JSON; what stands in it is `fleet.drift`'s."""
    decided: float


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining request."""

    cause: str
    """Names what it answers to; unique."""
    model: str
    version: str
    sink: str
    state: str
    message: str = ""
    body: str
    """JSON, as the sink gets it."""
    created: float
    updated: float


_VERDICT_COLUMNS = tuple(verdicts.c[name] for name in VerdictRow.__struct_fields__)
_REQUEST_COLUMNS = tuple(requests.c[name] for name in RequestRow.__struct_fields__)


class Retraining:
    """The tables of verdicts and requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_verdict(self, verdict: VerdictRow) -> None:
        """Add a verdict."""
        with self._database.writing() as connection:
            connection.execute(insert(verdicts).values(msgspec.structs.asdict(verdict)))

    def latest_verdicts(self, model: str | None = None) -> list[VerdictRow]:
        """The newest verdict of each bundle and device, by model."""
        newest = select(func.max(verdicts.c.id)).group_by(verdicts.c.bundle, verdicts.c.device)
        query = select(*_VERDICT_COLUMNS).where(verdicts.c.id.in_(newest)).order_by(verdicts.c.model, verdicts.c.id)
        if model is not None:
            query = query.where(verdicts.c.model == model)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [VerdictRow(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

    def verdicts(self, bundle: str, *, limit: int = 100) -> list[VerdictRow]:
        """The newest verdicts of a bundle, the newest first."""
        query = select(*_VERDICT_COLUMNS).where(verdicts.c.bundle == bundle).order_by(verdicts.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [VerdictRow(**row._mapping) for row in rows]  # noqa: SLF001 - likewise

    def add_request(self, request: RequestRow) -> bool:
        """Add a request; False: there is one of that cause."""
        try:
            with self._database.writing() as connection:
                connection.execute(insert(requests).values(msgspec.structs.asdict(request)))
        except IntegrityError:
            return False
        return True

    def note_request(self, cause: str, *, state: str, message: str, now: float) -> None:
        """Remember how a request went on."""
        values = {"state": state, "message": message, "updated": now}
        with self._database.writing() as connection:
            connection.execute(update(requests).where(requests.c.cause == cause).values(values))

    def requests(self, model: str | None = None) -> list[RequestRow]:
        """All requests, the newest first."""
        query = select(*_REQUEST_COLUMNS).order_by(requests.c.id.desc())
        if model is not None:
            query = query.where(requests.c.model == model)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [RequestRow(**row._mapping) for row in rows]  # noqa: SLF001 - likewise
