"""Releases: what was published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from fleet.errors import FleetError
from fleet.store.database import bump_changes
from fleet.store.tables import releases

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from fleet.store.database import Database
    from manifests.manifest import BaselineSection


class ReleaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """One published bundle."""

    model: str
    version: str
    target: str
    counter: int
    bundle: str
    path: str
    """TUF target path of the release record."""
    size: int
    """Bytes that a device downloads."""
    published: float
    source: str
    """Digest of the model before it was converted: releases for several targets share it."""
    labels: tuple[str, ...]
    """Class names, in the order of the scores."""


_COLUMNS = tuple(releases.c[name] for name in ReleaseRow.__struct_fields__)


class Releases:
    """The table of releases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, release: ReleaseRow, baseline: BaselineSection | None) -> bool:
        """Add a release; False: it was there already.

        Raises:
            FleetError: another release has its version or its counter.
        """
        try:
            with self._database.writing() as connection:
                if connection.execute(
                    select(releases.c.bundle).where(releases.c.bundle == release.bundle)
                ).one_or_none():
                    return False
                connection.execute(insert(releases).values(msgspec.structs.asdict(release) | {"baseline": baseline}))
                bump_changes(connection)
        except IntegrityError as error:
            raise FleetError(
                "fleet.release",
                f"another release of '{release.model}' for {release.target} "
                f"has version {release.version} or counter {release.counter}",
            ) from error
        return True

    def all(self, model: str | None = None) -> list[ReleaseRow]:
        """All releases, or those of one model: by model, target, and the newest first."""
        query = select(*_COLUMNS).order_by(releases.c.model, releases.c.target, releases.c.counter.desc())
        if model is not None:
            query = query.where(releases.c.model == model)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [ReleaseRow(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

    def find(self, bundle: str) -> ReleaseRow | None:
        """The release of that bundle's digest, or None."""
        return self._one(releases.c.bundle == bundle)

    def newest(self, model: str, target: str) -> ReleaseRow | None:
        """The release of the highest counter, or None."""
        return self._one((releases.c.model == model) & (releases.c.target == target))

    def baseline(self, bundle: str) -> BaselineSection | None:
        """What the bundle's training data looked like; None: the bundle doesn't say, or there is none."""
        with self._database.reading() as connection:
            query = select(releases.c.baseline).where(releases.c.bundle == bundle)
            found: BaselineSection | None = connection.execute(query).scalar_one_or_none()
        return found

    def _one(self, condition: ColumnElement[bool]) -> ReleaseRow | None:
        query = select(*_COLUMNS).where(condition).order_by(releases.c.counter.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else ReleaseRow(**row._mapping)  # noqa: SLF001 - likewise
