"""Boosted trees within scikit-learn's estimators: its own histogram ones, and those of the boosting libraries.

skl2onnx 1.20 writes the histogram ones' tracks of missing values as booleans, which onnx 1.23 refuses, and knows the
libraries' estimators only by converters that are wrong for some of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from packager.errors import ConversionError
from packager.importers._forest import LEAF, Forest, Membership, Tree, write_forest
from packager.importers._links import write_link, write_two_classes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from packager.importers._graph import Sink
    from packager.importers._links import Link

_LINKS: dict[str, Link] = {"gamma": "exponential", "poisson": "exponential"}
_BITS = 32
_FLOAT = 1
_TWO = 2


def write_histogram_trees(sink: Sink, source: str, estimator: BaseEstimator) -> str:
    """The name of the probabilities or values of a HistGradientBoosting*; `source` is float32 of (N, features).

    Raises:
        ConversionError: its categories are no numbers.
    """
    sums = _histogram_sums(sink, source, estimator)
    if not hasattr(estimator, "classes_"):
        return write_link(sink, sums, _LINKS.get(str(estimator.loss), "identity"))
    if int(estimator.n_trees_per_iteration_) == 1:
        return write_two_classes(sink, write_link(sink, sums, "logistic"))
    return write_link(sink, sums, "softmax")


def write_scores(sink: Sink, source: str, estimator: BaseEstimator) -> str:
    """The name of what `decision_function` gives, for two classes both signs: what a calibration starts from."""
    if type(estimator).__module__.startswith("lightgbm"):
        from packager.importers import _lightgbm_model, lightgbm

        stored = _lightgbm_model.parse_model(estimator.booster_.model_to_string())
        sums = lightgbm.write_sums(sink, source, stored)
    else:
        sums = _histogram_sums(sink, source, estimator)
    if len(estimator.classes_) > _TWO:
        return sums
    return sink.add("Concat", [sink.add("Neg", [sums]), sums], {"axis": 1})


def _histogram_sums(sink: Sink, source: str, estimator: BaseEstimator) -> str:
    import numpy as np

    sizes: dict[int, int] = {}
    if estimator._preprocessor is not None:  # noqa: SLF001 - scikit-learn has no public name for what it fitted
        source, sizes = _with_codes(sink, source, estimator)
    outputs = int(estimator.n_trees_per_iteration_)
    rows = estimator._predictors  # noqa: SLF001 - likewise
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001 - likewise
    forest = Forest(
        trees=[_tree(one, place, sizes) for row in rows for place, one in enumerate(row)],
        features=int(estimator.n_features_in_),
        base=np.broadcast_to(base, (outputs,)).copy(),
        comparison="BRANCH_LEQ",
    )
    return write_forest(sink, source, forest)


def write_foreign_trees(sink: Sink, source: str, estimator: BaseEstimator) -> str:
    """The name of the probabilities or values of an estimator of XGBoost, LightGBM or CatBoost.

    Raises:
        ConversionError: it can't be expressed.
    """
    library = type(estimator).__module__.partition(".")[0]
    if library == "xgboost":
        from packager.importers import xgboost

        xgb = xgboost.parse_model(bytes(estimator.get_booster().save_raw("ubj")))
        missing = xgboost.missing_value(estimator)
        return xgboost.write_predictions(sink, source, xgb, xgboost.best_rounds(xgb), missing)
    if library == "lightgbm":
        from packager.importers import _lightgbm_model, lightgbm

        return lightgbm.write_predictions(
            sink, source, _lightgbm_model.parse_model(estimator.booster_.model_to_string())
        )
    from packager.importers import catboost

    return catboost.write_predictions(sink, source, catboost.stored_of(estimator, "a CatBoost estimator"))


def _with_codes(sink: Sink, source: str, estimator: BaseEstimator) -> tuple[str, dict[int, int]]:
    """The columns as the trees take them, first the categories' numbers; and how many categories each has."""
    import numpy as np

    encoder = estimator._preprocessor.named_transformers_["encoder"]  # noqa: SLF001 - as above
    asked = np.asarray(estimator.is_categorical_)
    parts, sizes = [], {}
    for place, (column, categories) in enumerate(zip(np.flatnonzero(asked), encoder.categories_, strict=True)):
        if categories.dtype.kind not in "iufb":
            raise ConversionError(
                "import.sklearn",
                f"the categories of feature {column} of a {type(estimator).__name__} are no numbers",
                hint="put an OrdinalEncoder in front of it, in a Pipeline",
            )
        value = _columns(sink, source, np.array([column]))
        parts.append(_code(sink, value, categories))
        sizes[place] = len(categories)
    parts.append(_columns(sink, source, np.flatnonzero(~asked)))
    return sink.add("Concat", parts, {"axis": 1}), sizes


def _columns(sink: Sink, source: str, places: NDArray[np.int64]) -> str:
    import numpy as np

    return sink.add("Gather", [source, sink.constant(places.astype(np.int64))], {"axis": 1})


def _code(sink: Sink, value: str, categories: NDArray[np.generic]) -> str:
    """The place of the value among the categories; NaN where it is none of them."""
    import numpy as np

    narrow = categories.astype(np.float32)
    # What float32 can't hold is never met in a float32 input.
    exact = np.where(narrow.astype(np.float64) == categories.astype(np.float64), narrow, np.float32("nan"))
    same = sink.add("Equal", [value, sink.constant(exact.reshape(1, -1))])
    marks = sink.add("Cast", [same], {"to": _FLOAT})
    axes = sink.constant(np.array([1], dtype=np.int64))
    found = sink.add("Cast", [sink.add("ReduceMax", [marks, axes], {"keepdims": 1})], {"to": 9})
    place = sink.add("Cast", [sink.add("ArgMax", [marks], {"axis": 1, "keepdims": 1})], {"to": _FLOAT})
    return sink.add("Where", [found, place, sink.constant(np.array(np.nan, dtype=np.float32))])


def _tree(predictor: object, output: int, sizes: dict[int, int]) -> Tree:
    import numpy as np

    nodes = cast("NDArray[np.void]", predictor.nodes)  # type: ignore[attr-defined]  # of scikit-learn, which has no types
    leaf = nodes["is_leaf"] != 0
    missing = nodes["missing_go_to_left"] != 0
    memberships = {}
    for node in np.flatnonzero((nodes["is_categorical"] != 0) & ~leaf).tolist():
        bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]  # type: ignore[attr-defined]  # likewise
        size = sizes[int(nodes["feature_idx"][node])]
        left = tuple(bool(int(bits[code // _BITS]) >> code % _BITS & 1) for code in range(size))
        unknown = bool(missing[node])
        memberships[node] = Membership(left, beyond=unknown, below=unknown, missing=unknown)
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        yes=np.where(leaf, LEAF, nodes["left"].astype(np.int64)),
        no=np.where(leaf, LEAF, nodes["right"].astype(np.int64)),
        missing=missing,
        values=np.where(leaf, nodes["value"], 0.0)[:, None],
        first=output,
        memberships=memberships,
    )
