from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from manifests.attestation import BUNDLE_PREDICATE, TEST_RESULT_PREDICATE, attest, envelopes
from manifests.bundle import (
    assemble,
    check_files,
    check_signature,
    parse_bundle,
    read_bundle,
    sign_bundle,
    unpack,
    verify_bundle,
    write_bundle,
)
from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.errors import (
    DigestMismatchError,
    InvalidManifestError,
    InvalidSignatureError,
    LayoutError,
    ManifestError,
    UncheckableError,
)
from manifests.layout import Layout
from manifests.manifest import encode_manifest
from manifests.signing import generate_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from manifests.bundle import (
        Bundle,
    )
    from manifests.layout import Image
    from manifests.manifest import Manifest

replace = msgspec.structs.replace


def code(call: Callable[[], object]) -> str:
    with pytest.raises(ManifestError) as caught:
        call()
    return caught.value.code


def test_what_was_written_is_read(layout: Layout, bundle: Bundle) -> None:
    again = read_bundle(layout, "digits:3@cloud")
    assert again.manifest == bundle.manifest
    assert again.image == bundle.image
    assert again.digest == bundle.digest
    assert again.reference == "digits:3@cloud"
    assert read_bundle(layout, bundle.digest).manifest == bundle.manifest
    check_files(layout, again)


def test_two_stores_in_two_places_hold_the_same_bytes(
    tmp_path: Path, layout: Layout, bundle: Bundle, manifest: Manifest, folder: Path
) -> None:
    """SPEC 2.5.2."""
    other = Layout.create(tmp_path / "elsewhere")
    moved = folder.rename(tmp_path / "moved")
    key = generate_key()
    sign_bundle(layout, bundle, [key])
    sign_bundle(other, write_bundle(other, manifest, moved), [key])
    contents = []
    for root in (layout.folder, other.folder):
        files = (path for path in root.rglob("*") if path.is_file())
        contents.append({path.relative_to(root): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_the_oci_manifest_follows_modelpack_but_for_its_config(layout: Layout, bundle: Bundle) -> None:
    """SPEC 5.2.1 to 5.2.4, 5.3.1."""
    document = json.loads(layout.read_bytes(bundle.descriptor))
    assert document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert document["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert document["config"]["mediaType"] == "application/vnd.packtrain.manifest.v1+json"
    assert [(layer["mediaType"], layer["annotations"]) for layer in document["layers"]] == [
        ("application/vnd.cncf.model.weight.v1.raw", {"org.cncf.model.filepath": "model.onnx"}),
        ("application/vnd.cncf.model.dataset.v1.raw", {"org.cncf.model.filepath": "golden/samples.npz"}),
    ]


def test_a_file_that_is_not_what_the_manifest_says_is_not_bundled(
    layout: Layout, manifest: Manifest, folder: Path
) -> None:
    lying = replace(manifest, files=(replace(manifest.files[0], size=8), manifest.files[1]))
    assert code(lambda: write_bundle(layout, lying, folder)) == "bundle.files"
    (folder / "model.onnx").write_bytes(b"changed")
    assert code(lambda: write_bundle(layout, manifest, folder)) == "bundle.digest"
    assert layout.references() == []


def test_a_manifest_that_could_not_be_read_is_not_written(layout: Layout, manifest: Manifest, folder: Path) -> None:
    assert code(lambda: write_bundle(layout, replace(manifest, gates=manifest.gates * 2), folder)) == "manifest.gates"


def test_the_parts_alone_make_the_same_bundle(layout: Layout, bundle: Bundle) -> None:
    image_bytes, manifest_bytes = layout.read_bytes(bundle.descriptor), encode_manifest(bundle.manifest)
    parsed = parse_bundle(image_bytes, manifest_bytes)
    assert (parsed.digest, parsed.manifest, parsed.image) == (bundle.digest, bundle.manifest, bundle.image)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda image: replace(image, artifact_type="application/x-other"), "bundle.type"),
        (
            lambda image: replace(
                image, config=replace(image.config, media_type="application/vnd.cncf.model.config.v1+json")
            ),
            "bundle.type",
        ),
        (lambda image: replace(image, config=replace(image.config, digest=digest_bytes(b""))), "bundle.config"),
        (lambda image: replace(image, layers=image.layers[:1]), "bundle.files"),
        (lambda image: replace(image, layers=image.layers[::-1]), "bundle.files"),
        (lambda image: replace(image, layers=(image.layers[0], image.layers[0])), "bundle.files"),
        (
            lambda image: replace(image, layers=(replace(image.layers[0], annotations={}), image.layers[1])),
            "bundle.files",
        ),
        (
            lambda image: replace(image, layers=(replace(image.layers[0], media_type="x/y"), image.layers[1])),
            "bundle.files",
        ),
        (lambda image: replace(image, layers=(replace(image.layers[0], size=8), image.layers[1])), "bundle.files"),
    ],
)
def test_parts_that_contradict_each_other_are_no_bundle(
    bundle: Bundle, change: Callable[[Image], Image], expected: str
) -> None:
    """SPEC 5.2.2, 5.2.5, 5.3.1."""
    data = encode_manifest(bundle.manifest)
    assert code(lambda: assemble(change(bundle.image), bundle.descriptor, data)) == expected


def test_a_damaged_or_missing_file_is_found(layout: Layout, bundle: Bundle, tmp_path: Path) -> None:
    """SPEC 2.4.2."""
    path = layout.blob_path(bundle.manifest.files[0].digest)
    for content, expected in [(b"weightS", "bundle.digest"), (b"weight", "layout.size"), (None, "layout.blob")]:
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        assert code(lambda: check_files(layout, bundle)) == expected
        assert code(lambda: unpack(layout, bundle, tmp_path / "out")) == expected
        assert not [entry for entry in (tmp_path / "out").rglob("*") if entry.is_file()]


def test_unpacking_gives_the_files_and_may_be_repeated(layout: Layout, bundle: Bundle, tmp_path: Path) -> None:
    for _ in range(2):
        unpack(layout, bundle, tmp_path / "out")
        assert (tmp_path / "out" / "model.onnx").read_bytes() == b"weights"
        assert (tmp_path / "out" / "golden" / "samples.npz").read_bytes() == b"samples"


def test_unpacking_does_not_follow_a_link_out_of_its_folder(layout: Layout, bundle: Bundle, tmp_path: Path) -> None:
    """SPEC 5.4.1."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / "golden").symlink_to(outside)
    (out / "model.onnx").symlink_to(outside / "file")
    assert code(lambda: unpack(layout, bundle, out)) == "layout.path"
    assert [entry.name for entry in outside.iterdir()] == ["file"]
    assert (outside / "file").read_bytes() == b"precious"


def test_a_signed_bundle_is_verified_by_its_key_alone(layout: Layout, bundle: Bundle) -> None:
    """SPEC 6.2."""
    ours, theirs = generate_key(), generate_key()
    assert code(lambda: verify_bundle(layout, bundle, [ours.public_key])) == "signature.missing"
    envelope = sign_bundle(layout, bundle, [ours])
    verify_bundle(layout, bundle, [theirs.public_key, ours.public_key])
    check_signature(envelope, bundle, [ours.public_key])
    assert code(lambda: verify_bundle(layout, bundle, [theirs.public_key])) == "signature.bad"
    with pytest.raises(UncheckableError):
        verify_bundle(layout, bundle, [])


def test_one_good_signature_among_others_is_enough(layout: Layout, bundle: Bundle) -> None:
    ours, theirs = generate_key(), generate_key()
    sign_bundle(layout, bundle, [theirs])
    sign_bundle(layout, bundle, [ours])
    verify_bundle(layout, bundle, [ours.public_key])
    verify_bundle(layout, bundle, [theirs.public_key])


def test_signing_twice_adds_nothing(layout: Layout, bundle: Bundle) -> None:
    key = generate_key()
    assert sign_bundle(layout, bundle, [key]) == sign_bundle(layout, bundle, [key])
    assert len(envelopes(layout, bundle.descriptor, BUNDLE_PREDICATE)) == 1


def test_a_bundle_without_parity_is_not_signed(layout: Layout, manifest: Manifest, folder: Path) -> None:
    """SPEC 6.2.3."""
    unproven = write_bundle(layout, replace(manifest, gates=()), folder)
    assert code(lambda: sign_bundle(layout, unproven, [generate_key()])) == "bundle.unproven"


def test_the_signature_of_another_bundle_does_not_do(layout: Layout, manifest: Manifest, folder: Path) -> None:
    """SPEC 6.2.2."""
    key = generate_key()
    envelope = sign_bundle(layout, write_bundle(layout, manifest, folder), [key])
    other = write_bundle(layout, replace(manifest, bundle=replace(manifest.bundle, version="4")), folder)
    assert code(lambda: check_signature(envelope, other, [key.public_key])) == "signature.subject"


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [({"gates": {}}, "signature.statement"), ({"gates": {}, "manifest": digest_bytes(b"")}, "signature.subject")],
)
def test_a_statement_that_names_no_or_another_manifest_does_not_do(
    layout: Layout, bundle: Bundle, predicate: dict[str, object], expected: str
) -> None:
    """SPEC 6.2.2."""
    key = generate_key()
    attest(layout, bundle.descriptor, name="x", predicate_type=BUNDLE_PREDICATE, predicate=predicate, signers=[key])
    assert code(lambda: verify_bundle(layout, bundle, [key.public_key])) == expected


def test_an_attestation_is_not_taken_for_the_signature(layout: Layout, bundle: Bundle) -> None:
    """SPEC 7.3."""
    key = generate_key()
    attest(
        layout,
        bundle.descriptor,
        name=bundle.reference,
        predicate_type=TEST_RESULT_PREDICATE,
        predicate={"result": "PASSED"},
        signers=[key],
    )
    with pytest.raises(InvalidSignatureError) as caught:
        verify_bundle(layout, bundle, [key.public_key])
    assert caught.value.code == "signature.missing"
    [envelope] = envelopes(layout, bundle.descriptor, TEST_RESULT_PREDICATE)
    assert code(lambda: check_signature(envelope, bundle, [key.public_key])) == "signature.statement"


def test_every_flipped_byte_of_a_signed_bundle_is_noticed(layout: Layout, bundle: Bundle) -> None:
    """SPEC 2.4.2: manifest, OCI manifest, files and signature."""
    key = generate_key()
    sign_bundle(layout, bundle, [key])
    for path in sorted((layout.folder / "blobs" / "sha256").iterdir()):
        good = path.read_bytes()
        if good == b"{}":
            continue  # the empty config of a referrer: nobody reads it
        path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
        with pytest.raises((DigestMismatchError, LayoutError, InvalidManifestError)):
            _take(layout, bundle, key.public_key)
        path.write_bytes(good)
    _take(layout, bundle, key.public_key)


def _take(layout: Layout, bundle: Bundle, key: object) -> None:
    read = read_bundle(layout, bundle.reference)
    verify_bundle(layout, read, [key])  # type: ignore[list-item]  # the key class is not exported with types
    check_files(layout, read)


def test_more_layers_in_a_referrer_than_one_are_no_envelope(layout: Layout, bundle: Bundle) -> None:
    """SPEC 7.1."""
    key = generate_key()
    sign_bundle(layout, bundle, [key])
    [(descriptor, image)] = layout.referrers(bundle.digest)
    (layout.folder / "index.json").unlink()
    layout.attach(layout.add_image(replace(image, layers=image.layers * 2)))
    assert descriptor.digest
    assert envelopes(layout, bundle.descriptor, BUNDLE_PREDICATE) == []
    assert canonical_json(image)
