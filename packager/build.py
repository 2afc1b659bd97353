"""The pipeline: fetch, import, prepare, convert, measure, gate, bundle, sign."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec

from manifests.manifest import Manifest
from packager.bundling import Model, compose_manifest, sign_and_attest, store_bundle
from packager.cache import Cache
from packager.errors import ConfigError, GateError, PackError
from packager.gates import GateResult
from packager.gates.accuracy import require_scores
from packager.gates.evaluation import evaluate_gates, gate_notes
from packager.jobs.conversion import FILES
from packager.jobs.importation import Importation
from packager.measures.latency import Latency
from packager.measures.scores import Scores
from packager.steps import Steps
from packager.store import create_store
from packager.worker import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from securesystemslib.signer import CryptoSigner

    from manifests.layout import Layout
    from packager.config import Project, TargetSettings

Step: TypeAlias = Literal["fetch", "import", "convert", "gate", "bundle", "sign"]
"""``convert`` stands for preparing, converting, loading back and measuring: one job, one cache entry."""


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a target's build."""

    step: Step
    cached: bool


class TargetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What building one target would do."""

    target: str
    reference: str
    """``name:version@target``."""
    cached: bool
    """Whether no worker would be started."""
    steps: tuple[PlannedStep, ...]


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A target whose bundle stands in the store."""

    target: str
    reference: str
    digest: str
    """Of the OCI manifest."""
    cached: bool
    """Whether no conversion was done."""
    signed: bool
    gates: tuple[GateResult, ...]
    manifest: Manifest
    importation: Importation
    scores: Scores | None
    """Of the source model and the shipped file; None where there is no evaluation data."""
    latency: Latency
    notes: tuple[str, ...] = ()
    """What the user should know: of the import, of limits that were not checked, of the conversion."""
    seconds: float


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A target without a bundle."""

    target: str
    error: PackError
    gates: tuple[GateResult, ...] = ()


Outcome: TypeAlias = Built | Failed


class Progress(Protocol):
    """Is told what happens; called from several threads."""

    def started(self, target: str, step: Step) -> None:
        """A step begins; `target` is empty for the steps that all targets share."""
        ...

    def finished(self, target: str, step: Step, seconds: float, *, cached: bool) -> None:
        """A step ended well."""
        ...


class _Silent:
    """Nobody is told."""

    def started(self, target: str, step: Step) -> None:
        """Nothing."""

    def finished(self, target: str, step: Step, seconds: float, *, cached: bool) -> None:
        """Nothing."""


def plan(project: Project, names: Sequence[str] = ()) -> tuple[TargetPlan, ...]:
    """What `build` would do; nothing of it is done, but a model that is not imported yet is read and checked.

    Raises:
        PackError: the source can't be found or read, what ``pack.toml`` says of the model does not fit it, or a name is
            not one of the project's targets.
    """
    chosen = _chosen(project, names)
    with _opened(project) as steps:
        fetched = steps.fetch()
        step = steps.import_step(fetched)
        found = steps.find_import(step)
        known = found[0] if found else steps.check_import(step)
        shared = (
            PlannedStep(step="fetch", cached=fetched.cached),
            PlannedStep(step="import", cached=found is not None),
        )
        version = steps.version(fetched)
        plans = []
        for settings in chosen:
            if known is not None:
                require_scores(settings.gates.accuracy_drop, known.task, steps.data)
            made = steps.find_conversion(steps.conversion_step(settings, *found)) if found else None
            planned = (*shared, PlannedStep(step="convert", cached=made is not None))
            plans.append(
                TargetPlan(
                    target=settings.name,
                    reference=f"{project.model.name}:{version}@{settings.name}",
                    cached=all(step.cached for step in planned),
                    steps=planned,
                )
            )
    return tuple(plans)


def build(
    project: Project,
    names: Sequence[str] = (),
    *,
    jobs: int = 0,
    keep_going: bool = False,
    progress: Progress | None = None,
    signer: CryptoSigner | None = None,
) -> tuple[Outcome, ...]:
    """The named targets, or all, built; in the project's order.

    `jobs` targets are built at once (0: as many as there are processors). After a failure, the targets that were not
    begun are left out of the result unless `keep_going` says otherwise. Without a `signer` the bundles stay unsigned.

    Raises:
        PackError: what all targets share (source, import, data) failed, or a name is not one of the project's targets.
    """
    chosen = _chosen(project, names)
    teller = progress or _Silent()
    # In this order: an interruption ends the workers first, and then the threads that wait for them.
    with ThreadPoolExecutor(max_workers=jobs or os.cpu_count() or 1) as pool, _opened(project) as steps:
        shared = _start(steps, teller)
        layout = create_store(project.store)
        line = _Line(project, steps, shared, layout, teller, signer)
        stopped = threading.Event()

        def outcome(settings: TargetSettings) -> Outcome | None:
            if stopped.is_set():
                return None
            try:
                return line.build(settings)
            except PackError as error:
                if not keep_going:
                    stopped.set()
                return Failed(
                    target=settings.name, error=error, gates=error.gates if isinstance(error, GateError) else ()
                )

        outcomes = [result for result in pool.map(outcome, chosen) if result is not None]
    return tuple(outcomes)


class _Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What all targets start from."""

    model: Model
    folder: Path
    """With the imported model."""
    toolchain: dict[str, str]


class _Line:
    """Builds one target after the other, or several at once, from what they share."""

    def __init__(
        self,
        project: Project,
        steps: Steps,
        shared: _Shared,
        layout: Layout,
        progress: Progress,
        signer: CryptoSigner | None,
    ) -> None:
        self._project = project
        self._steps = steps
        self._shared = shared
        self._layout = layout
        self._progress = progress
        self._signer = signer

    def build(self, settings: TargetSettings) -> Built:
        """The target's bundle, in the store, signed where there is a signer.

        Raises:
            PackError: it can't be built, or a gate failed.
        """
        begun = time.monotonic()
        importation = self._shared.model.importation
        require_scores(settings.gates.accuracy_drop, importation.task, self._steps.data)
        step = self._steps.conversion_step(settings, importation, self._shared.folder)
        with _told(self._progress, settings.name, "convert") as tell:
            found = self._steps.find_conversion(step)
            tell.cached = found is not None
            made, folder = found or self._steps.run_conversion(step)
        with _told(self._progress, settings.name, "gate"):
            gates = evaluate_gates(settings.gates, made, evaluated=self._steps.data.evaluation is not None)
            _refuse_failures(gates)
        with _told(self._progress, settings.name, "bundle"):
            toolchain = {**self._shared.toolchain, **step.toolchain}
            manifest = compose_manifest(self._project, settings, self._shared.model, made, gates, toolchain)
            bundle = store_bundle(self._layout, manifest, folder / FILES)
        if self._signer is not None:
            with _told(self._progress, settings.name, "sign"):
                sign_and_attest(self._layout, bundle, made, gates, self._signer, anew=found is None)
        return Built(
            target=settings.name,
            reference=bundle.reference,
            digest=bundle.digest,
            cached=found is not None,
            signed=self._signer is not None,
            gates=gates,
            manifest=manifest,
            importation=importation,
            scores=made.scores,
            latency=made.latency,
            notes=(*importation.notes, *gate_notes(gates), *made.artifact.notes),
            seconds=time.monotonic() - begun,
        )


class _Tell:
    """Whether the step that is told of was answered by the cache."""

    cached = False


@contextmanager
def _told(progress: Progress, target: str, step: Step) -> Iterator[_Tell]:
    """Tell that a step begins, and that it ended if it ended well."""
    tell = _Tell()
    begun = time.monotonic()
    progress.started(target, step)
    yield tell
    progress.finished(target, step, time.monotonic() - begun, cached=tell.cached)


@contextmanager
def _opened(project: Project) -> Iterator[Steps]:
    cache = Cache(project.cache)
    with Workers(cache.scratch, seconds=project.job_seconds, memory=project.job_memory) as workers:
        yield Steps(project, cache, workers)
        if workers.started:
            cache.prune(project.cache_size)


def _start(steps: Steps, progress: Progress) -> _Shared:
    with _told(progress, "", "fetch") as tell:
        fetched = steps.fetch()
        tell.cached = fetched.cached
    with _told(progress, "", "import") as tell:
        step = steps.import_step(fetched)
        found = steps.find_import(step)
        tell.cached = found is not None
        importation, folder = found or steps.run_import(step)
    calibration = steps.data.calibration
    model = Model(
        fetched=fetched,
        importation=importation,
        version=steps.version(fetched),
        calibration=calibration.digest if calibration else None,
    )
    return _Shared(model=model, folder=folder, toolchain=step.toolchain)


def _refuse_failures(gates: tuple[GateResult, ...]) -> None:
    failed = [gate for gate in gates if gate.verdict == "failed"]
    if failed:
        what = ", ".join(f"{gate.name} (expected at most {gate.limit}, got {gate.measured})" for gate in failed)
        raise GateError(f"gate.{failed[0].name.replace('_', '-')}", f"failed its gates: {what}", gates=gates)


def _chosen(project: Project, names: Sequence[str]) -> list[TargetSettings]:
    unknown = [name for name in names if name not in project.targets]
    if unknown:
        close = get_close_matches(unknown[0], project.targets, n=1)
        raise ConfigError(
            "config.target",
            f"'{unknown[0]}' is not a target of this project: expected one of {', '.join(project.targets)}",
            hint=f"did you mean '{close[0]}'?" if close else f"add [targets.{unknown[0]}] to pack.toml",
        )
    return [settings for name, settings in project.targets.items() if not names or name in names]
