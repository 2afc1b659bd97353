"""Models in registries: CNCF ModelPack artifacts and KitOps ModelKits, as files in a folder.

ModelPack: github.com/modelpack/model-spec, docs/spec.md and docs/annotations.md. ModelKit:
kitops.org/docs/modelkit/spec.
Layers of weights and what belongs to them are fetched; documents, code and datasets are left where they are.
"""

from __future__ import annotations

import gzip
import re
import tarfile
from contextlib import closing
from functools import partial
from typing import IO, TYPE_CHECKING, cast

import msgspec
import zstandard

from manifests.errors import LayoutError
from manifests.layout import DOCUMENT_LIMIT, Descriptor, parse_image
from manifests.manifest import MANIFEST_MEDIA_TYPE
from packager.downloads import arrived_path, download, partial_path, place_below, refuse_large
from packager.errors import ConfigError, ConversionError

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.layout import Image
    from packager.oci.registry import Repository
    from packager.sources._source import Bounds

_LAYER = re.compile(
    r"application/vnd\.(?:(?:cncf|cnai)\.model\.(?P<pack>weight|weight\.config)|kitops\.modelkit\.(?P<kit>model|modelpart))"
    r"\.v1\.(?P<format>raw|tar)(?:\+(?P<compression>gzip|zstd))?"
)
_KNOWN = re.compile(r"application/vnd\.(?:(?:cncf|cnai)\.model|kitops\.modelkit)\.")
_FILEPATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title")
_KIT_CONFIG = "application/vnd.kitops.modelkit.config.v1+json"
_MOST_FILES = 10_000
_BLOCK = 1 << 20


class _KitPath(msgspec.Struct, frozen=True):
    path: str = ""


class _KitModel(msgspec.Struct, frozen=True):
    path: str = ""
    parts: tuple[_KitPath, ...] = ()


class _Kitfile(msgspec.Struct, frozen=True):
    model: _KitModel = _KitModel()


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer with a part of the model."""

    blob: Descriptor
    archive: bool
    compression: str
    """``gzip``, ``zstd`` or nothing."""
    path: str
    """Of the file in it; empty where an archive names its files."""


def fetch_artifact(repository: Repository, data: bytes, what: str, out: Path, bounds: Bounds) -> None:
    """The files of the model whose manifest is `data`, below `out`.

    Raises:
        ConversionError: it is no model, too large, or damaged.
        NetworkError: it can't be fetched.
    """
    image = _parse(data, what)
    layers = model_layers(repository, image, what)
    refuse_large(what, sum(layer.blob.size for layer in layers), bounds.size)
    budget = _Budget(what, bounds.size)
    for layer in layers:
        place = partial_path(bounds.partials, layer.blob.digest)
        arrived = download(
            place,
            arrived_path(place),
            layer.blob.digest,
            layer.blob.size,
            partial(repository.blob, layer.blob),
            digest=layer.blob.digest,
        )
        _unpack(arrived, layer, out, budget)
        arrived.unlink(missing_ok=True)


def model_layers(repository: Repository, image: Image, what: str) -> list[Layer]:
    """The layers with weights and what belongs to them.

    Raises:
        ConversionError: there are none.
    """
    paths = _kit_paths(repository, image) if image.config.media_type == _KIT_CONFIG else []
    layers = []
    for blob in image.layers:
        match = _LAYER.fullmatch(blob.media_type)
        if match is None:
            continue
        annotated = next((blob.annotations[name] for name in _FILEPATHS if name in blob.annotations), "")
        # A Kitfile lists the paths in the order of the layers.
        listed = paths.pop(0) if match["kit"] and paths else ""
        layers.append(
            Layer(
                blob=blob,
                archive=match["format"] == "tar",
                compression=match["compression"] or "",
                path=annotated or listed,
            )
        )
    if layers:
        return layers
    if image.config.media_type == MANIFEST_MEDIA_TYPE:
        raise ConfigError("oci.bundle", f"'{what}' is a bundle, not a model", hint="pack pull fetches bundles")
    kind = image.artifact_type or image.config.media_type
    hint = "expected a CNCF ModelPack artifact or a KitOps ModelKit"
    if any(_KNOWN.match(blob.media_type) for blob in image.layers):
        raise ConversionError("oci.model", f"'{what}' holds no weights, only what goes with them", hint=hint)
    raise ConversionError("oci.model", f"'{what}' is no model: it is '{kind}'", hint=hint)


def _kit_paths(repository: Repository, image: Image) -> list[str]:
    refuse_large("the Kitfile", image.config.size, DOCUMENT_LIMIT)
    _, blocks = repository.blob(image.config, 0)
    try:
        kitfile = msgspec.json.decode(b"".join(blocks), type=_Kitfile)
    except msgspec.DecodeError as error:
        raise ConversionError("oci.model", f"not a Kitfile: {error}") from error
    return [kitfile.model.path, *(part.path for part in kitfile.model.parts)]


def _parse(data: bytes, what: str) -> Image:
    try:
        return parse_image(data)
    except LayoutError as error:
        raise ConversionError(
            "oci.model", f"'{what}' is no single model: {error}", hint="name one of an index by its digest"
        ) from error


class _Budget:
    """How much may still be written: a small archive can unpack to anything."""

    def __init__(self, what: str, size: int) -> None:
        self._what = what
        self._size = size
        self._used = 0
        self._files = 0

    def copy(self, source: IO[bytes], target: Path) -> None:
        """Write a file.

        Raises:
            ConversionError: it would be too much.
        """
        self._files += 1
        if self._files > _MOST_FILES:
            raise ConversionError("source.size", f"'{self._what}' has more than {_MOST_FILES} files")
        if target.exists():
            raise ConversionError("source.path", f"'{self._what}' has '{target.name}' twice")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as sink:
            while block := source.read(_BLOCK):
                self._used += len(block)
                refuse_large(self._what, self._used, self._size)
                sink.write(block)


def _unpack(arrived: Path, layer: Layer, out: Path, budget: _Budget) -> None:
    try:
        with closing(_opened(arrived, layer.compression)) as stream:
            if not layer.archive:
                budget.copy(stream, place_below(out, layer.path or layer.blob.digest.removeprefix("sha256:")))
                return
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    _extract(archive, member, out, budget)
    except (tarfile.TarError, zstandard.ZstdError, EOFError, gzip.BadGzipFile) as error:
        raise ConversionError("oci.model", f"layer {layer.blob.digest} can't be unpacked: {error}") from error


def _opened(path: Path, compression: str) -> IO[bytes]:
    if compression == "gzip":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if compression == "zstd":
        return cast("IO[bytes]", zstandard.open(path, "rb"))
    return path.open("rb")


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, out: Path, budget: _Budget) -> None:
    if member.isdir():
        return
    if not member.isreg():
        raise ConversionError("source.path", f"'{member.name}' is neither a file nor a folder: links are not followed")
    content = archive.extractfile(member)
    if content is not None:
        budget.copy(content, place_below(out, member.name))
