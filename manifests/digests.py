"""SHA-256 digests in OCI form, ``sha256:<64 hex digits>``, and checked reads."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated, BinaryIO, TypeAlias

import msgspec

from manifests.errors import DigestMismatchError

if TYPE_CHECKING:
    from pathlib import Path

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$(?!\n)"
"""The lookahead is for Python, whose ``$`` also matches before a newline at the end; ECMA 262 reads it alike."""
Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]
"""OCI image specification 1.1, descriptor.md, "Digests"; SHA-256 is the only algorithm in use (SPEC 2.4)."""

_DIGEST = re.compile(DIGEST_PATTERN)
_BLOCK = 1 << 20


def is_digest(text: str) -> bool:
    """Whether `text` is a digest, and so can be made a file name."""
    return _DIGEST.match(text) is not None


def digest_bytes(data: bytes) -> str:
    """The digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """The digest of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return copy_stream(stream, None)[0]


def copy_stream(source: BinaryIO, sink: BinaryIO | None, *, limit: int | None = None) -> tuple[str, int]:
    """The digest and the size of what `source` held, once it is copied to `sink`, in blocks.

    With a `limit`, at most one byte more than that is read: the size tells.
    """
    total = hashlib.sha256()
    size = 0
    while block := source.read(_BLOCK if limit is None else min(_BLOCK, limit + 1 - size)):
        total.update(block)
        size += len(block)
        if sink is not None:
            sink.write(block)
    return "sha256:" + total.hexdigest(), size


def digest_tree(folder: Path) -> str:
    """The digest of a folder: of every file's relative path and digest, in the order of the paths.

    Symbolic links to files are followed; empty folders don't count.
    """
    total = hashlib.sha256()
    files = {entry.relative_to(folder).as_posix(): entry for entry in folder.rglob("*") if entry.is_file()}
    for name in sorted(files):
        total.update(f"{name}\0{digest_file(files[name])}\n".encode())
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
