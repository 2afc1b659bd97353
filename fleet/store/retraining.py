"""Drift verdicts, and the retraining requests that follow from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from fleet.store.tables import deliveries, requests, verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.store.database import Database

DeliveryState: TypeAlias = Literal["pending", "sending", "sent", "failed"]


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
    """JSON of `fleet.drift.Details`."""
    decided: float


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining request."""

    cause: str
    """Names what it answers to; unique."""
    model: str
    version: str
    bundle: str
    score: float
    body: str
    """The CloudEvent, as the sinks get it."""
    created: float


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """How far one request has come with one sink."""

    cause: str
    sink: str
    state: DeliveryState
    """`pending` waits for `due`; `sent` and `failed` are final."""
    attempts: int
    due: float
    message: str
    """What came of the last attempt."""
    updated: float


_VERDICT_COLUMNS = tuple(verdicts.c[name] for name in VerdictRow.__struct_fields__)
_REQUEST_COLUMNS = tuple(requests.c[name] for name in RequestRow.__struct_fields__)
_DELIVERY_COLUMNS = tuple(deliveries.c[name] for name in DeliveryRow.__struct_fields__)


class Retraining:
    """The tables of verdicts, requests and deliveries."""

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

    def verdicts(
        self, bundle: str | None = None, *, model: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[VerdictRow]:
        """The newest verdicts, or those of one bundle or model; the newest first."""
        query = select(*_VERDICT_COLUMNS).order_by(verdicts.c.id.desc()).limit(limit).offset(offset)
        for column, value in ((verdicts.c.bundle, bundle), (verdicts.c.model, model)):
            if value is not None:
                query = query.where(column == value)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [VerdictRow(**row._mapping) for row in rows]  # noqa: SLF001 - likewise

    def history(self, model: str, version: str) -> list[tuple[str, str, float]]:
        """Bundle, verdict and time of every verdict on that version in the whole fleet, the oldest first."""
        query = (
            select(verdicts.c.bundle, verdicts.c.verdict, verdicts.c.decided)
            .where((verdicts.c.model == model) & (verdicts.c.version == version) & (verdicts.c.device == ""))
            .order_by(verdicts.c.id)
        )
        with self._database.reading() as connection:
            return [(row.bundle, row.verdict, row.decided) for row in connection.execute(query)]

    def add_request(self, request: RequestRow, sinks: Sequence[str]) -> bool:
        """Add a request that is due at once for each of the sinks; False: there is one of that cause."""
        try:
            with self._database.writing() as connection:
                connection.execute(insert(requests).values(msgspec.structs.asdict(request)))
                for sink in sinks:
                    delivery = DeliveryRow(
                        cause=request.cause,
                        sink=sink,
                        state="pending",
                        attempts=0,
                        due=request.created,
                        message="",
                        updated=request.created,
                    )
                    connection.execute(insert(deliveries).values(msgspec.structs.asdict(delivery)))
        except IntegrityError:
            return False
        return True

    def requests(self, model: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RequestRow]:
        """The newest requests, or those of one model; the newest first."""
        query = select(*_REQUEST_COLUMNS).order_by(requests.c.id.desc()).limit(limit).offset(offset)
        if model is not None:
            query = query.where(requests.c.model == model)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [RequestRow(**row._mapping) for row in rows]  # noqa: SLF001 - likewise

    def request(self, cause: str) -> RequestRow | None:
        """The request of that cause, or None."""
        with self._database.reading() as connection:
            row = connection.execute(select(*_REQUEST_COLUMNS).where(requests.c.cause == cause)).one_or_none()
        return None if row is None else RequestRow(**row._mapping)  # noqa: SLF001 - likewise

    def deliveries(self, causes: Sequence[str]) -> list[DeliveryRow]:
        """The deliveries of those requests, by sink."""
        query = select(*_DELIVERY_COLUMNS).where(deliveries.c.cause.in_(causes)).order_by(deliveries.c.sink)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [DeliveryRow(**row._mapping) for row in rows]  # noqa: SLF001 - likewise

    def due(self, *, now: float) -> list[DeliveryRow]:
        """The pending deliveries whose time has come, the oldest first."""
        query = (
            select(*_DELIVERY_COLUMNS)
            .where((deliveries.c.state == "pending") & (deliveries.c.due <= now))
            .order_by(deliveries.c.due)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [DeliveryRow(**row._mapping) for row in rows]  # noqa: SLF001 - likewise

    def note_delivery(self, delivery: DeliveryRow) -> None:
        """Replace what is known of a delivery."""
        this = and_(deliveries.c.cause == delivery.cause, deliveries.c.sink == delivery.sink)
        with self._database.writing() as connection:
            connection.execute(update(deliveries).where(this).values(msgspec.structs.asdict(delivery)))

    def resume_deliveries(self, *, now: float) -> None:
        """Make due again what was being sent when the server stopped: a receiver may get a request twice."""
        values = {"state": "pending", "due": now, "message": "interrupted by the end of the server", "updated": now}
        with self._database.writing() as connection:
            connection.execute(update(deliveries).where(deliveries.c.state == "sending").values(values))
