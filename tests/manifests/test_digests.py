from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.digests import check_bytes, check_file, copy_stream, digest_bytes, digest_file, digest_tree, is_digest
from manifests.errors import DigestMismatchError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "sha256:" + "0f" * 32


@given(st.binary())
def test_the_digest_of_a_copy_is_that_of_its_bytes(data: bytes) -> None:
    sink = io.BytesIO()
    assert copy_stream(io.BytesIO(data), sink) == ("sha256:" + hashlib.sha256(data).hexdigest(), len(data))
    assert sink.getvalue() == data


def test_a_copy_reads_at_most_one_byte_past_its_limit() -> None:
    source = io.BytesIO(bytes(100))
    assert copy_stream(source, None, limit=10)[1] == 11
    assert source.tell() == 11


def test_a_file_of_several_blocks_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "large").write_bytes(data)
    assert digest_file(tmp_path / "large") == digest_bytes(data)


def test_a_tree_is_its_paths_and_contents_and_no_more(tmp_path: Path) -> None:
    for root in ("one", "two"):
        (tmp_path / root / "sub").mkdir(parents=True)
        (tmp_path / root / "sub" / "a").write_bytes(b"1")
        (tmp_path / root / "b").write_bytes(b"2")
    (tmp_path / "two" / "empty").mkdir()
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")
    (tmp_path / "two" / "b").rename(tmp_path / "two" / "c")
    assert digest_tree(tmp_path / "one") != digest_tree(tmp_path / "two")


def test_what_matches_its_digest_is_handed_through(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert check_bytes(b"content", digest_bytes(b"content"), what="content") == b"content"
    assert check_file(tmp_path / "file", digest_bytes(b"content")) == tmp_path / "file"


def test_a_mismatch_names_both_digests(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"changed")
    with pytest.raises(DigestMismatchError) as caught:
        check_file(tmp_path / "file", GOOD)
    assert (caught.value.code, caught.value.expected, caught.value.got) == (
        "bundle.digest",
        GOOD,
        digest_bytes(b"changed"),
    )
    with pytest.raises(DigestMismatchError, match="'part' does not match: expected sha256:0f0f"):
        check_bytes(b"changed", GOOD, what="part")


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD + "\n",
        GOOD[:-1],
        GOOD + "0",
        GOOD.upper(),
        "sha512:" + "0f" * 32,
        "sha256:../../etc/passwd",
        "\n" + GOOD,
    ],
)
def test_only_a_digest_is_a_digest(text: str) -> None:
    """SPEC 2.4.1."""
    assert is_digest(GOOD)
    assert not is_digest(text)
