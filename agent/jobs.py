"""What the daemon and its short-lived processes tell each other: one JSON job in, JSON lines out.

The daemon keeps the process's standard input open; its end means that the daemon is gone.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Literal

import msgspec

from agent.lifecycle import Slot
from wire.messages import Assignment, Desired, Fault, ModelState, Step

EXIT_ORPHANED = 75
"""EX_TEMPFAIL of sysexits(3): the daemon went away."""


class Job(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What every job has in common."""

    config: str
    """Path of ``agent.toml``."""


class Verify(Job, frozen=True, kw_only=True):
    """Find out whether an assignment counts. Answered by `Verified` or `Failed`."""

    envelope: bytes
    newest: int


class Fetch(Job, frozen=True, kw_only=True):
    """Bring one model of an assignment into a slot. Answered by `Staged` or `Failed`, after its steps."""

    envelope: bytes
    newest: int
    desired: Desired
    slot: Slot


class Sign(Job, frozen=True, kw_only=True):
    """Add the inventory to a report, and sign it. Answered by `Signed` or `Failed`."""

    boot: str
    sequence: int
    time: float
    assignment: int
    models: tuple[ModelState, ...]
    steps: tuple[Step, ...]


class Line(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One line of output."""


class Done(Line, frozen=True, kw_only=True):
    """A step ended."""

    step: Step


class Verified(Line, frozen=True, kw_only=True):
    """The assignment counts."""

    assignment: Assignment


class Staged(Line, frozen=True, kw_only=True):
    """The slot holds the bundle."""

    fetched: int
    """Chunks that came over the network."""
    kept: int
    """Chunks that were on the device."""


class Signed(Line, frozen=True, kw_only=True):
    """The report."""

    envelope: bytes


class Tested(Line, frozen=True, kw_only=True):
    """The bundle computes here what it computed when it was built."""

    samples: int


class Failed(Line, frozen=True, kw_only=True):
    """It did not work."""

    outcome: Literal["refused", "unreachable"]
    fault: Fault


AnyJob = Verify | Fetch | Sign
AnyLine = Done | Verified | Staged | Signed | Tested | Failed


def read_job() -> AnyJob:
    """The job on the first line of standard input; from then on this process ends when the input does.

    Raises:
        ValueError: it is none.
    """
    line = sys.stdin.buffer.readline()
    end_with_input()
    job: AnyJob = msgspec.json.decode(line, type=AnyJob)
    return job


def write_line(line: AnyLine) -> None:
    """Tell the daemon."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def end_with_input() -> None:
    """End this process when standard input does: then the daemon is gone, and nobody reads the answer."""

    def wait() -> None:
        # Not through sys.stdin: at exit the interpreter would wait for its lock.
        while os.read(0, 1 << 12):
            pass
        os._exit(EXIT_ORPHANED)

    threading.Thread(target=wait, daemon=True).start()
