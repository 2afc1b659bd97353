"""Requests that wait are run together: dynamic batching for models whose first dimension is free."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from packager.serving.errors import BusyError, InferenceError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection
    from packager.opening import Opened
    from targets._target import Runner

    Tensors = dict[str, NDArray[np.generic]]


_IN_PLACE = 0.0005
"""Seconds of a call, on average, below which it is made in the event loop: two changes of thread cost as much."""
_WEIGHT = 0.1
"""Of the newest call in that average."""


class Limits(NamedTuple):
    """What the server takes on."""

    batch: int = 64
    """Most rows of one call."""
    delay: float = 0.0
    """Seconds that a call waits for more rows; 0: it takes what waits already."""
    queue: int = 1024
    """Most requests that wait."""
    body: int = 64 << 20
    """Most bytes of a request."""
    timeout: float = 30.0
    """Seconds until a request that waits is given up."""


class Call(NamedTuple):
    """One call of the model, as it was measured."""

    inputs: Tensors
    outputs: Tensors
    rows: int
    requests: int
    seconds: float


class _Waiting(NamedTuple):
    inputs: Tensors
    rows: int
    answer: asyncio.Future[Tensors]


class Batcher:
    """Runs one opened bundle. Made, used and closed in one event loop."""

    def __init__(
        self,
        opened: Opened,
        limits: Limits,
        observe: Callable[[Call], None],
        observe_error: Callable[[Exception, float], None],
    ) -> None:
        """`observe` is told of each call that returned, the other of each that raised, in the event loop."""
        self.opened = opened
        self._limits = limits
        self._observe = observe
        self._observe_error = observe_error
        self._joins = can_join(opened.manifest.signature)
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(limits.queue)
        self._kept: _Waiting | None = None
        self._threads = ThreadPoolExecutor(len(opened.runners), thread_name_prefix="model")
        self._seconds = 1.0
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks = [asyncio.create_task(self._work(runner)) for runner in opened.runners]

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return self._queue.qsize()

    async def infer(self, inputs: Tensors) -> Tensors:
        """The outputs for one request.

        Raises:
            BusyError: too many wait, or this one waited too long.
            InferenceError: the model failed.
        """
        rows = len(next(iter(inputs.values()))) if self._joins else 1
        if self._joins and rows > self._limits.batch:
            raise RequestError(f"expected at most {self._limits.batch} rows, got {rows}")
        waiting = _Waiting(inputs, rows, asyncio.get_running_loop().create_future())
        self._active += 1
        self._idle.clear()
        try:
            self._queue.put_nowait(waiting)
            return await asyncio.wait_for(waiting.answer, self._limits.timeout)
        except asyncio.QueueFull:
            raise BusyError(f"{self._limits.queue} requests wait already") from None
        except TimeoutError:
            raise BusyError(f"no answer within {self._limits.timeout:g} s") from None
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def close(self) -> None:
        """Answer what was taken on, then give back what the runtime holds."""
        await self._idle.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown()
        self.opened.close()

    async def _work(self, runner: Runner) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather()
            began = time.perf_counter()
            try:
                inputs = _joined(batch)
                if self._seconds < _IN_PLACE:
                    outputs = runner.run(inputs)
                    await asyncio.sleep(0)
                else:
                    outputs = await loop.run_in_executor(self._threads, runner.run, inputs)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a runtime raises is this request's answer, not the server's end
                self._observe_error(error, time.perf_counter() - began)
                for entry in batch:
                    if not entry.answer.done():
                        entry.answer.set_exception(InferenceError(str(error)))
                continue
            seconds = time.perf_counter() - began
            self._seconds += _WEIGHT * (seconds - self._seconds)
            rows = sum(entry.rows for entry in batch)
            self._observe(Call(inputs, outputs, rows, len(batch), seconds))
            for entry, part in zip(batch, _parted(outputs, batch), strict=True):
                if not entry.answer.done():
                    entry.answer.set_result(part)

    async def _gather(self) -> list[_Waiting]:
        """The next requests that go into one call."""
        first, self._kept = self._kept, None
        batch = [first or await self._queue.get()]
        if not self._joins:
            return batch
        rows = batch[0].rows
        until = time.monotonic() + self._limits.delay
        while rows < self._limits.batch:
            try:
                entry = self._queue.get_nowait()
            except asyncio.QueueEmpty:
                left = until - time.monotonic()
                if left <= 0:
                    break
                try:
                    entry = await asyncio.wait_for(self._queue.get(), left)
                except TimeoutError:
                    break
            if rows + entry.rows > self._limits.batch or not _alike(batch[0], entry):
                self._kept = entry
                break
            batch.append(entry)
            rows += entry.rows
        return batch


def can_join(signature: SignatureSection) -> bool:
    """Whether rows of several requests can go into one call: the first dimension is free, and the same everywhere."""
    first = {entry.shape[0] if entry.shape else 0 for entry in (*signature.inputs, *signature.outputs)}
    return len(first) == 1 and isinstance(next(iter(first)), str)


def _alike(first: _Waiting, other: _Waiting) -> bool:
    """Whether all but the rows have the same sizes."""
    return all(array.shape[1:] == other.inputs[name].shape[1:] for name, array in first.inputs.items())


def _joined(batch: list[_Waiting]) -> Tensors:
    if len(batch) == 1:
        return batch[0].inputs
    return {name: np.concatenate([entry.inputs[name] for entry in batch]) for name in batch[0].inputs}


def _parted(outputs: Tensors, batch: list[_Waiting]) -> list[Tensors]:
    if len(batch) == 1:
        return [outputs]
    parts, start = [], 0
    for entry in batch:
        parts.append({name: array[start : start + entry.rows] for name, array in outputs.items()})
        start += entry.rows
    return parts
