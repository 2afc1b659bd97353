"""Encoders over numbers and imputers of scikit-learn, where skl2onnx's are missing or wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.importers._sklearn_maps import FLOAT, choose_columns, narrow, numbers, refuse, wide

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from packager.importers._graph import Sink

_FAR = 1e300
"""A distance that nothing has, for rows that share no feature."""


def write_marks(sink: Sink, source: str, encoder: BaseEstimator) -> str:
    """OneHotEncoder over numbers: a column for each category but those that are dropped; nothing for other numbers."""
    import numpy as np

    if getattr(encoder, "_infrequent_enabled", False):
        refuse(encoder, "it puts rare categories together")
    parts = []
    for place, categories in enumerate(encoder.categories_):
        column = choose_columns(sink, source, np.array([place]))
        marks = _marks(sink, column, categories)
        dropped = encoder.drop_idx_[place] if encoder.drop_idx_ is not None else None
        if dropped is not None:
            marks = choose_columns(sink, marks, np.delete(np.arange(len(categories)), int(dropped)))
        parts.append(marks)
    return sink.add("Concat", parts, {"axis": 1})


def write_means(sink: Sink, source: str, encoder: BaseEstimator) -> str:
    """TargetEncoder over numbers: the target's mean of each category, of all for other numbers."""
    import numpy as np

    classes = len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1
    usual = np.reshape(encoder.target_mean_, -1)
    axes = sink.constant(np.array([1], dtype=np.int64))
    parts = []
    for place, means in enumerate(encoder.encodings_):
        categories = encoder.categories_[place // classes]
        column = choose_columns(sink, source, np.array([place // classes]))
        marks = wide(sink, _marks(sink, column, categories))
        mean = sink.add("MatMul", [marks, numbers(sink, np.reshape(means, (-1, 1)))])
        known = sink.add("ReduceSum", [marks, axes], {"keepdims": 1})
        there = sink.add("Greater", [known, numbers(sink, 0.0)])
        parts.append(sink.add("Where", [there, mean, numbers(sink, [[usual[place % classes]]])]))
    return narrow(sink, sink.add("Concat", parts, {"axis": 1}))


def _marks(sink: Sink, column: str, categories: NDArray[np.generic]) -> str:
    """(N, categories): 1 where the number is that category; NaN is NaN's."""
    import numpy as np

    known = categories.astype(np.float64)
    # What float32 can't hold is never met in a float32 input.
    exact = known.astype(np.float32).astype(np.float64) == known
    compared = sink.constant(np.where(exact, known, np.nan).astype(np.float32).reshape(1, -1))
    same = sink.add("Equal", [column, compared])
    missing = np.isnan(known)
    if missing.any():
        absent = sink.add("And", [sink.add("IsNaN", [column]), sink.constant(missing.reshape(1, -1))])
        same = sink.add("Or", [same, absent])
    return sink.add("Cast", [same], {"to": FLOAT})


def write_gaps(sink: Sink, source: str, indicator: BaseEstimator) -> str:
    """MissingIndicator: 1 where a value is missing, for the features that it watches."""
    import numpy as np

    if not _is_nan(indicator.missing_values):
        refuse(indicator, f"missing_values={indicator.missing_values!r}")
    return sink.add(
        "Cast", [sink.add("IsNaN", [choose_columns(sink, source, np.asarray(indicator.features_))])], {"to": FLOAT}
    )


def write_filled(sink: Sink, source: str, imputer: BaseEstimator) -> str:
    """SimpleImputer(add_indicator=True) over numbers: the filled columns, and where they were missing."""
    import numpy as np

    if not _is_nan(imputer.missing_values):
        refuse(imputer, f"add_indicator=True with missing_values={imputer.missing_values!r}")
    fills = np.asarray(imputer.statistics_, dtype=np.float64)
    kept = np.flatnonzero(~np.isnan(fills))
    columns = choose_columns(sink, source, kept)
    value = sink.constant(fills[kept].astype(np.float32).reshape(1, -1))
    filled = sink.add("Where", [sink.add("IsNaN", [columns]), value, columns])
    return sink.add("Concat", [filled, write_gaps(sink, source, imputer.indicator_)], {"axis": 1})


def write_neighbours(sink: Sink, source: str, imputer: BaseEstimator) -> str:
    """KNNImputer: the mean of the nearest training rows that have the feature, over the features that both have."""
    import numpy as np

    if imputer.weights != "uniform" or imputer.metric != "nan_euclidean":
        refuse(imputer, f"weights={imputer.weights!r}, metric={imputer.metric!r}")
    if not _is_nan(imputer.missing_values) or imputer.add_indicator:
        refuse(imputer, f"missing_values={imputer.missing_values!r}, add_indicator={imputer.add_indicator}")
    rows = np.asarray(imputer._fit_X, dtype=np.float64)  # noqa: SLF001 - scikit-learn has no public name for it
    there = ~np.isnan(rows)
    if not there.any(axis=0).all():
        refuse(imputer, "a feature of the training data is missing everywhere")
    distances = _shared_distances(sink, source, rows, there)
    absent = sink.add("IsNaN", [source])
    parts = []
    for place in range(rows.shape[1]):
        donors = np.flatnonzero(there[:, place])
        count = sink.constant(np.array([min(imputer.n_neighbors, len(donors))], dtype=np.int64))
        near = sink.add("Neg", [choose_columns(sink, distances, donors)])
        # The numbers of the largest: TopK's first output is not asked for.
        found = _top_places(sink, near, count)
        values = sink.add("Gather", [numbers(sink, rows[donors, place]), found], {"axis": 0})
        axes = sink.constant(np.array([1], dtype=np.int64))
        mean = sink.add("ReduceMean", [values, axes], {"keepdims": 1})
        nobody = sink.add("LessOrEqual", [sink.add("ReduceMax", [near, axes], {"keepdims": 1}), numbers(sink, -_FAR)])
        usual = numbers(sink, [[rows[donors, place].mean()]])
        parts.append(narrow(sink, sink.add("Where", [nobody, usual, mean])))
    return sink.add("Where", [absent, sink.add("Concat", parts, {"axis": 1}), source])


def _top_places(sink: Sink, values: str, count: str) -> str:
    return sink.add("TopK", [values, count], {"axis": 1}, place=1)


def _shared_distances(sink: Sink, source: str, rows: NDArray[np.float64], there: NDArray[np.bool_]) -> str:
    """Squares of the distances to all training rows over the features that both have, as if they had all."""
    import numpy as np

    absent = sink.add("IsNaN", [source])
    value = sink.add("Where", [absent, numbers(sink, 0.0), wide(sink, source)])
    present = wide(sink, sink.add("Not", [absent]))
    filled = np.where(there, rows, 0.0)
    shown = there.astype(np.float64)
    parts = [
        sink.add("MatMul", [sink.add("Mul", [value, value]), numbers(sink, shown.T)]),
        sink.add("MatMul", [present, numbers(sink, (filled**2).T)]),
        sink.add("MatMul", [value, numbers(sink, -2.0 * filled.T)]),
    ]
    total = sink.add("Max", [sink.add("Sum", parts), numbers(sink, 0.0)])
    common = sink.add("MatMul", [present, numbers(sink, shown.T)])
    shared = sink.add("Greater", [common, numbers(sink, 0.5)])
    divisor = sink.add("Where", [shared, common, numbers(sink, 1.0)])
    scaled = sink.add("Div", [sink.add("Mul", [total, numbers(sink, float(rows.shape[1]))]), divisor])
    return sink.add("Where", [shared, scaled, numbers(sink, _FAR)])


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and value != value  # noqa: PLR0124 - what NaN is told by
