"""Ask a registry which content a reference means, and fetch it unless the cache has it."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from packager.cache import Cache, cache_key
from packager.downloads import forget_stale
from packager.errors import ConfigError, ConversionError
from packager.sources._remote import MODEL, Download, FetchOrder
from packager.sources._source import Bounds

if TYPE_CHECKING:
    from packager.sources._source import Remote

Order = FetchOrder


def runs_foreign_code(order: FetchOrder) -> bool:
    """No: fetching takes bytes."""
    del order
    return False


def run(order: FetchOrder, out: Path) -> Download:
    """The model's files below ``model``, unless the cache has them.

    Raises:
        PackError: the registry has no such model, or can't be asked.
    """
    source = cast("Remote", importlib.import_module(f"packager.sources.{order.source}"))
    asked = msgspec.json.decode(order.order, type=source.Order)
    identity = source.identify(asked)
    cache = Cache(Path(order.cache))
    key = cache_key(msgspec.structs.replace(order.key, identity=identity.text))
    if identity.text and cache.holds(key):
        return Download(identity=identity.text, version=identity.version, fetched=False)
    cache.downloads.mkdir(parents=True, exist_ok=True)
    forget_stale(cache.downloads, time.time())
    folder = out / MODEL
    folder.mkdir()
    lineage = source.download(asked, identity, folder, Bounds(size=order.size_limit, partials=cache.downloads))
    _refuse_links(folder)
    return Download(identity=identity.text, version=identity.version, lineage=lineage, fetched=True)


def _refuse_links(folder: Path) -> None:
    for entry in folder.rglob("*"):
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            name = entry.relative_to(folder).as_posix()
            raise ConversionError("source.path", f"'{name}' is neither a file nor a folder: links are not followed")
    if not any(entry.is_file() for entry in folder.rglob("*")):
        raise ConfigError("source.empty", "nothing is there: the model has no files")
