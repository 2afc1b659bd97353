"""Downloads that go on where they were interrupted, bounded in size and checked before anybody sees them."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from manifests.digests import digest_bytes, digest_file
from packager.errors import ConversionError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO, TypeAlias

    Read: TypeAlias = Callable[[int], tuple[int, Iterator[bytes]]]
    """From an offset: the offset that the bytes really start at (0 where the server can't do better), and the bytes.

    It raises NetworkError where it is interrupted.
    """

_ATTEMPTS = 4
"""In a row without a byte of progress."""
_FIRST_PAUSE = 0.25
_STALE_SECONDS = 7 * 86400.0


def download(  # noqa: PLR0913 - each says something else of one file
    place: Path,
    target: Path,
    what: str,
    size: int,
    read: Read,
    *,
    digest: str = "",
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """The file of exactly `size` bytes at `target`; what an interrupted download left of it is at `place`.

    Raises:
        NetworkError: it was interrupted again and again; what arrived stays at `place`.
        ConversionError: more or other bytes arrived than were announced; nothing stays.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place) as sink:
        _complete(sink, what, size, read, pause)
        got = digest_file(place) if digest else ""
        if got != digest:
            place.unlink()
            raise ConversionError(
                "source.digest",
                f"digest of '{what}' does not match: expected {digest}, got {got}",
                hint="fetch it again; if it happens again, the registry is damaged",
            )
        place.replace(target)
    return target


@contextmanager
def _locked(place: Path) -> Iterator[BinaryIO]:
    """The file at `place`, which no other process writes; it is made if need be."""
    while True:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as sink:
            fcntl.flock(sink, fcntl.LOCK_EX)
            # Whoever held the lock before may have finished, and moved the file away.
            if place.exists() and place.stat().st_ino == os.fstat(sink.fileno()).st_ino:
                yield sink
                return


def partial_path(folder: Path, identity: str) -> Path:
    """Where the download of that identity (which changes when the content does) waits below `folder`."""
    return folder / f"{digest_bytes(identity.encode()).removeprefix('sha256:')}.partial"


def arrived_path(place: Path) -> Path:
    """Where this process alone has the finished download of `place`, until it is done with it."""
    return place.with_suffix(f".{os.getpid()}.partial")


def forget_stale(folder: Path, now: float) -> None:
    """Remove downloads that nobody went on with for a week."""
    for entry in folder.glob("*.partial"):
        if now - entry.stat().st_mtime > _STALE_SECONDS:
            entry.unlink(missing_ok=True)


def refuse_large(what: str, size: int, limit: int) -> None:
    """Refuse what is larger than the project allows, before it is fetched.

    Raises:
        ConversionError: it is.
    """
    if size > limit:
        raise ConversionError(
            "source.size",
            f"'{what}' is too large: expected at most {limit} bytes, got {size}",
            hint="raise [model] size_limit",
        )


def place_below(folder: Path, name: str) -> Path:
    """Where a file that a registry names so stands below `folder`.

    Raises:
        ConversionError: it would stand elsewhere.
    """
    parts = name.removeprefix("./").split("/")
    if not all(parts) or any(part in {".", ".."} or "\\" in part or "\0" in part for part in parts):
        raise ConversionError("source.path", f"'{name[:200]}' leads out of the model's folder, or is no path")
    return folder.joinpath(*parts)


def _complete(sink: BinaryIO, what: str, size: int, read: Read, pause: Callable[[float], None]) -> None:
    failures = 0
    while (offset := sink.seek(0, os.SEEK_END)) != size:
        if offset > size:
            sink.truncate(0)
            continue
        try:
            _receive(sink, what, offset, size, read)
        except NetworkError as error:
            failures = 0 if sink.tell() > offset else failures + 1
            if failures >= _ATTEMPTS or error.code == "source.authentication":
                raise
            pause(_FIRST_PAUSE * 2**failures)
    sink.flush()
    os.fsync(sink.fileno())


def _receive(sink: BinaryIO, what: str, offset: int, size: int, read: Read) -> None:
    start, blocks = read(offset)
    sink.truncate(start)
    sink.seek(start)
    for block in blocks:
        if sink.tell() + len(block) > size:
            sink.truncate(0)
            raise ConversionError("source.size", f"'{what}' is larger than announced: expected {size} bytes")
        sink.write(block)
    if sink.tell() < size:
        raise NetworkError(
            "source.interrupted",
            f"'{what}' was interrupted: expected {size} bytes, got {sink.tell()}",
            hint="run it again: it goes on where it stopped",
        )
