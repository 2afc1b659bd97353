"""Connections to the database: SQLite by default, PostgreSQL by its URL."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event, func, insert, make_url, select, update
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from fleet.errors import FleetError, UnreachableError
from fleet.store.tables import SCHEMA, SCHEMA_VERSION, counters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

BUSY_MILLISECONDS = 10_000
"""How long SQLite waits for another process's write."""
_WRITERS = 0x7061636B
"""PostgreSQL's lock of whoever writes; the number is ours alone in a database of ours."""


class Database:
    """An open database. Safe for several threads and processes at once."""

    def __init__(self, url: str) -> None:
        """Open it; missing tables are made.

        Raises:
            UnreachableError: it can't be opened.
            FleetError: a version with another schema made it; nothing is changed in it.
        """
        engine = _open(url)
        self._engine: Engine = engine
        self._readers: Engine = engine
        self._writers: Engine = engine.execution_options(writes=True)
        self._locks = engine.dialect.name == "postgresql"
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        if self._locks:
            # A reader's transaction sees the state of its first statement, as SQLite's does.
            self._readers = engine.execution_options(isolation_level="REPEATABLE READ")
        try:
            with self.writing() as connection:
                counters.create(connection, checkfirst=True)
                _check_version(connection)
                SCHEMA.create_all(connection)
        except BaseException:
            engine.dispose()
            raise

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
            if self._locks:
                # One writer at a time, as in SQLite: nobody changes what a transaction has read and will write.
                connection.execute(select(func.pg_advisory_xact_lock(_WRITERS)))
            yield connection

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()


def bump_changes(connection: Connection) -> None:
    """Note, in this transaction, that assignments may have to change."""
    connection.execute(update(counters).where(counters.c.name == "changes").values(value=counters.c.value + 1))


def count_changes(connection: Connection) -> int:
    """How often `bump_changes` was called, ever."""
    return int(connection.execute(select(counters.c.value).where(counters.c.name == "changes")).scalar_one())


def _open(url: str) -> Engine:
    try:
        return create_engine(_with_driver(url))
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise FleetError(
            "fleet.driver", f"no driver for this database: {error}", hint="pip install 'packtrain[postgresql]'"
        ) from error


def _with_driver(url: str) -> URL:
    """The URL; PostgreSQL's without a driver gets the one that the extra ``postgresql`` brings.

    Raises:
        FleetError: it is no URL of a database.
    """
    try:
        made = make_url(url)
    except ArgumentError as error:
        raise FleetError(
            "fleet.database",
            "`database` is no URL",  # which may hold a password, so that it is not repeated
            hint="such as postgresql://fleet@host/fleet; empty: a file in the workspace",
        ) from error
    return made.set(drivername="postgresql+psycopg") if made.drivername == "postgresql" else made


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
