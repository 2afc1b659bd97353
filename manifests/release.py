"""What TUF's targets role vouches for: release records, which name a bundle's blobs chunk by chunk, and assigners.

A release record is the content of the TUF target ``releases/<model>/<version>/<target>.json``. TUF names the record's
digest, the record names those of the blobs and of their chunks, so one offline signature covers every byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from manifests.canonical import canonical_json
from manifests.digests import Digest, digest_bytes
from manifests.errors import InvalidManifestError
from manifests.manifest import Name, RuntimeSection, Section

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CHUNK_BYTES = 64 << 10
"""Size of every chunk of a blob but its last: with its frame it stays below 128 KB, the lowest broker limit."""
ASSIGNERS_PATH = "trust/assigners.json"
"""The TUF target that lists who may assign."""
RECORD_LIMIT = 8 << 20
"""Largest release record that is parsed, in bytes: chunk names of a blob of 4 GB."""


class BlobSection(Section, frozen=True, kw_only=True):
    """One blob of the bundle and its chunks, in order."""

    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=0)]
    chunks: tuple[Digest, ...]


class Release(Section, frozen=True, kw_only=True):
    """A published bundle."""

    release: str
    """Version of this format."""
    name: Name
    version: Name
    counter: Annotated[int, msgspec.Meta(ge=0)]
    target: Name
    bundle: Digest
    """The OCI manifest; it is among the blobs."""
    runtime: RuntimeSection
    """Repeated from the manifest, so that a device can refuse before it downloads."""
    architectures: tuple[str, ...] = ()
    disk_bytes: int
    blobs: tuple[BlobSection, ...]
    """OCI manifest, packtrain manifest, then the files."""
    signature: str
    """The DSSE envelope that is the bundle's signature."""


class Assigners(Section, frozen=True, kw_only=True):
    """Whose word a device takes on what to run, and whose signature on a bundle."""

    assigners: tuple[str, ...]
    """Public keys in PEM, for assignments."""
    packers: tuple[str, ...]
    """Public keys in PEM, for bundles."""


def release_path(name: str, version: str, target: str) -> str:
    """The TUF target path of a release record."""
    return f"releases/{name}/{version}/{target}.json"


def encode_record(record: Release | Assigners) -> bytes:
    """The canonical bytes."""
    return canonical_json(record)


def decode_release(data: bytes) -> Release:
    """The release record in `data`.

    Raises:
        InvalidManifestError: too large, not a release record, or it contradicts itself.
    """
    if len(data) > RECORD_LIMIT:
        raise InvalidManifestError(
            "release.size", f"release record is too large: expected at most {RECORD_LIMIT} bytes, got {len(data)}"
        )
    try:
        release = msgspec.json.decode(data, type=Release)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidManifestError("release.field", f"release record is not valid: {error}") from error
    for blob in release.blobs:
        if len(blob.chunks) != -(-blob.size // CHUNK_BYTES):
            raise InvalidManifestError("release.chunks", f"blob {blob.digest}: number of chunks does not fit its size")
    if not release.blobs or release.blobs[0].digest != release.bundle:
        raise InvalidManifestError("release.bundle", "release record does not start with its OCI manifest")
    return release


def decode_assigners(data: bytes) -> Assigners:
    """The list in `data`.

    Raises:
        InvalidManifestError: it is none.
    """
    try:
        return msgspec.json.decode(data, type=Assigners)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidManifestError("release.assigners", f"list of assigners is not valid: {error}") from error


def split_blob(path: Path) -> Iterable[bytes]:
    """The chunks of a file, in order."""
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def describe_blob(path: Path, digest: str) -> BlobSection:
    """The blob's record: its size and its chunks' digests."""
    chunks = tuple(digest_bytes(chunk) for chunk in split_blob(path))
    return BlobSection(digest=digest, size=path.stat().st_size, chunks=chunks)
