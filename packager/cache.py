"""Results by the digest of everything that went into them.

An entry is a folder with the job's files and ``entry.json``, which lists their digests. It appears by one rename, so
that several builds may share a cache; an entry that does not match its list is thrown away and made again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes, digest_file

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

    def holds(self, key: str) -> bool:
        """Whether there is something under `key`; nothing says yet that it is sound."""
        return (self._place(key) / _LIST).is_file()

    def find(self, key: str, result: type[_Result]) -> tuple[_Result, Path] | None:
        """The result under `key` and the folder with its files, all digests checked; None: there is none."""
        folder = self._place(key)
        try:
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


def cache_key(inputs: msgspec.Struct) -> str:
    """The digest of everything that goes into a result; `inputs` is JSON-encodable, and its type's name counts."""
    return digest_bytes(canonical_json({"kind": type(inputs).__name__, "inputs": msgspec.to_builtins(inputs)}))
