"""The two slots of a model, and the link that says which one is active.

``<state>/models/<model>/a`` and ``b`` are whole or absent; ``active`` is a symbolic link to one of them, replaced
by one rename. A slot holds ``slot.json`` (what it is), ``manifest.json`` and ``files/``. Files in a slot are never
written again: an application may have them mapped.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent.errors import AgentError
from manifests.durable import sync_folder, write_durably
from wire.messages import Digest, Running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.lifecycle import Slot

ACTIVE = "active"
MANIFEST = "manifest.json"

_DESCRIPTION = "slot.json"
_FILES = "files"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_TRIES = 5


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a slot holds, as its ``slot.json`` says."""

    running: Running
    manifest: Digest
    """Of ``manifest.json``."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A slot that was read."""

    folder: Path
    content: Content
    manifest: bytes
    """Bytes of the manifest; their digest is not checked yet."""

    @property
    def files(self) -> Path:
        """The folder that the manifest's paths are relative to."""
        return self.folder / _FILES


class Slots:
    """The slots of every model below one state folder."""

    def __init__(self, state: Path) -> None:
        self._models = state / "models"

    def folder(self, model: str, slot: Slot) -> Path:
        """Where a slot stands, or would."""
        return self._model(model) / slot

    def link(self, model: str) -> Path:
        """Where the active link stands, or would."""
        return self._model(model) / ACTIVE

    def active(self, model: str) -> str | None:
        """The slot that the link names; None: there is no link."""
        try:
            return str(self.link(model).readlink())
        except FileNotFoundError:
            return None

    def stage(
        self, model: str, slot: Slot, content: Content, manifest: bytes, files: Iterable[tuple[str, Path]]
    ) -> None:
        """Fill a slot that is not active with a bundle: each file, by its path in the bundle, is linked from its blob.

        The blobs must be on the disk already. A power cut leaves the slot as it was, or absent, or whole.

        Raises:
            AgentError: the slot is the active one.
        """
        if self.active(model) == slot:
            raise AgentError("slot.active", f"slot '{slot}' of '{model}' is active, so nothing is staged into it")
        target = self.folder(model, slot)
        incoming = target.with_name(f".{slot}.incoming")
        shutil.rmtree(incoming, ignore_errors=True)
        (incoming / _FILES).mkdir(parents=True)
        for path, blob in files:
            place = incoming / _FILES / path
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(blob, place)
        write_durably(incoming / MANIFEST, manifest)
        write_durably(incoming / _DESCRIPTION, msgspec.json.encode(content))
        for folder in sorted({entry.parent for entry in incoming.rglob("*")}):
            sync_folder(folder)
        if target.exists():
            shutil.rmtree(target)
        incoming.rename(target)
        sync_folder(target.parent)

    def switch(self, model: str, slot: Slot | None) -> None:
        """Make a slot the active one, by one rename; None: none of them. Switching to what is active does nothing.

        Raises:
            AgentError: the slot is empty.
        """
        link = self.link(model)
        if self.active(model) == slot:
            return
        if slot is None:
            link.unlink()
        elif not (link.with_name(slot) / _DESCRIPTION).is_file():
            raise AgentError("slot.empty", f"slot '{slot}' of '{model}' is empty, so it can't be made active")
        else:
            fresh = link.with_name(f".{ACTIVE}.new")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(slot)
            fresh.replace(link)
        sync_folder(link.parent)

    def remove(self, model: str) -> None:
        """Take the model off the device: the link first, then both slots."""
        folder = self._model(model)
        if folder.is_dir():
            self.switch(model, None)
            shutil.rmtree(folder)
            sync_folder(folder.parent)

    def sweep(self, model: str) -> None:
        """Remove what an interrupted `stage` or `switch` left."""
        for leftover in self._model(model).glob(".*"):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()

    def installed(self) -> Iterator[Opened]:
        """Every slot that holds something, active or not."""
        for description in sorted(self._models.glob(f"*/[ab]/{_DESCRIPTION}")):
            yield _read(description.parent)

    def open_active(self, model: str) -> Opened:
        """The active slot of a model.

        Raises:
            AgentError: none is active, or the slot can't be read.
        """
        problem: OSError | None = None
        for _ in range(_TRIES):
            slot = self.active(model)
            if slot is None:
                break
            try:
                return _read(self._model(model) / slot)
            except FileNotFoundError as error:  # switched away from, and refilled, meanwhile
                problem = error
        raise AgentError(
            "model.missing",
            f"no version of model '{model}' is active in '{self._models.parent}'",
            hint="pack-agent status says what the device is doing; PACK_AGENT_STATE names another state folder",
        ) from problem

    def _model(self, model: str) -> Path:
        if not _NAME.fullmatch(model):
            raise AgentError(
                "slot.name", f"'{model}' is no model's name: expected lower-case letters, digits, '.', '_', '-'"
            )
        return self._models / model


def open_slot(folder: Path) -> Opened:
    """The slot in that folder.

    Raises:
        AgentError: it can't be read.
    """
    try:
        return _read(folder)
    except FileNotFoundError as error:
        raise AgentError("slot.empty", f"'{folder}' is not a filled slot") from error


def _read(folder: Path) -> Opened:
    try:
        content = msgspec.json.decode((folder / _DESCRIPTION).read_bytes(), type=Content)
    except msgspec.DecodeError as error:
        raise AgentError("slot.damaged", f"'{folder / _DESCRIPTION}' is damaged: {error}") from error
    return Opened(folder=folder, content=content, manifest=(folder / MANIFEST).read_bytes())
