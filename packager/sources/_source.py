"""What a source is: the protocol that every module here satisfies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from manifests.manifest import LineageSection

if TYPE_CHECKING:
    from packager.cache import Cache
    from packager.config import Project
    from packager.worker import Workers


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A model on this machine's disk, before anything looked into it."""

    path: Path
    """A file or a folder."""
    digest: str
    reference: str
    """As written in ``pack.toml``, without credentials and without this machine's folders."""
    version: str
    """The registry's; empty where it has none."""
    lineage: LineageSection = LineageSection()
    cached: bool
    """Whether no worker was started."""


class Source(Protocol):
    """A module of this package."""

    def matches(self, reference: str) -> bool:
        """Whether a ``[model] source`` written so is one of this registry."""
        ...

    def fetch(self, project: Project, cache: Cache, workers: Workers) -> Fetched:
        """The model that the project names.

        Raises:
            ConfigError: there is no such model.
            NetworkError: the registry can't be reached.
            ToolchainError: the registry's client is not installed.
        """
        ...
