"""Bundles between a store and a registry, with the attestations that refer to them; no digest changes on the way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from manifests.bundle import assemble, reference
from manifests.digests import digest_bytes
from manifests.errors import LayoutError, ManifestError
from manifests.layout import DOCUMENT_LIMIT, IMAGE_MEDIA_TYPE, Descriptor, parse_image
from manifests.manifest import MANIFEST_LIMIT
from manifests.signing import ENVELOPE_LIMIT
from packager.downloads import arrived_path, download, partial_path, refuse_large
from packager.errors import ConversionError, NetworkError, SignatureError

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.layout import Image, Layout
    from packager.oci.reference import Reference
    from packager.oci.registry import Repository

_MOST_REFERRERS = 1000
"""A bundle has a handful; whoever may write to the registry can add more."""


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that is in a registry."""

    bundle: str
    """Its reference in the store."""
    reference: str
    """Where it is, by its digest."""
    digest: str
    attestations: int
    sent_bytes: int
    """Of files that the registry did not have."""


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that is in a store."""

    bundle: str
    reference: str
    """Where it came from, by its digest."""
    digest: str
    attestations: int
    skipped: int
    """What refers to it in the registry and is no attestation that a store takes."""
    received_bytes: int
    """Of files that the store did not have."""


def push_bundle(repository: Repository, place: Reference, layout: Layout, name: str) -> Pushed:
    """The bundle of that name in the store and what refers to it, in the registry under the reference's tag.

    Raises:
        SignatureError: the bundle is damaged.
        NetworkError: the registry can't be reached, or refuses.
    """
    descriptor = layout.resolve(name)
    try:
        image = layout.read_image(descriptor)
        bundle = assemble(image, descriptor, layout.read_bytes(image.config, limit=MANIFEST_LIMIT))
        attached = layout.referrers(descriptor.digest)
    except ManifestError as error:
        raise SignatureError(error.code, str(error), hint=error.hint) from error
    sent = _push_image(repository, layout, descriptor, image, place.tag)
    for referrer, statement in attached:
        sent += _push_image(repository, layout, referrer, statement, referrer.digest, subject=descriptor.digest)
    return Pushed(
        bundle=bundle.reference,
        reference=f"oci://{place.host}/{place.name}@{descriptor.digest}",
        digest=descriptor.digest,
        attestations=len(attached),
        sent_bytes=sent,
    )


def pull_bundle(repository: Repository, place: Reference, layout: Layout, partials: Path, *, limit: int) -> Pulled:
    """The bundle that the reference means and what refers to it, in the store under the bundle's own reference.

    Nothing is said of its signature: see `packager.verification`.

    Raises:
        ConfigError: there is no such bundle.
        ConversionError: it is larger than `limit`, or no bundle.
        NetworkError: the registry can't be reached, or sends something else.
    """
    data = repository.manifest(place.wanted)
    found = Descriptor(media_type=IMAGE_MEDIA_TYPE, digest=digest_bytes(data), size=len(data))
    image = _parse(data, str(place))
    refuse_large(str(place), image.config.size + sum(layer.size for layer in image.layers), limit)
    refuse_large("the bundle's manifest", image.config.size, MANIFEST_LIMIT)
    received = _pull_blob(repository, layout, image.config, partials)
    try:
        bundle = assemble(image, found, layout.read_bytes(image.config, limit=MANIFEST_LIMIT))
    except ManifestError as error:
        raise ConversionError(
            error.code, f"'{place}' is no bundle: {error}", hint="a model is fetched by [model] source"
        ) from error
    received += sum(_pull_blob(repository, layout, layer, partials) for layer in image.layers)
    attestations, skipped = 0, 0
    for referrer in repository.referrers(found.digest)[:_MOST_REFERRERS]:
        if _pull_referrer(repository, layout, referrer, found.digest, partials):
            attestations += 1
        else:
            skipped += 1
    layout.add_bytes(data, IMAGE_MEDIA_TYPE)
    name = reference(bundle.manifest)
    layout.name(name, msgspec.structs.replace(found, artifact_type=image.artifact_type))
    return Pulled(
        bundle=name,
        reference=f"oci://{place.host}/{place.name}@{found.digest}",
        digest=found.digest,
        attestations=attestations,
        skipped=skipped,
        received_bytes=received,
    )


def _push_image(
    repository: Repository, layout: Layout, descriptor: Descriptor, image: Image, wanted: str, *, subject: str = ""
) -> int:
    """Push blobs, then the manifest that names them; the bytes that had to be sent are returned."""
    sent = 0
    for blob in {entry.digest: entry for entry in (image.config, *image.layers)}.values():
        if not repository.has("blobs", blob.digest):
            repository.upload(_sound(layout, blob), blob)
            sent += blob.size
    listed = repository.put_manifest(layout.read_bytes(descriptor), wanted, IMAGE_MEDIA_TYPE)
    if subject and not listed:
        entry = msgspec.structs.replace(
            descriptor, artifact_type=image.artifact_type or image.config.media_type, annotations=image.annotations
        )
        repository.list_referrer(subject, entry)
    return sent


def _sound(layout: Layout, blob: Descriptor) -> Path:
    try:
        layout.copy_blob(blob, None)
    except ManifestError as error:
        raise SignatureError(error.code, str(error), hint=error.hint) from error
    return layout.blob_path(blob.digest)


def _pull_blob(repository: Repository, layout: Layout, blob: Descriptor, partials: Path) -> int:
    """Put a blob into the store unless it is there; the bytes that had to be received are returned."""
    try:
        layout.copy_blob(blob, None)
    except ManifestError:
        pass  # it is not there, or damaged
    else:
        return 0
    place = partial_path(partials, blob.digest)
    arrived = download(
        place,
        arrived_path(place),
        blob.digest,
        blob.size,
        partial(repository.blob, blob),
        digest=blob.digest,
    )
    layout.add_file(arrived, blob.media_type)
    arrived.unlink(missing_ok=True)
    return blob.size


def _pull_referrer(repository: Repository, layout: Layout, referrer: Descriptor, subject: str, partials: Path) -> bool:
    """Put what refers to a bundle into the store; False: it is not what a store takes."""
    if referrer.media_type != IMAGE_MEDIA_TYPE or referrer.size > DOCUMENT_LIMIT:
        return False
    data = repository.manifest(referrer.digest)
    image = _parse(data, referrer.digest)
    blobs = (image.config, *image.layers)
    # Whoever may write to the registry may attach anything to anything.
    if image.subject is None or image.subject.digest != subject or sum(blob.size for blob in blobs) > ENVELOPE_LIMIT:
        return False
    for blob in blobs:
        _pull_blob(repository, layout, blob, partials)
    stored = layout.add_bytes(data, IMAGE_MEDIA_TYPE)
    layout.attach(msgspec.structs.replace(stored, artifact_type=image.artifact_type))
    return True


def _parse(data: bytes, what: str) -> Image:
    try:
        return parse_image(data)
    except LayoutError as error:
        raise NetworkError("oci.answer", f"'{what}' is no OCI image manifest: {error}") from error
