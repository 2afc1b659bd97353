from __future__ import annotations

import io
import json
import multiprocessing
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.errors import DigestMismatchError, LayoutError
from manifests.layout import (
    DOCUMENT_LIMIT,
    EMPTY_MEDIA_TYPE,
    IMAGE_MEDIA_TYPE,
    Descriptor,
    Image,
    Layout,
    parse_image,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

replace = msgspec.structs.replace
PROCESSES, NAMES = 4, 8


def image(layout: Layout, content: bytes, *, subject: Descriptor | None = None) -> Descriptor:
    return layout.add_image(
        Image(
            schema_version=2,
            media_type=IMAGE_MEDIA_TYPE,
            artifact_type="application/x-test",
            config=layout.add_bytes(b"{}", EMPTY_MEDIA_TYPE),
            layers=(layout.add_bytes(content, "application/x-test"),),
            subject=subject,
        )
    )


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(LayoutError) as caught:
        call()
    return caught.value.code


def test_a_new_layout_is_one_that_other_tools_recognise(tmp_path: Path) -> None:
    """SPEC 5.1.1; OCI image-layout.md."""
    layout = Layout.create(tmp_path / "store")
    layout.name("digits:3@cloud", image(layout, b"content"))
    assert json.loads((tmp_path / "store" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((tmp_path / "store" / "index.json").read_text())
    assert index["schemaVersion"] == 2
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    [entry] = index["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "digits:3@cloud"}
    assert set(entry) == {"mediaType", "digest", "size", "artifactType", "annotations"}


def test_making_a_layout_twice_keeps_what_it_holds(layout: Layout) -> None:
    layout.name("one", image(layout, b"1"))
    assert Layout.create(layout.folder).references() == ["one"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert refusal(lambda: Layout.create(tmp_path)) == "layout.foreign"
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_layout_whose_making_was_cut_short_is_finished(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / ".x.partial").write_bytes(b"{")
    assert Layout.create(tmp_path).references() == []


@pytest.mark.parametrize(
    ("marker", "code"),
    [
        (None, "layout.missing"),
        (b"", "layout.missing"),
        (b"\xff", "layout.missing"),
        (b"{}", "layout.missing"),
        (b'{"imageLayoutVersion":"2.0.0"}', "layout.version"),
    ],
)
def test_what_is_no_layout_is_not_opened(tmp_path: Path, marker: bytes | None, code: str) -> None:
    """SPEC 5.1.1."""
    if marker is not None:
        (tmp_path / "oci-layout").write_bytes(marker)
    assert refusal(lambda: Layout.open(tmp_path)) == code


def test_a_blob_that_is_stored_twice_is_there_once(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    stored = layout.add_bytes(b"content", "application/x-test")
    assert layout.add_file(tmp_path / "file", "application/x-test") == stored
    assert layout.read_bytes(stored) == b"content"
    assert [path.name for path in (layout.folder / "blobs" / "sha256").iterdir()] == [stored.digest[7:]]


@pytest.mark.parametrize("damage", [b"", b"contenT"])
def test_storing_a_blob_again_mends_a_damaged_one(layout: Layout, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "file").write_bytes(b"content")
    stored = layout.add_bytes(b"content", "application/x-test")
    mends: list[Callable[[], object]] = [
        lambda: layout.add_bytes(b"content", "application/x-test"),
        lambda: layout.add_file(tmp_path / "file", "application/x-test"),
    ]
    for mend in mends:
        layout.blob_path(stored.digest).write_bytes(damage)
        mend()
        assert layout.read_bytes(stored) == b"content"


def test_a_file_that_changes_while_it_is_stored_is_not_stored(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"before")

    def holds(path: Path, digest: str) -> bool:  # noqa: ARG001 - stands where the store looks, between digest and copy
        source.write_bytes(b"after!")
        return False

    monkeypatch.setattr("manifests.layout._holds", holds)
    with pytest.raises(DigestMismatchError):
        layout.add_file(source, "application/x-test")
    assert list((layout.folder / "blobs" / "sha256").iterdir()) == []


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:../../oci-layout", "/etc/passwd", "sha256:" + "0" * 64 + "\n"]
)
def test_nothing_but_a_digest_becomes_a_path(layout: Layout, digest: str) -> None:
    """SPEC 5.1.3."""
    assert refusal(lambda: layout.blob_path(digest)) == "layout.digest"


def test_a_missing_blob_is_an_error_of_the_layout(layout: Layout) -> None:
    absent = Descriptor(media_type="application/x-test", digest=digest_bytes(b"absent"), size=6)
    assert refusal(lambda: layout.read_bytes(absent)) == "layout.blob"


def test_a_damaged_blob_is_not_read(layout: Layout) -> None:
    """SPEC 2.4.2."""
    stored = layout.add_bytes(b"content", "application/x-test")
    layout.blob_path(stored.digest).write_bytes(b"contenT")
    with pytest.raises(DigestMismatchError):
        layout.read_bytes(stored)


@pytest.mark.parametrize("size", [0, 6, 8, 1 << 40])
def test_a_descriptor_that_lies_about_the_size_is_refused(layout: Layout, size: int) -> None:
    """SPEC 5.1.4."""
    stored = replace(layout.add_bytes(b"content", "application/x-test"), size=size)
    assert refusal(lambda: layout.read_bytes(stored)) == "layout.size"
    assert refusal(lambda: layout.copy_blob(stored, None)) == "layout.size"


def test_no_more_than_the_descriptor_says_is_copied(layout: Layout) -> None:
    stored = layout.add_bytes(bytes(1000), "application/x-test")
    sink = io.BytesIO()
    assert refusal(lambda: layout.copy_blob(replace(stored, size=10), sink)) == "layout.size"
    assert len(sink.getvalue()) <= 11


def test_a_blob_past_the_limit_is_not_opened(layout: Layout) -> None:
    stored = layout.add_bytes(b"content", "application/x-test")
    layout.blob_path(stored.digest).unlink()
    assert refusal(lambda: layout.read_bytes(stored, limit=6)) == "layout.size"


def test_a_name_stands_for_the_last_image_that_got_it(layout: Layout) -> None:
    """SPEC 5.1.2."""
    first, second = image(layout, b"1"), image(layout, b"2")
    layout.name("digits:3@cloud", first)
    layout.name("digits:3@cloud", second)
    assert layout.resolve("digits:3@cloud").digest == second.digest
    assert layout.resolve(second.digest).digest == second.digest
    assert refusal(lambda: layout.resolve(first.digest)) == "layout.reference"


def test_an_unknown_name_is_told_what_there_is(layout: Layout) -> None:
    with pytest.raises(LayoutError) as caught:
        layout.resolve("digits:4@cloud")
    assert caught.value.hint == "it holds: nothing"
    layout.name("digits:3@cloud", image(layout, b"1"))
    with pytest.raises(LayoutError) as caught:
        layout.resolve("digits:4@cloud")
    assert caught.value.hint == "it holds: digits:3@cloud"


def test_the_index_does_not_depend_on_the_order_of_naming(tmp_path: Path) -> None:
    """SPEC 2.5.2."""
    contents = []
    for order in (("a", "b"), ("b", "a")):
        layout = Layout.create(tmp_path / "".join(order))
        for name in order:
            layout.name(name, image(layout, name.encode()))
        contents.append((layout.folder / "index.json").read_bytes())
    assert contents[0] == contents[1]


def test_a_referrer_is_found_by_its_subject_and_listed_once(layout: Layout) -> None:
    """SPEC 7.1."""
    bundle = image(layout, b"bundle")
    layout.name("digits:3@cloud", bundle)
    about = image(layout, b"signature", subject=bundle)
    layout.attach(about)
    layout.attach(about)
    layout.attach(image(layout, b"of another", subject=about))
    assert [found.digest for found, _ in layout.referrers(bundle.digest)] == [about.digest]
    assert len(layout.index().manifests) == 3


@pytest.mark.parametrize("damage", [None, b"", b"{}", b"\xff", b"[" * 100_000])
def test_a_damaged_image_of_another_bundle_hides_nothing_of_this_one(layout: Layout, damage: bytes | None) -> None:
    bundle, other = image(layout, b"bundle"), image(layout, b"other")
    about, damaged = image(layout, b"signature", subject=bundle), image(layout, b"signature", subject=other)
    for entry in (bundle, other, about, damaged):
        layout.attach(entry)
    for entry in (other, damaged):
        path = layout.blob_path(entry.digest)
        path.unlink() if damage is None else path.write_bytes(damage)
    assert [found.digest for found, _ in layout.referrers(bundle.digest)] == [about.digest]
    assert layout.referrers(other.digest) == []


def test_a_damaged_image_that_names_its_subject_is_told(layout: Layout) -> None:
    bundle = image(layout, b"bundle")
    about = image(layout, b"signature", subject=bundle)
    layout.attach(about)
    path = layout.blob_path(about.digest)
    path.write_bytes(path.read_bytes().replace(b"x-test", b"x-tess"))
    with pytest.raises(DigestMismatchError):
        layout.referrers(bundle.digest)


def test_an_index_within_an_index_is_passed_over(layout: Layout) -> None:
    nested = layout.add_bytes(b"{}", "application/vnd.oci.image.index.v1+json")
    layout.attach(nested)
    assert layout.referrers(nested.digest) == []


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"{}", b'{"a":' * 100_000, b'{"schemaVersion":2,"manifests":[{"size":-1}]}']
)
def test_a_damaged_index_is_an_error_of_the_layout(layout: Layout, data: bytes) -> None:
    (layout.folder / "index.json").write_bytes(data)
    assert refusal(layout.index) == "layout.index"


def test_an_index_past_the_limit_is_not_parsed(layout: Layout) -> None:
    """SPEC 5.1.4."""
    (layout.folder / "index.json").write_bytes(b" " * (DOCUMENT_LIMIT + 1))
    assert refusal(layout.index) == "layout.size"


def test_an_image_of_another_media_type_is_refused(layout: Layout) -> None:
    """SPEC 5.2.1."""
    document = json.loads(layout.read_bytes(image(layout, b"1")))
    document["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    assert refusal(lambda: parse_image(canonical_json(document))) == "layout.image"


@given(st.binary())
def test_random_bytes_are_no_image(data: bytes) -> None:
    assert refusal(lambda: parse_image(data)) == "layout.image"


def _write(folder: Path, writer: int) -> None:
    layout = Layout.create(folder)
    (folder.parent / f"{writer}.txt").write_bytes(b"the same content")
    for number in range(NAMES):
        layout.add_file(folder.parent / f"{writer}.txt", "application/x-test")
        layout.name(f"{writer}-{number}", image(layout, f"{writer} {number}".encode()))


def test_several_processes_write_one_layout_and_nothing_is_lost(tmp_path: Path) -> None:
    """SPEC 5.1.5: even when all of them make it at once."""
    context = multiprocessing.get_context("spawn")
    folder = tmp_path / "store"
    writers = [context.Process(target=_write, args=(folder, writer)) for writer in range(PROCESSES)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(timeout=60)
    assert [process.exitcode for process in writers] == [0] * PROCESSES
    layout = Layout.open(folder)
    assert len(layout.references()) == PROCESSES * NAMES
    for name in layout.references():
        layout.read_image(layout.resolve(name))
    assert not list((folder / "blobs" / "sha256").glob("*.partial"))
