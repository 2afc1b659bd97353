"""Connections to the database: SQLite by default, PostgreSQL by its URL."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event, insert, select, update
from sqlalchemy.exc import OperationalError

from fleet.errors import FleetError, UnreachableError
from fleet.store.tables import SCHEMA, SCHEMA_VERSION, counters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

BUSY_MILLISECONDS = 10_000
"""How long SQLite waits for another process's write."""


class Database:
    """An open database. Safe for several threads and processes at once."""

    def __init__(self, url: str) -> None:
        """Open it; missing tables are made.

        Raises:
            UnreachableError: it can't be opened.
            FleetError: a version with another schema made it; nothing is changed in it.
        """
        engine = create_engine(url)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        self._readers: Engine = engine
        self._writers: Engine = engine.execution_options(writes=True)
        with self.writing() as connection:
            counters.create(connection, checkfirst=True)
            _check_version(connection)
            SCHEMA.create_all(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database throughout.

        Raises:
            UnreachableError: the database does not answer.
        """
        with _reachable(), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction: all of it is committed at the end, or none of it after an exception.

        Raises:
            UnreachableError: the database does not answer, or another program keeps it busy.
        """
        with _reachable(), self._writers.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give back the connections."""
        self._readers.dispose()


def bump_changes(connection: Connection) -> None:
    """Note, in this transaction, that assignments may have to change."""
    connection.execute(update(counters).where(counters.c.name == "changes").values(value=counters.c.value + 1))


def count_changes(connection: Connection) -> int:
    """How often `bump_changes` was called, ever."""
    return int(connection.execute(select(counters.c.value).where(counters.c.name == "changes")).scalar_one())


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise UnreachableError("fleet.database", f"database does not answer: {error.orig}") from error


def _check_version(connection: Connection) -> None:
    found = connection.execute(select(counters.c.value).where(counters.c.name == "schema")).scalar_one_or_none()
    if found is None:
        connection.execute(
            insert(counters), [{"name": "schema", "value": SCHEMA_VERSION}, {"name": "changes", "value": 0}]
        )
    elif found != SCHEMA_VERSION:
        raise FleetError(
            "fleet.schema",
            f"database has another schema: expected version {SCHEMA_VERSION}, got {found}",
            hint="upgrade packtrain on this machine"
            if found > SCHEMA_VERSION
            else "an older packtrain made it, which this one can't carry over: pack-fleet init makes a new workspace",
        )


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions on its own: `_begin_sqlite` decides which kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_MILLISECONDS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another process wrote in between;
    # one that is immediate waits for its turn.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
