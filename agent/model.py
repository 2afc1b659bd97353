"""What an application embeds: the active version of a model, kept up to date while it is used.

    with Model("digits") as model:
        outputs = model.predict(images)        # {"probabilities": array of shape (rows, 10)}
        digits = model.classify(images)        # ["3", "7", ...]

A thread of the model looks at the active link; a newly activated version is opened beside the one in use, which answers
until the new one is ready. Calls that are under way end on the version that they began with.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from agent.applications import Attachment, Health
from agent.batches import batch_size, count_rows, run_batches
from agent.config import default_state
from agent.errors import AgentError
from agent.runtimes._runtime import open_runtime
from agent.slots import Slots
from manifests.digests import check_bytes, check_file
from manifests.durable import write_durably
from manifests.errors import ManifestError
from manifests.manifest import decode_manifest
from wire.messages import Fault
from wire.recorder import Recorder
from wire.spool import Spool, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from agent.runtimes._runtime import Runtime
    from agent.slots import Opened
    from manifests.manifest import Manifest, SignatureSection
    from wire.messages import Running

    Outputs: TypeAlias = dict[str, NDArray[np.generic]]

WATCH_PERIOD = 0.25
"""Seconds between two looks at the active link: one lstat."""
TELL_PERIOD = 1.0
"""Seconds after which changed counts of calls are told to the daemon."""

_log = logging.getLogger(__name__)


class _Served:
    """One version, opened. Closed when its last call has ended."""

    def __init__(self, opened: Opened, manifest: Manifest, runtime: Runtime, recorder: Recorder) -> None:
        self.running: Running = opened.content.running
        self.manifest = manifest
        self.recorder = recorder
        self.batch = batch_size(manifest.signature)
        self.inputs = tuple(tensor.name for tensor in manifest.signature.inputs)
        self._runtime = runtime
        self._lock = threading.Lock()
        self._closed = False

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Outputs | None:
        """The outputs; None: this version was closed meanwhile."""
        with self._lock:
            if self._closed:
                return None
            return run_batches(self._runtime, inputs, self.batch)

    def reset(self) -> None:
        with self._lock:
            if not self._closed:
                self._runtime.reset()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._runtime.close()


class Model:
    """The active version of one model on this device. Safe for concurrent calls.

    Attributes:
        name: of the model.
    """

    def __init__(self, name: str, *, state: Path | None = None, threads: int = 1) -> None:
        """Open the active version of the model `name`, with that many threads for its computations.

        `state` is the agent's state folder; by default that of the environment (``PACK_AGENT_STATE``), else
        ``/var/lib/pack-agent``.

        Raises:
            AgentError: no version is active, or the active one can't be opened on this device.
            ManifestError: the active version is damaged on the disk.
        """
        self.name = name
        self._state = state or default_state()
        self._threads = threads
        self._slots = Slots(self._state)
        self._boot = secrets.token_hex(8)
        self._sequence = 0
        self._told: Health | None = None
        self._retired: Recorder | None = None
        self._refused: tuple[str, Fault] | None = None
        self._end = threading.Event()
        self._link = self._look()
        self._served = self._open()
        settings = read_settings(self._state)
        self._interval = settings.interval
        self._spool = Spool(self._state, settings.spool_bytes, write_durably)
        self._attachment = Attachment(self._state, name)
        self._tell()
        self._thread = threading.Thread(target=self._watch, name=f"model {name}", daemon=True)
        self._thread.start()

    @property
    def version(self) -> str:
        """Of the version in use; the next call may be answered by a newer one."""
        return self._served.running.version

    @property
    def bundle(self) -> str:
        """Digest of the bundle in use."""
        return self._served.running.bundle

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the scores' last axis; empty where the model is no classifier."""
        return self._served.manifest.model.task.labels

    @property
    def signature(self) -> SignatureSection:
        """What goes in and what comes out."""
        return self._served.manifest.signature

    def predict(self, inputs: ArrayLike | Mapping[str, ArrayLike]) -> Outputs:
        """The outputs by name, for samples along the first axis; any number of rows, even if the file fixes it.

        A model with one input takes the array itself; otherwise give arrays by the inputs' names. Nothing is cast.

        Raises:
            ValueError: an input is missing, unknown, or of the wrong dtype or shape; the message names it.
        """
        start = time.perf_counter()
        while True:
            served = self._served
            try:
                named = _by_name(served, inputs)
                outputs = served.run(named)
                rows = count_rows(named)
            except BaseException as error:
                served.recorder.add_error(error, seconds=time.perf_counter() - start)
                raise
            if outputs is not None:
                served.recorder.add(named, outputs, rows=rows, seconds=time.perf_counter() - start)
                return outputs

    def classify(self, inputs: ArrayLike | Mapping[str, ArrayLike]) -> list[str]:
        """The label with the highest score, for each sample.

        Raises:
            ValueError: as `predict`; or the model is no classifier.
        """
        task = self._served.manifest.model.task
        outputs = self.predict(inputs)
        if task.kind != "classification" or task.output not in outputs:
            raise ValueError(f"model '{self.name}' is no classifier: its task is {task.kind}")
        winners = outputs[task.output].argmax(axis=-1).ravel()
        return [task.labels[winner] if task.labels else str(winner) for winner in winners.tolist()]

    def reset(self) -> None:
        """Begin a new sequence: a file that keeps its state from call to call forgets it."""
        self._served.reset()

    def close(self) -> None:
        """Hand in what was recorded, and give back the model. No call may follow; closing twice is no error."""
        if self._end.is_set():
            return
        self._end.set()
        self._thread.join()
        self._hand_in_all()
        self._attachment.close()
        self._served.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self) -> tuple[int, int]:
        """What changes whenever the active link is replaced."""
        try:
            found = self._slots.link(self.name).lstat()
        except FileNotFoundError:
            return (0, 0)
        return (found.st_ino, found.st_mtime_ns)

    def _open(self) -> _Served:
        opened = self._slots.open_active(self.name)
        check_bytes(opened.manifest, opened.content.manifest, what="manifest.json")
        manifest = decode_manifest(opened.manifest)
        for entry in manifest.files:
            if entry.role != "golden":
                check_file(opened.files / entry.path, entry.digest)
        try:
            runtime = open_runtime(manifest, opened.files, threads=self._threads)
        except ValueError as error:
            raise AgentError("model.open", str(error)) from error
        recorder = Recorder(
            self.name,
            opened.content.running,
            manifest.baseline,
            manifest.model.task,
            boot=self._boot,
            clock=time.time,
        )
        return _Served(opened, manifest, runtime, recorder)

    def _watch(self) -> None:
        closed = told = time.monotonic()
        while not self._end.wait(WATCH_PERIOD):
            link = self._look()
            if link not in (self._link, (0, 0)):
                self._link = link
                self._switch()
            now = time.monotonic()
            if now - told >= TELL_PERIOD:
                told = now
                self._tell()
            if now - closed >= self._interval:
                closed = now
                self._interval = read_settings(self._state).interval
                self._hand_in_all()

    def _switch(self) -> None:
        if _active_bundle(self._slots, self.name) == self.bundle:
            self._refused = None  # rolled back to what is in use
            self._tell()
            return
        try:
            served = self._open()
        except (AgentError, ManifestError, OSError) as error:
            code = getattr(error, "code", "model.read")
            _log.warning("%s keeps version %s: %s", self.name, self.version, error)
            self._refused = (_active_bundle(self._slots, self.name), Fault(code=code, message=str(error)))
        else:
            old, self._served = self._served, served
            self._refused = None
            old.close()
            if self._retired is not None:
                self._hand_in(self._retired)
            self._hand_in(old.recorder)
            self._retired = old.recorder  # a call that ended just now may not be counted yet
        self._tell()

    def _tell(self) -> None:
        served, refused = self._served, self._refused
        health = Health(
            model=self.name,
            pid=os.getpid(),
            bundle=served.running.bundle,
            calls=served.recorder.calls,
            errors=served.recorder.errors,
            refused=refused[0] if refused else "",
            fault=refused[1] if refused else None,
        )
        if health != self._told:
            self._attachment.tell(health)
            self._told = health

    def _hand_in_all(self) -> None:
        if self._retired is not None:
            self._hand_in(self._retired)
            self._retired = None
        self._hand_in(self._served.recorder)

    def _hand_in(self, recorder: Recorder) -> None:
        window = recorder.close_window(self._sequence)
        if window is None:
            return
        self._sequence += 1
        try:
            self._spool.put(window)
        except OSError as error:
            _log.warning("window of %s is lost: %s", self.name, error)


def _by_name(served: _Served, inputs: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[np.generic]]:
    if isinstance(inputs, dict):
        return {name: np.asarray(value) for name, value in inputs.items()}
    if len(served.inputs) != 1:
        raise ValueError(f"model has several inputs: expected arrays by name, {', '.join(served.inputs)}")
    return {served.inputs[0]: np.asarray(inputs)}


def _active_bundle(slots: Slots, model: str) -> str:
    try:
        return slots.open_active(model).content.running.bundle
    except AgentError:
        return ""
