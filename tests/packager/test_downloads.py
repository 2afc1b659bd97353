from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.digests import digest_bytes
from packager.downloads import arrived_path, download, forget_stale, partial_path, place_below, refuse_large
from packager.errors import ConversionError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 8


class Remote:
    """A server that breaks off after so many bytes each time, and may not know ranges."""

    def __init__(self, breaks: list[int], *, ranges: bool = True) -> None:
        self.breaks = breaks
        self.ranges = ranges
        self.asked: list[int] = []

    def read(self, offset: int) -> tuple[int, Iterator[bytes]]:
        self.asked.append(offset)
        start = offset if self.ranges else 0
        return start, self._blocks(CONTENT[start:])

    def _blocks(self, rest: bytes) -> Iterator[bytes]:
        if not self.breaks:
            yield rest
            return
        yield rest[: self.breaks.pop(0)]
        raise NetworkError("source.unreachable", "broken off")


def nothing(seconds: float) -> None:
    """A pause that takes no time."""
    del seconds


@settings(deadline=None, max_examples=50)
@given(breaks=st.lists(st.integers(1, len(CONTENT)), max_size=3), ranges=st.booleans(), before=st.integers(0, 4000))
def test_whatever_breaks_off_the_file_is_whole_in_the_end(
    *, breaks: list[int], ranges: bool, before: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("download")
    place = partial_path(folder, "net")
    place.write_bytes((CONTENT + CONTENT)[:before])
    remote = Remote(breaks, ranges=ranges)
    found = download(
        place, folder / "net", "net", len(CONTENT), remote.read, digest=digest_bytes(CONTENT), pause=nothing
    )
    assert found.read_bytes() == CONTENT
    assert not place.exists()


def test_four_failures_without_a_byte_end_it_and_keep_what_arrived(tmp_path: Path) -> None:
    remote = Remote([100, 0, 0, 0, 0])
    place = tmp_path / "net.partial"
    with pytest.raises(NetworkError, match="broken off"):
        download(place, tmp_path / "net", "net", len(CONTENT), remote.read, pause=nothing)
    assert (place.read_bytes(), remote.asked) == (CONTENT[:100], [0, 100, 100, 100, 100])


def test_more_than_was_announced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="larger than announced: expected 100 bytes"):
        download(tmp_path / "net.partial", tmp_path / "net", "net", 100, Remote([]).read, pause=nothing)
    assert not (tmp_path / "net").exists()


def test_other_bytes_than_those_that_were_named_leave_nothing(tmp_path: Path) -> None:
    wrong = digest_bytes(b"another")
    with pytest.raises(ConversionError, match=f"expected {wrong}, got {digest_bytes(CONTENT)}"):
        download(
            tmp_path / "net.partial",
            tmp_path / "net",
            "net",
            len(CONTENT),
            Remote([]).read,
            digest=wrong,
            pause=nothing,
        )
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_went_on_with_for_a_week_is_removed(tmp_path: Path) -> None:
    old, new = partial_path(tmp_path, "old"), arrived_path(partial_path(tmp_path, "new"))
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    forget_stale(tmp_path, new.stat().st_mtime + 1)
    assert list(tmp_path.iterdir()) == [new]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../net", "a/../../net", "a//b", "a/.", "..", "a\\b", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="leads out of the model's folder"):
        place_below(tmp_path, name)


def test_a_name_below_the_folder_is_taken(tmp_path: Path) -> None:
    assert place_below(tmp_path, "./a/b.onnx") == tmp_path / "a" / "b.onnx"


def test_a_size_up_to_the_limit_is_let_pass() -> None:
    refuse_large("net", 10, 10)
    with pytest.raises(ConversionError, match="'net' is too large: expected at most 10 bytes, got 11"):
        refuse_large("net", 11, 10)
