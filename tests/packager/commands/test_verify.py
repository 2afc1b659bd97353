from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from manifests.bundle import sign_bundle, write_bundle
from manifests.digests import digest_file
from manifests.signing import generate_key, write_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.commands.conftest import Stored
    from tests.packager.conftest import Pack

NAME = "digits:3@edge-arm"


def test_a_good_bundle_verifies_and_names_the_key(pack: Pack, stored: Stored) -> None:
    ran = pack("verify", NAME, "--key", stored.key, "-o", "json", at=stored.project)
    assert ran.code == 0
    assert ran.document == {
        "reference": NAME,
        "digest": stored.bundle.digest,
        "keys": [stored.signer.public_key.keyid],
        "files": 2,
        "golden_samples": 2,
    }


def test_one_trusted_key_among_several_is_enough(pack: Pack, stored: Stored, tmp_path: Path) -> None:
    other = write_key(generate_key(), tmp_path / "other.key")
    assert pack("verify", NAME, "--key", other, "--key", stored.key, at=stored.project).code == 0


def test_a_signature_by_another_key_exits_5(pack: Pack, stored: Stored, tmp_path: Path) -> None:
    other = write_key(generate_key(), tmp_path / "other.key")
    ran = pack("verify", NAME, "--key", other, at=stored.project)
    assert ran.code == 5
    assert ran.out == ""
    assert "[signature.bad]" in ran.err


def test_an_unsigned_bundle_exits_5(pack: Pack, stored: Stored, files: Path) -> None:
    manifest = stored.bundle.manifest
    section = msgspec.structs.replace(manifest.bundle, version="4")
    write_bundle(stored.layout, msgspec.structs.replace(manifest, bundle=section), files)
    ran = pack("verify", "digits:4@edge-arm", "--key", stored.key, at=stored.project)
    assert ran.code == 5
    assert "[signature.missing]" in ran.err


@pytest.mark.parametrize("part", ["model", "manifest", "image"])
def test_one_changed_bit_exits_5(pack: Pack, stored: Stored, part: str) -> None:
    image = stored.bundle.image
    digest = {"model": image.layers[0].digest, "manifest": image.config.digest, "image": stored.bundle.digest}[part]
    path = stored.layout.blob_path(digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    ran = pack("verify", NAME, "--key", stored.key, at=stored.project)
    assert ran.code == 5
    assert "[bundle.digest]" in ran.err


def test_a_missing_file_exits_5(pack: Pack, stored: Stored) -> None:
    stored.layout.blob_path(stored.bundle.image.layers[0].digest).unlink()
    ran = pack("verify", NAME, "--key", stored.key, at=stored.project)
    assert ran.code == 5
    assert "[layout.blob]" in ran.err


def test_a_manifest_that_was_swapped_under_a_good_signature_is_not_even_parsed(pack: Pack, stored: Stored) -> None:
    """The name is led to another image; the old image's signature does not speak for it."""
    image = stored.bundle.image
    forged = stored.layout.add_bytes(b"not a manifest", image.config.media_type)
    stored.layout.name(NAME, stored.layout.add_image(msgspec.structs.replace(image, config=forged)))
    ran = pack("verify", NAME, "--key", stored.key, at=stored.project)
    assert ran.code == 5
    assert "[signature.missing]" in ran.err


def test_golden_samples_that_do_not_fit_the_signature_exit_5(pack: Pack, stored: Stored, files: Path) -> None:
    np.savez(files / "golden.npz", **{"input.pixels": np.zeros((2, 1, 64), np.float32)})
    manifest = stored.bundle.manifest
    model, golden = manifest.files
    path = files / golden.path
    golden = msgspec.structs.replace(golden, digest=digest_file(path), size=path.stat().st_size)
    bundle = write_bundle(stored.layout, msgspec.structs.replace(manifest, files=(model, golden)), files)
    sign_bundle(stored.layout, bundle, [stored.signer])
    ran = pack("verify", NAME, "--key", stored.key, at=stored.project)
    assert ran.code == 5
    assert "[bundle.golden]" in ran.err


def test_a_private_key_given_to_trust_says_to_give_the_public_one(pack: Pack, stored: Stored) -> None:
    ran = pack("verify", NAME, "--key", stored.key.with_suffix(".key"), at=stored.project)
    assert ran.code == 5
    assert "hint: give the .pub file" in ran.err
