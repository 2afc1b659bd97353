"""MLflow's model registry: ``models:/NAME/VERSION`` and ``models:/NAME@ALIAS``.

MLflow's import costs seconds, so it happens in a worker, and the answer is kept: for a local SQLite registry as long as
the database file is the same, byte for byte, and for a server as long as a version, which is immutable, was named.
An alias of a server is asked for each time.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from manifests.manifest import LineageSection
from packager.cache import cache_key
from packager.errors import ConfigError
from packager.fingerprints import code_digest, content_digest, versions
from packager.sources._source import Fetched

if TYPE_CHECKING:
    from packager.cache import Cache
    from packager.config import Project
    from packager.worker import Workers

DISTRIBUTIONS = ("mlflow-skinny", "sqlalchemy")
EXTRA = "mlflow"

_REFERENCE = re.compile(r"models:/([^/@]+)(?:/([0-9]+)|@([^/@]+))")


class FetchOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker is asked for: a version, or an alias."""

    tracking_uri: str
    registry_uri: str
    name: str
    version: str = ""
    alias: str = ""


class FetchedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry says; the model's files stand in the job's folder ``model``."""

    version: str
    lineage: LineageSection


class _Key(msgspec.Struct, frozen=True, kw_only=True):
    order: FetchOrder
    database: dict[str, str]
    distributions: dict[str, str]
    code: str


def matches(reference: str) -> bool:
    """``models:/...``."""
    return reference.startswith("models:")


def fetch(project: Project, cache: Cache, workers: Workers) -> Fetched:
    """The version's files, kept in the cache, with the lineage of the run that logged it."""
    written = project.model.source
    order = _order(project)
    database = _database(order.registry_uri) | _database(order.tracking_uri)
    found = cache.find(_key(order, database), FetchedVersion) if database or order.version else None
    cached = found is not None
    if found is None:
        with workers.job("fetch", order, FetchedVersion) as (result, files):
            if not database:
                # An alias of a server is kept under its version: its files are not stored twice.
                order = msgspec.structs.replace(order, alias="", version=result.version)
            key = _key(order, database)
            found = cache.find(key, FetchedVersion) or (result, cache.keep(key, result, files))
    version, folder = found
    path = folder / "model"
    return Fetched(
        path=path,
        digest=content_digest(path),
        reference=written,
        version=version.version,
        lineage=version.lineage,
        cached=cached,
    )


def _key(order: FetchOrder, database: dict[str, str]) -> str:
    distributions = versions(DISTRIBUTIONS, extra=EXTRA)
    return cache_key(_Key(order=order, database=database, distributions=distributions, code=code_digest()))


def _order(project: Project) -> FetchOrder:
    match = _REFERENCE.fullmatch(project.model.source)
    if match is None:
        raise ConfigError(
            "config.field",
            f"'model.source': expected models:/NAME/VERSION or models:/NAME@ALIAS, got '{project.model.source}'",
        )
    return FetchOrder(
        tracking_uri=project.tracking_uri,
        registry_uri=project.registry_uri,
        name=match[1],
        version=match[2] or "",
        alias=match[3] or "",
    )


def _database(uri: str) -> dict[str, str]:
    """The digests of a local SQLite database and its journal; empty: the registry is something else.

    Raises:
        ConfigError: there is no such database. MLflow would make an empty one.
    """
    scheme, _, place = uri.partition("://")
    if scheme != "sqlite":
        return {}
    path = Path(place.removeprefix("/") if not place.startswith("//") else place[1:])
    if not path.exists():
        raise ConfigError(
            "config.registry",
            f"no MLflow registry at '{path}'",
            hint="set [model] tracking_uri, or MLFLOW_TRACKING_URI",
        )
    journal = path.with_name(f"{path.name}-wal")
    return {entry.name: content_digest(entry) for entry in (path, journal) if entry.exists()}
