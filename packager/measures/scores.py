"""How good the predictions are: accuracy of a classifier, R squared of a regressor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from packager.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import TaskSection

    Array = NDArray[np.generic]


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Source model and shipped file on the same evaluation data."""

    metric: Literal["accuracy", "r2"]
    source: float
    shipped: float
    samples: int

    @property
    def drop(self) -> float:
        """How much is lost; negative where the shipped file is better."""
        return round(self.source - self.shipped, 9)


def score(task: TaskSection, source: Mapping[str, Array], shipped: Mapping[str, Array], labels: Array) -> Scores | None:
    """Both scores; None where the task is not known.

    Raises:
        ConfigError: the task's output is not one of the model's, or the labels are none of the task's.
    """
    if task.kind == "unknown":
        return None
    if task.output not in source:
        raise ConfigError(
            "config.field", f"'model.task.output' is no output of the model: expected one of {', '.join(source)}"
        )
    theirs, ours = source[task.output], shipped[task.output]
    if task.kind == "regression":
        return Scores(metric="r2", source=_r2(theirs, labels), shipped=_r2(ours, labels), samples=len(labels))
    wanted = _indices(labels, task, theirs)
    return Scores(
        metric="accuracy",
        source=_accuracy(theirs, wanted),
        shipped=_accuracy(ours, wanted),
        samples=len(labels),
    )


def predicted(scores: Array) -> NDArray[np.intp]:
    """The index of the predicted class of each sample, from scores of (samples, classes), or (samples,) of class 1."""
    import numpy as np

    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] == 1:
        return (flat[:, 0].astype(np.float64) > 0.5).astype(np.intp)  # noqa: PLR2004 - the middle of a probability
    return np.asarray(flat.astype(np.float64).argmax(axis=1), dtype=np.intp)


def _accuracy(scores: Array, wanted: NDArray[np.intp]) -> float:
    return float((predicted(scores) == wanted).mean())


def _indices(labels: Array, task: TaskSection, scores: Array) -> NDArray[np.intp]:
    import numpy as np

    classes = max(2, scores.reshape(len(scores), -1).shape[1])
    names = task.labels or tuple(str(index) for index in range(classes))
    places = {name: index for index, name in enumerate(names)}
    written = [_written(label) for label in labels.tolist()]
    unknown = sorted({label for label in written if label not in places})
    if unknown:
        raise ConfigError(
            "config.data",
            f"'data.evaluation': label '{unknown[0]}' is none of the model's: expected {', '.join(names[:8])}",
            hint="give [model.task] labels in the order of the scores",
        )
    return np.array([places[label] for label in written], dtype=np.intp)


def _written(label: object) -> str:
    """A label as `TaskSection.labels` has it: 3.0 of a table's column is the class 3."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _r2(values: Array, labels: Array) -> float:
    import numpy as np

    try:
        wanted = labels.astype(np.float64).reshape(-1)
    except ValueError as error:
        raise ConfigError(
            "config.data",
            f"'data.evaluation': a label is not a number, and the model is a regressor: {error}",
            hint="[data] label names the column with the numbers, and kind in [model.task] says what the model is",
        ) from error
    got = values.astype(np.float64).reshape(len(wanted), -1)[:, 0]
    spread = float(((wanted - wanted.mean()) ** 2).sum())
    return 1.0 - float(((wanted - got) ** 2).sum()) / spread if spread else 0.0
