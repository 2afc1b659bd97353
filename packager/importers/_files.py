"""Find a framework's model file by its first bytes, and read it within a limit."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.importers._mlmodel import flavor_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def find_file(path: Path, flavor: tuple[str, str], is_ours: Callable[[Path], bool]) -> Path | None:
    """The file itself, the one that MLflow's `flavor` names under its key, or the only one of ours in the folder."""
    if not path.is_dir():
        return path if is_ours(path) else None
    flavored = flavor_file(path, *flavor)
    if flavored is not None:
        return flavored if is_ours(flavored) else None
    inside = [entry for entry in sorted(path.iterdir()) if entry.is_file() and is_ours(entry)]
    return inside[0] if len(inside) == 1 else None


def first_bytes(path: Path, count: int) -> bytes:
    """The first `count` bytes of the file, or all where it is shorter."""
    with path.open("rb") as stream:
        return stream.read(count)


def is_zip(path: Path) -> bool:
    """Whether it ends as a zip does; Python 3.11 raises where the end speaks of several disks."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def read_bounded(path: Path, limit: int) -> bytes:
    """The whole file.

    Raises:
        ConversionError: it is larger than `limit` bytes.
    """
    size = path.stat().st_size
    if size > limit:
        raise ConversionError("import.size", f"model is too large: expected at most {limit} bytes, got {size}")
    return path.read_bytes()
