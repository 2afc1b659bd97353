"""What stands between a model and targets, asked without building anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from packager.cache import Cache
from packager.errors import ToolchainError
from packager.jobs.explanation import Asked, Explanation, Order
from packager.jobs.importation import MODEL, Importation
from packager.steps import Steps
from packager.toolchains.choice import choose_interpreter
from packager.worker import Workers
from targets._target import toolchain_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from packager.config import Project, TargetSettings
    from packager.jobs.explanation import Explained
    from packager.steps import ImportStep


def explain(project: Project, names: Sequence[str] = ()) -> tuple[Explained, ...]:
    """What each named target of the project, or each, says of the model.

    The model is imported as for a build, and not run: what nobody can run can be explained.

    Raises:
        PackError: the model can't be fetched or read, or what ``pack.toml`` declares does not fit it.
    """
    chosen = [settings for name, settings in project.targets.items() if not names or name in names]
    cache = Cache(project.cache)
    with Workers(cache.scratch, seconds=project.job_seconds, memory=project.job_memory) as workers:
        steps = Steps(project, cache, workers)
        step = steps.import_step(steps.fetch())
        found = steps.find_import(step)
        if found is not None:
            return _ask(workers, found[1] / MODEL, chosen)
        return _read_and_ask(workers, step, chosen)


def _read_and_ask(workers: Workers, step: ImportStep, chosen: Sequence[TargetSettings]) -> tuple[Explained, ...]:
    order = msgspec.structs.replace(step.order, compared=False)
    with workers.job("importation", order, Importation, step.interpreter) as (_, folder):
        return _ask(workers, folder / MODEL, chosen)


def _ask(workers: Workers, model: Path, chosen: Sequence[TargetSettings]) -> tuple[Explained, ...]:
    """The answers in the order of the targets; those that one interpreter can give come from one worker."""
    by_interpreter: dict[Path | None, list[Asked]] = {}
    for settings in chosen:
        options = cast("dict[str, object]", msgspec.to_builtins(settings.options))
        asked = Asked(registration=settings.registration, options=options)
        by_interpreter.setdefault(_interpreter(settings), []).append(asked)
    answers: dict[str, Explained] = {}
    for interpreter, targets in by_interpreter.items():
        order = Order(model=str(model), targets=tuple(targets))
        with workers.job("explanation", order, Explanation, interpreter) as (result, _):
            answers.update((entry.target, entry) for entry in result.targets)
    return tuple(answers[settings.name] for settings in chosen)


def _interpreter(settings: TargetSettings) -> Path | None:
    """The Python of the target's toolchain; ours where that is not installed: to ask costs no toolchain."""
    needed = toolchain_of(settings.target, settings.options)
    try:
        return choose_interpreter(needed.distributions, extra=needed.extra, toolchain=needed.environment).path
    except ToolchainError:
        return None
