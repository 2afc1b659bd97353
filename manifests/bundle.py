"""A bundle in an OCI image layout: an OCI manifest whose config blob is the packtrain manifest, a layer for each file.

After the CNCF ModelPack specification (artifact type, layer media types, file path annotations); what differs from it
is said in `SPEC.md`, section 5.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from manifests.attestation import BUNDLE_PREDICATE, BundlePredicate, attest, envelopes, verify_statement
from manifests.digests import check_file, digest_bytes
from manifests.durable import durable_stream
from manifests.errors import InvalidManifestError, InvalidSignatureError, LayoutError
from manifests.layout import IMAGE_MEDIA_TYPE, Descriptor, Image, parse_image
from manifests.manifest import (
    MANIFEST_LIMIT,
    MANIFEST_MEDIA_TYPE,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from manifests.signing import ENVELOPE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner, Key

    from manifests.layout import Layout

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
FILEPATH_ANNOTATION = "org.cncf.model.filepath"
LAYER_MEDIA_TYPES = {
    "model": "application/vnd.cncf.model.weight.v1.raw",
    "weights": "application/vnd.cncf.model.weight.v1.raw",
    "golden": "application/vnd.cncf.model.dataset.v1.raw",
    "labels": "application/vnd.cncf.model.weight.config.v1.raw",
    "other": "application/vnd.cncf.model.doc.v1.raw",
}
"""Role of a file to its layer's media type (SPEC 5.2.4); the file's own type stands in the manifest."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was read and found consistent; nothing is said of its signature."""

    descriptor: Descriptor
    image: Image
    manifest: Manifest

    @property
    def digest(self) -> str:
        """The digest of the OCI manifest: it names the bundle and everything in it."""
        return self.descriptor.digest

    @property
    def reference(self) -> str:
        """``name:version@target``."""
        return reference(self.manifest)


def reference(manifest: Manifest) -> str:
    """``name:version@target``, the name under which a bundle stands in a store."""
    return f"{manifest.bundle.name}:{manifest.bundle.version}@{manifest.bundle.target}"


def write_bundle(layout: Layout, manifest: Manifest, folder: Path) -> Bundle:
    """Store the manifest and its files, which stand below `folder`, under the bundle's reference.

    Raises:
        DigestMismatchError: a file is not what the manifest says.
        InvalidManifestError: the manifest contradicts itself.
    """
    data = encode_manifest(manifest)
    decode_manifest(data)
    layers = []
    for entry in manifest.files:
        source = check_file(folder / entry.path, entry.digest)
        layer = layout.add_file(source, LAYER_MEDIA_TYPES[entry.role], annotations={FILEPATH_ANNOTATION: entry.path})
        if (layer.digest, layer.size) != (entry.digest, entry.size):
            raise InvalidManifestError(
                "bundle.files", f"size of '{entry.path}' is not as listed: expected {entry.size}, got {layer.size}"
            )
        layers.append(layer)
    image = Image(
        schema_version=2,
        media_type=IMAGE_MEDIA_TYPE,
        artifact_type=ARTIFACT_TYPE,
        config=layout.add_bytes(data, MANIFEST_MEDIA_TYPE),
        layers=tuple(layers),
    )
    descriptor = layout.add_image(image)
    layout.name(reference(manifest), descriptor)
    return Bundle(descriptor=descriptor, image=image, manifest=manifest)


def read_bundle(layout: Layout, name: str) -> Bundle:
    """The bundle of that reference or digest; its files are not read.

    Raises:
        LayoutError: there is none, or it is damaged.
        InvalidManifestError: its manifest is not one that this version may read.
    """
    descriptor = layout.resolve(name)
    image = layout.read_image(descriptor)
    return assemble(image, descriptor, layout.read_bytes(image.config, limit=MANIFEST_LIMIT))


def parse_bundle(image_bytes: bytes, manifest_bytes: bytes) -> Bundle:
    """The bundle whose OCI manifest and config blob these are.

    Raises:
        LayoutError, InvalidManifestError: they are none, or contradict each other.
    """
    digest = digest_bytes(image_bytes)
    descriptor = Descriptor(media_type=IMAGE_MEDIA_TYPE, digest=digest, size=len(image_bytes))
    return assemble(parse_image(image_bytes), descriptor, manifest_bytes)


def assemble(image: Image, descriptor: Descriptor, manifest_bytes: bytes) -> Bundle:
    """The bundle of these parts, once its layers are seen to be the manifest's files (SPEC 5.2).

    Raises:
        InvalidManifestError: not a packtrain bundle, or layers and files differ.
    """
    if image.artifact_type != ARTIFACT_TYPE or image.config.media_type != MANIFEST_MEDIA_TYPE:
        raise InvalidManifestError(
            "bundle.type",
            f"not a packtrain bundle: artifact type {image.artifact_type}, config {image.config.media_type}",
        )
    if digest_bytes(manifest_bytes) != image.config.digest:
        raise InvalidManifestError("bundle.config", "the manifest is not the one that the OCI manifest names")
    manifest = decode_manifest(manifest_bytes)
    layers = [
        (layer.annotations.get(FILEPATH_ANNOTATION), layer.media_type, layer.digest, layer.size)
        for layer in image.layers
    ]
    files = [(entry.path, LAYER_MEDIA_TYPES[entry.role], entry.digest, entry.size) for entry in manifest.files]
    if layers != files:
        raise InvalidManifestError("bundle.files", "the layers of the OCI manifest are not the files of the manifest")
    return Bundle(descriptor=descriptor, image=image, manifest=manifest)


def check_files(layout: Layout, bundle: Bundle) -> None:
    """Compare every file of the bundle with its size and digest.

    Raises:
        LayoutError: a file is missing, or of another size.
        DigestMismatchError: a file is damaged.
    """
    for layer in bundle.image.layers:
        layout.copy_blob(layer, None)


def unpack(layout: Layout, bundle: Bundle, folder: Path) -> None:
    """Write the bundle's files below `folder`, each checked before it gets its name (SPEC 5.4.1).

    Raises:
        LayoutError: a file is missing or of another size, or its place is not below `folder` (a link leads out).
        DigestMismatchError: a file is damaged.
    """
    root = folder.resolve()
    for layer, entry in zip(bundle.image.layers, bundle.manifest.files, strict=True):
        target = folder / entry.path
        if not target.parent.resolve().is_relative_to(root):
            raise LayoutError("layout.path", f"'{entry.path}' leads out of '{folder}'")
        target.parent.mkdir(parents=True, exist_ok=True)
        with durable_stream(target) as stream:
            layout.copy_blob(layer, stream)


def sign_bundle(layout: Layout, bundle: Bundle, signers: Sequence[CryptoSigner]) -> bytes:
    """Sign the bundle (SPEC 6.2); the envelope, which is also attached to it, is returned.

    Raises:
        InvalidManifestError: the manifest names no gate, so nothing was proven.
    """
    gates = {gate.name: gate.verdict for gate in bundle.manifest.gates}
    if "parity" not in gates:
        raise InvalidManifestError("bundle.unproven", "bundle has no parity verdict, so it is not signed")
    predicate = BundlePredicate(manifest=bundle.image.config.digest, gates=dict(gates))
    stored = attest(
        layout,
        bundle.descriptor,
        name=bundle.reference,
        predicate_type=BUNDLE_PREDICATE,
        predicate=predicate,
        signers=signers,
    )
    return layout.read_bytes(layout.read_image(stored).layers[0], limit=ENVELOPE_LIMIT)


def verify_bundle(layout: Layout, bundle: Bundle, keys: Sequence[Key]) -> None:
    """Check that one of `keys` signed the bundle.

    Raises:
        InvalidSignatureError: none did.
        UncheckableError: there is no key.
        LayoutError, DigestMismatchError: a signature is missing or damaged.
    """
    problems = []
    for envelope in envelopes(layout, bundle.descriptor, BUNDLE_PREDICATE):
        try:
            check_signature(envelope, bundle, keys)
        except InvalidSignatureError as error:
            problems.append(error)
        else:
            return
    if problems:
        raise problems[0]
    raise InvalidSignatureError(
        "signature.missing", f"'{bundle.reference}' is not signed", hint="pack signs what it builds"
    )


def check_signature(envelope: bytes, bundle: Bundle, keys: Sequence[Key]) -> None:
    """Check that `envelope` is the bundle's signature by one of `keys` (SPEC 6.2.2).

    Raises:
        InvalidSignatureError: it is not.
        UncheckableError: there is no key.
    """
    statement = verify_statement(envelope, bundle.digest, BUNDLE_PREDICATE, keys)
    try:
        predicate = msgspec.convert(statement.predicate, BundlePredicate)
    except msgspec.ValidationError as error:
        raise InvalidSignatureError("signature.statement", f"not a bundle's statement: {error}") from error
    if predicate.manifest != bundle.image.config.digest:
        raise InvalidSignatureError("signature.subject", "statement names another manifest than the bundle's")
