"""A real PostgreSQL, started on loopback with a cluster of its own; it ends with the block."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BINARIES = Path("/usr/lib/postgresql")
"""Where Debian puts the programs of each version; elsewhere they are on PATH."""
SETTINGS = (
    "-c listen_addresses= -c fsync=off -c synchronous_commit=off -c max_connections=30 -c unix_socket_directories="
)


def find_program(name: str) -> Path:
    """The newest one here."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    versions = sorted(BINARIES.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    if not versions:
        pytest.skip("PostgreSQL is not here: apt-get install postgresql")
    return versions[-1]


def run(command: Sequence[str | Path], cwd: Path) -> None:
    """As a user that the server accepts: it refuses root."""
    user = "postgres" if os.getuid() == 0 else None
    ran = subprocess.run(command, cwd=cwd, user=user, group=user, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@contextlib.contextmanager
def cluster() -> Iterator[Path]:
    """The folder of the socket of a server with an empty cluster; its superuser is ``fleet``."""
    initdb, control = find_program("initdb"), find_program("pg_ctl")
    # Not below pytest's folder: a socket's path is short, and other users can't look into that.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if os.getuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        data = folder / "data"
        run([initdb, "-D", data, "-U", "fleet", "-A", "trust", "-E", "UTF8", "--no-sync"], folder)
        log = folder / "log"
        run([control, "-D", data, "-w", "-s", "-l", log, "-o", SETTINGS + str(folder), "start"], folder)
        try:
            yield folder
        finally:
            run([control, "-D", data, "-w", "-s", "-m", "immediate", "stop"], folder)


def new_database(folder: Path) -> str:
    """A URL under which the cluster is empty: a schema of its own, which takes less of a disk than a database."""
    name = f"fleet_{uuid4().hex}"
    engine = create_engine(f"postgresql+psycopg://fleet@/postgres?host={folder}")
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"postgresql://fleet@/postgres?host={folder}&options=-csearch_path%3D{name}"
