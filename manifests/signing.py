"""Keys, and DSSE envelopes around what they vouch for: verify the bytes received, then parse them.

SPEC 6.1. Envelope and pre-authentication encoding: DSSE 1.0 (secure-systems-lab/dsse). Keys are Ed25519.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from manifests.canonical import canonical_json, parse_json
from manifests.durable import write_durably
from manifests.errors import InvalidSignatureError, UncheckableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securesystemslib.signer import Key

ENVELOPE_MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
ENVELOPE_LIMIT = 1 << 20
"""Largest envelope that is parsed, in bytes."""
SIGNATURES_LIMIT = 16
"""Most signatures that one envelope may carry: each costs a check."""


def generate_key() -> CryptoSigner:
    """A new Ed25519 key."""
    return _signer(Ed25519PrivateKey.generate())


def write_key(signer: CryptoSigner, path: Path, *, passphrase: str | None = None) -> Path:
    """Write the private key to `path` (PKCS 8, PEM, mode 0600) and the public key beside it; its path is returned.

    With a passphrase the private key is encrypted.

    Raises:
        FileExistsError: one of the two is there already.
    """
    public_path = path.with_suffix(".pub")
    for taken in (path, public_path):
        if taken.exists():
            raise FileExistsError(taken)
    private = load_pem_private_key(signer.private_bytes, password=None)
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    write_durably(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), mode=0o600)
    write_durably(public_path, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return public_path


def read_private_key(path: Path, *, passphrase: str | None = None) -> CryptoSigner:
    """The signer whose private key stands in `path`.

    Raises:
        UncheckableError: it is missing, not an Ed25519 key in PEM, or needs another passphrase.
    """
    try:
        key = load_pem_private_key(_read(path), password=passphrase.encode() if passphrase else None)
    except TypeError as error:
        # How cryptography says that a passphrase is missing, or that there is one too many.
        problem = "has no passphrase, and one was given" if passphrase else "is encrypted, and no passphrase was given"
        raise UncheckableError("signature.key", f"private key '{path}' {problem}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # Its own words advise whoever writes programs with it.
        raise UncheckableError(
            "signature.key",
            f"'{path}' can't be read as a private key: expected an Ed25519 key in PEM",
            hint="give the file that pack keys generate wrote; if it has a passphrase, is it right",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UncheckableError("signature.key", f"'{path}' is not an Ed25519 key: got {type(key).__name__}")
    return _signer(key)


def read_public_key(path: Path) -> Key:
    """The public key that stands in `path`.

    Raises:
        UncheckableError: it is missing or not an Ed25519 public key in PEM.
    """
    return parse_public_key(_read(path), name=str(path))


def parse_public_key(pem: bytes, *, name: str) -> Key:
    """The public key in `pem`; `name` is for the error.

    Raises:
        UncheckableError: it is not an Ed25519 public key in PEM.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UncheckableError(
            "signature.key",
            f"'{name}' can't be read as a public key: expected an Ed25519 key in PEM",
            hint="give the .pub file that pack keys generate wrote",
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UncheckableError("signature.key", f"'{name}' is not an Ed25519 key: got {type(key).__name__}")
    return SSlibKey.from_crypto(key)


def public_pem(key: Key) -> str:
    """The public key in PEM."""
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign(payload: bytes, payload_type: str, signers: Sequence[CryptoSigner]) -> bytes:
    """The DSSE envelope of `payload`, as canonical JSON. Ed25519 is deterministic, so equal input has equal bytes."""
    envelope = Envelope(payload, payload_type, {})
    for signer in signers:
        envelope.sign(signer)
    return canonical_json(envelope.to_dict())


def verify(envelope: bytes, payload_type: str, keys: Sequence[Key], *, threshold: int = 1) -> bytes:
    """The payload, once `threshold` of the `keys` are seen to have signed it; a key that is given twice counts once.

    Raises:
        InvalidSignatureError: not an envelope, another payload type, or too few good signatures.
        UncheckableError: there are fewer keys than the threshold asks for.
        ValueError: the threshold is less than 1.
    """
    if threshold < 1:
        raise ValueError(f"threshold must be at least 1, got {threshold}")
    trusted = {key.keyid: key for key in keys}
    if len(trusted) < threshold:
        raise UncheckableError(
            "signature.no-key", f"too few keys to check a signature: expected {threshold}, got {len(trusted)}"
        )
    opened = _open(envelope)
    if opened.payload_type != payload_type:
        raise InvalidSignatureError(
            "signature.type",
            f"signed for another purpose: expected '{payload_type}', got '{opened.payload_type[:200]}'",
        )
    try:
        opened.verify(list(trusted.values()), threshold)
    except VerificationError as error:
        raise InvalidSignatureError(
            "signature.bad",
            f"no trusted signature: expected {threshold} by {', '.join(keyid[:12] for keyid in trusted)}",
            hint="it was changed since, or signed by a key that is not trusted here",
        ) from error
    return opened.payload


class _Signature(msgspec.Struct, frozen=True, kw_only=True):
    keyid: str
    """Only a hint by DSSE 1.0, but a MUST here (SPEC 6.1.3)."""
    sig: str


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The shape of an envelope, checked before securesystemslib sees it, so that only its base64 can still be wrong."""

    payload: str
    payload_type: str
    signatures: Annotated[tuple[_Signature, ...], msgspec.Meta(min_length=1, max_length=SIGNATURES_LIMIT)]


def _open(envelope: bytes) -> Envelope:
    if len(envelope) > ENVELOPE_LIMIT:
        raise InvalidSignatureError(
            "signature.size", f"envelope is too large: expected at most {ENVELOPE_LIMIT} bytes, got {len(envelope)}"
        )
    try:
        # ValueError: bad base64, or two signatures by one key.
        return Envelope.from_dict(msgspec.to_builtins(parse_json(envelope, _Envelope)))
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidSignatureError("signature.format", f"not a DSSE envelope: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UncheckableError(
            "signature.key", f"key '{path}' can't be read: {error.strerror}", hint="pack keys generate makes one"
        ) from error


def _signer(key: Ed25519PrivateKey) -> CryptoSigner:
    return CryptoSigner(key)
