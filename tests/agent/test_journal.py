from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent.errors import AgentError
from agent.journal import STEPS_LIMIT, Journal
from agent.lifecycle import Record
from wire.messages import Assignment, Step

if TYPE_CHECKING:
    from pathlib import Path

BUNDLE = "sha256:" + "1" * 64


def step(number: int) -> Step:
    return Step(model="digits", version=str(number), bundle=BUNDLE, step="download", time=float(number))


class PowerCutError(BaseException):
    pass


def cut_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The power goes at the `count`-th flush from now."""
    flush = os.fsync
    left = [count]

    def fsync(handle: int) -> None:
        if left[0] == 0:
            raise PowerCutError
        left[0] -= 1
        flush(handle)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_folder_without_a_journal_has_nothing_under_way(tmp_path: Path) -> None:
    entry = Journal(tmp_path / "journal.json").entry
    assert (entry.sequence, entry.models, entry.steps) == (0, {}, ())


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    assignment = Assignment(fleet="f", device="d", sequence=7, models=())
    journal.accept(assignment, b"envelope")
    journal.put(Record(model="digits", state="downloading", sequence=7), step(1))
    journal.add(step(2))
    entry = Journal(tmp_path / "journal.json").entry
    assert entry == journal.entry
    assert entry.sequence == 7
    assert entry.envelope == b"envelope"
    assert entry.models["digits"].state == "downloading"
    assert [one.version for one in entry.steps] == ["1", "2"]


@pytest.mark.parametrize("flush", [0, 1])
def test_a_power_cut_leaves_record_and_steps_both_old_or_both_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: int
) -> None:
    journal = Journal(tmp_path / "journal.json")
    journal.put(Record(model="digits", state="downloading"), step(1))
    cut_at(monkeypatch, flush)
    with pytest.raises(PowerCutError):
        journal.put(Record(model="digits", state="staged"), step(2))
    entry = Journal(tmp_path / "journal.json").entry
    found = (entry.models["digits"].state, len(entry.steps))
    assert found == (("downloading", 1) if flush == 0 else ("staged", 2))


def test_steps_are_forgotten_by_number_so_that_later_ones_stay(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    journal.add(step(1), step(2))
    upto = journal.entry.gone + 2
    journal.add(step(3))
    journal.forget(upto)
    assert [one.version for one in journal.entry.steps] == ["3"]
    journal.forget(upto)
    assert [one.version for one in journal.entry.steps] == ["3"]


def test_steps_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    journal.add(*(step(number) for number in range(STEPS_LIMIT)))
    sent = journal.entry.gone + 1
    journal.add(step(STEPS_LIMIT), step(STEPS_LIMIT + 1))
    assert len(journal.entry.steps) == STEPS_LIMIT
    assert journal.entry.steps[0].version == "2"
    journal.forget(sent)
    assert journal.entry.steps[0].version == "2"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "journal.damaged"),
        (b'{"format": 1, "models": 3}', "journal.damaged"),
        (b'{"format": 2}', "journal.format"),
    ],
)
def test_a_damaged_journal_is_not_taken_for_an_empty_one(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "journal.json").write_bytes(content)
    with pytest.raises(AgentError) as caught:
        Journal(tmp_path / "journal.json")
    assert caught.value.code == code
