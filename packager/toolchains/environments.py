"""The toolchains' virtual environments on this machine: each in a folder named after its toolchain and its lock.

A virtual environment can't be moved, so it is made where it stays, under a lock of the file system, and its marker file
is written last: a folder without one is what an interrupted installation left, and nobody uses it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from manifests.durable import write_durably
from packager.errors import ToolchainError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packager.toolchains.locks import Lock

_MARKER = "toolchain.json"
_DIGITS = 12
"""Of the lock's digest, in a folder's name."""
_FOLDER = re.compile(rf"([a-z0-9_-]+)-([0-9a-f]{{{_DIGITS}}})")


class _Marker(msgspec.Struct, frozen=True, kw_only=True):
    lock: str
    python: str
    distributions: dict[str, str]


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A toolchain that is installed here."""

    name: str
    folder: Path
    lock: str
    """The digest of the lock that it was made from."""
    python: str
    """The version of its interpreter."""
    distributions: dict[str, str]
    """What was installed, by normalised name: distribution to version."""

    @property
    def interpreter(self) -> Path:
        """What runs workers in it."""
        return interpreter_of(self.folder)


def environment_folder(lock: Lock, root: Path) -> Path:
    """Where the lock's environment stands, or would."""
    return root / f"{lock.name}-{lock.digest.removeprefix('sha256:')[:_DIGITS]}"


def find_environment(lock: Lock, root: Path) -> Environment | None:
    """The environment made from this lock; None: it is not there, or was not finished."""
    return _read(environment_folder(lock, root), lock.name)


def list_environments(root: Path) -> list[Environment]:
    """All finished ones, those of other locks too, sorted by name."""
    found = (_read(folder, name) for folder, name in _folders(root))
    return [environment for environment in found if environment is not None]


def remove_environments(name: str, root: Path) -> list[Path]:
    """Remove all environments of that toolchain, unfinished ones too; the folders that were removed are returned.

    Raises:
        ToolchainError: one is just being installed.
    """
    removed = []
    for folder, owner in _folders(root):
        if owner != name:
            continue
        with held(folder, wait=False):
            discard(folder)
        removed.append(folder)
    return removed


def finish(lock: Lock, folder: Path) -> Environment:
    """Write the marker: from here on the environment is used."""
    marker = _Marker(lock=lock.digest, python=_python(folder), distributions=_installed(folder))
    write_durably(folder / _MARKER, msgspec.json.encode(marker))
    return _environment(folder, lock.name, marker)


def discard(folder: Path) -> None:
    """Remove an environment, the marker first, so that nobody starts to use what is half gone."""
    (folder / _MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def held(folder: Path, *, wait: bool) -> Iterator[int]:
    """The only one that makes or removes that environment; the lock's descriptor is for a child that works on it.

    A child that has the descriptor keeps the lock for as long as it lives, even when its parent was killed.

    Raises:
        ToolchainError: somebody else is, and `wait` says not to wait.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.parent / f".{folder.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError as error:
        raise ToolchainError(
            "toolchain.busy", f"'{folder.name}' is just being installed or removed", hint="wait for it to end"
        ) from error
    finally:
        os.close(descriptor)


def interpreter_of(folder: Path) -> Path:
    """The Python of the virtual environment in `folder`."""
    return folder / "bin" / "python"


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _folders(root: Path) -> list[tuple[Path, str]]:
    """The folders of environments, finished or not, and the toolchain of each."""
    entries = sorted(root.iterdir()) if root.is_dir() else []
    named = [(entry, _FOLDER.fullmatch(entry.name)) for entry in entries if entry.is_dir()]
    return [(entry, match[1]) for entry, match in named if match is not None]


def _read(folder: Path, name: str) -> Environment | None:
    try:
        marker = msgspec.json.decode((folder / _MARKER).read_bytes(), type=_Marker)
    except (OSError, msgspec.DecodeError):
        return None
    # The interpreter is a link to the one that made it, which may have been removed since.
    return _environment(folder, name, marker) if interpreter_of(folder).exists() else None


def _environment(folder: Path, name: str, marker: _Marker) -> Environment:
    return Environment(
        name=name, folder=folder, lock=marker.lock, python=marker.python, distributions=marker.distributions
    )


def _python(folder: Path) -> str:
    """As pyvenv.cfg has it; ours where it says nothing."""
    for line in (folder / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "version":
            return value.strip()
    return ".".join(map(str, sys.version_info[:3]))


def _installed(folder: Path) -> dict[str, str]:
    site = next(folder.glob("lib/python*/site-packages"))
    return dict(sorted((normalised(entry.name), entry.version) for entry in distributions(path=[str(site)])))
