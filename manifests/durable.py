"""Writing a file so that a power cut leaves either the old content or the new, never a part of it (SPEC 5.1.5)."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def durable_stream(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A stream whose content replaces `path` when the block ends well; when it raises, `path` stays as it was.

    Written beside it, fsync, rename, fsync the folder, which must exist. A crash before the rename leaves the old file
    and perhaps a ``.partial`` beside it. A symbolic link at `path` is replaced, not followed.
    """
    handle, name = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield cast("BinaryIO", stream)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(name, path)  # noqa: PTH105 - the name is a str from mkstemp
    except BaseException:
        os.unlink(name)  # noqa: PTH108 - likewise
        raise
    sync_folder(path.parent)


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `data`, as `durable_stream` does."""
    with durable_stream(path, mode=mode) as stream:
        stream.write(data)
