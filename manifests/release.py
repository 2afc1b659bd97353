"""What TUF's targets role vouches for: release records, which name a bundle's blobs chunk by chunk, and assigners.

SPEC 8. A release record is the content of the TUF target ``releases/<model>/<version>/<target>.json``. TUF names the
record's digest, the record names those of the blobs and of their chunks, so one offline signature covers every byte.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from manifests.canonical import canonical_json, parse_json
from manifests.digests import Digest, digest_bytes
from manifests.errors import DigestMismatchError, InvalidManifestError
from manifests.manifest import RuntimeSection, check_version
from manifests.section import Name, Section, Size

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RELEASE_VERSION = "1.0"
CHUNK_BYTES = 64 << 10
"""Size of every chunk of a blob but its last: with its frame it stays below 128 KB, the lowest broker limit."""
ASSIGNERS_PATH = "trust/assigners.json"
"""The TUF target that lists who may assign."""
RECORD_LIMIT = 8 << 20
"""Largest release record that is parsed, in bytes: the chunk names of 7 GB."""
ASSIGNERS_LIMIT = 1 << 20
"""Largest list of assigners that is parsed, in bytes."""


class _Version(msgspec.Struct):
    """The only field that is read before the version is known to be ours."""

    release: str


class BlobSection(Section, frozen=True, kw_only=True):
    """One blob of the bundle and its chunks, in order."""

    digest: Digest
    size: Size
    chunks: tuple[Digest, ...]


class Release(Section, frozen=True, kw_only=True):
    """A published bundle."""

    release: str
    """Version of this format."""
    name: Name
    version: Name
    counter: Size
    target: Name
    bundle: Digest
    """The OCI manifest; it is among the blobs."""
    runtime: RuntimeSection
    """Repeated from the manifest, so that a device can refuse before it downloads."""
    architectures: tuple[str, ...] = ()
    disk_bytes: Size
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
        InvalidManifestError: too large, not a release record, of another major version, or it contradicts itself.
    """
    if len(data) > RECORD_LIMIT:
        raise InvalidManifestError(
            "release.size", f"release record is too large: expected at most {RECORD_LIMIT} bytes, got {len(data)}"
        )
    try:
        version = parse_json(data, _Version).release
    except msgspec.DecodeError as error:
        raise InvalidManifestError("release.format", f"not a release record: {error}") from error
    newer = check_version("release", version, RELEASE_VERSION)
    try:
        release = parse_json(data, Release)
    except msgspec.DecodeError as error:
        if newer:
            raise InvalidManifestError(
                "release.newer",
                f"release record of version {version} says what version {RELEASE_VERSION} does not know: {error}",
                hint="upgrade packtrain on this device",
            ) from error
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
        InvalidManifestError: too large, or it is none.
    """
    if len(data) > ASSIGNERS_LIMIT:
        raise InvalidManifestError(
            "release.size", f"list of assigners is too large: expected at most {ASSIGNERS_LIMIT} bytes, got {len(data)}"
        )
    try:
        return parse_json(data, Assigners)
    except msgspec.DecodeError as error:
        raise InvalidManifestError("release.assigners", f"list of assigners is not valid: {error}") from error


def split_blob(path: Path) -> Iterable[bytes]:
    """The chunks of a file, in order."""
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def describe_blob(path: Path, digest: str) -> BlobSection:
    """The blob's record: its size and its chunks' digests.

    Raises:
        DigestMismatchError: the file's content is not what `digest` names.
    """
    total = hashlib.sha256()
    size = 0
    chunks = []
    for chunk in split_blob(path):
        total.update(chunk)
        size += len(chunk)
        chunks.append(digest_bytes(chunk))
    got = "sha256:" + total.hexdigest()
    if got != digest:
        raise DigestMismatchError(path.name, expected=digest, got=got)
    return BlobSection(digest=digest, size=size, chunks=tuple(chunks))
