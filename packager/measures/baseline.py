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
_CONSTANT_MARGIN = 1e-3
"""How far from a constant feature's value, relative to it and at least absolutely, another value is still the same."""
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
    edges = _edges(finite)
    counts = np.bincount(np.searchsorted(edges, finite, side="left"), minlength=len(edges) + 1)
    return FeatureBaseline(
        name=name, input=source, index=index, edges=tuple(edges.tolist()), counts=tuple(counts.tolist())
    )


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deciles, each moved up into the middle of the gap to the next value.

    On a value, rounding to float32 or the slightest noise would move half of a discrete feature's rows into the next
    bin. The largest value has no next: its bin reaches as far above as the gap below. A constant gets a bin of its own.
    """
    import numpy as np

    distinct = np.unique(values)
    if len(distinct) == 1:
        margin = max(abs(distinct[0]) * _CONSTANT_MARGIN, _CONSTANT_MARGIN)
        return np.array([distinct[0] - margin, distinct[0] + margin])
    quantiles = np.unique(np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    with np.errstate(over="ignore"):
        following = np.append(distinct, distinct[-1] + (distinct[-1] - distinct[-2]))
    above = following[np.searchsorted(distinct, quantiles, side="right")]
    # Halves first: the sum of two finite numbers may be infinite.
    edges = np.unique(quantiles / 2 + above / 2)
    return edges[np.isfinite(edges)]


def _name(samples: Samples, name: str, index: int) -> str:
    known = samples.names.get(name, ())
    return known[index] if index < len(known) else f"{name}[{index}]"
