"""An image put together without a daemon: a base out of an image layout, layers on top of it, a configuration.

OCI image specification 1.1: config.md, manifest.md, image-layout.md, annotations.md.
"""

from __future__ import annotations

import platform
import tarfile
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from manifests.canonical import canonical_json, parse_json
from manifests.layout import (
    DOCUMENT_LIMIT,
    IMAGE_MEDIA_TYPE,
    INDEX_MEDIA_TYPE,
    REFERENCE_ANNOTATION,
    Descriptor,
    Image,
    Layout,
)
from packager.containers.layers import MEDIA_TYPE
from packager.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from packager.containers.layers import Layer

_CONFIG_MEDIA_TYPE = "application/vnd.oci.image.config.v1+json"
_DOCKER = {
    "application/vnd.docker.distribution.manifest.v2+json": IMAGE_MEDIA_TYPE,
    "application/vnd.docker.distribution.manifest.list.v2+json": INDEX_MEDIA_TYPE,
    "application/vnd.docker.container.image.v1+json": _CONFIG_MEDIA_TYPE,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": MEDIA_TYPE,
}
"""What Docker called the same things before there was a specification."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
"""As Go calls the processors that `uname` names."""
_EPOCH = "1970-01-01T00:00:00Z"


class _Platform(msgspec.Struct, frozen=True, kw_only=True):
    architecture: str
    os: str


class _Listed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An entry of an index; more of it than ours ever has."""

    media_type: str
    digest: str
    size: int
    platform: _Platform | None = None
    annotations: dict[str, str] = {}


class _Listing(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An index, or a manifest as far as it is told from one."""

    manifests: tuple[_Listed, ...] = ()


class _Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    config: _Listed
    layers: tuple[_Listed, ...]


class _ConfigOfBase(msgspec.Struct, frozen=True, kw_only=True):
    """What matters here of a base's configuration."""

    os: str
    architecture: str
    rootfs: _Layers
    created: str = _EPOCH
    history: tuple[dict[str, object], ...] = ()
    config: dict[str, object] | None = None


class _Layers(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    diff_ids: tuple[str, ...]


class _Variables(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    env: tuple[str, ...] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How the container runs: config.md, and `Healthcheck`, which is Docker's."""

    user: str
    exposed_ports: dict[str, dict[str, str]]
    env: tuple[str, ...]
    """Beside the base's own."""
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...] = ()
    working_dir: str
    labels: dict[str, str]
    stop_signal: str
    healthcheck: dict[str, object]


class Base(NamedTuple):
    """An image to build on."""

    name: str
    """As registries call it; empty: the layout does not say."""
    digest: str
    layout: Layout
    layers: tuple[Descriptor, ...]
    config: bytes


def open_base(path: Path, scratch: Path) -> Base:
    """The image for this machine out of an image layout: a folder, or a tar, which is unpacked below `scratch`.

    Raises:
        ConfigError: it holds no image for this machine, or several.
        LayoutError: there is no such layout, or it is damaged.
    """
    if path.is_file():
        try:
            with tarfile.open(path) as archive:
                archive.extractall(scratch, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise ConfigError("container.base", f"'{path}' is not the tar of an image layout: {error}") from error
        path = scratch
    layout = Layout.open(path)
    listed = parse_json((path / "index.json").read_bytes(), _Listing).manifests
    name = next((entry.annotations.get(REFERENCE_ANNOTATION, "") for entry in listed), "")
    entry = _choose(layout, listed)
    manifest = parse_json(_read(layout, entry), _Manifest)
    config = _read(layout, manifest.config)
    _check_platform(parse_json(config, _ConfigOfBase))
    layers = tuple(
        Descriptor(media_type=_DOCKER.get(layer.media_type, layer.media_type), digest=layer.digest, size=layer.size)
        for layer in manifest.layers
    )
    return Base(name, entry.digest, layout, layers, config)


def assemble(
    base: Base, layers: Sequence[Layer], settings: Settings, annotations: Mapping[str, str], folder: Path
) -> tuple[Layout, Descriptor]:
    """An image layout in `folder`, which holds the base with those layers on top; the same bytes whenever it is made.

    `settings` replace those of the base, but for its variables, which stay where they are not set anew.

    Raises:
        LayoutError, DigestMismatchError: a blob of the base is damaged.
    """
    layout = Layout.create(folder)
    for layer in base.layers:
        base.layout.copy_blob(layer, None)
        layout.add_file(base.layout.blob_path(layer.digest), layer.media_type)
    added = [layout.add_file(layer.path, MEDIA_TYPE) for layer in layers]
    before = parse_json(base.config, _ConfigOfBase)
    names = {entry.partition("=")[0] for entry in settings.env}
    kept = [entry for entry in _variables(before) if entry.partition("=")[0] not in names]
    config = {
        **parse_json(base.config, dict[str, object]),
        "created": before.created,
        "config": {
            **(before.config or {}),
            **msgspec.to_builtins(settings),
            "Env": [*kept, *settings.env],
        },
        "rootfs": {"type": "layers", "diff_ids": [*before.rootfs.diff_ids, *(layer.diff_id for layer in layers)]},
        "history": [
            *before.history,
            *({"created": before.created, "created_by": f"pack container: {layer.path.name}"} for layer in layers),
        ],
    }
    image = Image(
        schema_version=2,
        media_type=IMAGE_MEDIA_TYPE,
        config=layout.add_bytes(canonical_json(config), _CONFIG_MEDIA_TYPE),
        layers=(*base.layers, *added),
        annotations=dict(annotations),
    )
    return layout, layout.add_image(image)


def _choose(layout: Layout, listed: Sequence[_Listed]) -> _Listed:
    """The image for this machine, through indexes that stand in the index."""
    images: list[_Listed] = []
    waiting = list(listed)
    while waiting:
        entry = waiting.pop(0)
        if _DOCKER.get(entry.media_type, entry.media_type) == INDEX_MEDIA_TYPE:
            waiting += parse_json(_read(layout, entry), _Listing).manifests
        else:
            images.append(entry)
    wanted = _Platform(architecture=architecture(), os="linux")
    fitting = [entry for entry in images if entry.platform in {None, wanted}]
    if len(fitting) != 1:
        raise ConfigError(
            "container.base",
            f"'{layout.folder}' holds {len(fitting)} images for linux/{wanted.architecture}: expected one",
            hint="copy one image into a layout of its own, such as with skopeo copy",
        )
    return fitting[0]


def _check_platform(config: _ConfigOfBase) -> None:
    """That the base is for this machine, and has the Python that the distributions here were installed for."""
    if (config.os, config.architecture) != ("linux", architecture()):
        raise ConfigError(
            "container.base", f"base is for {config.os}/{config.architecture}: expected linux/{architecture()}"
        )
    version = dict(entry.partition("=")[::2] for entry in _variables(config)).get("PYTHON_VERSION", "")
    ours = ".".join(platform.python_version_tuple()[:2])
    if version and version.rpartition(".")[0] != ours:
        raise ConfigError(
            "container.python",
            f"base has Python {version}: expected {ours}, for which the distributions here are installed",
            hint=f"take a base with Python {ours}, or run pack with {version.rpartition('.')[0]}",
        )


def _variables(config: _ConfigOfBase) -> tuple[str, ...]:
    return msgspec.convert(config.config or {}, _Variables).env or ()


def architecture() -> str:
    """Of this machine, as Go calls it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def _read(layout: Layout, entry: _Listed) -> bytes:
    return layout.read_bytes(
        Descriptor(media_type=entry.media_type, digest=entry.digest, size=entry.size), limit=DOCUMENT_LIMIT
    )
