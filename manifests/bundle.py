"""A bundle in an OCI image layout: an OCI manifest whose config blob is the packtrain manifest, a layer for each file.

After the CNCF ModelPack specification (artifact type, layer media types, file path annotations); what differs from it
is said in SPEC.md, section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from manifests.attestation import BUNDLE_PREDICATE, BundlePredicate, attest, envelopes, verify_statement
from manifests.digests import check_file, digest_bytes
from manifests.errors import InvalidManifestError, InvalidSignatureError
from manifests.layout import IMAGE_MEDIA_TYPE, Descriptor, Image, parse_image
from manifests.manifest import (
    MANIFEST_LIMIT,
    MANIFEST_MEDIA_TYPE,
    Manifest,
    decode_manifest,
    encode_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner, Key

    from manifests.layout import Layout

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
FILEPATH_ANNOTATION = "org.cncf.model.filepath"


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
        layers.append(layout.add_file(source, entry.media_type, annotations={FILEPATH_ANNOTATION: entry.path}))
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
    """The bundle of these parts, once its layers are seen to be the manifest's files.

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
    layers = [_as_file(layer) for layer in image.layers]
    files = [(entry.path, entry.digest, entry.size) for entry in manifest.files]
    if layers != files:
        raise InvalidManifestError("bundle.files", "the layers of the OCI manifest are not the files of the manifest")
    return Bundle(descriptor=descriptor, image=image, manifest=manifest)


def check_files(layout: Layout, bundle: Bundle) -> None:
    """Compare every file of the bundle with its digest.

    Raises:
        LayoutError: a file is missing.
        DigestMismatchError: a file is damaged.
    """
    for layer in bundle.image.layers:
        layout.read_bytes(layer, limit=layer.size)


def unpack(layout: Layout, bundle: Bundle, folder: Path) -> None:
    """Write the bundle's files below `folder`, each checked against its digest.

    Raises:
        LayoutError: a file is missing.
        DigestMismatchError: a file is damaged.
    """
    for layer, entry in zip(bundle.image.layers, bundle.manifest.files, strict=True):
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(layout.read_bytes(layer, limit=layer.size))


def sign_bundle(layout: Layout, bundle: Bundle, signers: Sequence[CryptoSigner]) -> bytes:
    """Sign the bundle; the envelope, which is also attached to it, is returned.

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
    return layout.read_bytes(layout.read_image(stored).layers[0])


def verify_bundle(layout: Layout, bundle: Bundle, keys: Sequence[Key]) -> None:
    """Check that one of `keys` signed the bundle.

    Raises:
        InvalidSignatureError: none did.
        UncheckableError: there is no key.
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
    """Check that `envelope` is the bundle's signature by one of `keys`.

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


def _as_file(layer: Descriptor) -> tuple[str, str, int]:
    return layer.annotations.get(FILEPATH_ANNOTATION, ""), layer.digest, layer.size
