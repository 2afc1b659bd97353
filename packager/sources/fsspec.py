"""Files and folders in object stores: ``s3://``, ``gs://`` and ``az://``, by fsspec's file systems.

Credentials are found as each cloud's own tools find them: environment, configuration files, roles of the machine.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.manifest import LineageSection
from packager.downloads import download as download_file
from packager.downloads import partial_path, place_below, refuse_large
from packager.errors import ConfigError, NetworkError
from packager.redaction import redact
from packager.sources._remote import Request, fetch_remote
from packager.sources._source import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fsspec import AbstractFileSystem

    from packager.cache import Cache
    from packager.config import Project
    from packager.sources._source import Bounds, Fetched
    from packager.worker import Workers

_BLOCK = 8 << 20
"""Bytes asked for at once; an interruption loses at most these."""
_MARKS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "updated")
"""What the file systems say of an object that changes with its content."""
_MOST_FILES = 10_000


class Service(NamedTuple):
    """An object store: how it is spoken to."""

    distributions: tuple[str, ...]
    extra: str
    errors: tuple[str, ...]
    """Modules and classes of its client's errors that are no OSError."""
    hint: str


SERVICES = {
    "s3": Service(
        ("fsspec", "s3fs"),
        "s3",
        ("botocore.exceptions:BotoCoreError", "botocore.exceptions:ClientError"),
        "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_ENDPOINT_URL for another store than Amazon's",
    ),
    "gs": Service(
        ("fsspec", "gcsfs"),
        "gs",
        ("google.auth.exceptions:GoogleAuthError", "gcsfs.retry:HttpError", "aiohttp:ClientError"),
        "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS",
    ),
    "az": Service(
        ("adlfs", "fsspec"),
        "az",
        ("azure.core.exceptions:AzureError",),
        "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_ACCOUNT_KEY or az login",
    ),
}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or a folder with all below it."""

    url: str


class _Object(NamedTuple):
    path: str
    """As the file system has it."""
    name: str
    """Below the folder that was asked for."""
    size: int
    mark: str


def matches(reference: str) -> bool:
    """``s3:...``, ``gs:...`` and ``az:...``."""
    return reference.partition(":")[0] in SERVICES


def fetch(project: Project, cache: Cache, workers: Workers) -> Fetched:
    """The files; it is asked for each time whether they have changed."""
    url = project.model.source
    scheme, _, place = url.partition("://")
    bucket, _, path = place.partition("/")
    if not bucket or not path or "?" in place:
        raise ConfigError("config.field", f"'model.source': expected {scheme}://BUCKET/PATH, got '{redact(url)}'")
    service = SERVICES[scheme]
    request = Request(source="fsspec", order=Order(url=url), distributions=service.distributions, extra=service.extra)
    return fetch_remote(request, project, cache, workers)


def identify(order: Order) -> Identity:
    """The digest of all names, sizes and entity tags."""
    with _errors(order):
        listed = _list(_open(order), order)
    if not all(entry.mark for entry in listed):
        return Identity(text="")
    return Identity(text=f"{order.url} {digest_bytes(canonical_json([[*entry[1:]] for entry in listed]))}")


def download(order: Order, identity: Identity, out: Path, bounds: Bounds) -> LineageSection:
    """The files, each of which must stay the same while it is fetched."""
    with _errors(order):
        store = _open(order)
        listed = _list(store, order)
    refuse_large(order.url, sum(entry.size for entry in listed), bounds.size)
    for entry in listed:
        target = place_below(out, entry.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        place = partial_path(bounds.partials, f"{entry.path} {identity.text or entry}")
        download_file(place, target, entry.name, entry.size, partial(_read, store, order, entry))
        with _errors(order):
            unchanged = _mark(store.info(entry.path, refresh=True)) == entry.mark
        if not unchanged:
            raise NetworkError("source.changed", f"'{order.url}' changed while it was fetched", hint="run it again")
    return LineageSection()


def _read(store: AbstractFileSystem, order: Order, entry: _Object, offset: int) -> tuple[int, Iterator[bytes]]:
    def blocks() -> Iterator[bytes]:
        for start in range(offset, entry.size, _BLOCK):
            with _errors(order):
                block = store.cat_file(entry.path, start=start, end=min(start + _BLOCK, entry.size))
            yield block

    return offset, blocks()


def _open(order: Order) -> AbstractFileSystem:
    import fsspec

    return fsspec.filesystem(order.url.partition("://")[0], use_listings_cache=False, skip_instance_cache=True)


def _list(store: AbstractFileSystem, order: Order) -> list[_Object]:
    """The object of that name, or those below it, sorted by name."""
    root = order.url.partition("://")[2].rstrip("/")
    found = {root: store.info(root)}
    if found[root]["type"] == "directory":
        found = store.find(root, detail=True)
        if not found or len(found) > _MOST_FILES:
            raise ConfigError("source.missing", f"'{order.url}' has {len(found)} files: expected 1 to {_MOST_FILES}")
    listed = []
    for path, info in sorted(found.items()):
        name = path.removeprefix(f"{root}/") if path != root else root.rpartition("/")[2]
        listed.append(_Object(path, name, int(info["size"]), _mark(info)))
    return listed


def _mark(info: dict[str, object]) -> str:
    return next((str(info[name]) for name in _MARKS if info.get(name)), "")


@contextmanager
def _errors(order: Order) -> Iterator[None]:
    """The clients' errors as ours."""
    service = SERVICES[order.url.partition("://")[0]]
    failures: tuple[type[Exception], ...] = (OSError, *_classes(service))
    try:
        yield
    except FileNotFoundError as error:
        raise ConfigError("source.missing", f"no model at '{order.url}'", hint="is the path right?") from error
    except PermissionError as error:
        raise NetworkError(
            "source.authentication", f"'{order.url}' refuses who you are: {_first(error)}", hint=service.hint
        ) from error
    except failures as error:
        raise NetworkError(
            "source.unreachable", f"'{order.url}' can't be fetched: {_first(error)}", hint=service.hint
        ) from error


def _classes(service: Service) -> list[type[Exception]]:
    names = [entry.partition(":") for entry in service.errors]
    return [getattr(importlib.import_module(module), name) for module, _, name in names]


def _first(error: Exception) -> str:
    lines = redact(str(error)).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
