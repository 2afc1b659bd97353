"""The model that is served now, and how another takes its place without a failed request."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from manifests.errors import ManifestError
from packager.errors import PackError
from packager.serving.batching import Batcher
from packager.serving.errors import BusyError, InferenceError, RequestError
from packager.serving.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import Manifest
    from packager.opening import Opened
    from packager.serving.batching import Call, Limits
    from packager.serving.telemetry import Recording, Telemetry
    from wire.messages import Window

    Tensors = dict[str, NDArray[np.generic]]


class Served:
    """What requests are answered by. `start`, `infer` and `close` belong to one event loop."""

    def __init__(self, opened: Opened, limits: Limits, telemetry: Telemetry) -> None:
        self.limits = limits
        self.metrics = Metrics()
        self._telemetry = telemetry
        self._recording = telemetry.begin(opened)
        self.ready = False
        self._opened = opened
        self._current: Batcher | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def manifest(self) -> Manifest:
        """Of the bundle that is served now."""
        return self._opened.manifest

    @property
    def digest(self) -> str:
        """Of the bundle that is served now."""
        return self._opened.digest

    @property
    def window(self) -> Window:
        """What was counted of that bundle since its last window."""
        return self._telemetry.look(self._recording)

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return self._current.waiting if self._current else 0

    async def start(self) -> None:
        """Take requests."""
        self._current = self._batcher()
        self._announce()
        self.ready = True

    async def swap(self, opened: Opened) -> None:
        """Answer new requests by another bundle; those that the old one has taken on, it still answers."""
        old, recording = self._current, self._recording
        self._opened, self._recording = opened, self._telemetry.begin(opened)
        self._current = self._batcher()
        self._announce()
        if old is not None:
            task = asyncio.create_task(self._leave(old, recording))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def infer(self, inputs: Tensors) -> tuple[Tensors, Manifest]:
        """The outputs, and the manifest of the bundle that made them.

        Raises:
            RequestError, BusyError, InferenceError: there are none.
        """
        batcher = self._current
        if batcher is None:
            raise BusyError("the model is not loaded yet")
        manifest = batcher.opened.manifest
        name, version = manifest.bundle.name, manifest.bundle.version
        began, outcome = time.perf_counter(), "ok"
        try:
            return await batcher.infer(inputs), manifest
        except RequestError:
            outcome = "invalid"
            raise
        except BusyError:
            outcome = "busy"
            raise
        except InferenceError:
            outcome = "failed"
            raise
        finally:
            self.metrics.request(name, version, outcome, time.perf_counter() - began)

    async def close(self) -> None:
        """Answer what was taken on, and stop."""
        self.ready = False
        if self._current is not None:
            await self._leave(self._current, self._recording)
            self._current = None
        await asyncio.gather(*self._leaving)

    async def _leave(self, batcher: Batcher, recording: Recording) -> None:
        await batcher.close()
        await self._telemetry.end(recording)

    def _announce(self) -> None:
        bundle = self.manifest.bundle
        self.metrics.loaded(bundle.name, bundle.version, self.digest)

    def _batcher(self) -> Batcher:
        bundle, recording = self.manifest.bundle, self._recording

        def observe(call: Call) -> None:
            self.metrics.call(bundle.name, bundle.version, call)
            recording.observe(call)

        return Batcher(self._opened, self.limits, observe, recording.observe_error)


async def follow(
    served: Served, newest: Callable[[], str], load: Callable[[], Opened], *, seconds: float, say: Callable[[str], None]
) -> None:
    """Swap whenever `newest` names another bundle than before; a bundle that can't be loaded leaves the old one.

    `newest` and `load` run in a thread.
    """
    known = await asyncio.to_thread(newest)
    said = ""
    while True:
        await asyncio.sleep(seconds)
        try:
            name = await asyncio.to_thread(newest)
            if name == known:
                continue
            opened = await asyncio.to_thread(load)
        except (PackError, ManifestError, ValueError, OSError) as error:
            # Tried again: a bundle stands in the store before its signature does.
            if str(error) != said:
                said = str(error)
                say(f"keeps what it serves: {error}")
            continue
        known, said = name, ""
        await served.swap(opened)
        say(f"serves {opened.reference} now")
