"""What a server saw, in the windows that devices send: sketches of features and predictions, latency, errors."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from manifests.durable import write_durably
from packager.errors import ConfigError
from packager.measures.running import call_size
from wire.messages import Running
from wire.recorder import Recorder
from wire.spool import Spool, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from manifests.manifest import Manifest
    from packager.opening import Opened
    from packager.serving.batching import Call
    from wire.messages import Window


class Outbox(NamedTuple):
    """Where windows go: the spool of the `pack-agent` on this machine, which sends them as its own."""

    spool: Spool
    interval: float
    """Seconds of a window."""


def open_outbox(state: Path) -> Outbox:
    """The spool below the agent's state folder, with the agent's settings.

    Raises:
        ConfigError: there is no such folder.
    """
    if not state.is_dir():
        raise ConfigError(
            "serve.telemetry",
            f"no state folder of pack-agent at '{state}'",
            hint="give the folder that 'state' in agent.toml names",
        )
    settings = read_settings(state)
    return Outbox(Spool(state, settings.spool_bytes, write_durably), settings.interval)


class Recording:
    """The windows of one bundle."""

    def __init__(self, opened: Opened, *, boot: str, clock: Callable[[], float]) -> None:
        manifest = opened.manifest
        running = Running(
            version=manifest.bundle.version,
            counter=manifest.bundle.counter,
            target=manifest.bundle.target,
            bundle=opened.digest,
        )
        task = manifest.model.task
        self.recorder = Recorder(manifest.bundle.name, running, manifest.baseline, task, boot=boot, clock=clock)
        self._rows = _fixed_rows(manifest)

    def observe(self, call: Call) -> None:
        """Count a call that returned."""
        self.recorder.add(call.inputs, call.outputs, rows=self._rows or call.rows, seconds=call.seconds)

    def observe_error(self, error: Exception, seconds: float) -> None:
        """Count a call that raised."""
        self.recorder.add_error(error, seconds=seconds)


class Telemetry:
    """What one server records, bundle after bundle."""

    def __init__(
        self, outbox: Outbox | None, say: Callable[[str], None], *, clock: Callable[[], float] = time.time
    ) -> None:
        """Without an `outbox` only the window that is open can be looked at. `say` is told what is lost."""
        self._outbox = outbox
        self._say = say
        self._clock = clock
        self._boot = secrets.token_hex(8)
        self._sequence = 0
        self._recordings: list[Recording] = []

    def begin(self, opened: Opened) -> Recording:
        """What records the calls of another bundle; the one before goes on until `end`."""
        recording = Recording(opened, boot=self._boot, clock=self._clock)
        self._recordings.append(recording)
        return recording

    async def end(self, recording: Recording) -> None:
        """Hand in the last window of a bundle whose last call has ended."""
        self._recordings.remove(recording)
        await self._hand_in(recording)

    def look(self, recording: Recording) -> Window:
        """What was counted since its last window."""
        return recording.recorder.peek(self._sequence)

    async def run(self) -> None:
        """Hand in the windows of all bundles, each time an interval has passed; ends at once without an outbox."""
        while self._outbox is not None:
            await asyncio.sleep(self._outbox.interval)
            for recording in tuple(self._recordings):
                await self._hand_in(recording)

    async def _hand_in(self, recording: Recording) -> None:
        if self._outbox is None:
            return
        window = recording.recorder.close_window(self._sequence)
        if window is not None:
            self._sequence += 1
            try:
                await asyncio.to_thread(self._outbox.spool.put, window)
            except OSError as error:
                self._say(f"a window of telemetry is lost: {error}")


def _fixed_rows(manifest: Manifest) -> int | None:
    """The samples of one call; None: as many as the request has."""
    size = call_size(manifest.signature)
    return 1 if isinstance(size, dict) else size
