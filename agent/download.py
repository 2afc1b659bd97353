"""Blobs, chunk by chunk: each chunk's digest is checked before it is written, and what is on the disk is kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from agent.errors import RefusedError
from manifests.digests import digest_bytes, digest_file
from manifests.durable import sync_folder
from manifests.release import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.source import Source
    from manifests.release import BlobSection

ROUNDS = 3
"""How often a chunk that came damaged is asked for."""


class Progress(msgspec.Struct):
    """What a download cost."""

    fetched: int = 0
    """Chunks that came over the network."""
    kept: int = 0
    """Chunks that were on the disk already."""


def fetch_blob(
    blob: BlobSection, folder: Path, source: Source, progress: Progress, installed: Mapping[str, Path]
) -> Path:
    """The blob as a file below `folder`, whole, flushed, its digest checked.

    `installed` says where blobs stand that the device has already, by digest; they are linked.

    Raises:
        RefusedError: a chunk came damaged each time, or the chunks don't make the blob.
        UnreachableError: a chunk could not be had; what came so far is kept.
    """
    path = folder / blob.digest.removeprefix("sha256:")
    there = installed.get(blob.digest)
    if there is not None and not path.exists() and digest_file(there) == blob.digest:
        os.link(there, path)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        missing = _missing(handle, blob)
        progress.kept += len(blob.chunks) - sum(map(len, missing.values()))
        for _ in range(ROUNDS):
            if missing:
                _fetch(handle, missing, source, progress)
        if missing:
            raise RefusedError(
                "download.digest",
                f"{len(missing)} of {len(blob.chunks)} chunks of blob {blob.digest} came damaged {ROUNDS} times",
                hint="the server's store, or something on the way, changes them",
            )
        if os.fstat(handle).st_size != blob.size:
            os.ftruncate(handle, blob.size)
        os.fsync(handle)
    finally:
        os.close(handle)
    if digest_file(path) != blob.digest:
        path.unlink()
        raise RefusedError("download.blob", f"the chunks of blob {blob.digest} are not that blob")
    sync_folder(folder)
    return path


def missing_bytes(blobs: tuple[BlobSection, ...], folder: Path) -> int:
    """Bytes that the blobs may still take on the disk."""
    total = 0
    for blob in blobs:
        path = folder / blob.digest.removeprefix("sha256:")
        total += blob.size - min(blob.size, path.stat().st_blocks * 512 if path.exists() else 0)
    return total


def _missing(handle: int, blob: BlobSection) -> dict[str, list[int]]:
    """The chunks that are not on the disk: digest to the places where it belongs."""
    missing: dict[str, list[int]] = {}
    size = os.fstat(handle).st_size
    for place, digest in enumerate(blob.chunks):
        offset = place * CHUNK_BYTES
        if offset >= size or digest_bytes(os.pread(handle, CHUNK_BYTES, offset)) != digest:
            missing.setdefault(digest, []).append(place)
    return missing


def _fetch(handle: int, missing: dict[str, list[int]], source: Source, progress: Progress) -> None:
    for digest, chunk in source.get_all("chunk", list(missing)):
        if digest_bytes(chunk) != digest:
            continue
        for place in missing.pop(digest):
            os.pwrite(handle, chunk, place * CHUNK_BYTES)
        progress.fetched += 1
