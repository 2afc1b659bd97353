from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from manifests.durable import durable_stream, write_durably

if TYPE_CHECKING:
    from pathlib import Path


class PowerCutError(Exception):
    """The machine stops here."""


def test_a_power_cut_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 5.1.5."""

    def cut(*_: object) -> None:
        raise PowerCutError

    path = tmp_path / "state"
    write_durably(path, b"old")
    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(PowerCutError):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_is_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def logged_fsync(handle: int) -> None:
        name = os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115 - a handle, not a path of ours
        steps.append("fsync folder" if name == str(tmp_path) else f"fsync {os.fstat(handle).st_size} bytes")
        fsync(handle)

    def logged_replace(source: str, target: Path) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "replace", logged_replace)
    write_durably(tmp_path / "state", b"12345")
    assert steps == ["fsync 5 bytes", "rename", "fsync folder"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_file_has_the_mode_that_was_asked_for(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"")
    path.chmod(0o666)
    write_durably(path, b"secret", mode=mode)
    assert path.stat().st_mode & 0o777 == mode


def test_what_raises_while_it_writes_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    with pytest.raises(PowerCutError), durable_stream(path) as stream:  # noqa: PT012 - the stream is what is broken off
        stream.write(b"half of the n")
        raise PowerCutError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(outside)
    write_durably(tmp_path / "link", b"new")
    assert outside.read_bytes() == b"precious"
    assert not (tmp_path / "link").is_symlink()


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_durably(path, b"content")
    assert path.read_bytes() == b"content"
