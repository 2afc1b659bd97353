from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.errors import DigestMismatchError, InvalidManifestError
from manifests.manifest import RuntimeSection
from manifests.release import (
    ASSIGNERS_LIMIT,
    CHUNK_BYTES,
    RECORD_LIMIT,
    RELEASE_VERSION,
    Assigners,
    BlobSection,
    Release,
    decode_assigners,
    decode_release,
    describe_blob,
    encode_record,
    release_path,
    split_blob,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OCI_MANIFEST = digest_bytes(b"{}")
RELEASE = Release(
    release=RELEASE_VERSION,
    name="digits",
    version="3",
    counter=3,
    target="cloud",
    bundle=OCI_MANIFEST,
    runtime=RuntimeSection(kind="onnxruntime", minimum="1.23", entry="model.onnx"),
    disk_bytes=2,
    blobs=(BlobSection(digest=OCI_MANIFEST, size=2, chunks=(OCI_MANIFEST,)),),
    signature="{}",
)


def edited(edit: Callable[[dict[str, Any]], object]) -> bytes:
    document: dict[str, Any] = json.loads(encode_record(RELEASE))
    edit(document)
    return canonical_json(document)


def refusal(data: bytes) -> InvalidManifestError:
    with pytest.raises(InvalidManifestError) as caught:
        decode_release(data)
    return caught.value


def test_a_record_comes_back_and_has_its_place() -> None:
    """SPEC 8.1."""
    assert decode_release(encode_record(RELEASE)) == RELEASE
    assert release_path("digits", "3", "cloud") == "releases/digits/3/cloud.json"


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda document: document.pop("release"), "release.format"),
        (lambda document: document.update(release="2.0"), "release.version"),
        (lambda document: document.update(release="1"), "release.version"),
        (lambda document: document.update(release="1.9", novelty=1), "release.newer"),
        (lambda document: document.update(novelty=1), "release.field"),
        (lambda document: document.update(counter=-1), "release.field"),
        (lambda document: document.update(name="../../etc"), "release.field"),
        (lambda document: document.update(disk_bytes=-1), "release.field"),
        (lambda document: document["blobs"][0].update(chunks=[]), "release.chunks"),
        (lambda document: document["blobs"][0].update(size=CHUNK_BYTES + 1), "release.chunks"),
        (lambda document: document.update(blobs=[]), "release.bundle"),
        (lambda document: document.update(bundle=digest_bytes(b"other")), "release.bundle"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(edit: Callable[[dict[str, Any]], object], code: str) -> None:
    """SPEC 8.1, 8.2."""
    assert refusal(edited(edit)).code == code


def test_a_newer_minor_version_that_says_nothing_new_is_read() -> None:
    assert decode_release(edited(lambda document: document.update(release="1.9"))).name == "digits"


def test_more_than_the_limit_is_not_parsed() -> None:
    """SPEC 8.7."""
    assert refusal(b" " * (RECORD_LIMIT + 1)).code == "release.size"
    with pytest.raises(InvalidManifestError) as caught:
        decode_assigners(b" " * (ASSIGNERS_LIMIT + 1))
    assert caught.value.code == "release.size"


@given(st.binary())
def test_random_bytes_are_refused(data: bytes) -> None:
    assert refusal(data).code in ("release.format", "release.field")
    with pytest.raises(InvalidManifestError) as caught:
        decode_assigners(data)
    assert caught.value.code == "release.assigners"


def test_the_assigners_come_back() -> None:
    """SPEC 8.6."""
    assigners = Assigners(assigners=("one",), packers=("two", "three"))
    assert decode_assigners(encode_record(assigners)) == assigners


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_the_chunks_of_a_blob_are_the_blob(tmp_path: Path, size: int) -> None:
    """SPEC 8.2."""
    path = tmp_path / "blob"
    content = bytes(position % 251 for position in range(size))
    path.write_bytes(content)
    chunks = list(split_blob(path))
    assert b"".join(chunks) == content
    assert all(len(chunk) == CHUNK_BYTES for chunk in chunks[:-1])
    described = describe_blob(path, digest_bytes(content))
    assert described.size == size
    assert described.chunks == tuple(digest_bytes(chunk) for chunk in chunks)
    blobs = (*RELEASE.blobs, described)
    assert (
        decode_release(edited(lambda document: document.update(blobs=json.loads(canonical_json(blobs))))).blobs == blobs
    )


def test_a_damaged_blob_is_not_described(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"damaged")
    with pytest.raises(DigestMismatchError):
        describe_blob(tmp_path / "blob", digest_bytes(b"content"))
