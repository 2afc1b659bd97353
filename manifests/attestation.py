"""What is said about a bundle, signed: in-toto statements in DSSE envelopes, attached to it as OCI referrers (SPEC 7).

in-toto attestation framework 1.0 (spec/v1/statement.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from manifests.canonical import canonical_json, parse_json, plain
from manifests.digests import Digest
from manifests.errors import InvalidSignatureError
from manifests.layout import EMPTY_MEDIA_TYPE, IMAGE_MEDIA_TYPE, Descriptor, Image
from manifests.signing import ENVELOPE_LIMIT, ENVELOPE_MEDIA_TYPE, sign, verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import CryptoSigner, Key

    from manifests.layout import Layout

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
BUNDLE_PREDICATE = "urn:packtrain:predicate:bundle:v1"
"""Says: this bundle passed its gates, and the signer releases it. This statement is the bundle's signature."""
TEST_RESULT_PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
"""What was measured when the bundle was built, times included."""
PREDICATE_ANNOTATION = "in-toto.io/predicate-type"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a statement is about."""

    name: str
    digest: dict[str, str]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """An in-toto statement."""

    type: str = msgspec.field(name="_type")
    subject: tuple[Subject, ...]
    predicate_type: str = msgspec.field(name="predicateType")
    predicate: dict[str, object]


class BundlePredicate(msgspec.Struct, frozen=True, kw_only=True):
    """The predicate of the statement that is the bundle's signature."""

    manifest: Digest
    """Of the packtrain manifest, the bundle's config blob."""
    gates: dict[str, str]
    """Name of the gate to its verdict."""


def attest(
    layout: Layout,
    bundle: Descriptor,
    *,
    name: str,
    predicate_type: str,
    predicate: msgspec.Struct | dict[str, object],
    signers: Sequence[CryptoSigner],
) -> Descriptor:
    """Sign a statement about `bundle` and attach it to the bundle as a referrer."""
    statement = Statement(
        type=STATEMENT_TYPE,
        subject=(Subject(name=name, digest={"sha256": bundle.digest.removeprefix("sha256:")}),),
        predicate_type=predicate_type,
        predicate=msgspec.convert(plain(predicate), dict[str, object]),
    )
    envelope = sign(canonical_json(statement), PAYLOAD_TYPE, signers)
    image = Image(
        schema_version=2,
        media_type=IMAGE_MEDIA_TYPE,
        artifact_type=ENVELOPE_MEDIA_TYPE,
        config=layout.add_bytes(b"{}", EMPTY_MEDIA_TYPE),
        layers=(layout.add_bytes(envelope, ENVELOPE_MEDIA_TYPE),),
        subject=Descriptor(media_type=bundle.media_type, digest=bundle.digest, size=bundle.size),
        annotations={PREDICATE_ANNOTATION: predicate_type},
    )
    stored = layout.add_image(image)
    layout.attach(stored)
    return stored


def envelopes(layout: Layout, bundle: Descriptor, predicate_type: str) -> list[bytes]:
    """The envelopes of that predicate type attached to `bundle`; nothing of them is verified yet.

    Raises:
        LayoutError: one is missing or too large.
        DigestMismatchError: one is damaged.
    """
    found = []
    for _, image in layout.referrers(bundle.digest):
        if image.annotations.get(PREDICATE_ANNOTATION) == predicate_type and len(image.layers) == 1:
            found.append(layout.read_bytes(image.layers[0], limit=ENVELOPE_LIMIT))
    return found


def verify_statement(envelope: bytes, bundle_digest: str, predicate_type: str, keys: Sequence[Key]) -> Statement:
    """The statement in `envelope`, once one of `keys` is seen to have signed it about that bundle.

    Raises:
        InvalidSignatureError: badly signed, about something else, or of another predicate type.
        UncheckableError: there is no key.
    """
    payload = verify(envelope, PAYLOAD_TYPE, keys)
    try:
        statement = parse_json(payload, Statement)
    except msgspec.DecodeError as error:
        raise InvalidSignatureError("signature.statement", f"not an in-toto statement: {error}") from error
    if statement.type != STATEMENT_TYPE or statement.predicate_type != predicate_type:
        raise InvalidSignatureError(
            "signature.statement", f"expected a statement '{predicate_type}', got '{statement.predicate_type}'"
        )
    wanted = bundle_digest.removeprefix("sha256:")
    if all(subject.digest.get("sha256") != wanted for subject in statement.subject):
        raise InvalidSignatureError("signature.subject", f"statement is not about {bundle_digest}")
    return statement
