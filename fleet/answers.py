"""Answers to what devices ask for: metadata, target files, chunks. Every name is checked before it becomes a path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wire.chunks import split_answer
from wire.errors import WireError
from wire.messages import Data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wire.messages import Get

_METADATA = re.compile(r"(?:timestamp|[1-9][0-9]{0,9}\.(?:root|targets|snapshot))\.json")
_PART = r"[a-z0-9][a-z0-9._-]{0,63}"
_TARGET = re.compile(rf"(?:{_PART}/){{1,4}}[0-9a-f]{{64}}\.{_PART}\.json")
_CHUNK = re.compile(r"sha256:[0-9a-f]{64}")


def answer(repository: Path, get: Get) -> Iterator[Data]:
    """The messages that answer `get` from the repository in that folder.

    ``missing``: there is no such file. ``refused``: no file may go by that name, or it is too large to send.
    """
    path = _locate(repository, get)
    if path is None:
        yield Data(id=get.id, status="refused")
        return
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        yield Data(id=get.id, status="missing")
        return
    try:
        yield from split_answer(get.id, content)
    except WireError:
        yield Data(id=get.id, status="refused")


def chunk_path(folder: Path, digest: str) -> Path:
    """Where the chunk of that digest stands in the folder of chunks, or would."""
    name = digest.removeprefix("sha256:")
    return folder / name[:2] / name


def _locate(repository: Path, get: Get) -> Path | None:
    if get.kind == "metadata" and _METADATA.fullmatch(get.name):
        return repository / "metadata" / get.name
    if get.kind == "target" and _TARGET.fullmatch(get.name):
        return repository / "targets" / get.name
    if get.kind == "chunk" and _CHUNK.fullmatch(get.name):
        return chunk_path(repository / "chunks", get.name)
    return None
