"""Parts of scikit-learn that skl2onnx 1.20 writes wrongly: ours instead, or a refusal by name."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from packager.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sklearn.base import BaseEstimator

    from packager.importers._graph import Sink

WRONG = {
    "AdditiveChi2Sampler": "ONNX has no operator for it",
    "BisectingKMeans": "which cluster is nearest is asked step by step",
    "HashingVectorizer": "ONNX has no operator for its hash",
    "LabelPropagation": "it goes by the training data's own neighbours",
    "LabelSpreading": "it goes by the training data's own neighbours",
    "RadiusNeighborsClassifier": "skl2onnx fails where no neighbour is near enough",
    "RandomTreesEmbedding": "what it makes is sparse",
    "RadiusNeighborsRegressor": "skl2onnx fails where no neighbour is near enough",
}
"""By class: what is wrong, seen by comparison with scikit-learn; or why there is nothing."""
_ITERATIVE = frozenset(
    {"BernoulliRBM", "DictionaryLearning", "IterativeImputer", "LatentDirichletAllocation",
     "MiniBatchDictionaryLearning", "MiniBatchNMF", "NMF", "SparseCoder"}
)  # fmt: skip
"""Which solve something anew for each row, or draw it by chance."""
_MANIFOLDS = frozenset({"Isomap", "KNeighborsTransformer", "LocallyLinearEmbedding", "RadiusNeighborsTransformer"})
"""Which go by the graph of the training data's neighbours."""


def write_scaler(sink: Sink, source: str, scaler: BaseEstimator) -> str:
    """The name of what a StandardScaler makes, to the last bit: trees behind it may have thresholds at these values."""
    import numpy as np

    if scaler.with_mean:
        source = sink.add("Sub", [source, sink.constant(scaler.mean_.astype(np.float32).reshape(1, -1))])
    if scaler.with_std:
        source = sink.add("Div", [source, sink.constant(scaler.scale_.astype(np.float32).reshape(1, -1))])
    return source


def write_isotonic(sink: Sink, source: str, regression: BaseEstimator) -> str:
    """The name of what an IsotonicRegression says of `source`, (N, 1): the line between the thresholds around it."""
    import numpy as np

    places = regression.X_thresholds_.astype(np.float64)
    values = regression.y_thresholds_.astype(np.float64)
    if len(places) == 1:
        places, values = np.repeat(places, 2), np.repeat(values, 2)
    widths = np.diff(places)
    slopes = np.divide(np.diff(values), widths, out=np.zeros_like(widths), where=widths > 0)
    low, high = (sink.constant(np.array(place, dtype=np.float32)) for place in (places[0], places[-1]))
    clipped = sink.add("Min", [sink.add("Max", [source, low]), high])
    # How many inner thresholds are at or below a value is the number of its line.
    inner = sink.constant(places[1:-1].astype(np.float32).reshape(1, -1))
    if len(places) > 2:  # noqa: PLR2004 - the ends of one line
        below = sink.add("Cast", [sink.add("GreaterOrEqual", [clipped, inner])], {"to": 7})
        axes = sink.constant(np.array([1], dtype=np.int64))
        line = sink.add("ReduceSum", [below, axes], {"keepdims": 1})
    else:
        line = sink.add("Cast", [sink.add("Mul", [clipped, sink.constant(np.zeros((), dtype=np.float32))])], {"to": 7})

    def of_line(table: object) -> str:
        numbers = sink.constant(np.asarray(table, dtype=np.float32))
        return sink.add("Gather", [numbers, line], {"axis": 0})

    rise = sink.add("Mul", [sink.add("Sub", [clipped, of_line(places[:-1])]), of_line(slopes)])
    return sink.add("Add", [of_line(values[:-1]), rise])


def write_single_isotonic(sink: Sink, source: str, regression: BaseEstimator) -> str:
    """The same for a regression that stands alone, which may say nothing of what is outside of its training data."""
    import numpy as np

    written = write_isotonic(sink, source, regression)
    if regression.out_of_bounds != "nan":
        return written
    ends = [sink.constant(np.array(place, dtype=np.float64)) for place in (regression.X_min_, regression.X_max_)]
    wide = sink.add("Cast", [source], {"to": 11})
    outside = sink.add("Or", [sink.add("Less", [wide, ends[0]]), sink.add("Greater", [wide, ends[1]])])
    return sink.add("Where", [outside, sink.constant(np.array(np.nan, dtype=np.float32)), written])


@contextlib.contextmanager
def lines_between_thresholds(sink_of: Callable[[object, object], Sink]) -> Iterator[None]:
    """skl2onnx with calibration by isotonic regression as scikit-learn has it; its own takes the nearest threshold."""
    from skl2onnx.operator_converters import calibrated_classifier_cv as converters

    original = converters._transform_isotonic  # noqa: SLF001 - the only place where it can be mended

    def transform(  # noqa: PLR0913, PLR0917 - the function that it stands for
        scope: object, container: object, model: BaseEstimator, scores: str, place: int, dtype: object, kind: object
    ) -> str:
        del dtype, kind
        return write_isotonic(sink_of(scope, container), scores, model.calibrators[place])

    converters._transform_isotonic = transform  # noqa: SLF001 - likewise
    try:
        yield
    finally:
        converters._transform_isotonic = original  # noqa: SLF001 - likewise


def refuse_wrong(estimator: BaseEstimator) -> None:
    """Nothing, or a refusal.

    Raises:
        ConversionError: a part of the estimator is one that comes out wrong.
    """
    for part in _parts(estimator):
        name = type(part).__name__
        reason = WRONG.get(name, "")
        if name in _ITERATIVE:
            reason = "each row is solved by rounds, or by chance"
        if name in _MANIFOLDS:
            reason = "it goes by the graph of the training data's neighbours"
        if name in {"KNeighborsClassifier", "KNeighborsRegressor"} and part.weights == "distance":
            name, reason = f"{name}(weights='distance')", "skl2onnx divides by the distance, also where it is zero"
        if name == "CalibratedClassifierCV" and part.method == "temperature":
            name, reason = f"{name}(method='temperature')", "skl2onnx knows no such calibration"
        if reason:
            raise ConversionError(
                "import.sklearn",
                f"a {name} can't be imported: {reason}",
                hint="train the model without it",
            )


def _parts(estimator: object, depth: int = 0) -> Iterator[BaseEstimator]:
    """The estimator and what it is made of."""
    from sklearn.base import BaseEstimator

    deepest = 16
    if depth > deepest or isinstance(estimator, (str, bytes)):
        return
    if isinstance(estimator, BaseEstimator):
        yield estimator
        for name in ("steps", "transformers_", "transformer_list", "estimators_", "best_estimator_", "estimator_"):
            yield from _parts(getattr(estimator, name, None), depth + 1)
    elif isinstance(estimator, (list, tuple)):
        for one in estimator:
            yield from _parts(one, depth + 1)
