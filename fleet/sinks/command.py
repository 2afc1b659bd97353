"""A program on this machine: the event on its standard input, and its path and names in the environment.

The program may run for hours; the server goes on. It is ended when it takes longer than its `timeout`, and when the
server stops: with its whole process group, so that what it started ends with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.sinks._sink import DeliveryError

if TYPE_CHECKING:
    from typing import BinaryIO

    from fleet.config import CommandSink
    from fleet.sinks._sink import Event

TAIL_BYTES = 2000
"""How much of the end of the output is kept."""
GRACE_SECONDS = 5.0
"""Between asking a program to end and ending it."""


async def deliver(sink: CommandSink, event: Event, workspace: Path) -> str:
    """The end of what the program printed, once it ended with exit code 0.

    Raises:
        DeliveryError: it can't be started, ended otherwise, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="packtrain-event-") as folder, tempfile.TemporaryFile() as output:
        path = Path(folder) / "event.json"
        path.write_bytes(event.body)
        code = await _run(sink, event, path, workspace, output)
        tail = _tail(output)
    if code != 0:
        raise DeliveryError(f"ended with exit code {code}: {tail}")
    return tail


async def _run(sink: CommandSink, event: Event, path: Path, workspace: Path, output: BinaryIO) -> int:
    # A retraining needs PATH, HOME and its own settings: the program gets the server's environment and four names more.
    environment = os.environ | {
        "PACKTRAIN_EVENT": str(path),
        "PACKTRAIN_EVENT_ID": event.id,
        "PACKTRAIN_MODEL": event.model,
        "PACKTRAIN_VERSION": event.version,
    }
    with path.open("rb") as event_stream:
        try:
            process = await asyncio.create_subprocess_exec(
                *sink.command,
                stdin=event_stream,
                stdout=output,
                stderr=output,
                cwd=workspace,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise DeliveryError(f"'{sink.command[0]}' can't be started: {error}") from error
    try:
        return await asyncio.wait_for(process.wait(), sink.timeout)
    except TimeoutError as error:
        raise DeliveryError(f"took longer than {sink.timeout:g} s: {_tail(output)}") from error
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _tail(output: BinaryIO) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TAIL_BYTES))
    return output.read().decode(errors="replace").strip()
