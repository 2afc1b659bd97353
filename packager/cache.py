"""Results by the digest of everything that went into them.

An entry is a folder with the job's files and ``entry.json``, which lists their digests. It appears by one rename, so
that several builds may share a cache; an entry that does not match its list is thrown away and made again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes, digest_file
from packager.scratch import oldest_start

_Result = TypeVar("_Result", bound=msgspec.Struct)
_FORMAT = "1"
_LIST = "entry.json"


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    files: dict[str, str]
    """Relative path to digest."""
    result: msgspec.Raw
    digest: str
    """Of `result`."""


class Cache:
    """A folder of entries."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / f"v{_FORMAT}"
        self.scratch = folder / "scratch"
        """Where jobs work: an entry is renamed from there."""
        self.downloads = folder / "downloads"
        """Where interrupted downloads wait to go on."""
        self.turns = folder / "turns"
        """The file by which the workers of this machine take turns."""

    def holds(self, key: str) -> bool:
        """Whether there is something under `key`; nothing says yet that it is sound."""
        return (self._place(key) / _LIST).is_file()

    def find(self, key: str, result: type[_Result]) -> tuple[_Result, Path] | None:
        """The result under `key` and the folder with its files, all digests checked; None: there is none."""
        folder = self._place(key)
        try:
            # The time of use, before anything else is looked at: pruning leaves alone what a running build used.
            os.utime(folder / _LIST)
            entry = msgspec.json.decode((folder / _LIST).read_bytes(), type=_Entry)
            sound = digest_bytes(bytes(entry.result)) == entry.digest and all(
                digest_file(folder / path) == digest for path, digest in entry.files.items()
            )
            if sound:
                return msgspec.json.decode(entry.result, type=result), folder
        except FileNotFoundError:
            if not folder.exists():
                return None
        except msgspec.DecodeError:
            pass
        self._discard(folder)
        return None

    def keep(self, key: str, result: msgspec.Struct, files: Path) -> Path:
        """Store the result with the files below `files`, which is moved away; the entry's folder is returned."""
        encoded = msgspec.json.encode(result)
        entry = _Entry(
            files={
                path.relative_to(files).as_posix(): digest_file(path)
                for path in sorted(files.rglob("*"))
                if path.is_file()
            },
            result=msgspec.Raw(encoded),
            digest=digest_bytes(encoded),
        )
        (files / _LIST).write_bytes(msgspec.json.encode(entry))
        place = self._place(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            files.rename(place)
        except OSError:
            # Another build was faster: what stands there is the same by construction of the key.
            if not (place / _LIST).exists():
                raise
        return place

    def prune(self, size: int) -> int:
        """Remove what was not used for longest until at most `size` bytes are left; the bytes removed are returned.

        What was used since the oldest running build began stays, whatever its size: a build may still need it.
        """
        bound = oldest_start(self.scratch)
        entries = sorted(
            (used, sum(file.stat().st_size for file in entry.parent.rglob("*") if file.is_file()), entry.parent)
            for entry in self._folder.glob(f"*/*/{_LIST}")
            if (used := _used(entry)) is not None
        )
        excess = sum(weight for _, weight, _ in entries) - size
        removed = 0
        for used, weight, folder in entries:
            if removed >= excess or used >= bound:
                break
            if _used(folder / _LIST) == used:  # nobody took it meanwhile
                self._discard(folder)
                removed += weight
        return removed

    def _discard(self, folder: Path) -> None:
        self.scratch.mkdir(parents=True, exist_ok=True)
        grave = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            folder.replace(grave / "entry")
        except FileNotFoundError:
            return  # another build was faster
        finally:
            shutil.rmtree(grave, ignore_errors=True)

    def _place(self, key: str) -> Path:
        name = key.removeprefix("sha256:")
        return self._folder / name[:2] / name


def _used(entry: Path) -> float | None:
    """When an entry was used last; None: it is gone."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return None


def cache_key(inputs: msgspec.Struct) -> str:
    """The digest of everything that goes into a result; `inputs` is JSON-encodable, and its type's name counts."""
    return digest_bytes(canonical_json({"kind": type(inputs).__name__, "inputs": msgspec.to_builtins(inputs)}))
