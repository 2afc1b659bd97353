from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manifests.attestation import (
    PAYLOAD_TYPE,
    STATEMENT_TYPE,
    TEST_RESULT_PREDICATE,
    BundlePredicate,
    attest,
    envelopes,
    verify_statement,
)
from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.errors import InvalidSignatureError
from manifests.signing import generate_key, sign

if TYPE_CHECKING:
    from manifests.bundle import Bundle
    from manifests.layout import Layout

KEY = generate_key()
BUNDLE = digest_bytes(b"bundle")


def statement(**changes: object) -> dict[str, object]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "x", "digest": {"sha256": BUNDLE[7:]}}],
        "predicateType": TEST_RESULT_PREDICATE,
        "predicate": {"result": "PASSED"},
        **changes,
    }


def refusal(payload: bytes) -> str:
    with pytest.raises(InvalidSignatureError) as caught:
        verify_statement(sign(payload, PAYLOAD_TYPE, [KEY]), BUNDLE, TEST_RESULT_PREDICATE, [KEY.public_key])
    return caught.value.code


def test_what_was_attested_is_read_back(layout: Layout, bundle: Bundle) -> None:
    """SPEC 7.1."""
    predicate = BundlePredicate(manifest=BUNDLE, gates={"parity": "passed"})
    spelled_out: dict[str, object] = {"manifest": BUNDLE, "gates": {"parity": "passed"}}
    for content in (predicate, spelled_out):
        attest(
            layout,
            bundle.descriptor,
            name="digits",
            predicate_type=TEST_RESULT_PREDICATE,
            predicate=content,
            signers=[KEY],
        )
    [envelope] = envelopes(layout, bundle.descriptor, TEST_RESULT_PREDICATE)
    read = verify_statement(envelope, bundle.digest, TEST_RESULT_PREDICATE, [KEY.public_key])
    assert read.predicate == {"manifest": BUNDLE, "gates": {"parity": "passed"}}
    assert [subject.name for subject in read.subject] == ["digits"]


def test_a_statement_may_be_about_several_things() -> None:
    others = [{"name": "y", "digest": {"sha512": "00"}}, {"name": "x", "digest": {"sha256": BUNDLE[7:]}}]
    envelope = sign(canonical_json(statement(subject=others)), PAYLOAD_TYPE, [KEY])
    assert verify_statement(envelope, BUNDLE, TEST_RESULT_PREDICATE, [KEY.public_key]).predicate


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "signature.statement"),
        (b"\xff", "signature.statement"),
        (b'{"a":' * 100_000, "signature.statement"),
        (canonical_json(statement(predicate=None)), "signature.statement"),
        (canonical_json(statement(_type="https://in-toto.io/Statement/v0.1")), "signature.statement"),
        (canonical_json(statement(predicateType="https://slsa.dev/provenance/v1")), "signature.statement"),
        (canonical_json(statement(subject=[])), "signature.subject"),
        (canonical_json(statement(subject=[{"name": "x", "digest": {}}])), "signature.subject"),
        (canonical_json(statement(subject=[{"name": "x", "digest": {"sha256": "00"}}])), "signature.subject"),
    ],
)
def test_a_well_signed_payload_that_says_something_else_is_refused(payload: bytes, code: str) -> None:
    """SPEC 6.2.1, 6.2.2."""
    assert refusal(payload) == code
