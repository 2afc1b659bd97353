"""Windows that wait to be sent: one file each below ``<state>/spool``, bounded in bytes.

What records puts them in, the device's daemon sends and removes them. When it is full the oldest go, and the newest one
says how many went. `Write` gives a file new content that survives a power cut.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from wire.errors import WireError
from wire.messages import Window, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

Write: TypeAlias = Callable[[Path, bytes], None]

SETTINGS = "applications.json"
"""File below the state folder by which the daemon tells applications how to record."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What applications need to know of the device's configuration."""

    interval: float = 60.0
    """Seconds that one window covers."""
    spool_bytes: int = 4 << 20


def read_settings(state: Path) -> Settings:
    """What the daemon wrote; the defaults before it ever ran."""
    try:
        return msgspec.json.decode((state / SETTINGS).read_bytes(), type=Settings)
    except (FileNotFoundError, msgspec.DecodeError):
        return Settings()


def write_settings(state: Path, settings: Settings, write: Write) -> None:
    """Tell applications."""
    write(state / SETTINGS, msgspec.json.encode(settings))


class Spool:
    """The spool below one state folder; safe for many processes."""

    def __init__(self, state: Path, limit: int, write: Write) -> None:
        self._folder = state / "spool"
        self._limit = limit
        self._write = write

    def put(self, window: Window) -> None:
        """Add a window, and let the oldest go while there are more bytes than the limit.

        One that is larger than a message may be, by its very many features, goes without them.

        Raises:
            OSError: the disk does not take it.
        """
        try:
            payload = encode(window)
        except WireError:
            payload = encode(msgspec.structs.replace(window, features=()))
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            name = f"{time.time_ns():020d}-{os.getpid()}.window"
            self._write(self._folder / name, payload)
            self._bound()

    def oldest(self) -> tuple[Path, bytes] | None:
        """The window to send next, and where it stands; what can't be read is removed."""
        for path in self._entries():
            try:
                payload = path.read_bytes()
                decode(payload, Window)
            except FileNotFoundError:
                continue
            except WireError:
                path.unlink(missing_ok=True)
                continue
            return path, payload
        return None

    def remove(self, path: Path) -> None:
        """Drop a window that was sent; one that went meanwhile is no error."""
        path.unlink(missing_ok=True)

    def count(self) -> int:
        """How many windows wait."""
        return len(self._entries())

    def _entries(self) -> list[Path]:
        return sorted(self._folder.glob("*.window"))

    def _bound(self) -> None:
        entries = self._entries()
        sizes = [_size(path) for path in entries]
        excess = sum(sizes) - self._limit
        dropped = 0
        while excess > 0 and len(entries) > 1:
            oldest = entries.pop(0)
            excess -= sizes.pop(0)
            dropped += 1 + _dropped(oldest)
            oldest.unlink(missing_ok=True)
        if dropped:
            heir = entries[-1]  # the one just put: the daemon may be sending the oldest
            window = decode(heir.read_bytes(), Window)
            self._write(heir, encode(msgspec.structs.replace(window, dropped=window.dropped + dropped)))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # sent meanwhile


def _dropped(path: Path) -> int:
    try:
        return decode(path.read_bytes(), Window).dropped
    except (FileNotFoundError, WireError):
        return 0
