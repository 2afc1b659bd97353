"""How features and predictions are distributed in the training data: what drift is measured against."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from manifests.manifest import BaselineSection, FeatureBaseline, PredictionBaseline
from packager.measures.scores import predicted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import TaskSection
    from packager.samples import Samples

BINS = 10
MOST_FEATURES = 256
"""Of more features, that many are described, spread evenly: a bundle's manifest and a telemetry window stay small."""


def describe_training(
    samples: Samples, outputs: Mapping[str, NDArray[np.generic]], task: TaskSection
) -> BaselineSection:
    """The baseline: quantile bins of each numeric feature, and how often each class is predicted."""
    import numpy as np

    places = [
        (name, index)
        for name, array in samples.inputs.items()
        if array.dtype.kind in "fiu"
        for index in range(math.prod(array.shape[1:]))
    ]
    if len(places) > MOST_FEATURES:
        chosen = np.linspace(0, len(places) - 1, MOST_FEATURES).astype(int)
        places = [places[int(place)] for place in chosen]
    flat = {name: array.reshape(len(array), -1) for name, array in samples.inputs.items()}
    features = tuple(
        feature
        for name, index in places
        if (feature := _feature(flat[name][:, index], _name(samples, name, index), name, index)) is not None
    )
    predictions = None
    if task.kind == "classification" and task.output in outputs:
        classes = predicted(outputs[task.output])
        counts = np.bincount(classes, minlength=len(task.labels) or 1)
        predictions = PredictionBaseline(output=task.output, counts=tuple(counts.tolist()))
    return BaselineSection(samples=len(samples), features=features, predictions=predictions)


def _feature(values: NDArray[np.generic], name: str, source: str, index: int) -> FeatureBaseline | None:
    import numpy as np

    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return None
    quantiles = np.quantile(finite, np.arange(1, BINS) / BINS, method="inverted_cdf")
    edges = np.unique(quantiles)
    counts = np.bincount(np.searchsorted(edges, finite, side="left"), minlength=len(edges) + 1)
    return FeatureBaseline(
        name=name, input=source, index=index, edges=tuple(edges.tolist()), counts=tuple(counts.tolist())
    )


def _name(samples: Samples, name: str, index: int) -> str:
    known = samples.names.get(name, ())
    return known[index] if index < len(known) else f"{name}[{index}]"
