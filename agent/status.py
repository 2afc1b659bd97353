"""What ``pack-agent status`` says: read from the state folder, whether or not the daemon runs."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import msgspec

from agent.applications import attached
from agent.journal import read_entry
from agent.lifecycle import model_state
from manifests.durable import write_durably
from wire.messages import ModelState
from wire.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config import AgentConfig


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One model."""

    state: ModelState
    applications: int
    """Attached to it now."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The device."""

    device: str
    fleet: str
    running: bool
    """Whether the daemon is."""
    assignment: int
    """Sequence of the newest that was accepted; 0: none."""
    models: tuple[ModelStatus, ...]
    unsent_steps: int
    unsent_windows: int


def read_status(config: AgentConfig) -> Status:
    """What the state folder says.

    Raises:
        AgentError: the journal is damaged.
    """
    entry = read_entry(config.state / "journal.json")
    return Status(
        device=config.device,
        fleet=config.fleet,
        running=_is_held(config.state / "lock"),
        assignment=entry.sequence,
        models=tuple(
            ModelStatus(state=model_state(record), applications=len(attached(config.state, record.model)))
            for record in entry.models.values()
        ),
        unsent_steps=len(entry.steps),
        unsent_windows=Spool(config.state, config.telemetry.spool_bytes, write_durably).count(),
    )


def render_status(status: Status, output: str) -> str:
    """The status as ``text`` or ``json``, with a newline at the end."""
    if output == "json":
        return msgspec.json.format(msgspec.json.encode(status), indent=2).decode() + "\n"
    running = "running" if status.running else "not running"
    unsent = f"{_count(status.unsent_steps, 'step')} and {_count(status.unsent_windows, 'window')} to send"
    lines = [f"{status.device} of {status.fleet}: agent {running}, assignment {status.assignment}, {unsent}"]
    for entry in status.models:
        state = entry.state
        active = f"version {state.active.version} ({state.active.target})" if state.active else "nothing"
        line = f"{state.model}: {state.state}, {active} active, {_count(entry.applications, 'application')}"
        if state.next is not None:
            line += f", version {state.next.version} coming"
        lines.append(line)
        if state.fault is not None:
            lines.append(f"  {state.fault.code}: {state.fault.message}")
    return "\n".join(lines) + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _is_held(lock: Path) -> bool:
    try:
        stream = lock.open("r+")
    except FileNotFoundError:
        return False
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
