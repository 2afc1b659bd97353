"""Accuracy: what the conversion costs on evaluation data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.errors import ConfigError
from packager.gates import GateResult

if TYPE_CHECKING:
    from manifests.manifest import TaskSection
    from packager.measures.scores import Scores
    from packager.quantities import Limit
    from packager.samples import DataFiles


def require_scores(limit: Limit | None, task: TaskSection, data: DataFiles) -> None:
    """Refuse a limit that nothing could be held against though there is evaluation data: it would let all pass.

    Raises:
        ConfigError: the evaluation data has no label, or the task is not known.
    """
    if limit is None or data.evaluation is None:
        return
    if not data.label:
        raise ConfigError(
            "config.data",
            "'gates.accuracy_drop' can't be checked: the evaluation data has no label",
            hint="name the column or array with the right answers in pack.toml, as label in the table [data]",
        )
    if task.kind == "unknown":
        raise ConfigError(
            "config.task",
            "'gates.accuracy_drop' can't be checked: the model does not say whether it is a classifier or a regressor",
            hint='write into pack.toml: [model.task] and below it kind = "classification" or kind = "regression"',
        )


def gate_accuracy(limit: Limit | None, scores: Scores | None, *, waiver: str, evaluated: bool) -> GateResult | None:
    """The drop from the source model's score to the shipped file's, as an absolute difference.

    Without scores the verdict is ``no-data``, limit or not: a bundle says what was not proven of it. `evaluated` says
    whether there was evaluation data at all. None: there are scores, and no limit was set.
    """
    if scores is None:
        return GateResult(
            name="accuracy",
            limit=limit.text if limit else "",
            value=None,
            unit="ratio",
            verdict="no-data",
            note="no label, or no [model.task]" if evaluated else "no evaluation data",
        )
    if limit is None:
        return None
    failed = not scores.drop <= limit.value  # so that NaN fails
    return GateResult(
        name="accuracy",
        limit=limit.text,
        value=scores.drop,
        unit="ratio",
        verdict=("waived" if waiver else "failed") if failed else "passed",
        waiver=waiver if failed else "",
        note=f"{scores.metric} {scores.source:.4f} -> {scores.shipped:.4f} on {scores.samples} samples",
    )
