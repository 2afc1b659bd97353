"""How an application tells the daemon that it is there and how it fares: two files below ``<state>/applications``.

The application holds a lock on the one for as long as it lives, whatever ends it; the other says how it fares.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from typing import TYPE_CHECKING

import msgspec

from wire.messages import Fault

if TYPE_CHECKING:
    from pathlib import Path


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one application fares with one model."""

    model: str
    pid: int
    bundle: str
    """Digest of the bundle that it serves."""
    calls: int = 0
    """Since it serves this bundle."""
    errors: int = 0
    """Calls that raised."""
    refused: str = ""
    """Digest of the bundle that it could not open, and so did not switch to."""
    fault: Fault | None = None
    """Why not."""


class Attachment:
    """One application's entry; `Model` holds it."""

    def __init__(self, state: Path, model: str) -> None:
        folder = state / "applications" / model
        folder.mkdir(parents=True, exist_ok=True)
        self._place = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"
        self._lock_path = self._place.with_suffix(".lock")
        # Locked before it gets its name, so that nobody finds it unlocked and takes its owner for dead.
        unnamed = self._place.with_suffix(".new")
        self._lock = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unnamed.rename(self._lock_path)

    def tell(self, health: Health) -> None:
        """Replace what stands there. Not flushed to the disk: after a power cut no application is attached."""
        fresh = self._place.with_suffix(".partial")
        fresh.write_bytes(msgspec.json.encode(health))
        fresh.replace(self._place)

    def close(self) -> None:
        """Take leave."""
        self._place.unlink(missing_ok=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)


def attached(state: Path, model: str) -> list[Health]:
    """How the attached applications fare."""
    alive: list[Health] = []
    for lock in _locks(state, model):
        if not _is_free(lock):
            try:
                alive.append(msgspec.json.decode(lock.with_suffix(".json").read_bytes(), type=Health))
            except (FileNotFoundError, msgspec.DecodeError):
                continue  # it has not told anything yet, or took leave just now
    return alive


def bury(state: Path, model: str) -> int:
    """How many applications ended without taking leave; their files are removed."""
    dead = [lock for lock in _locks(state, model) if _is_free(lock)]
    for lock in dead:
        for suffix in (".partial", ".json"):
            lock.with_suffix(suffix).unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
    return len(dead)


def known(state: Path) -> list[str]:
    """The models that applications attached to, ever."""
    return sorted(folder.name for folder in (state / "applications").glob("*") if folder.is_dir())


def _locks(state: Path, model: str) -> list[Path]:
    return sorted((state / "applications" / model).glob("*.lock"))


def _is_free(lock: Path) -> bool:
    try:
        handle = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(handle)
