"""A bundle's server as a container: archives, a Dockerfile that adds them to a pinned base, an inventory, an image.

Nothing is installed when the container is built: what is installed here goes in, file by file, and so the same base and
the same environment give the same image.
"""

from __future__ import annotations

import json
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from manifests.bundle import read_bundle
from manifests.digests import digest_bytes
from manifests.errors import ManifestError
from manifests.layout import EMPTY_MEDIA_TYPE, IMAGE_MEDIA_TYPE, Image, Layout
from packager.containers.distributions import find_distributions, own_metadata
from packager.containers.dockerfile import write_dockerfile
from packager.containers.images import Settings, assemble, open_base
from packager.containers.inventory import FORMAT, describe
from packager.containers.layers import write_layer
from packager.errors import ConfigError, NetworkError, SignatureError
from packager.fingerprints import ROOT, versions
from packager.opening import newest_reference
from packager.registry import find_target
from packager.store import find_layout
from packager.verification import check_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Key

    from manifests.bundle import Bundle
    from packager.containers.images import Base
    from packager.containers.layers import Layer

PORT, RPC_PORT = 8080, 8081
USER = "65532:65532"
"""No user of any base, and the one that distroless images call nonroot."""
_LIBRARIES, _SERVED, _KEYS = "opt/packtrain/lib", "srv/packtrain", "srv/packtrain/keys"
_PROGRAM = "opt/packtrain/bin/pack"
_PACKAGES = ("agent", "manifests", "packager", "targets", "terminal", "wire")
_LAUNCHER = b"import sys\n\nfrom packager.cli import main\n\nsys.exit(main())\n"
_IMAGE_PREFIX = "docker.io/library"


class Order(NamedTuple):
    """What goes into a container, and where the container goes."""

    bundle: str
    store: Path
    keys: Sequence[Key]
    key_files: Sequence[Path]
    """The public keys as they are written: they go in, so that the container verifies what it serves."""
    output: Path
    base: str
    """The path of an image layout, ``oci://HOST/NAME:TAG[@DIGEST]``, or empty: Python's own image."""


class Built(NamedTuple):
    """What came of it."""

    reference: str
    base: str
    """Name and digest."""
    archives: dict[str, str]
    """Name to digest."""
    image: str
    """Digest of the image; empty: there is a Dockerfile alone."""
    distributions: int


def build_container(order: Order) -> Built:
    """Write the container's parts into `order.output`, which is made.

    Raises:
        ConfigError: the bundle, the base or the folder can't be used.
        NetworkError: the base has no digest, and the registry can't be asked for it.
        SignatureError: no key vouches for the bundle.
        ToolchainError: what the server needs is not installed, or not as it was.
    """
    layout, bundle = _verified(order)
    _, target = find_target(bundle.manifest.bundle.target)
    versions(("litestar", "uvicorn", "grpcio"), extra="serve")
    if order.output.exists() and any(order.output.iterdir()):
        raise ConfigError("container.output", f"'{order.output}' is not empty", hint="name a folder that is not there")
    with tempfile.TemporaryDirectory(prefix="pack-container-") as scratch:
        base = _open_base(order, Path(scratch, "base"))
        name, digest = (base.name or "localhost/base", base.digest) if base else _resolve(order.base)
        distributions = find_distributions({"serve", target.toolchain.extra or "pack"})
        order.output.mkdir(parents=True, exist_ok=True)
        document = describe(bundle.manifest, bundle.digest, distributions, (name, digest))
        inventory = json.dumps(document, indent=2).encode() + b"\n"
        (order.output / "sbom.cdx.json").write_bytes(inventory)
        layers = [
            write_layer(
                order.output / "distributions.tar.gz",
                {f"{_LIBRARIES}/{path}": place for entry in distributions for path, place in entry.files},
            ),
            write_layer(order.output / "packtrain.tar.gz", _own_files()),
            write_layer(
                order.output / "bundle.tar.gz",
                {f"{_SERVED}/sbom.cdx.json": inventory, **_served_files(order, layout, bundle, Path(scratch, "store"))},
            ),
        ]
        settings = _settings(bundle, order)
        write_dockerfile(order.output / "Dockerfile", f"{name.partition('@')[0]}@{digest}", layers, settings)
        image = _assembled(base, name, layers, settings, inventory, bundle, order.output) if base else ""
    return Built(
        reference=bundle.reference,
        base=f"{name}@{digest}",
        archives={layer.path.name: layer.digest for layer in layers},
        image=image,
        distributions=len(distributions),
    )


def _verified(order: Order) -> tuple[Layout, Bundle]:
    layout, reference = find_layout(newest_reference(order.bundle, order.store), order.store)
    try:
        verdict = check_bundle(layout, reference, order.keys)
        return layout, read_bundle(layout, verdict.digest)
    except ManifestError as error:
        raise SignatureError(error.code, str(error), hint=error.hint) from error


def _open_base(order: Order, scratch: Path) -> Base | None:
    """The base out of a layout; None: it stands in a registry."""
    if not order.base or order.base.startswith("oci://"):
        return None
    if not Path(order.base).exists():
        raise ConfigError(
            "container.base",
            f"no image layout at '{order.base}'",
            hint="give a folder or a tar, or an image in a registry as oci://HOST/NAME:TAG@DIGEST",
        )
    return open_base(Path(order.base), scratch)


def _resolve(written: str) -> tuple[str, str]:
    """The name and digest of an image in a registry, which is asked where the digest is not given."""
    version = ".".join(platform.python_version_tuple()[:2])
    versions(("requests",), extra="oci")
    from packager.oci.reference import parse_reference
    from packager.oci.registry import Repository

    place = parse_reference(written or f"oci://{_IMAGE_PREFIX}/python:{version}-slim-bookworm")
    name = f"{place.host}/{place.name}" + (f":{place.tag}" if place.tag else "")
    if place.digest:
        return name, place.digest
    try:
        with Repository(place) as repository:
            return name, digest_bytes(repository.manifest(place.wanted))
    except NetworkError as error:
        raise NetworkError(
            "container.digest",
            f"the digest of '{name}' can't be found out: {error}",
            hint=f"give it: --base oci://{place.host}/{place.name}@sha256:..., or the path of an image layout",
        ) from error


def _own_files() -> dict[str, Path | bytes]:
    files: dict[str, Path | bytes] = {_PROGRAM: _LAUNCHER}
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)
            if path.is_file() and not hidden:
                files[f"{_LIBRARIES}/{path.relative_to(ROOT).as_posix()}"] = path
    return files | {f"{_LIBRARIES}/{name}": text for name, text in own_metadata().items()}


def _served_files(order: Order, layout: Layout, bundle: Bundle, scratch: Path) -> dict[str, Path | bytes]:
    """The bundle with its attestations, in a store of its own, and the keys."""
    store = Layout.create(scratch)
    descriptor = layout.resolve(bundle.digest)
    images = [(descriptor, layout.read_image(descriptor)), *layout.referrers(bundle.digest)]
    for entry, image in images:
        for blob in (entry, image.config, *image.layers):
            layout.copy_blob(blob, None)
            store.add_file(layout.blob_path(blob.digest), blob.media_type)
        store.attach(entry)
    store.name(bundle.reference, descriptor)
    files: dict[str, Path | bytes] = {
        f"{_SERVED}/.pack/store/{path.relative_to(scratch).as_posix()}": path
        for path in sorted(scratch.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
    return files | {f"{_KEYS}/{number}.pub": path for number, path in enumerate(order.key_files)}


def _settings(bundle: Bundle, order: Order) -> Settings:
    keys = [word for number, _ in enumerate(order.key_files) for word in ("--key", f"/{_KEYS}/{number}.pub")]
    probe = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{PORT}/v2/health/ready', timeout=2)"
    section = bundle.manifest.bundle
    return Settings(
        user=USER,
        exposed_ports={f"{PORT}/tcp": {}, f"{RPC_PORT}/tcp": {}},
        env=(f"PYTHONPATH=/{_LIBRARIES}", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"),
        entrypoint=(
            *("python3", f"/{_PROGRAM}", "serve", bundle.reference, "--folder", f"/{_SERVED}", *keys),
            *("--host", "0.0.0.0", "--port", str(PORT), "--grpc-port", str(RPC_PORT)),  # noqa: S104 - of the container
        ),
        working_dir="/tmp",  # noqa: S108 - of the container, whose other folders are not its user's
        labels=_annotations(section.name, section.version, bundle.digest),
        stop_signal="SIGTERM",
        healthcheck={
            "Test": ["CMD", "python3", "-c", probe],
            "Interval": 10_000_000_000,
            "Timeout": 3_000_000_000,
            "StartPeriod": 30_000_000_000,
            "Retries": 3,
        },
    )


def _annotations(name: str, version: str, digest: str) -> dict[str, str]:
    return {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.version": version,
        "dev.packtrain.bundle": digest,
    }


def _assembled(  # noqa: PLR0913, PLR0917 - the parts of an image
    base: Base, name: str, layers: list[Layer], settings: Settings, inventory: bytes, bundle: Bundle, output: Path
) -> str:
    """The digest of the image that stands, with its inventory as a referrer, in ``image``."""
    section = bundle.manifest.bundle
    annotations = {
        **_annotations(section.name, section.version, bundle.digest),
        "org.opencontainers.image.base.name": name,
        "org.opencontainers.image.base.digest": base.digest,
    }
    layout, image = assemble(base, layers, settings, annotations, output / "image")
    layout.name(f"{section.name}:{section.version}", image)
    sbom = Image(
        schema_version=2,
        media_type=IMAGE_MEDIA_TYPE,
        artifact_type=FORMAT,
        config=layout.add_bytes(b"{}", EMPTY_MEDIA_TYPE),
        layers=(layout.add_bytes(inventory, FORMAT),),
        subject=msgspec.structs.replace(image, annotations={}),
    )
    layout.attach(layout.add_image(sbom))
    (layout.folder / ".lock").unlink()
    return image.digest
