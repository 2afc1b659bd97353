"""A file or a folder on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from packager.errors import ConfigError
from packager.fingerprints import content_digest
from packager.sources._source import Fetched

if TYPE_CHECKING:
    from packager.cache import Cache
    from packager.config import Project
    from packager.worker import Workers


def matches(reference: str) -> bool:
    """Whatever has no scheme."""
    return re.match(r"[a-z][a-z0-9+.-]+:", reference) is None


def fetch(project: Project, cache: Cache, workers: Workers) -> Fetched:
    """The path itself: nothing is copied, since its digest is taken."""
    del cache, workers
    written = project.model.source
    path = project.path(written)
    if not path.exists():
        raise ConfigError("config.model", f"'model.source': no model at '{path}'")
    name = Path(written)
    return Fetched(
        path=path,
        digest=content_digest(path),
        reference=name.name if name.is_absolute() or written.startswith("~") else name.as_posix(),
        version="",
        cached=True,
    )
