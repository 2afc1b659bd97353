from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.errors import AgentError
from agent.slots import Content, Slots, open_slot
from manifests.digests import digest_bytes
from wire.messages import Running

if TYPE_CHECKING:
    from pathlib import Path

    from agent.lifecycle import Slot


def stage(slots: Slots, slot: Slot, blob: Path, version: str = "1") -> None:
    running = Running(version=version, counter=1, target="cloud", bundle=digest_bytes(version.encode()))
    slots.stage("digits", slot, Content(running=running, manifest=digest_bytes(b"{}")), b"{}", [("a/b.bin", blob)])


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", ".hidden", "a\n", "x" * 80])
def test_a_name_that_could_lead_elsewhere_is_no_models_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(AgentError) as caught:
        Slots(tmp_path).folder(name, "a")
    assert caught.value.code == "slot.name"


def test_the_active_slot_is_never_written(tmp_path: Path, blob: Path) -> None:
    slots = Slots(tmp_path)
    stage(slots, "a", blob)
    slots.switch("digits", "a")
    with pytest.raises(AgentError) as caught:
        stage(slots, "a", blob, "2")
    assert caught.value.code == "slot.active"
    assert slots.open_active("digits").content.running.version == "1"


def test_an_empty_slot_can_not_be_made_active(tmp_path: Path, blob: Path) -> None:
    slots = Slots(tmp_path)
    stage(slots, "a", blob)
    with pytest.raises(AgentError) as caught:
        slots.switch("digits", "b")
    assert caught.value.code == "slot.empty"
    assert slots.active("digits") is None


def test_a_file_that_an_application_has_mapped_stays_as_it_was_when_its_slot_is_filled_again(
    tmp_path: Path, blob: Path
) -> None:
    slots = Slots(tmp_path)
    stage(slots, "a", blob)
    with (slots.folder("digits", "a") / "files" / "a" / "b.bin").open("rb") as mapped:
        other = tmp_path / "other"
        other.write_bytes(b"other")
        stage(slots, "a", other, "2")
        assert mapped.read() == b"weights"


def test_switching_to_what_is_active_does_not_touch_the_link(tmp_path: Path, blob: Path) -> None:
    slots = Slots(tmp_path)
    stage(slots, "a", blob)
    slots.switch("digits", "a")
    before = slots.link("digits").lstat()
    slots.switch("digits", "a")
    assert slots.link("digits").lstat() == before


def test_what_a_power_cut_left_is_swept_away(tmp_path: Path, blob: Path) -> None:
    slots = Slots(tmp_path)
    stage(slots, "a", blob)
    folder = slots.link("digits").parent
    (folder / ".b.incoming" / "files").mkdir(parents=True)
    (folder / ".active.new").symlink_to("b")
    slots.sweep("digits")
    assert [entry.name for entry in folder.iterdir()] == ["a"]


def test_a_slot_that_is_empty_or_damaged_says_so(tmp_path: Path, blob: Path) -> None:
    slots = Slots(tmp_path)
    with pytest.raises(AgentError) as caught:
        open_slot(slots.folder("digits", "a"))
    assert caught.value.code == "slot.empty"
    stage(slots, "a", blob)
    (slots.folder("digits", "a") / "slot.json").write_bytes(b"{")
    with pytest.raises(AgentError) as caught:
        open_slot(slots.folder("digits", "a"))
    assert caught.value.code == "slot.damaged"


def test_a_removed_model_leaves_nothing(tmp_path: Path, blob: Path) -> None:
    slots = Slots(tmp_path)
    stage(slots, "a", blob)
    slots.switch("digits", "a")
    slots.remove("digits")
    slots.remove("digits")
    assert list((tmp_path / "models").iterdir()) == []
