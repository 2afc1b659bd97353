"""Transformers of scikit-learn that skl2onnx does not know or gets wrong: linear maps, kernels, bins, choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from packager.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from packager.importers._graph import Sink

FLOAT, INT64, DOUBLE = 1, 7, 11
_AT_AN_END = 1e-7
"""How near to the least or largest value of the training data scikit-learn's QuantileTransformer takes for it."""


def refuse(estimator: BaseEstimator, what: str) -> NoReturn:
    """Raises ConversionError: the estimator does `what`, which can't be expressed."""
    raise ConversionError(
        "import.sklearn",
        f"a {type(estimator).__name__} can't be imported: {what}",
        hint="train the model without it",
    )


def wide(sink: Sink, source: str) -> str:
    """As float64, which float32 fits into exactly."""
    return sink.add("Cast", [source], {"to": DOUBLE})


def narrow(sink: Sink, source: str) -> str:
    """As float32."""
    return sink.add("Cast", [source], {"to": FLOAT})


def numbers(sink: Sink, values: object) -> str:
    """The name of a constant of float64."""
    import numpy as np

    return sink.constant(np.asarray(values, dtype=np.float64))


def choose_columns(sink: Sink, source: str, places: NDArray[np.int64]) -> str:
    """Some of the columns, in that order."""
    import numpy as np

    return sink.add("Gather", [source, sink.constant(np.asarray(places, dtype=np.int64))], {"axis": 1})


def write_choice(sink: Sink, source: str, selector: BaseEstimator) -> str:
    """A selector of features: those that it kept."""
    kept = selector.get_support(indices=True)
    if not len(kept):
        refuse(selector, "it keeps no feature")
    return choose_columns(sink, source, kept)


def write_linear(sink: Sink, source: str, transformer: BaseEstimator) -> str:
    """FastICA, FactorAnalysis, SparsePCA, random projections: a product of matrices, behind a shift."""
    import numpy as np

    kind = type(transformer).__name__
    parts = transformer.components_
    parts = np.asarray(parts.todense() if hasattr(parts, "todense") else parts, dtype=np.float64)
    mean = getattr(transformer, "mean_", None)
    matrix = parts.T
    if kind == "FactorAnalysis":
        scaled = parts / transformer.noise_variance_
        matrix = scaled.T @ np.linalg.inv(np.eye(len(parts)) + scaled @ parts.T)
    elif kind.endswith("SparsePCA"):
        matrix = parts.T @ np.linalg.inv(parts @ parts.T + transformer.ridge_alpha * np.eye(len(parts)))
    value = wide(sink, source)
    if mean is not None:
        value = sink.add("Sub", [value, numbers(sink, np.reshape(mean, (1, -1)))])
    return narrow(sink, sink.add("MatMul", [value, numbers(sink, matrix)]))


def write_fourier(sink: Sink, source: str, sampler: BaseEstimator) -> str:
    """RBFSampler: cosines of random sums."""
    import numpy as np

    sums = sink.add("MatMul", [wide(sink, source), numbers(sink, sampler.random_weights_)])
    shifted = sink.add("Add", [sums, numbers(sink, np.reshape(sampler.random_offset_, (1, -1)))])
    waves = sink.add("Cos", [shifted])
    return narrow(sink, sink.add("Mul", [waves, numbers(sink, (2.0 / sampler.n_components) ** 0.5)]))


def write_kernel(sink: Sink, source: str, estimator: BaseEstimator) -> str:
    """Nystroem and KernelRidge: how alike a row is to rows of the training data, by weights."""
    import numpy as np

    known = getattr(estimator, "components_", None)
    if known is not None:
        factors = estimator.normalization_.T
    else:
        known, factors = estimator.X_fit_, np.reshape(estimator.dual_coef_, (len(estimator.X_fit_), -1))
    return narrow(sink, sink.add("MatMul", [_alike(sink, source, estimator, known), numbers(sink, factors)]))


def _alike(sink: Sink, source: str, estimator: BaseEstimator, known: NDArray[np.float64]) -> str:
    rows = np_rows(known)
    kernel = estimator.kernel
    gamma = estimator.gamma if estimator.gamma is not None else 1.0 / rows.shape[1]
    constant = 1 if estimator.coef0 is None else estimator.coef0
    degree = 3 if estimator.degree is None else estimator.degree
    value = wide(sink, source)
    if kernel == "rbf":
        return sink.add("Exp", [sink.add("Mul", [write_squares(sink, value, rows), numbers(sink, -gamma)])])
    product = sink.add("MatMul", [value, numbers(sink, rows.T)])
    if kernel == "linear":
        return product
    if kernel not in {"poly", "polynomial", "sigmoid"}:
        refuse(estimator, f"kernel={kernel!r}")
    inner = sink.add("Add", [sink.add("Mul", [product, numbers(sink, gamma)]), numbers(sink, constant)])
    if kernel == "sigmoid":
        return sink.add("Tanh", [inner])
    return sink.add("Pow", [inner, numbers(sink, degree)])


def np_rows(known: object) -> NDArray[np.float64]:
    """A matrix of float64."""
    import numpy as np

    dense = known.toarray() if hasattr(known, "toarray") else known
    return np.asarray(dense, dtype=np.float64)


def write_squares(sink: Sink, value: str, rows: NDArray[np.float64]) -> str:
    """The squares of the distances of each row of `value`, float64, to `rows`; not below zero."""
    import numpy as np

    axes = sink.constant(np.array([1], dtype=np.int64))
    own = sink.add("ReduceSumSquare", [value, axes], {"keepdims": 1})
    theirs = numbers(sink, (rows**2).sum(axis=1).reshape(1, -1))
    mixed = sink.add("Mul", [sink.add("MatMul", [value, numbers(sink, rows.T)]), numbers(sink, -2.0)])
    return sink.add("Max", [sink.add("Add", [sink.add("Add", [own, theirs]), mixed]), numbers(sink, 0.0)])


def write_bins(sink: Sink, source: str, binning: BaseEstimator) -> str:
    """KBinsDiscretizer: the number of each value's bin, or a mark in the column of it."""
    import numpy as np

    value = wide(sink, source)
    axes = sink.constant(np.array([1], dtype=np.int64))
    parts = []
    for place, edges in enumerate(binning.bin_edges_):
        column = choose_columns(sink, value, np.array([place]))
        inner = np.asarray(edges, dtype=np.float64)[1:-1]
        if len(inner):
            at_least = sink.add("GreaterOrEqual", [column, numbers(sink, inner.reshape(1, -1))])
            number = sink.add("ReduceSum", [sink.add("Cast", [at_least], {"to": FLOAT}), axes], {"keepdims": 1})
        else:
            number = narrow(sink, sink.add("Mul", [column, numbers(sink, 0.0)]))
        if binning.encode != "ordinal":
            bins = sink.constant(np.arange(len(inner) + 1, dtype=np.float32).reshape(1, -1))
            number = sink.add("Cast", [sink.add("Equal", [number, bins])], {"to": FLOAT})
        parts.append(number)
    return sink.add("Concat", parts, {"axis": 1})


def write_quantiles(sink: Sink, source: str, transformer: BaseEstimator) -> str:
    """QuantileTransformer: where a value stands between the quantiles of the training data, from 0 to 1."""
    import numpy as np

    if transformer.output_distribution != "uniform":
        refuse(transformer, f"ONNX has no operator for output_distribution={transformer.output_distribution!r}")
    value = wide(sink, source)
    levels = np.asarray(transformer.references_, dtype=np.float64)
    parts = []
    for place, quantiles in enumerate(np.asarray(transformer.quantiles_, dtype=np.float64).T):
        column = choose_columns(sink, value, np.array([place]))
        # The mean of both ends, where quantiles are the same.
        up = _between(sink, column, quantiles, levels)
        turned = sink.add("Neg", [column])
        down = _between(sink, turned, -quantiles[::-1], -levels[::-1])
        mean = sink.add("Mul", [sink.add("Sub", [up, down]), numbers(sink, 0.5)])
        low, high = (numbers(sink, end) for end in (quantiles[0] + _AT_AN_END, quantiles[-1] - _AT_AN_END))
        mean = sink.add("Where", [sink.add("Less", [column, low]), numbers(sink, 0.0), mean])
        parts.append(sink.add("Where", [sink.add("Greater", [column, high]), numbers(sink, 1.0), mean]))
    return narrow(sink, sink.add("Concat", parts, {"axis": 1}))


def _between(sink: Sink, column: str, places: NDArray[np.float64], values: NDArray[np.float64]) -> str:
    """The line between the last place that is not above the column's value and the next, as numpy.interp has it."""
    import numpy as np

    widths = np.diff(places)
    slopes = np.divide(np.diff(values), widths, out=np.zeros_like(widths), where=widths > 0)
    clipped = sink.add("Min", [sink.add("Max", [column, numbers(sink, places[0])]), numbers(sink, places[-1])])
    reached = sink.add("GreaterOrEqual", [clipped, numbers(sink, places.reshape(1, -1))])
    axes = sink.constant(np.array([1], dtype=np.int64))
    count = sink.add("ReduceSum", [sink.add("Cast", [reached], {"to": INT64}), axes], {"keepdims": 1})
    line = sink.add("Sub", [count, sink.constant(np.array(1, dtype=np.int64))])

    def of_line(table: NDArray[np.float64]) -> str:
        return sink.add("Gather", [numbers(sink, table), line], {"axis": 0})

    # Behind the last place there is no line.
    start = of_line(places)
    rise = sink.add("Mul", [sink.add("Sub", [clipped, start]), of_line(np.append(slopes, 0.0))])
    return sink.add("Add", [of_line(values), rise])


def write_splines(sink: Sink, source: str, transformer: BaseEstimator) -> str:
    """SplineTransformer: the base functions of B-splines, by de Boor's recursion."""
    import numpy as np

    if transformer.extrapolation != "constant":
        refuse(transformer, f"extrapolation={transformer.extrapolation!r}")
    degree = int(transformer.degree)
    value = wide(sink, source)
    parts = []
    for place, spline in enumerate(transformer.bsplines_):
        knots = np.asarray(spline.t, dtype=np.float64)
        low, high = knots[degree], knots[-degree - 1]
        column = choose_columns(sink, value, np.array([place]))
        inside = sink.add("Min", [sink.add("Max", [column, numbers(sink, low)]), numbers(sink, high)])
        parts.append(_base_functions(sink, inside, knots, degree))
    joined = parts
    if not transformer.include_bias:
        width = len(transformer.bsplines_[0].t) - degree - 1
        joined = [choose_columns(sink, part, np.arange(width - 1)) for part in parts]
    return narrow(sink, sink.add("Concat", joined, {"axis": 1}))


def _base_functions(sink: Sink, value: str, knots: NDArray[np.float64], degree: int) -> str:
    import numpy as np

    # The last inner interval holds its right end too.
    last = len(knots) - degree - 2
    ends = knots[1:].copy()
    ends[last] = np.nextafter(ends[last], np.inf)
    begun = sink.add("GreaterOrEqual", [value, numbers(sink, knots[:-1].reshape(1, -1))])
    open_ = sink.add("Less", [value, numbers(sink, ends.reshape(1, -1))])
    closed = np.ones((1, len(knots) - 1), dtype=bool)
    closed[0, last + 1 :] = False
    found = sink.add("And", [sink.add("And", [begun, open_]), sink.constant(closed)])
    current = wide(sink, found)
    for order in range(1, degree + 1):
        count = len(knots) - 1 - order
        rising, falling = knots[order:-1] - knots[: -order - 1], knots[order + 1 :] - knots[1:-order]
        up = sink.add("Mul", [sink.add("Sub", [value, numbers(sink, knots[:count].reshape(1, -1))]),
                              numbers(sink, _inverse(rising[:count]).reshape(1, -1))])  # fmt: skip
        down = sink.add("Mul", [sink.add("Sub", [numbers(sink, knots[order + 1 :].reshape(1, -1)), value]),
                                numbers(sink, _inverse(falling[:count]).reshape(1, -1))])  # fmt: skip
        left, right = (choose_columns(sink, current, np.arange(count) + step) for step in (0, 1))
        current = sink.add("Add", [sink.add("Mul", [up, left]), sink.add("Mul", [down, right])])
    return current


def _inverse(widths: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.divide(1.0, widths, out=np.zeros_like(widths), where=widths != 0)


def write_constant(sink: Sink, source: str, dummy: BaseEstimator) -> str:
    """DummyClassifier, DummyRegressor: the same for every row."""
    import numpy as np

    if hasattr(dummy, "classes_"):
        if dummy.strategy == "stratified" or dummy.n_outputs_ > 1:
            refuse(dummy, "it guesses at random" if dummy.strategy == "stratified" else "it has several outputs")
        answer = dummy.predict_proba(np.zeros((1, 1)))
    else:
        answer = np.reshape(dummy.constant_, (1, -1))
    rows = sink.add("Shape", [source], {"start": 0, "end": 1})
    size = sink.add("Concat", [rows, sink.constant(np.array([1], dtype=np.int64))], {"axis": 0})
    return sink.add("Expand", [sink.constant(np.asarray(answer, dtype=np.float32)), size])
