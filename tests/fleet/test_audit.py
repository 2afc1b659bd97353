from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.audit import AuditLog
from fleet.errors import FleetError, RefusedError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = AuditLog(tmp_path / "audit.jsonl")
    for number in range(4):
        log.append("publish", {"bundle": str(number)}, now=float(number))
    return tmp_path / "audit.jsonl"


def test_a_chain_that_nobody_touched_is_whole(path: Path) -> None:
    log = AuditLog(path)
    count, last = log.verify()
    assert count == 4
    assert log.verify(known=last) == (4, last)
    assert [entry.details["bundle"] for entry in log.entries()] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("line", range(3))
def test_a_line_that_was_changed_breaks_the_chain(path: Path, line: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"publish", b"publisH")
    path.write_bytes(b"".join(lines))
    with pytest.raises(RefusedError, match=f"broken at line {line + 2}"):
        AuditLog(path).verify()


@pytest.mark.parametrize("line", range(3))
def test_a_line_that_was_removed_breaks_the_chain(path: Path, line: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[line]
    path.write_bytes(b"".join(lines))
    with pytest.raises(RefusedError, match=f"broken at line {line + 1}"):
        AuditLog(path).verify()


def test_a_log_that_was_cut_off_lacks_the_known_entry(path: Path) -> None:
    _, last = AuditLog(path).verify()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert AuditLog(path).verify()[0] == 3
    with pytest.raises(RefusedError, match="is gone"):
        AuditLog(path).verify(known=last)


def test_what_a_power_cut_left_of_a_line_is_dropped_by_the_next(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b'{"action":"pub')
    AuditLog(path).append("assign", {}, now=9.0)
    assert AuditLog(path).verify()[0] == 5


def test_a_line_that_is_no_entry_is_refused(path: Path) -> None:
    path.write_bytes(b"nonsense\n")
    with pytest.raises(RefusedError, match="no entry"):
        AuditLog(path).verify()


def test_a_log_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="there is no audit log"):
        AuditLog(tmp_path / "audit.jsonl").verify()
