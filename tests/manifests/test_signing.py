from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.canonical import canonical_json
from manifests.errors import InvalidSignatureError, ManifestError, UncheckableError
from manifests.signing import (
    ENVELOPE_LIMIT,
    SIGNATURES_LIMIT,
    generate_key,
    parse_public_key,
    public_pem,
    read_private_key,
    read_public_key,
    sign,
    verify,
    write_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TYPE = "application/x-test"
KEY, OTHER = generate_key(), generate_key()
PASSPHRASE = "open sesame"  # noqa: S105 - of a key that lives for one test
PAYLOAD = b"what is signed"
ENVELOPE = sign(PAYLOAD, TYPE, [KEY])


def code(call: Callable[[], object]) -> str:
    with pytest.raises(ManifestError) as caught:
        call()
    return caught.value.code


def edited(edit: Callable[[dict[str, Any]], object], envelope: bytes = ENVELOPE) -> bytes:
    document: dict[str, Any] = json.loads(envelope)
    edit(document)
    return json.dumps(document).encode()


def test_the_payload_comes_back_once_its_signature_was_seen() -> None:
    assert verify(ENVELOPE, TYPE, [KEY.public_key]) == PAYLOAD


def test_equal_input_has_an_equal_envelope() -> None:
    assert sign(PAYLOAD, TYPE, [KEY]) == ENVELOPE == canonical_json(json.loads(ENVELOPE))


def test_the_key_that_signed_must_be_among_the_trusted() -> None:
    assert code(lambda: verify(ENVELOPE, TYPE, [OTHER.public_key])) == "signature.bad"
    assert verify(ENVELOPE, TYPE, [OTHER.public_key, KEY.public_key]) == PAYLOAD


def test_what_was_signed_for_one_purpose_does_not_do_for_another() -> None:
    """SPEC 6.1.4."""
    assert code(lambda: verify(ENVELOPE, "application/x-other", [KEY.public_key])) == "signature.type"
    relabelled = edited(lambda document: document.update(payloadType="application/x-other"))
    assert code(lambda: verify(relabelled, "application/x-other", [KEY.public_key])) == "signature.bad"


def test_a_threshold_counts_keys_and_not_signatures() -> None:
    """SPEC 6.1.3."""
    both = sign(PAYLOAD, TYPE, [KEY, OTHER])
    assert verify(both, TYPE, [KEY.public_key, OTHER.public_key], threshold=2) == PAYLOAD
    assert code(lambda: verify(ENVELOPE, TYPE, [KEY.public_key, OTHER.public_key], threshold=2)) == "signature.bad"
    same = [KEY.public_key, KEY.public_key]
    assert code(lambda: verify(both, TYPE, same, threshold=2)) == "signature.no-key"
    repeated = edited(lambda document: document["signatures"].append(document["signatures"][0]))
    assert code(lambda: verify(repeated, TYPE, [KEY.public_key, OTHER.public_key], threshold=2)) == "signature.format"
    renamed = edited(
        lambda document: document["signatures"].append(document["signatures"][0] | {"keyid": OTHER.public_key.keyid})
    )
    assert code(lambda: verify(renamed, TYPE, [KEY.public_key, OTHER.public_key], threshold=2)) == "signature.bad"


def test_no_key_is_another_error_than_a_bad_signature() -> None:
    """SPEC 6.1.6."""
    with pytest.raises(UncheckableError):
        verify(ENVELOPE, TYPE, [])
    with pytest.raises(ValueError, match="at least 1"):
        verify(ENVELOPE, TYPE, [KEY.public_key], threshold=0)


def test_both_alphabets_of_base64_are_read() -> None:
    """DSSE 1.0, protocol.md."""
    payload = bytes(range(256))
    urlsafe = edited(
        lambda document: document.update(payload=base64.urlsafe_b64encode(payload).decode()),
        sign(payload, TYPE, [KEY]),
    )
    assert b"_" in urlsafe
    assert verify(urlsafe, TYPE, [KEY.public_key]) == payload


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"\xff",
        b"null",
        b"[" * 100_000,
        b'{"payload":' * 50_000,
        edited(lambda document: document.pop("payload")),
        edited(lambda document: document.update(payload=1)),
        edited(lambda document: document.update(payload="*")),
        edited(lambda document: document.update(payload="é")),
        edited(lambda document: document.update(signatures=[])),
        edited(lambda document: document.update(signatures={"keyid": "x"})),
        edited(lambda document: document.update(signatures=[None])),
        edited(lambda document: document["signatures"][0].update(sig="*")),
        edited(lambda document: document["signatures"][0].update(sig=[])),
        edited(lambda document: document["signatures"][0].update(keyid=["x"])),
        edited(lambda document: document["signatures"][0].pop("keyid")),
        edited(
            lambda document: document.update(
                signatures=[{"keyid": str(n), "sig": ""} for n in range(SIGNATURES_LIMIT + 1)]
            )
        ),
    ],
)
def test_what_is_no_envelope_is_a_clean_error(envelope: bytes) -> None:
    """SPEC 6.1.3, 6.1.5."""
    assert code(lambda: verify(envelope, TYPE, [KEY.public_key])) == "signature.format"


@pytest.mark.parametrize("signature", ["", "AAAA", base64.b64encode(bytes(64)).decode()])
def test_a_signature_of_any_length_can_be_bad(signature: str) -> None:
    envelope = edited(lambda document: document["signatures"][0].update(sig=signature))
    assert code(lambda: verify(envelope, TYPE, [KEY.public_key])) == "signature.bad"


def test_an_envelope_past_the_limit_is_not_parsed() -> None:
    """SPEC 6.1.5."""
    assert code(lambda: verify(b" " * (ENVELOPE_LIMIT + 1), TYPE, [KEY.public_key])) == "signature.size"


@settings(max_examples=300)
@given(st.data())
def test_mutated_envelopes_are_refused_or_give_the_signed_payload(data: st.DataObject) -> None:
    """SPEC 6.1.2."""
    raw = bytearray(ENVELOPE)
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position : position + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        payload = verify(bytes(raw), TYPE, [KEY.public_key])
    except InvalidSignatureError:
        return
    assert payload == PAYLOAD


@given(st.binary())
def test_random_bytes_are_refused(envelope: bytes) -> None:
    with pytest.raises(InvalidSignatureError):
        verify(envelope, TYPE, [KEY.public_key])


def test_a_key_comes_back_from_its_files(tmp_path: Path) -> None:
    public = write_key(KEY, tmp_path / "release.key")
    assert public == tmp_path / "release.pub"
    assert (tmp_path / "release.key").stat().st_mode & 0o777 == 0o600
    assert sign(PAYLOAD, TYPE, [read_private_key(tmp_path / "release.key")]) == ENVELOPE
    assert verify(ENVELOPE, TYPE, [read_public_key(public)]) == PAYLOAD
    assert public_pem(KEY.public_key) == public.read_text()
    assert parse_public_key(public_pem(KEY.public_key).encode(), name="x") == KEY.public_key


def test_a_passphrase_guards_the_private_key(tmp_path: Path) -> None:
    path = tmp_path / "release.key"
    write_key(KEY, path, passphrase=PASSPHRASE)
    assert sign(PAYLOAD, TYPE, [read_private_key(path, passphrase=PASSPHRASE)]) == ENVELOPE
    for wrong in (None, "sesame"):
        assert code(lambda wrong=wrong: read_private_key(path, passphrase=wrong)) == "signature.key"  # type: ignore[misc]  # mypy can't infer a lambda with a default


def test_a_passphrase_that_is_missing_wrong_or_one_too_many_is_told_apart(tmp_path: Path) -> None:
    locked, plain = tmp_path / "locked.key", tmp_path / "plain.key"
    write_key(KEY, locked, passphrase=PASSPHRASE)
    write_key(KEY, plain)
    with pytest.raises(UncheckableError, match="is encrypted, and no passphrase was given"):
        read_private_key(locked)
    with pytest.raises(UncheckableError, match="can't be read as a private key") as caught:
        read_private_key(locked, passphrase="sesame")  # noqa: S106 - the wrong one, of a key that lives for one test
    assert "passphrase" in caught.value.hint
    with pytest.raises(UncheckableError, match="has no passphrase, and one was given"):
        read_private_key(plain, passphrase=PASSPHRASE)


UNKNOWN_ALGORITHM = "-----BEGIN {0} KEY-----\nMBQCAQAwBwYDKgMEBQAEBgQEAAAAAA==\n-----END {0} KEY-----\n"


@pytest.mark.parametrize("content", ["", "garbage", "-----BEGIN PUBLIC KEY-----\nAAAA\n", UNKNOWN_ALGORITHM])
def test_garbage_for_a_key_is_one_line_without_a_librarys_advice(tmp_path: Path, content: str) -> None:
    (tmp_path / "private").write_text(content.format("PRIVATE"))
    with pytest.raises(UncheckableError) as private:
        read_private_key(tmp_path / "private")
    with pytest.raises(UncheckableError) as public:
        parse_public_key(content.format("PUBLIC").encode(), name="public")
    for caught, kind in ((private, "private"), (public, "public")):
        assert str(caught.value).endswith(f"can't be read as a {kind} key: expected an Ed25519 key in PEM")
        assert caught.value.hint


@pytest.mark.parametrize("taken", ["release.key", "release.pub"])
def test_no_key_is_overwritten(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        write_key(KEY, tmp_path / "release.key")
    assert [entry.name for entry in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_bytes() == b"precious"


def test_only_an_ed25519_key_in_pem_is_a_key(tmp_path: Path) -> None:
    """SPEC 6.1.1."""
    ec = generate_ec_key(SECP256R1())
    (tmp_path / "ec.key").write_bytes(ec.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "ec.pub").write_bytes(ec.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "junk").write_bytes(b"\xff")
    for name in ("ec.key", "junk", "absent"):
        assert code(lambda name=name: read_private_key(tmp_path / name)) == "signature.key"  # type: ignore[misc]  # as above
    for name in ("ec.pub", "junk", "absent"):
        assert code(lambda name=name: read_public_key(tmp_path / name)) == "signature.key"  # type: ignore[misc]  # as above
