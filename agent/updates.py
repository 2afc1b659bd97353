"""Carries out the lifecycle: events in, journal, then actions. One worker at a time downloads or tests."""

from __future__ import annotations

import logging
import shutil
import time
from collections import deque
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from agent.applications import attached, bury, known
from agent.errors import AgentError
from agent.health import judge
from agent.jobs import AnyLine, Done, Failed, Fetch, Staged, Tested, Verified, Verify
from agent.lifecycle import Event, Record, advance, resumption, wanted
from wire.messages import Fault, Step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.config import AgentConfig
    from agent.journal import Journal
    from agent.lifecycle import Action, EventName
    from agent.retries import Retries
    from agent.slots import Slots
    from agent.timers import Timers
    from agent.workers import Ended, Output, Workers

    Task: TypeAlias = Literal["verify", "fetch", "turn", "test"]

TEST_TIMEOUT = 120.0
"""Seconds that a self-test may take."""
INTERRUPTION = 30.0
"""Seconds between two assignments that may interrupt a download: nobody starves it by sending nonsense."""
HEALTH_PERIOD = 0.5
"""Seconds between two looks at the applications' health."""
ANY_MODEL, ANY_VERSION, NO_BUNDLE = "assignment", "none", "sha256:" + "0" * 64
"""Stand in a step that is about an assignment as a whole: what is in it is not to be believed."""

_log = logging.getLogger(__name__)


class _Running(msgspec.Struct):
    """The worker at work."""

    worker: int
    task: Task
    model: str
    started: float
    answer: AnyLine | None = None


class _Watch(msgspec.Struct):
    """An activated bundle that waits for its verdict."""

    since: float
    died: int = 0


class Updates:
    """The updates of all models of this device. `changed` is called after each change that a report should tell."""

    def __init__(  # noqa: PLR0913 - the parts that the daemon is made of
        self,
        config_path: Path,
        config: AgentConfig,
        *,
        journal: Journal,
        slots: Slots,
        workers: Workers,
        timers: Timers,
        retries: Retries,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self._config_path = config_path
        self._config = config
        self._journal = journal
        self._slots = slots
        self._workers = workers
        self._timers = timers
        self._clock = clock
        self._changed = changed
        self._candidate = b""
        self._queue: deque[tuple[Task, str]] = deque()
        self._running: _Running | None = None
        self._watched: dict[str, _Watch] = {}
        self._retries = retries
        self._uninterrupted = clock()

    def resume(self) -> None:
        """Take up what the journal says was under way."""
        for record in list(self._journal.entry.models.values()):
            event = resumption(record)
            lost: Literal["self-test", "health"] = "self-test" if record.state == "testing" else "health"
            self._apply(record.model, event, *([self._step(record.model, lost, event.fault)] if event.fault else []))
        self._reconcile()

    def desire(self, envelope: bytes) -> None:
        """An assignment came; nobody has verified it yet."""
        if envelope and envelope != self._journal.entry.envelope:
            self._candidate = envelope
            self._enqueue("verify", "")
            self._timers.set("interrupt", max(0.0, self._uninterrupted - self._clock()), self._interrupt)

    def reconnected(self) -> None:
        """The broker is there again: what waits to be tried again is tried now."""
        for name in self._retries.take_all():
            task, _, model = name.partition(":")
            self._enqueue("fetch" if task == "fetch" else "verify", model)

    def bury(self) -> None:
        """Remove what dead applications left; those of a bundle that waits for its verdict are counted there."""
        for model in known(self._config.state):
            if model not in self._watched:
                bury(self._config.state, model)

    def output(self, output: Output) -> None:
        """A worker wrote a line."""
        running = self._running
        if running is None or running.worker != output.worker:
            return
        try:
            line = msgspec.json.decode(output.line, type=AnyLine)
        except msgspec.DecodeError:
            _log.warning("worker %s wrote what is no answer: %r", running.task, output.line[:200])
            return
        if isinstance(line, Done):
            _log.info("%s %s: %s %s", line.step.model, line.step.version, line.step.step, _told(line.step.fault))
            self._journal.add(line.step)
            self._changed()
        else:
            running.answer = line

    def ended(self, ended: Ended) -> None:
        """A worker ended: its last line is its answer; without one it crashed, or was killed."""
        running = self._running
        if running is None or running.worker != ended.worker:
            return
        self._running = None
        self._timers.cancel("deadline")
        answer = running.answer or _crashed(running.task, ended)
        if running.task == "verify":
            self._verified(answer)
        elif running.task == "fetch":
            self._fetched(running.model, answer)
        else:
            self._tested(running, answer)
        self._reconcile()
        self._pump()

    def _verified(self, answer: AnyLine) -> None:
        if isinstance(answer, Verified):
            self._retries.forget("verify:")
            _log.info("assignment %d accepted", answer.assignment.sequence)
            self._journal.accept(answer.assignment, self._candidate)
            self._changed()
        elif isinstance(answer, Failed):
            _log.warning("assignment: %s: %s", answer.fault.code, answer.fault.message)
            failed: Literal["metadata", "assignment"] = "metadata" if answer.outcome == "unreachable" else "assignment"
            if "verify:" not in self._retries:
                now = time.time()
                step = Step(
                    model=ANY_MODEL,
                    version=ANY_VERSION,
                    bundle=NO_BUNDLE,
                    step=failed,
                    fault=answer.fault,
                    time=now,
                )
                self._journal.add(step)
                self._changed()
            if answer.outcome == "unreachable":
                self._retry("verify", "")

    def _fetched(self, model: str, answer: AnyLine) -> None:
        if isinstance(answer, Staged):
            self._retries.forget(f"fetch:{model}")
            _log.info("%s: staged; %d chunks fetched, %d kept", model, answer.fetched, answer.kept)
            self._apply(model, Event(name="staged"))
        elif isinstance(answer, Failed):
            name: EventName = "refused" if answer.outcome == "refused" else "unreachable"
            self._apply(model, Event(name=name, fault=answer.fault))

    def _tested(self, running: _Running, answer: AnyLine) -> None:
        fault = answer.fault if isinstance(answer, Failed) else None
        if not isinstance(answer, Tested) and fault is None:
            fault = Fault(code="self-test.answer", message="the self-test gave no verdict")
        step = self._step(running.model, "self-test", fault, seconds=self._clock() - running.started)
        self._apply(running.model, Event(name="test-failed" if fault else "tested", fault=fault), step)

    def _reconcile(self) -> None:
        """Bring every model's record towards the accepted assignment, as far as the table lets it now."""
        assignment = self._journal.entry.assignment
        if assignment is None:
            return
        named = {desired.model: desired for desired in assignment.models}
        for model in sorted(named.keys() | self._journal.entry.models.keys()):
            while event := wanted(self._record(model), named.get(model), assignment.sequence):
                self._apply(model, event)

    def _record(self, model: str) -> Record:
        return self._journal.entry.models.get(model) or Record(model=model)

    def _apply(self, model: str, event: Event, *steps: Step) -> None:
        before = self._record(model)
        record, actions = advance(before, event)
        self._journal.put(record, *steps)
        _log.info("%s: %s, %s -> %s %s", model, before.state, event.name, record.state, _told(event.fault))
        for action in actions:
            self._act(action, record)
        self._changed()

    def _act(self, action: Action, record: Record) -> None:  # noqa: C901 - one line for each action of the table
        match action:
            case "stop":
                self._stop(record.model)
            case "fetch":
                self._enqueue("fetch", record.model)
            case "retry":
                self._retry("fetch", record.model)
            case "queue":
                self._enqueue("turn", record.model)
            case "test":
                self._enqueue("test", record.model)
            case "switch":
                self._switch(record)
            case "watch":
                self._watch(record)
            case "switch-back":
                self._switch_back(record)
            case "settle":
                self._settle(record)
            case "remove":
                self._slots.remove(record.model)

    def _stop(self, model: str) -> None:
        self._queue = deque(entry for entry in self._queue if entry[1] != model)
        self._retries.forget(f"fetch:{model}")
        if self._running is not None and self._running.model == model:
            self._workers.stop(self._running.worker)
            self._running = None
            self._timers.cancel("deadline")

    def _retry(self, task: Task, model: str) -> None:
        self._retries.later(f"{task}:{model}", lambda: self._enqueue(task, model))

    def _enqueue(self, task: Task, model: str) -> None:
        if (task, model) not in self._queue:
            self._queue.append((task, model))
        # Not now: the caller may be in the midst of a row's actions.
        self._timers.set("pump", 0.0, self._pump)

    def _interrupt(self) -> None:
        """Let an assignment go before the download under way: it may be what ends it. The chunks that came are kept."""
        running = self._running
        if ("verify", "") in self._queue and running is not None and running.task == "fetch":
            self._uninterrupted = self._clock() + INTERRUPTION
            self._workers.stop(running.worker)
            self._running = None
            self._queue.remove(("verify", ""))
            self._queue.extendleft([("fetch", running.model), ("verify", "")])
            self._pump()

    def _pump(self) -> None:
        while self._queue and self._running is None:
            task, model = self._queue.popleft()
            if task == "turn":
                self._apply(model, Event(name="turn"))
            else:
                self._start(task, model)

    def _start(self, task: Task, model: str) -> None:
        entry = self._journal.entry
        path = str(self._config_path)
        module, arguments, job = "agent.updater", [], b""
        if task == "verify":
            job = msgspec.json.encode(Verify(config=path, envelope=self._candidate, newest=entry.sequence))
        elif task == "fetch":
            record = self._record(model)
            named = entry.assignment.models if entry.assignment else ()
            desired = next((one for one in named if one.model == model), None)
            if record.state != "downloading" or desired is None:
                return
            fetch = Fetch(
                config=path, envelope=entry.envelope, newest=entry.sequence, desired=desired, slot=record.idle
            )
            job = msgspec.json.encode(fetch)
        else:
            module, arguments = "agent.selftest", [str(self._slots.folder(model, self._record(model).idle))]
        worker = self._workers.start(module, arguments, job)
        self._running = _Running(worker=worker, task=task, model=model, started=self._clock())
        if task == "test":
            self._timers.set("deadline", TEST_TIMEOUT, self._overdue)

    def _overdue(self) -> None:
        running = self._running
        if running is not None:
            fault = Fault(
                code="self-test.time-out", message=f"the self-test did not end within {TEST_TIMEOUT:g} seconds"
            )
            running.answer = Failed(outcome="refused", fault=fault)
            self._workers.stop(running.worker)

    def _switch(self, record: Record) -> None:
        start = self._clock()
        bury(self._config.state, record.model)  # forget who died before this bundle had any part in it
        try:
            self._slots.switch(record.model, record.idle)
        except AgentError as error:
            _log.warning("%s: %s", record.model, error)
            return  # the watch finds that the link does not stand where it should
        step = self._step(record.model, "activate", None, seconds=self._clock() - start)
        self._journal.add(step)

    def _watch(self, record: Record) -> None:
        self._watched[record.model] = _Watch(since=self._clock())
        self._timers.set(f"health:{record.model}", 0.0, lambda: self._judge(record.model))

    def _judge(self, model: str) -> None:
        record, watch = self._record(model), self._watched[model]
        waited = self._clock() - watch.since
        if record.next is None or self._slots.active(model) != record.idle:
            verdict = Fault(code="activate.slot", message="the staged slot is gone, so it can't be made active")
        elif self._config.health.policy == "self-test":
            verdict = None
        else:
            watch.died += bury(self._config.state, model)
            outcome = judge(
                record.next.bundle,
                attached(self._config.state, model),
                died=watch.died,
                waited=waited,
                timeout=self._config.health.timeout,
            )
            if outcome is None:
                self._timers.set(f"health:{model}", HEALTH_PERIOD, lambda: self._judge(model))
                return
            verdict = None if outcome == "healthy" else outcome
        del self._watched[model]
        steps = [self._step(model, "health", verdict, seconds=waited)]
        if verdict is None:
            steps.append(self._step(model, "commit", None))
        self._apply(model, Event(name="unhealthy" if verdict else "healthy", fault=verdict), *steps)
        self._reconcile()

    def _switch_back(self, record: Record) -> None:
        step = self._step(record.model, "roll-back", None)
        self._slots.switch(record.model, record.slot)
        self._apply(record.model, Event(name="switched-back"), step)

    def _settle(self, record: Record) -> None:
        self._slots.switch(record.model, record.slot)
        self._slots.sweep(record.model)
        under_way = {entry.state for entry in self._journal.entry.models.values()} & {"downloading"}
        if not under_way:
            shutil.rmtree(self._config.state / "staging", ignore_errors=True)

    def _step(
        self,
        model: str,
        step: Literal["self-test", "activate", "health", "commit", "roll-back"],
        fault: Fault | None,
        *,
        seconds: float = 0.0,
    ) -> Step:
        subject = self._record(model).next
        return Step(
            model=model,
            version=subject.version if subject else ANY_VERSION,
            bundle=subject.bundle if subject else NO_BUNDLE,
            step=step,
            fault=fault,
            seconds=seconds,
            time=time.time(),
        )


def _crashed(task: Task, ended: Ended) -> Failed:
    how = f"signal {-ended.status}" if ended.status < 0 else f"exit status {ended.status}"
    last = ended.errors.strip().rpartition("\n")[2]
    if task == "test":
        return Failed(
            outcome="refused",
            fault=Fault(code="self-test.crash", message=f"the self-test ended by {how}: {last}"),
        )
    return Failed(
        outcome="unreachable", fault=Fault(code="updater.crash", message=f"the updater ended by {how}: {last}")
    )


def _told(fault: Fault | None) -> str:
    return f"{fault.code}: {fault.message}" if fault else ""
