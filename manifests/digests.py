"""SHA-256 digests in OCI form, ``sha256:<64 hex digits>``, and checked reads."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec

from manifests.errors import DigestMismatchError

if TYPE_CHECKING:
    from pathlib import Path

Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
"""OCI image specification 1.1, descriptor.md, "Digests"; SHA-256 is the only algorithm in use."""

_BLOCK = 1 << 20


def digest_bytes(data: bytes) -> str:
    """The digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """The digest of a file's bytes, read in blocks."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            total.update(block)
    return "sha256:" + total.hexdigest()


def digest_tree(folder: Path) -> str:
    """The digest of a folder: of every file's relative path and digest, in the order of the paths.

    Symbolic links are followed; empty folders don't count.
    """
    total = hashlib.sha256()
    for path in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        line = f"{path.relative_to(folder).as_posix()}\0{digest_file(path)}\n"
        total.update(line.encode())
    return "sha256:" + total.hexdigest()


def check_bytes(data: bytes, expected: str, *, what: str) -> bytes:
    """`data`, once its digest is seen to be `expected`.

    Raises:
        DigestMismatchError: it is not.
    """
    got = digest_bytes(data)
    if got != expected:
        raise DigestMismatchError(what, expected=expected, got=got)
    return data


def check_file(path: Path, expected: str) -> Path:
    """`path`, once its content's digest is seen to be `expected`.

    Raises:
        DigestMismatchError: it is not.
    """
    got = digest_file(path)
    if got != expected:
        raise DigestMismatchError(path.name, expected=expected, got=got)
    return path
