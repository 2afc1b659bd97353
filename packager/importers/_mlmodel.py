"""The model file in a folder that MLflow wrote: its ``MLmodel`` says which."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LIMIT = 1 << 20


def flavor_file(folder: Path, flavor: str, key: str) -> Path | None:
    """The file that the flavor names under `key`; None: no MLflow folder, or no such flavor.

    ``MLmodel`` is YAML that MLflow writes in block style; only ``flavors.<flavor>.<key>`` is read, so no YAML parser
    is needed.
    """
    listing = folder / "MLmodel"
    if not listing.is_file() or listing.stat().st_size > _LIMIT:
        return None
    section: list[str] = []
    for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
        match = re.fullmatch(r"( *)([A-Za-z0-9_]+):(?: (.*))?", line)
        if match is None:
            continue
        section = [*section[: len(match[1]) // 2], match[2]]
        if section == ["flavors", flavor, key] and match[3]:
            found = folder / match[3].strip().strip("'\"")
            inside = found.resolve().is_relative_to(folder.resolve())
            return found if inside and found.is_file() else None
    return None
