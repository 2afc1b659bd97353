"""Programs whose standard input stays open until they have ended: the agent's self-test ends when it closes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SECONDS = 600


def answer(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """What the command prints; it must succeed."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait(SECONDS) == 0, out
    return out
