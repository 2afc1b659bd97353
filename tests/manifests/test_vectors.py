from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from manifests.canonical import canonical_json, parse_json
from manifests.errors import ManifestError
from manifests.manifest import decode_manifest, encode_manifest
from manifests.release import decode_release
from manifests.signing import read_public_key, verify

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).parents[1] / "vectors"


def check_canonical(case: Path) -> None:
    encoded = canonical_json(parse_json((case / "input.json").read_bytes(), object))
    assert encoded == (case / "output.json").read_bytes()


def check_numbers(case: Path) -> None:
    for line in (case / "numbers.tsv").read_text().splitlines():
        bits, text = line.split("\t")
        [number] = struct.unpack(">d", bytes.fromhex(bits))
        if text == "!":
            with pytest.raises(ManifestError):
                canonical_json(number)
        else:
            assert canonical_json(number).decode() == text, bits


def check_manifest(case: Path) -> None:
    data = (case / "manifest.json").read_bytes()
    assert encode_manifest(decode_manifest(data)) == data


def check_release(case: Path) -> None:
    assert decode_release((case / "release.json").read_bytes()).name == "digits"


def check_envelope(case: Path) -> None:
    envelope, payload_type = (case / "envelope.json").read_bytes(), (case / "payload-type").read_text()
    assert verify(envelope, payload_type, [read_public_key(case / "key.pub")]) == (case / "payload").read_bytes()
    # Beside securesystemslib: the signature is one over the specification's pre-authentication encoding.
    key = load_pem_public_key((case / "key.pub").read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    for signature in json.loads(envelope)["signatures"]:
        key.verify(base64.b64decode(signature["sig"].translate({45: 43, 95: 47})), (case / "pae").read_bytes())


CHECKS: dict[str, Callable[[Path], None]] = {
    "canonical": check_canonical,
    "numbers": check_numbers,
    "manifest": check_manifest,
    "release": check_release,
    "envelope": check_envelope,
}
CASES = sorted(path for path in VECTORS.glob("*/*") if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_a_vector_has_its_verdict(case: Path) -> None:
    check = CHECKS[case.parent.name]
    if not case.name.endswith("_fail"):
        check(case)
        return
    with pytest.raises(ManifestError) as caught:
        check(case)
    assert caught.value.code == (case / "code").read_text().strip()


def test_every_vector_gives_its_reason_and_every_kind_has_some() -> None:
    assert {case.parent.name for case in CASES} == set(CHECKS)
    assert all((case / "README.md").read_text().strip() for case in CASES)
