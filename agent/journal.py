"""What must survive a power cut, in one file that is replaced as a whole: ``journal.json`` below the state folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.errors import AgentError
from agent.lifecycle import Record
from manifests.durable import write_durably
from wire.messages import Assignment, Step

if TYPE_CHECKING:
    from pathlib import Path

STEPS_LIMIT = 128
"""Steps kept for a server that can't be reached; beyond it the oldest go."""
_FORMAT = 1


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole journal at one moment."""

    format: int
    assignment: Assignment | None = None
    """The newest one that was accepted."""
    envelope: bytes = b""
    """Its DSSE envelope, which the updater verifies anew each time."""
    models: dict[str, Record] = {}
    steps: tuple[Step, ...] = ()
    """Not yet known to have reached the broker."""
    gone: int = 0
    """How many steps ever left `steps`, so that what was sent can be told from what came after."""

    @property
    def sequence(self) -> int:
        """Of the newest assignment that was accepted; 0: none."""
        return self.assignment.sequence if self.assignment else 0


class Journal:
    """The journal of one state folder. Every change is on the disk when its method returns."""

    def __init__(self, path: Path) -> None:
        """Read what is there.

        Raises:
            AgentError: it is damaged. It is not thrown away: the newest sequence it holds is what stops a replay.
        """
        self._path = path
        self.entry = read_entry(path)

    def accept(self, assignment: Assignment, envelope: bytes) -> None:
        """Make this the newest assignment."""
        self._write(msgspec.structs.replace(self.entry, assignment=assignment, envelope=envelope))

    def put(self, record: Record, *steps: Step) -> None:
        """Write a model's record and the steps that led to it, both or neither."""
        models = {**self.entry.models, record.model: record}
        self._write(msgspec.structs.replace(self.entry, models=models), *steps)

    def add(self, *steps: Step) -> None:
        """Write steps alone."""
        self._write(self.entry, *steps)

    def forget(self, upto: int) -> None:
        """Drop the steps that were sent: all whose number is below `upto`, counted as `Entry.gone` counts."""
        count = upto - self.entry.gone
        if count > 0:
            self._write(msgspec.structs.replace(self.entry, steps=self.entry.steps[count:], gone=upto))

    def _write(self, entry: Entry, *steps: Step) -> None:
        kept = (*entry.steps, *steps)
        excess = max(0, len(kept) - STEPS_LIMIT)
        entry = msgspec.structs.replace(entry, steps=kept[excess:], gone=entry.gone + excess)
        write_durably(self._path, msgspec.json.encode(entry), mode=0o600)
        self.entry = entry


def read_entry(path: Path) -> Entry:
    """What stands in the journal; an empty one where there is no file.

    Raises:
        AgentError: it is damaged, or written by a version that this one does not know.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Entry(format=_FORMAT)
    hint = "enrol the device again: without its journal it can't tell a replayed assignment from a new one"
    try:
        entry = msgspec.json.decode(data, type=Entry)
    except msgspec.DecodeError as error:
        raise AgentError("journal.damaged", f"'{path}' can't be read: {error}", hint=hint) from error
    if entry.format != _FORMAT:
        raise AgentError(
            "journal.format",
            f"'{path}' has another format: expected {_FORMAT}, got {entry.format}",
            hint="start the version of packtrain that wrote it",
        )
    return entry
