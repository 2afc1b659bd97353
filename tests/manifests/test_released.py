from __future__ import annotations

from pathlib import Path

import pytest

from manifests.bundle import check_files, check_signature, parse_bundle, read_bundle, unpack, verify_bundle
from manifests.digests import check_bytes, digest_bytes
from manifests.layout import Layout
from manifests.manifest import MANIFEST_VERSION
from manifests.release import CHUNK_BYTES, decode_release
from manifests.signing import read_public_key

RELEASED = Path(__file__).parents[1] / "released"
FORMATS = sorted(path for path in RELEASED.iterdir() if path.is_dir() and path.name[0].isdigit())


@pytest.fixture(params=FORMATS, ids=lambda path: path.name)
def place(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


def test_the_format_of_today_is_among_the_released() -> None:
    assert MANIFEST_VERSION in [path.name for path in FORMATS]


def test_a_released_bundle_is_read_verified_and_unpacked_for_ever(place: Path, tmp_path: Path) -> None:
    layout = Layout.open(place / "store")
    key = read_public_key(place / "key.pub")
    [name] = layout.references()
    bundle = read_bundle(layout, name)
    assert bundle.reference == name
    verify_bundle(layout, bundle, [key])
    check_files(layout, bundle)
    unpack(layout, bundle, tmp_path)
    for entry in bundle.manifest.files:
        assert digest_bytes((tmp_path / entry.path).read_bytes()) == entry.digest


def test_a_released_record_brings_the_bundle_over_chunk_by_chunk(place: Path) -> None:
    release = decode_release((place / "release.json").read_bytes())
    layout = Layout.open(place / "store")
    blobs = []
    for blob in release.blobs:
        data = layout.blob_path(blob.digest).read_bytes()
        for position, chunk in enumerate(blob.chunks):
            check_bytes(data[position * CHUNK_BYTES :][:CHUNK_BYTES], chunk, what=blob.digest)
        blobs.append(data)
    bundle = parse_bundle(blobs[0], blobs[1])
    assert bundle.digest == release.bundle
    check_signature(release.signature.encode(), bundle, [read_public_key(place / "key.pub")])
