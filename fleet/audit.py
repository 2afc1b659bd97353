"""The audit log: who did what when, one JSON line an entry, each naming the digest of the line before it.

A line that was changed, removed or inserted breaks the chain. Lines cut off at the end do not: who wants to notice
that keeps the digest of the last line elsewhere (``pack-fleet audit verify`` prints it) and asks for it later.
"""

from __future__ import annotations

import fcntl
import getpass
import os
from typing import TYPE_CHECKING

import msgspec

from fleet.errors import FleetError, RefusedError
from manifests.canonical import canonical_json
from manifests.digests import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedRandom
    from pathlib import Path

START = "sha256:" + "0" * 64
"""What the first entry names as the one before it."""
VALUE_LIMIT = 1000
"""Characters of a detail that are kept: a line must stay below `LINE_LIMIT`."""
LINE_LIMIT = 64 << 10


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line."""

    sequence: int
    time: float
    actor: str
    """Login name, or number, of whoever ran the program."""
    action: str
    details: dict[str, str]
    previous: str
    """Digest of the line before, without its line feed."""


class AuditLog:
    """An append-only file. Safe for several processes at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, action: str, details: Mapping[str, str], *, now: float) -> str:
        """Add an entry and flush it to the disk; its digest is returned."""
        with self._path.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            last = _last_line(stream)
            previous = _decode(last) if last else None
            line = canonical_json(
                Entry(
                    sequence=1 if previous is None else previous.sequence + 1,
                    time=now,
                    actor=_actor(),
                    action=action,
                    details={name: value[:VALUE_LIMIT] for name, value in details.items()},
                    previous=digest_bytes(last) if last else START,
                )
            )
            stream.write(line + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        return digest_bytes(line)

    def entries(self) -> Iterator[Entry]:
        """All entries, the oldest first; nothing is checked.

        Raises:
            RefusedError: a line is no entry.
        """
        for line in self._lines():
            yield _decode(line)

    def verify(self, *, known: str | None = None) -> tuple[int, str]:
        """The number of entries and the digest of the last, once the chain is seen to be whole.

        With `known`, a digest that an earlier call returned, that entry must still be there.

        Raises:
            RefusedError: an entry was changed, removed or inserted, or the known one is gone.
        """
        previous, count, seen = START, 0, known in (None, START)
        for count, line in enumerate(self._lines(), start=1):
            entry = _decode(line)
            if entry.previous != previous or entry.sequence != count:
                raise RefusedError(
                    "fleet.audit", f"the chain is broken at line {count}: it was changed, or the line before it"
                )
            previous = digest_bytes(line)
            seen = seen or previous == known
        if not seen:
            raise RefusedError("fleet.audit", f"entry {known} is gone: the log was cut off or replaced")
        return count, previous

    def _lines(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as stream:
                for line in stream:
                    yield line.rstrip(b"\n")
        except FileNotFoundError as error:
            raise FleetError("fleet.audit", f"there is no audit log '{self._path}'") from error


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return str(os.getuid())


def _decode(line: bytes) -> Entry:
    try:
        return msgspec.json.decode(line, type=Entry)
    except msgspec.DecodeError as error:
        raise RefusedError("fleet.audit", f"a line of the audit log is no entry: {error}") from error


def _last_line(stream: BufferedRandom) -> bytes:
    """The last whole line, without its line feed; what a crash left of a later one is cut off."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - 2 * LINE_LIMIT))
    tail = stream.read()
    whole, separator, torn = tail.rpartition(b"\n")
    if torn:
        stream.truncate(end - len(torn))
    return whole.rpartition(b"\n")[2] if separator else b""
