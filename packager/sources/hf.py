"""Hugging Face models that are on this machine: ``hf:ORG/NAME[@REVISION][#FILE]``, or ``hf:FOLDER[#FILE]``.

A repository is looked up in the Hub's cache, and never downloaded: `hf download` does that. Nothing of a repository is
executed. Layout of the cache: huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.manifest import LineageSection
from packager.downloads import place_below, refuse_large
from packager.errors import ConfigError, ConversionError
from packager.sources._remote import Request, fetch_remote
from packager.sources._source import Identity

if TYPE_CHECKING:
    from packager.cache import Cache
    from packager.config import Project
    from packager.sources._source import Bounds, Fetched
    from packager.worker import Workers

DISTRIBUTIONS = ("huggingface-hub",)
EXTRA = "hf"

_REPOSITORY = re.compile(r"hf:(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?:#(?P<file>.+))?", re.ASCII)
_FOLDER = re.compile(r"hf:(?P<folder>[./~][^#]*)(?:#(?P<file>.+))?")
_SUFFIXES = (".onnx", ".skops", ".tflite", ".keras", ".pt2", ".h5", ".joblib", ".pkl")
"""Which files are models, the best choice first; those that run code when they are read come last."""
_USUAL = ("model.onnx", "onnx/model.onnx")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".msgpack")
"""Weights without the graph that they belong to."""
_SHOWN = 8


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A repository in the cache, or a folder."""

    name: str = ""
    revision: str = ""
    folder: str = ""
    file: str = ""


def matches(reference: str) -> bool:
    """``hf:...``."""
    return reference.startswith("hf:")


def fetch(project: Project, cache: Cache, workers: Workers) -> Fetched:
    """The repository's model file, with the files that belong to it."""
    written = project.model.source
    repository, folder = _REPOSITORY.fullmatch(written), _FOLDER.fullmatch(written)
    if folder is not None:
        place = project.path(folder["folder"])
        order = Order(folder=str(place), file=folder["file"] or "")
        reference = f"hf:{place.name}"
    elif repository is not None:
        order = Order(name=repository["name"], revision=repository["revision"] or "", file=repository["file"] or "")
        reference = written
    else:
        raise ConfigError(
            "config.field", f"'model.source': expected hf:ORG/NAME[@REVISION][#FILE] or hf:FOLDER, got '{written}'"
        )
    request = Request(source="hf", order=order, distributions=DISTRIBUTIONS, extra=EXTRA)
    return msgspec.structs.replace(fetch_remote(request, project, cache, workers), reference=reference)


def identify(order: Order) -> Identity:
    """The commit, and which of its files are here."""
    folder = _snapshot(order)
    listed = {path.as_posix(): (folder / path).stat().st_size for path in _chosen(order, folder)}
    if order.folder:
        return Identity(text="")
    listing = digest_bytes(canonical_json(listed))
    return Identity(text=f"{order.name} {folder.name} {listing}", version=folder.name[:12])


def download(order: Order, identity: Identity, out: Path, bounds: Bounds) -> LineageSection:
    """Copies of the chosen files, so that the Hub's cache may be emptied."""
    del identity
    folder = _snapshot(order)
    chosen = _chosen(order, folder)
    # A snapshot's files are links to the repository's blobs, two folders above; they may lead nowhere else.
    root = (folder.parent.parent if folder.parent.name == "snapshots" else folder).resolve()
    refuse_large(order.name or folder.name, sum((folder / path).stat().st_size for path in chosen), bounds.size)
    for path in chosen:
        source = (folder / path).resolve()
        if not source.is_relative_to(root):
            raise ConversionError("source.path", f"'{path.as_posix()}' is a link that leads out of the repository")
        target = place_below(out, path.as_posix())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return LineageSection()


def _snapshot(order: Order) -> Path:
    """The folder with the files of the revision."""
    if order.folder:
        folder = Path(order.folder)
        if not folder.is_dir():
            raise ConfigError("source.missing", f"no folder at '{folder}'")
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(order.name, revision=order.revision or None, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError) as error:
        revision = f" --revision {order.revision}" if order.revision else ""
        raise ConfigError(
            "source.missing",
            f"'{order.name}' is not in the cache of the Hugging Face Hub on this machine",
            hint=f"hf download {order.name}{revision}",
        ) from error
    return Path(str(found))


def _chosen(order: Order, folder: Path) -> list[Path]:
    """The model file and what belongs to it, relative to the folder.

    Raises:
        ConfigError: there is no such file, or several could be meant.
        ConversionError: there are only weights.
    """
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    if order.file:
        model = Path(order.file)
        if model not in files:
            raise ConfigError("source.missing", f"no '{order.file}' in '{order.name or folder.name}'")
        return _with_data(model, files)
    saved = [path for path in files if path.name == "saved_model.pb"]
    for suffix in _SUFFIXES:
        found = [path for path in files if path.suffix == suffix]
        if found:
            return _with_data(_best(found, order, folder), files)
    if len(saved) == 1:
        return [path for path in files if path.is_relative_to(saved[0].parent)]
    raise _no_model(order, folder, files)


def _best(found: list[Path], order: Order, folder: Path) -> Path:
    usual = [Path(name) for name in _USUAL if Path(name) in found]
    if usual or len(found) == 1:
        return (usual or found)[0]
    name = order.name or folder.name
    shown = ", ".join(path.as_posix() for path in found[:_SHOWN])
    raise ConfigError(
        "source.ambiguous", f"'{name}' has {len(found)} models: {shown}", hint=f"hf:{name}#{found[0].as_posix()}"
    )


def _with_data(model: Path, files: list[Path]) -> list[Path]:
    """The model with its external data, which by custom stands beside it under its name."""
    beside = [path for path in files if path.parent == model.parent and path != model and path.suffix != ".onnx"]
    return [model, *(path for path in beside if model.suffix == ".onnx" and path.name.startswith(model.stem))]


def _no_model(order: Order, folder: Path, files: list[Path]) -> ConfigError | ConversionError:
    name = order.name or folder.name
    weights = [path.as_posix() for path in files if path.suffix in _WEIGHTS]
    if not weights:
        return ConfigError("source.missing", f"'{name}' has no model file here", hint=f"hf download {name}")
    return ConversionError(
        "source.weights",
        f"'{name}' has weights without a graph: {', '.join(weights[:_SHOWN])}",
        hint=f"export it: optimum-cli export onnx --model {name} FOLDER, and give FOLDER as the source",
    )
