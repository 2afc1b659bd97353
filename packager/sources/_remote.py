"""Models that a worker fetches, kept in the cache under the identity of their content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from manifests.manifest import LineageSection
from packager.cache import cache_key
from packager.fingerprints import code_digest, content_digest, versions
from packager.redaction import redact
from packager.sources._source import Fetched

if TYPE_CHECKING:
    from pathlib import Path

    from packager.cache import Cache
    from packager.config import Project
    from packager.worker import Workers

MODEL = "model"
"""The folder below a job's with the model's files."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What a fetched model depends on."""

    source: str
    identity: str
    distributions: dict[str, str]
    code: str


class FetchOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is asked for."""

    source: str
    """A module of this package."""
    order: msgspec.Raw
    """Its `Order`."""
    key: Key
    """The cache's, without the identity, which only the registry knows."""
    cache: str
    """The cache's folder; what it holds is not fetched."""
    size_limit: int


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker fetched."""

    identity: str
    version: str
    lineage: LineageSection = LineageSection()
    fetched: bool
    """Whether the files are in the job's folder; else the cache has them."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A model of some registry."""

    source: str
    order: msgspec.Struct
    distributions: tuple[str, ...]
    extra: str
    identity: str = ""
    """Where the reference alone says which content it means."""
    version: str = ""
    """Where the reference alone says it."""


def fetch_remote(request: Request, project: Project, cache: Cache, workers: Workers) -> Fetched:
    """The model's files, kept in the cache.

    Raises:
        PackError: it can't be had.
    """
    key = Key(
        source=request.source,
        identity=request.identity,
        distributions=versions(request.distributions, extra=request.extra),
        code=code_digest(),
    )
    found = cache.find(cache_key(key), Download) if request.identity else None
    cached = found is not None
    version = request.version or (found[0].version if found else "")
    while found is None:
        order = FetchOrder(
            source=request.source,
            order=msgspec.Raw(msgspec.json.encode(request.order)),
            key=key,
            cache=str(project.cache),
            size_limit=project.size_limit,
        )
        with workers.job("fetch", order, Download) as (download, files):
            version = download.version
            place = cache_key(msgspec.structs.replace(key, identity=download.identity))
            if not download.fetched:
                # A damaged entry is thrown away when it is read, and then there is something to fetch.
                found = cache.find(place, Download)
            elif download.identity:
                found = cache.find(place, Download) or (download, cache.keep(place, download, files))
            else:
                found = download, _keep_unnamed(cache, key, download, files)
    download, folder = found
    path = _single(folder / MODEL)
    return Fetched(
        path=path,
        digest=content_digest(path),
        reference=redact(project.model.source).partition("?")[0],
        version=version,
        lineage=download.lineage,
        cached=cached,
    )


def _keep_unnamed(cache: Cache, key: Key, download: Download, files: Path) -> Path:
    """An entry under the content's own digest, where the registry has no name for it."""
    place = cache_key(msgspec.structs.replace(key, identity=content_digest(files)))
    found = cache.find(place, Download)
    return found[1] if found else cache.keep(place, download, files)


def _single(folder: Path) -> Path:
    """The only file, wherever it stands in the folder; else the deepest folder that holds all files."""
    entries = list(folder.iterdir())
    while len(entries) == 1:
        folder = entries[0]
        if folder.is_file():
            return folder
        entries = list(folder.iterdir())
    return folder
