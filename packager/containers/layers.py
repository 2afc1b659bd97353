"""Layers of an image: archives whose bytes depend on the names and contents of their files alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from manifests.digests import digest_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


class Layer(NamedTuple):
    """An archive on disk."""

    path: Path
    digest: str
    """Of the file."""
    diff_id: str
    """Of the archive before compression."""


class _Counted:
    """A stream that digests what goes through it."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._sink.write(data)


def write_layer(path: Path, files: Mapping[str, Path | bytes], *, programs: frozenset[str] = frozenset()) -> Layer:
    """The files by their absolute paths without the first ``/``, owned by root, readable by all, from 1970.

    `programs` are those that can be executed.
    """
    with path.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=4, fileobj=file, mtime=0) as packed:
        counted = _Counted(cast("BinaryIO", packed))
        with tarfile.open(fileobj=cast("BinaryIO", counted), mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for folder in _folders(files):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            for name in sorted(files):
                content = files[name]
                entry = tarfile.TarInfo(name)
                entry.mode = 0o755 if name in programs else 0o644
                entry.size = len(content) if isinstance(content, bytes) else content.stat().st_size
                with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
                    archive.addfile(entry, stream)
    return Layer(path, digest_file(path), counted.digest)


def _folders(files: Mapping[str, Path | bytes]) -> list[str]:
    found: set[str] = set()
    for name in files:
        parts = name.split("/")[:-1]
        found |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    return sorted(found)
