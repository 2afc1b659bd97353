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


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a download may do on this machine."""

    size: int
    """The most bytes that may be fetched."""
    partials: Path
    """Where an interrupted download waits."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which content a reference means just now."""

    text: str
    """No other content, of any model of this source, has it; empty: the registry can't tell, so it is fetched each
    time."""
    version: str = ""
    """The registry's; empty where it has none."""


class Remote(Protocol):
    """A source whose models are fetched by a worker; both functions run there."""

    Order: type[msgspec.Struct]
    """What is asked for; no credentials stand in it."""

    def identify(self, order: msgspec.Struct) -> Identity:
        """What the reference means, at the cost of a question.

        Raises:
            PackError: there is no such model, or the registry can't be reached.
        """
        ...

    def download(self, order: msgspec.Struct, identity: Identity, out: Path, bounds: Bounds) -> LineageSection:
        """The model's files below `out`, an empty folder, and what the registry knows of where they came from.

        Raises:
            PackError: it can't be fetched, or is larger than `bounds` allow.
        """
        ...
