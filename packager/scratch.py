"""Where a build's jobs work: a folder that goes with the build, even with one that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "build-"
_LOCK = "lock"
_LEFT_SECONDS = 24 * 3600.0
"""How old something without a lock must be before it is taken for left behind."""


@contextlib.contextmanager
def open_scratch(root: Path) -> Iterator[Path]:
    """A folder below `root` of this build alone; what killed builds left there is removed first.

    A build holds a lock in its folder for as long as it lives; the system gives it back when the process dies.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / _LOCK):
        _remove_abandoned(root)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        held = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def oldest_start(root: Path) -> float:
    """When the build began that runs longest of those below `root`, in seconds since the epoch; now, if none runs."""
    starts = [time.time()]
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            starts.append((folder / _LOCK).stat().st_mtime)
    return min(starts)


def _remove_abandoned(root: Path) -> None:
    for entry in root.iterdir():
        if entry.name != _LOCK and _abandoned(entry):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _abandoned(entry: Path) -> bool:
    try:
        descriptor = os.open(entry / _LOCK, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        with contextlib.suppress(FileNotFoundError):
            return time.time() - entry.lstat().st_mtime > _LEFT_SECONDS
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
